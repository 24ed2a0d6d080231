//! Addresses of this machine: which of them faces a node.
//!
//! "Own address facing X" of xCAT is the address of the local interface whose
//! network contains X. The list is a plain value, so that the plan stays a pure function.
//!
//! Addresses move: a floating one goes to another machine, whose requests must not count as ours any more. So
//! the daemon looks again and again, and each answer takes the list of that moment from
//! [`CurrentAddresses`].

use arc_swap::ArcSwap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One IPv4 address of a local interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    /// Interface name, `eth1`.
    pub interface: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Its network mask.
    pub mask: Ipv4Addr,
}

impl LocalAddress {
    /// Whether `peer` is in the network of this address.
    #[must_use]
    pub fn faces(&self, peer: Ipv4Addr) -> bool {
        self.address & self.mask == peer & self.mask
    }
}

/// Every IPv4 address of this machine, loopback included and last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    list: Vec<LocalAddress>,
    forwards: bool,
}

impl LocalAddresses {
    /// Takes a given list; for tests and simulations.
    #[must_use]
    pub fn new(mut addresses: Vec<LocalAddress>) -> Self {
        addresses.sort_by_key(|local| local.address.is_loopback());
        Self { list: addresses, forwards: false }
    }

    /// Of a machine that does, or does not, forward packets between its networks.
    #[must_use]
    pub fn forwarding(self, forwards: bool) -> Self {
        Self { forwards, ..self }
    }

    /// Whether this machine forwards packets between its networks, so that it can be a router.
    #[must_use]
    pub fn forwards(&self) -> bool {
        self.forwards
    }

    /// One address of one interface; for tests and simulations.
    #[must_use]
    pub fn one(interface: &str, address: [u8; 4], mask: [u8; 4]) -> Self {
        let (address, mask) = (address.into(), mask.into());
        Self::new(vec![LocalAddress { interface: interface.to_owned(), address, mask }])
    }

    /// The address that faces `peer`.
    #[must_use]
    pub fn facing(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        self.list.iter().find(|local| local.faces(peer)).map(|local| local.address)
    }

    /// Whether `address` is one of ours.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.list.iter().any(|local| local.address == address)
    }

    /// Whether a client with this address is this machine itself.
    #[must_use]
    pub fn are_of(&self, client: IpAddr) -> bool {
        match client.to_canonical() {
            IpAddr::V4(address) => address.is_loopback() || self.contains(address),
            IpAddr::V6(address) => address.is_loopback(),
        }
    }

    /// The addresses, loopback last.
    pub fn iter(&self) -> impl Iterator<Item = &LocalAddress> {
        self.list.iter()
    }
}

/// The addresses of this machine as they were at the last look.
#[derive(Debug, Default)]
pub struct CurrentAddresses(ArcSwap<LocalAddresses>);

impl From<LocalAddresses> for CurrentAddresses {
    fn from(addresses: LocalAddresses) -> Self {
        Self(ArcSwap::from_pointee(addresses))
    }
}

impl CurrentAddresses {
    /// The list of this moment: the same one until something changes.
    #[must_use]
    pub fn now(&self) -> Arc<LocalAddresses> {
        self.0.load_full()
    }

    /// Takes what another look has found; whether the addresses are others.
    pub fn replace(&self, found: LocalAddresses) -> bool {
        let differs = **self.0.load() != found;
        if differs {
            self.0.store(Arc::new(found));
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, address: [u8; 4], mask: [u8; 4]) -> LocalAddress {
        LocalAddress { interface: interface.into(), address: address.into(), mask: mask.into() }
    }

    #[test]
    fn the_address_in_the_peers_network_faces_it() {
        let locals = LocalAddresses::new(vec![
            local("lo", [127, 0, 0, 1], [255, 0, 0, 0]),
            local("eth0", [192, 168, 1, 1], [255, 255, 255, 0]),
            local("eth1", [10, 1, 0, 1], [255, 255, 0, 0]),
        ]);
        assert_eq!(locals.facing([10, 1, 7, 9].into()), Some([10, 1, 0, 1].into()));
        assert_eq!(locals.facing([172, 16, 0, 1].into()), None);
        assert_eq!(locals.iter().last().map(|local| local.interface.as_str()), Some("lo"));
    }

    #[test]
    fn an_address_that_moved_away_is_no_longer_ours() {
        let current = CurrentAddresses::from(LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]));
        let before = current.now();
        assert!(!current.replace(LocalAddresses::clone(&before)));
        assert!(Arc::ptr_eq(&before, &current.now()), "caches compare lists by identity");
        assert!(current.replace(LocalAddresses::default()));
        assert!(!current.now().contains([10, 1, 0, 1].into()));
    }
}
