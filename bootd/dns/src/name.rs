//! Domain names in lower case and wire form: the keys of every table here.
//!
//! Names are compared without regard to case (RFC 1035 §2.3.3); held in one case they are compared as bytes.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use domain::base::Name;

/// Longest name in wire form, bytes (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest label, bytes.
const LABEL_BYTES_MAX: usize = 63;

/// An absolute domain name in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Arc<[u8]>);

/// Why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than 255 bytes in wire form.
    #[error("a domain name has at most 253 characters")]
    Long,
    /// A label of no or of more than 63 bytes.
    #[error("each part of a domain name between dots has 1 to 63 characters")]
    Label,
    /// A byte that is not printable ASCII, or a backslash or quote.
    #[error("a domain name is of printable ASCII characters without quotes and backslashes")]
    Byte,
}

impl FromStr for DomainName {
    type Err = NameError;

    /// A dot at the end makes no difference: names are always absolute.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.').filter(|_| !text.is_empty()) {
            if !(1..=LABEL_BYTES_MAX).contains(&label.len()) {
                return Err(NameError::Label);
            }
            if !label.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"')) {
                return Err(NameError::Byte);
            }
            wire.push(u8::try_from(label.len()).unwrap_or(0));
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        if wire.len() > NAME_BYTES_MAX { Err(NameError::Long) } else { Ok(Self(wire.into())) }
    }
}

impl DomainName {
    /// The name of a PTR record (RFC 1035 §3.5, RFC 3596 §2.5).
    #[must_use]
    pub fn reverse(ip: IpAddr) -> Self {
        let mut wire = Vec::with_capacity(80);
        let mut label = |text: &str| {
            wire.push(u8::try_from(text.len()).unwrap_or(0));
            wire.extend_from_slice(text.as_bytes());
        };
        match ip {
            IpAddr::V4(ip) => {
                ip.octets().iter().rev().for_each(|octet| label(&octet.to_string()));
                label("in-addr");
            }
            IpAddr::V6(ip) => {
                for octet in ip.octets().iter().rev() {
                    label(&format!("{:x}", octet & 15));
                    label(&format!("{:x}", octet >> 4));
                }
                label("ip6");
            }
        }
        label("arpa");
        wire.push(0);
        Self(wire.into())
    }

    /// The name without its first `labels` labels; the root if it has no others.
    #[must_use]
    pub fn without(&self, labels: usize) -> Self {
        let mut rest: &[u8] = &self.0;
        for _ in 0..labels {
            rest = parent(rest).unwrap_or(rest);
        }
        Self(rest.into())
    }

    /// Wire form.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether the name is `zone` or below it.
    #[must_use]
    pub fn is_within(&self, zone: &Self) -> bool {
        ancestors(&self.0).any(|name| name == &*zone.0)
    }

    /// The name as the messages' writer takes it.
    #[must_use]
    pub fn to_name(&self) -> Name<&[u8]> {
        Name::from_octets(&*self.0).unwrap_or_else(|_| Name::root_ref())
    }
}

impl Borrow<[u8]> for DomainName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Without the dot at its end.
impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= 1 {
            return f.write_str(".");
        }
        let text = ancestors(&self.0).filter_map(first_label).map(String::from_utf8_lossy);
        for (at, label) in text.enumerate() {
            write!(f, "{}{label}", if at == 0 { "" } else { "." })?;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn first_label(wire: &[u8]) -> Option<&[u8]> {
    let (length, rest) = wire.split_first()?;
    rest.get(..usize::from(*length)).filter(|label| !label.is_empty())
}

/// The name without its first label; `None` for the root.
#[must_use]
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*wire.first()?);
    if length == 0 { None } else { wire.get(1 + length..) }
}

/// The name and all names above it, the root last.
pub fn ancestors(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |name| parent(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, expect) in [
            ("CN1.Cluster.", Ok("cn1.cluster")),
            ("_ldap._tcp.c", Ok("_ldap._tcp.c")),
            (".", Ok(".")),
            ("", Ok(".")),
            ("a..b", Err(NameError::Label)),
            ("a b", Err(NameError::Byte)),
            ("ü", Err(NameError::Byte)),
            (&"x".repeat(64), Err(NameError::Label)),
            (&"abc.".repeat(64), Err(NameError::Long)),
        ] {
            let read = text.parse::<DomainName>().map(|name| name.to_string());
            assert_eq!(read, expect.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn reverse_names() {
        for (ip, expect) in [
            ("10.1.0.11", "11.0.1.10.in-addr.arpa"),
            ("fd00::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"),
        ] {
            assert_eq!(DomainName::reverse(ip.parse().unwrap()).to_string(), expect);
        }
        let name = DomainName::reverse("10.1.0.11".parse().unwrap());
        assert_eq!(name.without(2).to_string(), "1.10.in-addr.arpa");
        assert!(name.is_within(&name.without(2)) && !name.without(2).is_within(&name));
    }
}
