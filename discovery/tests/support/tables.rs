//! The cluster: nodes without machines, and what the tables say of them.

use std::net::Ipv4Addr;

use dawn_cluster::Snapshot;

use super::storm::{Storm, Way};

/// Ports of a switch with a machine.
pub(crate) const MACHINES_PER_SWITCH: u32 = 48;
/// The port that leads to the other switches.
pub(crate) const UPLINK: u32 = 49;

pub(crate) fn node(number: u32) -> String {
    format!("cn{number:05}")
}

pub(crate) fn switch(number: u32) -> String {
    format!("sw{number:03}")
}

/// Which switch, and which port of it.
pub(crate) fn port_of(machine: u32) -> (u32, u32) {
    (machine / MACHINES_PER_SWITCH, machine % MACHINES_PER_SWITCH + 1)
}

pub(crate) fn serial(machine: u32) -> String {
    format!("S{machine:05}")
}

/// Where a node's address is; `10.1.0.1` is the first.
pub(crate) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a01_0001 + number)
}

/// The tables before any machine is known.
pub(crate) fn tables(storm: &Storm) -> Snapshot {
    let mut rows: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let text = str::to_owned;
    for machine in 0..storm.machines {
        let (number, port) = port_of(machine);
        let name = || ("node", node(machine));
        rows.push(("nodelist", vec![name(), ("groups", text("compute,all"))]));
        if storm.way == Way::Ports {
            rows.push(("hosts", vec![name(), ("ip", address(machine).to_string())]));
            rows.push(("switch", vec![name(), ("switch", switch(number)), ("port", format!("swp{port}"))]));
        }
        // What is known of the machines behind a switch that never answers.
        if number < storm.dead_switches {
            rows.push(("vpd", vec![name(), ("mtm", text("8335GTA")), ("serial", serial(machine))]));
        }
    }
    rows.push(("chain", vec![("node", text("compute")), ("chain", text("osimage=image"))]));
    for number in 0..storm.switches() {
        let name = || ("node", switch(number));
        rows.push(("nodelist", vec![name(), ("groups", text("switch"))]));
        rows.push(("nodetype", vec![name(), ("nodetype", text("switch"))]));
        rows.push(("hosts", vec![name(), ("ip", format!("10.3.{}.{}", number / 250, number % 250 + 1))]));
    }
    let cells: Vec<Vec<(&str, &str)>> = rows
        .iter()
        .map(|(_, cells)| cells.iter().map(|(name, value)| (*name, value.as_str())).collect())
        .collect();
    Snapshot::from_rows(rows.iter().zip(&cells).map(|((table, _), cells)| (*table, cells.as_slice())))
}
