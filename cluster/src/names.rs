//! Names that can only be good: made at the border, trusted inside.

use crate::schema::{TableId, schema};
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Bytes of a node, group or image name at most (a DNS name's limit).
pub const NAME_BYTES_MAX: usize = 253;

/// Characters of a text that a message repeats.
const EXCERPT_MAX: usize = 40;

/// A text as quoted in a message: its beginning, control characters spelled out.
pub fn excerpt(text: &str) -> String {
    let spelled = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let mut shown: String = text.chars().take(EXCERPT_MAX).map(spelled).collect();
    if text.chars().nth(EXCERPT_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameError {
    /// No text at all.
    #[error("a {what} may not be empty")]
    Empty {
        /// `node name`, `image name`, …
        what: &'static str,
    },
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("a {what} may have {NAME_BYTES_MAX} bytes at most")]
    TooLong {
        /// `node name`, `image name`, …
        what: &'static str,
    },
    /// A character that does not belong there.
    #[error("{what} '{}': the character {found:?} is not allowed", excerpt(name))]
    Character {
        /// `node name`, `image name`, …
        what: &'static str,
        /// The whole text.
        name: String,
        /// The offending character.
        found: char,
    },
    /// Right characters, wrong form.
    #[error("'{}' is not a {what}", excerpt(name))]
    Form {
        /// `node name`, `image name`, …
        what: &'static str,
        /// The whole text.
        name: String,
    },
}

fn check_name(what: &'static str, name: &str, extra: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what });
    }
    if let Some(found) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !extra.contains(*c)) {
        return Err(NameError::Character { what, name: name.to_owned(), found });
    }
    if name.starts_with('-') || name == "." || name == ".." {
        return Err(NameError::Form { what, name: name.to_owned() });
    }
    Ok(())
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name($what, text, $extra)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_name!(
    /// A node's (or group's) name: letters, digits, `-`, `_`, `.`, and `:` for addresses used as names. Never
    /// a path.
    NodeName, "node name", "-_.:"
);
text_name!(
    /// An operating system image's name: letters, digits, `-`, `_`, `.` and `+`. Never a path, and one word
    /// to every boot loader (`:` begins a server's part in a path of PXELINUX).
    ImageName, "image name", "-_.+"
);

/// The name of a table that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableName(TableId);

impl TableName {
    /// The table.
    pub fn id(self) -> TableId {
        self.0
    }
}

impl FromStr for TableName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = schema().find(text).ok_or(NameError::Form { what: "table", name: text.to_owned() })?;
        Ok(Self(found.id))
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl FromStr for MacAddr {
    type Err = NameError;

    /// Reads `aa:bb:cc:dd:ee:ff`, `aa-bb-…`, `aabb.ccdd.eeff` and `aabbccddeeff`, letters in any case.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Form { what: "MAC address", name: text.chars().take(40).collect() };
        let bytes = hardware_bytes(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(bad)
    }
}

/// Bytes of a link-layer address: pairs of digits with `:` or `-`, groups of four with `.`, or bare
/// digits.
fn hardware_bytes(text: &str) -> Option<Vec<u8>> {
    let grouped = |group: usize, separator: char| {
        let stands_right = |(at, c): (usize, char)| (c == separator) == (at % (group + 1) == group);
        (text.len() + 1).is_multiple_of(group + 1)
            && text.len() > group
            && text.char_indices().all(stands_right)
    };
    let separator = [(2, ':'), (2, '-'), (4, '.')].into_iter().find(|(group, c)| grouped(*group, *c));
    let mut digits = text.chars().filter(|c| separator.is_none_or(|(_, separator)| *c != separator));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let Some(high) = digits.next() {
        let byte = high.to_digit(16)? << 4 | digits.next()?.to_digit(16)?;
        bytes.push(u8::try_from(byte).ok()?);
    }
    Some(bytes)
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_char(':')?;
            }
            for digit in [byte >> 4, byte & 15] {
                f.write_char(char::from_digit(u32::from(digit), 16).unwrap_or('0'))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The port GUID of an InfiniBand card: the permanent part of its link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Guid(pub [u8; 8]);

impl FromStr for Guid {
    type Err = NameError;

    /// Reads 8 bytes, 9 (with a prefix byte) or 20 (the whole IPoIB address, RFC 4391 §9.1.1), written like a
    /// MAC address; the GUID is at the end.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Form { what: "InfiniBand address", name: text.chars().take(60).collect() };
        let bytes = hardware_bytes(text).filter(|bytes| matches!(bytes.len(), 8 | 9 | 20)).ok_or_else(bad)?;
        bytes.last_chunk().map(|guid| Self(*guid)).ok_or_else(bad)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}:{h:02x}:{i:02x}")
    }
}

/// One entry of the `mac.mac` column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MacEntry<A = MacAddr> {
    /// The address.
    pub mac: A,
    /// Host name for this interface (`mac!host`); `None` means the node's own name.
    pub host: Option<String>,
    /// The entry says `mac!*NOIP*`: the interface is the node's but gets no address.
    pub no_ip: bool,
}

/// Reads the `mac.mac` column: entries separated by `|`, each `mac` or `mac!host` or `mac!*NOIP*`.
/// Entries that hold no Ethernet address are left out.
pub fn parse_mac_column(text: &str) -> Vec<MacEntry> {
    parse_mac_column_as(text)
}

/// The entries of the `mac.mac` column with addresses of one kind; all others are left out.
pub fn parse_mac_column_as<A: FromStr>(text: &str) -> Vec<MacEntry<A>> {
    let entry = |part: &str| {
        let (mac, host) = part.split_once('!').map_or((part, None), |(m, h)| (m, Some(h)));
        let mac = mac.trim().parse().ok()?;
        let host = host.map(str::trim).filter(|h| !h.is_empty());
        let no_ip = host == Some("*NOIP*");
        Some(MacEntry { mac, host: host.filter(|_| !no_ip).map(str::to_owned), no_ip })
    };
    text.split('|').filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        let good: MacAddr = "52:54:00:12:ab:CD".parse().unwrap();
        for text in ["52-54-00-12-ab-cd", "5254.0012.abcd", "52540012ABCD"] {
            assert_eq!(text.parse::<MacAddr>().unwrap(), good, "{text}");
        }
        assert_eq!(good.to_string(), "52:54:00:12:ab:cd");
        for text in
            ["", "52:54", "52:54:00:12:ab:zz", "5:254:00:12:ab:cd", "ää:54:00:12:ab:c", "+2540012abcd"]
        {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn mac_columns() {
        let read = |text| {
            parse_mac_column(text)
                .into_iter()
                .map(|e| format!("{}/{}/{}", e.mac, e.host.unwrap_or_default(), e.no_ip))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (text, expect) in [
            ("", ""),
            ("junk", ""),
            ("52:54:00:00:00:01", "52:54:00:00:00:01//false"),
            (
                "52:54:00:00:00:01|52:54:00:00:00:02!n1-ib|52:54:00:00:00:03!*NOIP*",
                "52:54:00:00:00:01//false 52:54:00:00:00:02/n1-ib/false 52:54:00:00:00:03//true",
            ),
        ] {
            assert_eq!(read(text), expect, "{text}");
        }
    }

    #[test]
    fn infiniband_addresses() {
        let guid: Guid = "f4:52:14:03:00:AA:bb:cc".parse().unwrap();
        for text in [
            "00:f4:52:14:03:00:aa:bb:cc",
            "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:aa:bb:cc",
            "F4-52-14-03-00-aa-bb-cc",
            "f452.1403.00aa.bbcc",
            "f452140300aabbcc",
        ] {
            assert_eq!(text.parse::<Guid>().unwrap(), guid, "{text}");
        }
        assert_eq!(guid.to_string(), "f4:52:14:03:00:aa:bb:cc");
        for text in ["", "52:54:00:12:ab:cd", "f4:52:14:03:00:aa:bb:+c", "f4:52:14:03:00:aa:bb:c"] {
            assert!(text.parse::<Guid>().is_err(), "{text}");
        }
        let column = "52:54:00:00:00:01|f4:52:14:03:00:aa:bb:cc!n1-ib";
        let entries = parse_mac_column_as::<Guid>(column);
        assert_eq!((entries.len(), entries[0].mac, entries[0].host.as_deref()), (1, guid, Some("n1-ib")));
    }

    #[test]
    fn node_names() {
        for good in ["n1", "cn-01", "rack_1", "n1.example", "10.0.0.1", "fe80::1"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "-n1", "n\n", "ü", "$(x)", "a,b", &"x".repeat(254)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        for bad in ["../x", "a;id", "a$(id)", "a b", "a::b", "a&b", "#a", "a%N", "a\"b"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
        assert!("debian12-x86_64-compute_1.0+b".parse::<ImageName>().is_ok());
        assert!("sites".parse::<TableName>().is_err());
    }
}
