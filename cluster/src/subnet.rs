//! Addresses as the `networks` table writes them: net, mask, dynamic ranges.
//!
//! The one place where these texts are read: the checks of a change and the DHCP service take the same
//! meaning from them. IPv4 only, but for [`row_network`]: networks of IPv6 have names and give no addresses.

use crate::row::Row;
use crate::schema::Col;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

static NET: LazyLock<Col> = LazyLock::new(|| Col::known("networks.net"));
static MASK: LazyLock<Col> = LazyLock::new(|| Col::known("networks.mask"));

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    /// The network of `prefix` bits (0 to 32) that the address is in; `None` for a longer prefix.
    pub fn around(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { first: u32::from(address) & mask_bits(prefix), prefix })
    }

    /// Its first address, which names it.
    pub fn address(self) -> Ipv4Addr {
        self.first.into()
    }

    /// Its last address.
    pub fn broadcast(self) -> Ipv4Addr {
        (self.first | !mask_bits(self.prefix)).into()
    }

    /// How many bits of an address name it.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its mask.
    pub fn mask(self) -> Ipv4Addr {
        mask_bits(self.prefix).into()
    }

    /// Whether the address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask_bits(self.prefix) == self.first
    }

    /// Whether one of the two holds the other. Networks never overlap in part.
    pub fn overlaps(self, other: Self) -> bool {
        let shorter = self.prefix.min(other.prefix);
        self.first & mask_bits(shorter) == other.first & mask_bits(shorter)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix)
    }
}

fn mask_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// First address.
    pub first: Ipv4Addr,
    /// Last address; not before the first.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether the address is one of them.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not of any of the forms.
    #[error("a range is first-last or net/length, several are joined by ;")]
    Form,
    /// The last address comes first.
    #[error("a range begins with its lowest address")]
    Backwards,
}

/// The network of a row of `networks`; `None` for IPv6 and for rows whose texts cannot be read.
pub fn row_subnet(row: &Row) -> Option<Subnet> {
    Subnet::around(row.get(*NET)?.trim().parse().ok()?, prefix_length(row.get(*MASK)?.trim())?)
}

/// The network of a row of `networks`, of either family: an address, and how many of its bits name it.
pub fn row_network(row: &Row) -> Option<(IpAddr, u8)> {
    if let Some(subnet) = row_subnet(row) {
        return Some((subnet.address().into(), subnet.prefix()));
    }
    let net = row.get(*NET)?.trim();
    let (address, in_net) = net.split_once('/').map_or((net, None), |(net, bits)| (net, Some(bits)));
    let bits = row.get(*MASK).map(|mask| mask.trim()).or(in_net)?;
    let bits = bits.trim_start_matches('/').parse().ok().filter(|bits| *bits <= 128)?;
    Some((address.parse::<Ipv6Addr>().ok()?.into(), bits))
}

/// Prefix length of `255.255.0.0`, `/16` or `16`.
pub fn prefix_length(mask: &str) -> Option<u8> {
    if let Ok(prefix) = mask.trim_start_matches('/').parse::<u8>() {
        return (prefix <= 32).then_some(prefix);
    }
    let bits = u32::from(mask.parse::<Ipv4Addr>().ok()?);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones).then(|| u8::try_from(ones).ok()).flatten()
}

/// The ranges of `networks.dynamicrange`: separated by `;`, each `a-b`, `a,b`, `a b` or a network, whose
/// first and last address are not hosts and left out.
pub fn dynamic_ranges(text: &str) -> impl Iterator<Item = Result<AddressRange, RangeError>> + '_ {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(range)
}

fn range(text: &str) -> Result<AddressRange, RangeError> {
    let read = |word: &str| word.trim().parse::<Ipv4Addr>().map_err(|_| RangeError::Form);
    let (first, last) = if let Some((address, prefix)) = text.split_once('/') {
        let prefix = prefix.trim().parse().map_err(|_| RangeError::Form)?;
        let net = Subnet::around(read(address)?, prefix).ok_or(RangeError::Form)?;
        let first = u32::from(net.address()).checked_add(1).ok_or(RangeError::Form)?;
        let last = u32::from(net.broadcast()).checked_sub(1).ok_or(RangeError::Form)?;
        (first.into(), last.into())
    } else {
        let parts = text.split_once(['-', ',']).or_else(|| text.split_once(' '));
        let (first, last) = parts.ok_or(RangeError::Form)?;
        (read(first)?, read(last)?)
    };
    if first <= last { Ok(AddressRange { first, last }) } else { Err(RangeError::Backwards) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_in_every_spelling() {
        for (text, prefix) in [
            ("255.255.0.0", Some(16)),
            ("0.0.0.0", Some(0)),
            ("/16", Some(16)),
            ("24", Some(24)),
            ("255.0.255.0", None),
            ("33", None),
            ("", None),
        ] {
            assert_eq!(prefix_length(text), prefix, "{text}");
        }
    }

    #[test]
    fn ranges_are_read_in_every_spelling() {
        for text in [
            "10.1.255.1-10.1.255.254",
            "10.1.255.1,10.1.255.254",
            "10.1.255.1 10.1.255.254",
            "10.1.255.0/24",
            " 10.1.255.1 - 10.1.255.254 ;",
        ] {
            let read: Vec<String> = dynamic_ranges(text).map(|range| range.unwrap().to_string()).collect();
            assert_eq!(read, ["10.1.255.1-10.1.255.254"], "{text}");
        }
        for (text, error) in [
            ("10.1.255.9-10.1.255.1", RangeError::Backwards),
            ("10.1.0.0/32", RangeError::Backwards),
            ("10.1.0.0/33", RangeError::Form),
            ("x-y", RangeError::Form),
            ("10.1.0.1", RangeError::Form),
            ("0.0.0.0/0/0", RangeError::Form),
        ] {
            assert_eq!(dynamic_ranges(text).next(), Some(Err(error)), "{text}");
        }
        assert_eq!(dynamic_ranges(" ; ").count(), 0);
    }

    #[test]
    fn networks_hold_addresses_and_each_other() {
        let net = |text: &str| {
            let (address, prefix) = text.split_once('/').unwrap();
            Subnet::around(address.parse().unwrap(), prefix.parse().unwrap()).unwrap()
        };
        let wide = net("10.1.9.9/16");
        assert_eq!(wide.to_string(), "10.1.0.0/16");
        assert_eq!(wide.mask().to_string(), "255.255.0.0");
        for (other, overlaps) in
            [("10.1.7.0/24", true), ("10.0.0.0/8", true), ("10.2.0.0/16", false), ("0.0.0.0/0", true)]
        {
            assert_eq!(
                (wide.overlaps(net(other)), net(other).overlaps(wide)),
                (overlaps, overlaps),
                "{other}"
            );
        }
        assert!(wide.contains([10, 1, 255, 255].into()) && !wide.contains([10, 2, 0, 0].into()));
        assert!(net("0.0.0.0/0").contains([255, 255, 255, 255].into()));
    }
}
