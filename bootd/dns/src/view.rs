//! The server's data at one moment: zones, networks, other servers. One value, made by the
//! daemon from its tables and swapped whole, so that a question is answered from one state.

use std::net::{IpAddr, SocketAddr};

use crate::zones::Zones;

/// A network of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The network of so many bits around an address; `None` if the family has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { address, bits })
    }

    /// Its length in bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Some address in it.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Whether the address is in it.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        let above = |width: u32| width.saturating_sub(self.bits.into());
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(above(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(above(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A machine of the cluster, or this one: it may ask anything.
    Own,
    /// Anyone else: our zones only, and not often.
    Stranger,
}

/// The zones, networks and other servers of one moment.
#[derive(Debug, Default)]
pub struct View {
    /// Zones we answer for.
    pub zones: Zones,
    /// Networks whose machines may ask anything.
    pub networks: Vec<Prefix>,
    /// Machines that may transfer zones.
    pub secondaries: Vec<IpAddr>,
    /// Servers for names outside our zones, best first; none means such questions are refused.
    pub forwarders: Vec<SocketAddr>,
}

impl View {
    /// Who has this address.
    #[must_use]
    pub fn client(&self, ip: IpAddr) -> Client {
        let ip = ip.to_canonical();
        if ip.is_loopback() || self.networks.iter().any(|network| network.contains(ip)) {
            Client::Own
        } else {
            Client::Stranger
        }
    }

    /// Whether the machine may transfer zones.
    #[must_use]
    pub fn may_transfer(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_loopback() || self.secondaries.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_both_families() {
        for (net, bits, ip, inside) in [
            ("10.1.0.0", 16, "10.1.255.255", true),
            ("10.1.0.0", 16, "10.2.0.0", false),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("10.1.0.1", 32, "10.1.0.2", false),
            ("fd00::", 64, "fd00::ffff:0:0:1", true),
            ("fd00::", 64, "fd00:0:0:1::1", false),
            ("::", 0, "fd00::1", true),
            ("::", 0, "10.0.0.1", false),
        ] {
            let prefix = Prefix::new(net.parse().unwrap(), bits).unwrap();
            assert_eq!(prefix.contains(ip.parse().unwrap()), inside, "{ip} in {net}/{bits}");
        }
        assert_eq!(Prefix::new([10, 0, 0, 0].into(), 33), None);
    }

    #[test]
    fn mapped_addresses_are_those_of_the_cluster() {
        let networks = vec![Prefix::new([10, 1, 0, 0].into(), 16).unwrap()];
        let view = View { networks, ..View::default() };
        for (ip, client) in [
            ("::ffff:10.1.0.5", Client::Own),
            ("127.0.0.1", Client::Own),
            ("::1", Client::Own),
            ("192.0.2.1", Client::Stranger),
            ("2001:db8::1", Client::Stranger),
        ] {
            assert_eq!(view.client(ip.parse().unwrap()), client, "{ip}");
        }
    }
}
