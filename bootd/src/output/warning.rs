//! What a command warns of: a message, and what to do about it.

use dawn_cluster::Advised;
use dawn_wire::text::sentence;
use dawn_xcatd::hint_line;
use std::fmt;

/// Something that needs attention and is not an error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    message: String,
    hint: Option<String>,
}

impl Warning {
    /// Without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The words of an error that does not end anything, with its hint.
    pub fn of(error: &impl Advised) -> Self {
        Self { message: error.to_string(), hint: error.hint().map(|hint| sentence(&hint)) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(sentence(&hint.into())), ..self }
    }
}

impl From<String> for Warning {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Warning {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n{}", hint_line(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_has_a_line_of_its_own() {
        let warning = Warning::new("3 more such nodes").hint("`makedhcp NODERANGE` lists them");
        assert_eq!(warning.to_string(), "3 more such nodes\nHint: `makedhcp NODERANGE` lists them.");
    }
}
