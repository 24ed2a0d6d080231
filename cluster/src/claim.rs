//! A name or an address, as the register of those that are taken compares them: see [`crate::claims`].

use std::fmt;
use std::net::IpAddr;

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// An address.
    Address(IpAddr),
    /// The first label of a name, in lower case.
    Name(Box<str>),
}

impl Claim {
    /// Reads a word; none if it is empty.
    pub fn read(word: &str) -> Option<Self> {
        let word = word.trim().trim_matches('.');
        if let Ok(address) = word.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical()));
        }
        let label = word.split('.').next().filter(|label| !label.is_empty())?;
        Some(Self::Name(label.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}
