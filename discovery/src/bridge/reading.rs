//! The program of walks. Tables and columns are those of xCAT's switch discovery.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dawn_cluster::MacAddr;

use super::table::{Place, Port, SwitchTable};
use crate::limits::{SWITCH_MACS_MAX, SWITCH_PORTS_MAX, TEXT_BYTES_MAX, VLANS_MAX};

/// `ifName` (RFC 2863).
const IF_NAME: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1];
/// `ifDescr`.
const IF_DESCR: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 2];
/// `ifMtu`.
const IF_MTU: &[u32] = &[1, 3, 6, 1, 2, 1, 2, 2, 1, 4];
/// `dot1dBaseBridgeAddress` (RFC 4188).
const BRIDGE_ADDRESS: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 1, 1];
/// `dot1dBasePortIfIndex`.
const BRIDGE_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 1, 4, 1, 2];
/// `dot1dTpFdbPort`.
const FDB_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 4, 3, 1, 2];
/// `dot1qTpFdbPort` (RFC 4363).
const Q_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 2];
/// `dot1qTpFdbStatus`.
const Q_STATUS: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 3];
/// `vmVlan` of Cisco: the VLAN of an access port.
const CISCO_VLAN: &[u32] = &[1, 3, 6, 1, 4, 1, 9, 9, 68, 1, 2, 2, 1, 2];
/// `vlanTrunkPortNativeVlan` of Cisco.
const CISCO_NATIVE: &[u32] = &[1, 3, 6, 1, 4, 1, 9, 9, 46, 1, 6, 1, 1, 5];

/// A status that means: this is the switch's own address.
const SELF: i64 = 4;
/// VLANs (IEEE 802.1Q). The first one is in the tables that are read anyway.
const VLANS: std::ops::RangeInclusive<i64> = 2..=4094;

/// What is to be walked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// In which VLAN's tables; `None` is the switch's usual ones.
    pub vlan: Option<u16>,
    /// Below which name.
    pub root: &'static [u32],
}

/// One row of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What follows the root in its name.
    pub index: Vec<u32>,
    /// Its value.
    pub cell: Cell,
}

/// A value, as far as tables of switches have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Any kind of number.
    Number(i64),
    /// An OCTET STRING.
    Bytes(Vec<u8>),
    /// Something else.
    Other,
}

/// A switch that is being read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    needs: VecDeque<Need>,
    table: SwitchTable,
    /// Numbers of bridge ports to `ifIndex`, of each VLAN's tables.
    bridge_ports: BTreeMap<Option<u16>, BTreeMap<u32, u32>>,
    /// The switch's own entries of Q-BRIDGE, by index.
    own: BTreeSet<Vec<u32>>,
    vlans: BTreeSet<u16>,
}

impl Reading {
    /// Begins. MTUs are for people; discovery does without.
    pub fn new(with_mtu: bool) -> Self {
        let usual = |root| Need { vlan: None, root };
        let mut needs: VecDeque<Need> = [IF_NAME].map(usual).into();
        needs.extend(with_mtu.then_some(usual(IF_MTU)));
        needs.extend([BRIDGE_ADDRESS, BRIDGE_PORT, Q_STATUS, Q_PORT, CISCO_VLAN, CISCO_NATIVE].map(usual));
        Self { needs, ..Self::default() }
    }

    /// What is to be walked next; `None` at the end.
    pub fn need(&self) -> Option<Need> {
        self.needs.front().copied()
    }

    /// Takes the rows of what was needed; none if the switch has no such table or refused it.
    pub fn take(&mut self, rows: &[Row]) {
        let Some(need) = self.needs.pop_front() else { return };
        match need.root {
            IF_NAME => {
                self.take_names(rows);
                if self.table.ports.is_empty() {
                    self.needs.push_front(Need { vlan: None, root: IF_DESCR });
                }
            }
            IF_DESCR => self.take_names(rows),
            IF_MTU => self.take_mtus(rows),
            BRIDGE_ADDRESS => self.table.own = rows.first().and_then(|row| mac_of_bytes(&row.cell)),
            BRIDGE_PORT => drop(self.bridge_ports.insert(need.vlan, numbers(rows).collect())),
            Q_STATUS => {
                let own = rows.iter().filter(|row| row.cell == Cell::Number(SELF));
                self.own = own.map(|row| row.index.clone()).collect();
            }
            Q_PORT => {
                self.take_macs(None, rows);
                if self.table.places.is_empty() {
                    self.needs.push_front(Need { vlan: None, root: FDB_PORT });
                }
            }
            FDB_PORT => self.take_macs(need.vlan, rows),
            CISCO_VLAN => self.take_vlans(rows),
            CISCO_NATIVE => {
                self.take_vlans(rows);
                let needs = self.vlans.iter().map(|vlan| Some(*vlan));
                self.needs =
                    needs.flat_map(|vlan| [BRIDGE_PORT, FDB_PORT].map(|root| Need { vlan, root })).collect();
            }
            _ => {}
        }
    }

    /// What was read.
    pub fn finish(self) -> SwitchTable {
        let mut table = self.table;
        for ports in table
            .places
            .values()
            .map(|places| places.iter().map(|place| place.port).collect::<BTreeSet<u32>>())
        {
            for port in ports {
                if let Some(port) = table.ports.get_mut(&port) {
                    port.macs += 1;
                }
            }
        }
        table
    }

    fn take_names(&mut self, rows: &[Row]) {
        for row in rows.iter().take(SWITCH_PORTS_MAX) {
            let (&[index], Cell::Bytes(bytes)) = (row.index.as_slice(), &row.cell) else { continue };
            let name = String::from_utf8_lossy(bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes));
            let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
            if !name.is_empty() {
                self.table.ports.insert(index, Port { name, mtu: None, macs: 0 });
            }
        }
    }

    fn take_mtus(&mut self, rows: &[Row]) {
        for (index, mtu) in numbers(rows) {
            if let Some(port) = self.table.ports.get_mut(&index) {
                port.mtu = Some(mtu);
            }
        }
    }

    fn take_vlans(&mut self, rows: &[Row]) {
        let vlans = rows.iter().filter_map(|row| match row.cell {
            Cell::Number(vlan) if VLANS.contains(&vlan) => u16::try_from(vlan).ok(),
            _ => None,
        });
        for vlan in vlans {
            if self.vlans.len() < VLANS_MAX {
                self.vlans.insert(vlan);
            }
        }
    }

    /// The MAC is the last six numbers of a row's name; what stands before it is the VLAN's.
    fn take_macs(&mut self, vlan: Option<u16>, rows: &[Row]) {
        for row in rows {
            let Cell::Number(bridge_port) = row.cell else { continue };
            let Some((before, mac)) = row.index.split_last_chunk::<6>() else { continue };
            let Some(mac) = mac_of_numbers(mac) else { continue };
            let Some(port) = u32::try_from(bridge_port).ok().filter(|port| *port != 0) else { continue };
            if self.own.contains(&row.index) {
                continue;
            }
            let map = self.bridge_ports.get(&vlan).filter(|map| !map.is_empty());
            // A switch without the table of bridge ports numbers them like its interfaces.
            let port = match map {
                None => Some(port),
                Some(map) => map.get(&port).copied(),
            };
            let Some(port) = port else { continue };
            let vlan = before.first().copied().or(vlan.map(u32::from)).unwrap_or(0);
            if self.table.places.len() < SWITCH_MACS_MAX || self.table.places.contains_key(&mac) {
                self.table.places.entry(mac).or_default().insert(Place { port, vlan });
            }
        }
    }
}

/// Rows with one number as index and a number from 0 to 2^32 - 1 as value.
fn numbers(rows: &[Row]) -> impl Iterator<Item = (u32, u32)> {
    rows.iter().take(SWITCH_PORTS_MAX).filter_map(|row| match (row.index.as_slice(), &row.cell) {
        (&[index], Cell::Number(number)) => Some((index, u32::try_from(*number).ok()?)),
        _ => None,
    })
}

fn mac_of_numbers(numbers: &[u32; 6]) -> Option<MacAddr> {
    let mut mac = [0; 6];
    for (byte, number) in mac.iter_mut().zip(numbers) {
        *byte = u8::try_from(*number).ok()?;
    }
    Some(MacAddr(mac))
}

fn mac_of_bytes(cell: &Cell) -> Option<MacAddr> {
    let Cell::Bytes(bytes) = cell else { return None };
    Some(MacAddr(bytes.as_slice().try_into().ok()?)).filter(|mac| mac.0 != [0; 6])
}
