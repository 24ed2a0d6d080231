//! Names of objects: object identifiers (RFC 2578 §3.5).

use std::fmt;
use std::str::FromStr;

use crate::limits::OID_PARTS_MAX;

/// An object identifier of 2 to [`OID_PARTS_MAX`] parts. The order is that of a walk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Vec<u32>);

/// Why parts are not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an object identifier is 2 to {OID_PARTS_MAX} numbers, the first 0 to 2, the second below 40 after 0 and 1"
)]
pub struct OidError;

impl Oid {
    /// The identifier with these parts.
    ///
    /// # Errors
    /// [`OidError`].
    pub fn new(parts: &[u32]) -> Result<Self, OidError> {
        match parts {
            [0 | 1, 0..=39, ..] | [2, 0..=0xffff_ffaf, ..] if parts.len() <= OID_PARTS_MAX => {
                Ok(Self(parts.to_vec()))
            }
            _ => Err(OidError),
        }
    }

    /// Its parts.
    pub fn parts(&self) -> &[u32] {
        &self.0
    }

    /// What follows `root`, if this is below it or the same.
    pub fn below(&self, root: &Oid) -> Option<&[u32]> {
        self.0.strip_prefix(root.0.as_slice())
    }

    /// Reads the content of an OBJECT IDENTIFIER.
    pub fn decode(content: &[u8]) -> Option<Self> {
        let mut parts = Vec::with_capacity(content.len().min(OID_PARTS_MAX) + 1);
        let mut part: u32 = 0;
        for byte in content {
            part = part.checked_mul(128)? | u32::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if parts.is_empty() {
                let first = (part / 40).min(2);
                parts.extend([first, part - first * 40]);
            } else {
                parts.push(part);
            }
            part = 0;
            if parts.len() > OID_PARTS_MAX {
                return None;
            }
        }
        if content.last().is_none_or(|last| last & 0x80 != 0) {
            return None;
        }
        Self::new(&parts).ok()
    }

    /// The content of an OBJECT IDENTIFIER.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + 4);
        if let [first, second, rest @ ..] = self.0.as_slice() {
            put_part(&mut out, first * 40 + second);
            rest.iter().for_each(|part| put_part(&mut out, *part));
        }
        out
    }
}

fn put_part(out: &mut Vec<u8>, part: u32) {
    for shift in [28, 21, 14, 7] {
        if part >> shift != 0 {
            out.push(0x80 | ((part >> shift) & 0x7f).to_le_bytes()[0]);
        }
    }
    out.push((part & 0x7f).to_le_bytes()[0]);
}

impl FromStr for Oid {
    type Err = OidError;

    /// Reads `1.3.6.1.2.1`, with or without a dot in front.
    fn from_str(text: &str) -> Result<Self, OidError> {
        let text = text.strip_prefix('.').unwrap_or(text);
        let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        Self::new(&parts.map_err(|_| OidError)?)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for text in ["1.3.6.1.2.1", "0.0", "2.999.3", "1.3.4294967295.128.127.16384", "1.39", "2.4294967215"]
        {
            let oid: Oid = text.parse().unwrap();
            assert_eq!(Oid::decode(&oid.encode()), Some(oid.clone()), "{text}");
            assert_eq!(oid.to_string(), text);
        }
        assert_eq!("1.3.6".parse::<Oid>().unwrap().encode(), [0x2b, 6]);
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "1", "3.1", "1.40", "1.3.x", "1..3", "1.3.4294967296", &["1"; 129].join(".")] {
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
        for bytes in [&[][..], &[0x80], &[0x2b, 0x86], &[0x2b, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &[1; 200]]
        {
            assert_eq!(Oid::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn order_and_below() {
        let root: Oid = "1.3.6".parse().unwrap();
        let row: Oid = "1.3.6.1.9".parse().unwrap();
        assert!(root < row && row < "1.3.6.1.10".parse().unwrap());
        assert_eq!(row.below(&root), Some(&[1, 9][..]));
        assert_eq!(root.below(&row), None);
    }
}
