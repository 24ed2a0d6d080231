//! Link-layer addresses as DHCP carries them (RFC 2131 `htype`, `hlen`, `chaddr`; RFC 4390 for InfiniBand).
//!
//! A machine is known by its link-layer address alone: its firmware, its loader and its operating system each
//! send a different client identifier, and would otherwise look like three machines.

use std::fmt;
use std::str::FromStr;

/// `htype` of Ethernet (RFC 1700).
pub const HTYPE_ETHERNET: u8 = 1;
/// `htype` of IP over InfiniBand (RFC 4390); such clients send `hlen` 0 and no `chaddr`.
pub const HTYPE_INFINIBAND: u8 = 32;
/// Longest link-layer address that fits into `chaddr`, in bytes.
pub const HWADDR_BYTES_MAX: usize = 16;
/// Length of an InfiniBand port GUID, in bytes.
const GUID_BYTES: usize = 8;

/// A link-layer address of 1 to 16 bytes with its hardware type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HwAddr {
    htype: u8,
    len: u8,
    bytes: [u8; HWADDR_BYTES_MAX],
}

/// Why a text or a packet field is not a link-layer address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HwAddrError {
    /// No byte, or more than 16.
    #[error("a link-layer address has 1 to 16 bytes, not {0}")]
    Length(usize),
    /// Not hexadecimal bytes separated by `:` or `-`.
    #[error("a link-layer address is written as hexadecimal bytes separated by ':'")]
    Syntax,
}

impl HwAddr {
    /// An address of the given hardware type. Errors when `bytes` is empty or longer than 16.
    pub fn new(htype: u8, bytes: &[u8]) -> Result<Self, HwAddrError> {
        let mut address = [0; HWADDR_BYTES_MAX];
        let room = address.get_mut(..bytes.len()).ok_or(HwAddrError::Length(bytes.len()))?;
        room.copy_from_slice(bytes);
        match u8::try_from(bytes.len()) {
            Ok(len) if len > 0 => Ok(Self { htype, len, bytes: address }),
            _ => Err(HwAddrError::Length(bytes.len())),
        }
    }

    /// The Ethernet address with these six bytes.
    pub fn ethernet(mac: [u8; 6]) -> Self {
        let mut bytes = [0; HWADDR_BYTES_MAX];
        for (to, from) in bytes.iter_mut().zip(mac) {
            *to = from;
        }
        Self { htype: HTYPE_ETHERNET, len: 6, bytes }
    }

    /// The port GUID that an InfiniBand client puts at the end of its client identifier (RFC 4390 §2.1).
    pub fn infiniband(client_id: &[u8]) -> Option<Self> {
        let start = client_id.len().checked_sub(GUID_BYTES)?;
        Self::new(HTYPE_INFINIBAND, client_id.get(start..)?).ok()
    }

    /// Hardware type number.
    pub fn htype(&self) -> u8 {
        self.htype
    }

    /// The bytes of the address.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl fmt::Display for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.bytes().iter().enumerate() {
            let separator = if n == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HwAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HwAddr({}/{self})", self.htype)
    }
}

impl FromStr for HwAddr {
    type Err = HwAddrError;

    /// Six bytes are Ethernet; eight or nine (a GUID with or without its prefix byte) are InfiniBand.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text
            .split([':', '-'])
            .map(|byte| match byte.len() {
                1 | 2 if byte.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                    u8::from_str_radix(byte, 16).map_err(|_| HwAddrError::Syntax)
                }
                _ => Err(HwAddrError::Syntax),
            })
            .collect::<Result<Vec<u8>, _>>()?;
        match bytes.len() {
            8 => Self::new(HTYPE_INFINIBAND, &bytes),
            9 => Self::infiniband(&bytes).ok_or(HwAddrError::Length(9)),
            _ => Self::new(HTYPE_ETHERNET, &bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        for (text, shown) in [
            ("AA:bb:cc:dd:ee:01", Some("aa:bb:cc:dd:ee:01")),
            ("aa-bb-cc-dd-ee-1", Some("aa:bb:cc:dd:ee:01")),
            ("f4:52:14:03:00:aa:bb:cc", Some("f4:52:14:03:00:aa:bb:cc")),
            ("", None),
            ("aa:bb:cc:dd:ee:0g", None),
            ("aa:bb:cc:dd:ee:+1", None),
            ("aabbccddee01", None),
        ] {
            let parsed = text.parse::<HwAddr>().ok().map(|hw| hw.to_string());
            assert_eq!(parsed.as_deref(), shown, "{text:?}");
        }
    }

    #[test]
    fn infiniband_is_known_by_its_guid() {
        let mut id = vec![0xff, 0, 0, 0, 1, 0, 2, 0, 0, 0];
        id.extend([0xf4, 0x52, 0x14, 3, 0, 0xaa, 0xbb, 0xcc]);
        assert_eq!(HwAddr::infiniband(&id), "f4:52:14:03:00:aa:bb:cc".parse().ok());
        assert_eq!(HwAddr::infiniband(&[1, 2]), None);
    }
}
