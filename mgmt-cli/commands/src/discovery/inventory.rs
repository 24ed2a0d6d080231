//! `inventory`: what discovery found in the machines of nodes.

use super::records::cell;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::memory_text;
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_cluster::{Col, Row, Snapshot, col};

/// Show what nodes consist of, as the discovery system found it
///
/// Machine, processors, memory, disks, interfaces with the ports of switches that they hear, and when it was
/// seen. What differs from the last time is an event of the node (`dawn events NODE`). For what the service
/// processor says see rinv.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Command for Args {
    const NAME: &'static str = "inventory";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.nodes().iter().try_for_each(|node| out.report(&Inventory::of(&ctx.snapshot, node)))
    }
}

/// A node's machine. What is not known is empty.
#[derive(Debug, Default, serde::Serialize)]
struct Inventory<'n> {
    node: &'n str,
    mtm: String,
    serial: String,
    uuid: String,
    arch: String,
    cpucount: String,
    cputype: String,
    memory: String,
    disks: Vec<Disk>,
    interfaces: Vec<Interface>,
    bmc: String,
    /// When its last packet came, and the method by which it was recognised.
    seen: String,
    method: String,
}

#[derive(Debug, serde::Serialize)]
struct Disk {
    name: String,
    size: String,
}

#[derive(Debug, Default, serde::Serialize)]
struct Interface {
    name: String,
    mac: String,
    driver: String,
    pci: String,
    switch: String,
    port: String,
}

impl<'n> Inventory<'n> {
    fn of(snapshot: &Snapshot, node: &'n str) -> Self {
        let text = |col: Col| snapshot.attr(node, col).map(|text| text.to_string()).unwrap_or_default();
        let disks = text(col::hwinv::DISKSIZE);
        let disks = disks.split(',').filter_map(|disk| disk.split_once(':'));
        let uuid = text(col::vpd::UUID);
        let record = record(snapshot, node, &uuid);
        let of_record = |column: &str| record.as_ref().map(|row| cell(row, column)).unwrap_or_default();
        Self {
            node,
            mtm: text(col::vpd::MTM),
            serial: text(col::vpd::SERIAL),
            uuid,
            arch: text(col::nodetype::ARCH),
            cpucount: text(col::hwinv::CPUCOUNT),
            cputype: text(col::hwinv::CPUTYPE),
            memory: text(col::hwinv::MEMORY),
            disks: disks.map(|(name, size)| Disk { name: name.to_owned(), size: size.to_owned() }).collect(),
            interfaces: interfaces(&of_record),
            bmc: text(col::ipmi::BMC),
            seen: of_record("discoverytime"),
            method: of_record("method"),
        }
    }
}

/// The packet that the node is known by: with its UUID, else any that is its.
fn record(snapshot: &Snapshot, node: &str, uuid: &str) -> Option<Row> {
    let rows = snapshot.find_rows(&[(col::discoverydata::NODE, node)]);
    let own = rows.iter().position(|row| cell(row, "uuid").eq_ignore_ascii_case(uuid));
    rows.into_iter().nth(own.unwrap_or(0))
}

/// The interfaces of a record: its cells are `device!value,device!value`.
fn interfaces(of_record: &dyn Fn(&str) -> String) -> Vec<Interface> {
    let pairs = |column: &str| -> Vec<(String, String)> {
        let list = of_record(column);
        let pairs = list.split(',').filter_map(|pair| pair.split_once('!'));
        pairs.map(|(device, value)| (device.to_owned(), value.to_owned())).collect()
    };
    let [drivers, pci, switches, ports] = ["nicdriver", "nicpci", "switchname", "switchport"].map(pairs);
    let of = |list: &[(String, String)], device: &str| {
        list.iter().find(|(known, _)| known == device).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let interface = |(name, mac): (String, String)| Interface {
        driver: of(&drivers, &name),
        pci: of(&pci, &name),
        switch: of(&switches, &name),
        port: of(&ports, &name),
        mac,
        name,
    };
    pairs("nichwaddr").into_iter().map(interface).collect()
}

impl Report for Inventory<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let machine = joined(&[&self.mtm, &self.serial]);
        let processors = match (self.cpucount.as_str(), self.cputype.as_str()) {
            (count, "") => count.to_owned(),
            ("", name) => name.to_owned(),
            (count, name) => format!("{count} x {name}"),
        };
        let seen =
            if self.method.is_empty() { String::new() } else { format!("{} by {}", self.seen, self.method) };
        let mut facts = vec![
            ("Machine", machine),
            ("UUID", self.uuid.clone()),
            ("Architecture", self.arch.clone()),
            ("Processors", processors),
            ("Memory", memory_text(&self.memory)),
        ];
        facts.extend(self.disks.iter().map(|disk| ("Disk", joined(&[&disk.name, &disk.size]))));
        for nic in &self.interfaces {
            let at = if nic.port.is_empty() {
                String::new()
            } else {
                format!("port {} of {}", nic.port, nic.switch)
            };
            facts.push(("Interface", joined(&[&nic.name, &nic.mac, &nic.driver, &nic.pci, &at])));
        }
        facts.extend([("BMC", self.bmc.clone()), ("Seen", seen)]);
        facts.retain(|(_, value)| !value.is_empty());
        if facts.is_empty() {
            return lines.node(self.node, "nothing is known of its machine");
        }
        facts.iter().try_for_each(|(label, value)| lines.node(self.node, format!("{label}: {value}")))
    }
}

fn joined(words: &[&str]) -> String {
    words.iter().copied().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}
