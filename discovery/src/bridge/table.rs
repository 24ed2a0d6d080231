//! What a switch knows: its ports, and on which of them it learnt each MAC.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dawn_cluster::MacAddr;

use crate::port_name::{Fit, fit};

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// `ifName`, or `ifDescr`.
    pub name: String,
    /// MTU, bytes, if it was asked for.
    pub mtu: Option<u32>,
    /// How many MACs were learnt there.
    pub macs: usize,
}

/// Where a MAC was learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `ifIndex` of the port.
    pub port: u32,
    /// The VLAN, or the number of the forwarding database; 0 if the switch does not say.
    pub vlan: u32,
}

/// The tables of one switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchTable {
    /// `dot1dBaseBridgeAddress`, the switch's own MAC.
    pub own: Option<MacAddr>,
    /// By `ifIndex`.
    pub ports: BTreeMap<u32, Port>,
    /// By MAC; mostly one place.
    pub places: HashMap<MacAddr, BTreeSet<Place>>,
}

impl SwitchTable {
    /// The ports on which a MAC was learnt, whatever the VLAN.
    pub fn ports_of(&self, mac: MacAddr) -> BTreeSet<u32> {
        self.places.get(&mac).into_iter().flatten().map(|place| place.port).collect()
    }

    /// The ports that fit a configured one best; several are ambiguous.
    pub fn ports_named(&self, configured: &str) -> BTreeSet<u32> {
        let mut best: (Option<Fit>, BTreeSet<u32>) = (None, BTreeSet::new());
        for (index, port) in &self.ports {
            let Some(found) = fit(configured, &port.name) else { continue };
            match best.0 {
                Some(known) if known < found => {}
                Some(known) if known == found => drop(best.1.insert(*index)),
                _ => best = (Some(found), BTreeSet::from([*index])),
            }
        }
        best.1
    }

    /// The one port with this name.
    pub fn port_called(&self, name: &str) -> Option<u32> {
        let mut called = self.ports.iter().filter(|(_, port)| port.name == name).map(|(index, _)| *index);
        called.next().filter(|_| called.next().is_none())
    }

    /// The name of a port; its number if it has none.
    pub fn port_name(&self, index: u32) -> String {
        self.ports.get(&index).map_or_else(|| index.to_string(), |port| port.name.clone())
    }
}
