//! The engine's questions to the model: networks and reservations.
//!
//! The engine keeps no copy: it asks at each packet, so a change of the model counts from the next packet
//! on, and nothing has to be restarted. Answers are shared pointers into the model's snapshot; an
//! implementation must answer from memory.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::boot::BootRule;
use crate::hwaddr::HwAddr;

/// Default lease time in seconds.
pub const LEASE_SECONDS_DEFAULT: u32 = 43_200;

/// The model as the DHCP engine sees it.
pub trait Directory: Send + Sync {
    /// All networks this server answers on. Called for every packet.
    fn networks(&self) -> Arc<Vec<Network>>;

    /// Every reservation for this link-layer address: one machine may have an address on several networks.
    fn reservations(&self, hw: &HwAddr) -> Arc<Vec<Reservation>>;

    /// Name of the node that owns this address, so that no dynamic lease takes it.
    fn owner(&self, address: Ipv4Addr) -> Option<Arc<str>>;
}

/// An IPv4 network and the options of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name for logs and events (the `netname` of the networks table).
    pub name: Arc<str>,
    /// Network address.
    pub address: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub prefix: u8,
    /// The interface of this server that leads to the network; `None` means the one with an address in it. A
    /// network reached only through relays names an interface that is not on its link.
    pub interface: Option<String>,
    /// Routers, in order of preference.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers; empty means this server.
    pub ntp: Vec<Ipv4Addr>,
    /// Log servers; empty means this server.
    pub log_servers: Vec<Ipv4Addr>,
    /// Domain name.
    pub domain: Option<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Interface MTU in bytes.
    pub mtu: Option<u16>,
    /// Lease time in seconds.
    pub lease_seconds: u32,
    /// Addresses for machines without a reservation.
    pub ranges: Vec<Range>,
    /// TFTP/HTTP server; `None` means this server's address on the network.
    pub next_server: Option<Ipv4Addr>,
    /// How machines without a reservation boot.
    pub boot: BootRule,
    /// Further options for every client of the network: code and value.
    pub options: Vec<(u8, Vec<u8>)>,
    /// Whether addresses are ours to give.
    pub mode: Mode,
}

/// Who gives the addresses on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// This server: addresses and boot files, and a NAK for what is wrong.
    #[default]
    Authoritative,
    /// Another DHCP server: this one adds only the boot file (proxyDHCP).
    Proxy,
    /// No server here: requests from this network are not answered.
    Off,
}

impl Network {
    /// A network with only its address.
    pub fn new(name: &str, address: Ipv4Addr, prefix: u8) -> Self {
        Self {
            name: name.into(),
            address,
            prefix,
            interface: None,
            routers: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            log_servers: Vec::new(),
            domain: None,
            search: Vec::new(),
            mtu: None,
            lease_seconds: LEASE_SECONDS_DEFAULT,
            ranges: Vec::new(),
            next_server: None,
            boot: BootRule::Xnba { script: format!("nets/{address}_{prefix}"), uefi: true },
            options: Vec::new(),
            mode: Mode::Authoritative,
        }
    }

    /// The netmask as a number.
    fn mask_bits(&self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0)
    }

    /// The netmask.
    pub fn mask(&self) -> Ipv4Addr {
        self.mask_bits().into()
    }

    /// The broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        (u32::from(self.address) | !self.mask_bits()).into()
    }

    /// Whether the address belongs to this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask_bits() == u32::from(self.address) & self.mask_bits()
    }
}

/// A range of dynamic addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    first: u32,
    last: u32,
}

impl Range {
    /// A range; `None` when `last` comes before `first`.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        let (first, last) = (u32::from(first), u32::from(last));
        (first <= last).then_some(Self { first, last })
    }

    /// First address.
    pub fn first(&self) -> Ipv4Addr {
        self.first.into()
    }

    /// Last address.
    pub fn last(&self) -> Ipv4Addr {
        self.last.into()
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
    }

    /// Whether the two share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Number of addresses.
    pub fn len(&self) -> u64 {
        u64::from(self.last) - u64::from(self.first) + 1
    }

    /// A range is never empty.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// One interface of a known node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The node.
    pub node: Arc<str>,
    /// Host name given to the client; usually the node's.
    pub hostname: String,
    /// Address; without one the interface is not answered.
    pub address: Option<Ipv4Addr>,
    /// It is marked as one that does not boot (`*NOIP*`), and has no address for that reason.
    pub no_ip: bool,
    /// TFTP/HTTP server for this node alone.
    pub next_server: Option<Ipv4Addr>,
    /// How the node boots.
    pub boot: BootRule,
    /// Further options for this node: code and value.
    pub options: Vec<(u8, Vec<u8>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        for (prefix, mask, broadcast, inside, outside) in [
            (16, "255.255.0.0", "10.1.255.255", "10.1.9.9", "10.2.0.1"),
            (0, "0.0.0.0", "255.255.255.255", "8.8.8.8", ""),
            (32, "255.255.255.255", "10.1.0.0", "10.1.0.0", "10.1.0.1"),
        ] {
            let network = Network::new("n", Ipv4Addr::new(10, 1, 0, 0), prefix);
            assert_eq!(network.mask().to_string(), mask);
            assert_eq!(network.broadcast().to_string(), broadcast);
            assert!(network.contains(inside.parse().unwrap()));
            assert!(outside.parse().map_or(true, |ip| !network.contains(ip)));
        }
    }
}
