//! All switches together: where a MAC was learnt, and which ports lead to other switches.
//!
//! A port is an uplink if `switches.linkports` names it, if another switch's own MAC was learnt there, or if
//! more MACs were learnt there than a machine has. An uplink never says anything about a machine.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use dawn_cluster::{MacAddr, Text};

use crate::bridge::SwitchTable;
use crate::directory::Directory;
use crate::limits::{EDGE_MACS, MISS_TIME};

/// How it is known that a port leads to other switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// `switches.linkports` says so.
    Configured,
    /// This MAC of a switch was learnt there.
    Switch(MacAddr),
    /// So many MACs were learnt there.
    ManyMacs(usize),
}

/// Where a MAC was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The switch.
    pub switch: Text,
    /// `ifIndex` of the port.
    pub port: u32,
    /// The port leads to other switches.
    pub uplink: Option<Uplink>,
}

/// What the reading of a switch gave.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Its tables.
    Tables(SwitchTable),
    /// Nothing, for this reason, which is for people.
    Nothing(String),
}

impl Answer {
    fn tables(&self) -> Option<&SwitchTable> {
        match self {
            Self::Tables(tables) => Some(tables),
            Self::Nothing(_) => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Tables(_) => None,
            Self::Nothing(reason) => Some(reason),
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    name: Text,
    answer: Answer,
    /// Ports with a MAC of another switch, and `linkports`.
    uplinks: BTreeMap<u32, Uplink>,
    read_at: Duration,
}

/// The forwarding tables of all switches that have answered.
#[derive(Clone, Debug)]
pub struct Fabric {
    /// By name in small letters.
    switches: BTreeMap<String, Known>,
    edge_macs: usize,
}

impl Default for Fabric {
    fn default() -> Self {
        Self::new(EDGE_MACS)
    }
}

impl Fabric {
    /// No switch yet. A port with more than `edge_macs` MACs, 1 at least, is an uplink.
    pub fn new(edge_macs: usize) -> Self {
        Self { switches: BTreeMap::new(), edge_macs: edge_macs.max(1) }
    }

    /// Takes what was read of a switch at `now`, or why it could not be read. Old news of it is forgotten: a
    /// switch that is silent says nothing.
    pub fn learn(&mut self, now: Duration, switch: &str, answer: Answer, directory: &Directory) {
        let known = Known { name: switch.into(), answer, uplinks: BTreeMap::new(), read_at: now };
        self.switches.insert(switch.to_ascii_lowercase(), known);
        self.find_uplinks(directory);
    }

    /// Every switch's MAC counts on every other switch, so one new table can make uplinks of many ports.
    fn find_uplinks(&mut self, directory: &Directory) {
        let own = |known: &Known| known.answer.tables().and_then(|table| table.own);
        let switch_macs: HashSet<MacAddr> = self.switches.values().filter_map(own).collect();
        for (key, known) in &mut self.switches {
            let Some(table) = known.answer.tables() else { continue };
            known.uplinks.clear();
            let is_switch = |mac: MacAddr| {
                (switch_macs.contains(&mac) || directory.is_switch_mac(mac)) && table.own != Some(mac)
            };
            for mac in table.places.keys().copied().filter(|mac| is_switch(*mac)) {
                known.uplinks.extend(table.ports_of(mac).into_iter().map(|port| (port, Uplink::Switch(mac))));
            }
            for configured in directory.link_ports(key) {
                let ports = table.ports_named(configured).into_iter();
                known.uplinks.extend(ports.map(|port| (port, Uplink::Configured)));
            }
        }
    }

    /// The table of a switch that answered.
    pub fn table(&self, switch: &str) -> Option<&SwitchTable> {
        self.switches.get(&switch.to_ascii_lowercase())?.answer.tables()
    }

    /// Switches that were asked and could not be read, and why.
    pub fn silent(&self) -> impl Iterator<Item = (&Text, &str)> {
        self.switches.values().filter_map(|known| Some((&known.name, known.answer.reason()?)))
    }

    /// Everywhere the MAC was learnt.
    pub fn sightings(&self, mac: MacAddr) -> Vec<Sighting> {
        let mut found = Vec::new();
        for known in self.switches.values() {
            let Some(table) = known.answer.tables() else { continue };
            for port in table.ports_of(mac) {
                let macs = table.ports.get(&port).map_or(0, |port| port.macs);
                let crowd = (macs > self.edge_macs).then_some(Uplink::ManyMacs(macs));
                let uplink = known.uplinks.get(&port).copied().or(crowd);
                found.push(Sighting { switch: known.name.clone(), port, uplink });
            }
        }
        found
    }

    /// When a switch may be read again for a MAC that no table has; `None` if none was read yet.
    pub fn readable_at(&self) -> Option<Duration> {
        self.switches.values().map(|known| known.read_at + MISS_TIME).min()
    }

    /// The switches, in small letters, that are worth reading for a machine with these MACs: none if one of
    /// them was learnt on a port that is not an uplink in the last `hit_time`, else those not read in the
    /// last [`MISS_TIME`].
    pub fn due<'a>(
        &self,
        now: Duration,
        hit_time: Duration,
        macs: impl IntoIterator<Item = MacAddr>,
        directory: &'a Directory,
    ) -> Vec<&'a str> {
        let is_younger = |switch: &str, age: Duration| {
            self.switches
                .get(&switch.to_ascii_lowercase())
                .is_some_and(|known| now.saturating_sub(known.read_at) < age)
        };
        // A port without a name is new to the switch's own table of interfaces, and no node is found by it.
        let is_named = |seen: &Sighting| {
            self.table(&seen.switch).is_some_and(|table| table.ports.contains_key(&seen.port))
        };
        let is_hit =
            |seen: &Sighting| seen.uplink.is_none() && is_named(seen) && is_younger(&seen.switch, hit_time);
        if macs.into_iter().any(|mac| self.sightings(mac).iter().any(is_hit)) {
            return Vec::new();
        }
        let mut due: Vec<&str> = directory.switches().filter(|name| !is_younger(name, MISS_TIME)).collect();
        due.sort_unstable();
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::{Place, Port};
    use crate::limits::HIT_TIME;
    use dawn_cluster::Snapshot;

    /// A MAC that a switch has at a port with a name is not asked for again; one at a port without is.
    #[test]
    fn when_switches_are_read_again() {
        let directory = Directory::of(&Snapshot::from_rows([
            ("nodelist", [("node", "cn1"), ("groups", "all")].as_slice()),
            ("switch", &[("node", "cn1"), ("switch", "sw1"), ("port", "7")]),
        ]));
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let mut table = SwitchTable::default();
        table.places.entry(mac).or_default().insert(Place { port: 7, vlan: 1 });
        let mut fabric = Fabric::default();
        assert_eq!(
            (fabric.readable_at(), fabric.due(Duration::ZERO, HIT_TIME, [mac], &directory)),
            (None, vec!["sw1"])
        );
        fabric.learn(Duration::ZERO, "sw1", Answer::Tables(table.clone()), &directory);
        assert_eq!(fabric.readable_at(), Some(MISS_TIME));
        assert_eq!(fabric.due(MISS_TIME / 2, HIT_TIME, [mac], &directory), Vec::<&str>::new());
        assert_eq!(fabric.due(MISS_TIME, HIT_TIME, [mac], &directory), ["sw1"]);
        table.ports.insert(7, Port { name: "swp7".to_owned(), mtu: None, macs: 1 });
        fabric.learn(MISS_TIME, "sw1", Answer::Tables(table), &directory);
        assert_eq!(fabric.due(MISS_TIME * 2, HIT_TIME, [mac], &directory), Vec::<&str>::new());
        assert_eq!(fabric.due(MISS_TIME * 2, MISS_TIME, [mac], &directory), ["sw1"], "it may have moved");
        assert_eq!(fabric.due(MISS_TIME + HIT_TIME, HIT_TIME, [mac], &directory), ["sw1"]);
    }
}
