//! A directory that holds everything itself: for tests, benches and simulators.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::directory::{Directory, Network, Reservation};
use crate::hwaddr::HwAddr;

/// Networks and reservations that do not change.
#[derive(Debug, Clone, Default)]
pub struct FixedDirectory {
    networks: Arc<Vec<Network>>,
    reservations: HashMap<HwAddr, Arc<Vec<Reservation>>>,
    owners: HashMap<Ipv4Addr, Arc<str>>,
    none: Arc<Vec<Reservation>>,
}

impl FixedDirectory {
    /// A directory of these networks and reservations.
    pub fn new(
        networks: Vec<Network>,
        reservations: impl IntoIterator<Item = (HwAddr, Reservation)>,
    ) -> Self {
        let mut by_hw: HashMap<HwAddr, Vec<Reservation>> = HashMap::new();
        let mut owners = HashMap::new();
        for (hw, reservation) in reservations {
            if let Some(address) = reservation.address {
                owners.insert(address, reservation.node.clone());
            }
            by_hw.entry(hw).or_default().push(reservation);
        }
        Self {
            networks: Arc::new(networks),
            reservations: by_hw.into_iter().map(|(hw, list)| (hw, Arc::new(list))).collect(),
            owners,
            none: Arc::default(),
        }
    }
}

impl Directory for FixedDirectory {
    fn networks(&self) -> Arc<Vec<Network>> {
        self.networks.clone()
    }

    fn reservations(&self, hw: &HwAddr) -> Arc<Vec<Reservation>> {
        self.reservations.get(hw).unwrap_or(&self.none).clone()
    }

    fn owner(&self, address: Ipv4Addr) -> Option<Arc<str>> {
        self.owners.get(&address).cloned()
    }
}
