//! Addresses of this machine: which of them faces a node.
//!
//! "Own address facing X" of xCAT is the address of the local interface whose
//! network contains X. The list is a plain value, so that the plan stays a pure function.
//!
//! Addresses move: a floating one goes to another machine, whose requests must not count as ours any more. So
//! [`CurrentAddresses`] is read again every [`REFRESH_PERIOD`]; each answer takes the list of
//! that moment.

use arc_swap::ArcSwap;
use dawn_dhcp::shell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at the addresses of this machine.
pub const REFRESH_PERIOD: Duration = Duration::from_secs(1);

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
    /// Whether `peer` lies in the network of this address.
    #[must_use]
    pub fn faces(&self, peer: Ipv4Addr) -> bool {
        self.address & self.mask == peer & self.mask
    }
}

/// Every IPv4 address of this machine, loopback included and last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalAddresses(Vec<LocalAddress>);

impl LocalAddresses {
    /// Takes a given list; for tests and simulations.
    #[must_use]
    pub fn new(mut addresses: Vec<LocalAddress>) -> Self {
        addresses.sort_by_key(|local| local.address.is_loopback());
        Self(addresses)
    }

    /// One address of one interface; for tests and simulations.
    #[must_use]
    pub fn one(interface: &str, address: [u8; 4], mask: [u8; 4]) -> Self {
        let (address, mask) = (address.into(), mask.into());
        Self::new(vec![LocalAddress { interface: interface.to_owned(), address, mask }])
    }

    /// Asks the kernel.
    ///
    /// # Errors
    /// The system's, when it cannot list them.
    pub fn of_this_machine() -> io::Result<Self> {
        let interfaces = shell::of_this_machine()?;
        let mask = |prefix: u8| u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
        let addresses = interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(|(address, prefix)| LocalAddress {
                interface: interface.name.clone(),
                address: *address,
                mask: mask(*prefix).into(),
            })
        });
        Ok(Self::new(addresses.collect()))
    }

    /// The address that faces `peer`.
    #[must_use]
    pub fn facing(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        self.0.iter().find(|local| local.faces(peer)).map(|local| local.address)
    }

    /// Whether `address` is one of ours.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.0.iter().any(|local| local.address == address)
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
        self.0.iter()
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
    /// A first look. A failure leaves the list empty: every reader has a fallback from the tables.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let current = Self::default();
        current.refresh();
        current
    }

    /// The list of this moment: the same one until something changes.
    #[must_use]
    pub fn now(&self) -> Arc<LocalAddresses> {
        self.0.load_full()
    }

    /// Looks again; whether the addresses are others. A failure leaves them as they are.
    pub fn refresh(&self) -> bool {
        match LocalAddresses::of_this_machine() {
            Ok(found) => self.replace(found),
            Err(error) => {
                tracing::warn!(%error, "the addresses of this machine cannot be read");
                false
            }
        }
    }

    fn replace(&self, found: LocalAddresses) -> bool {
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
    fn this_machine_has_a_loopback_address() {
        assert!(LocalAddresses::of_this_machine().unwrap().contains(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn an_address_that_moved_away_is_no_longer_ours() {
        let current = CurrentAddresses::from(LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]));
        let before = current.now();
        assert!(!current.replace(LocalAddresses::clone(&before)));
        assert!(Arc::ptr_eq(&before, &current.now()), "caches compare lists by identity");
        assert!(current.refresh());
        assert!(!current.now().contains([10, 1, 0, 1].into()) && current.now().contains(Ipv4Addr::LOCALHOST));
    }
}
