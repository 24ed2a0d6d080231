//! What changed in a machine since it was seen last: memory, processors, disks, interfaces, identity.
//!
//! What was seen stands in the tables `vpd`, `hwinv`, `nodetype` and `discoverydata`, which hold one state of
//! each node; so a difference is found only while the new state is about to be written.

use std::collections::BTreeSet;
use std::fmt;

use dawn_cluster::{Col, MacAddr, Snapshot, col};

use crate::assign;
use crate::machine::{Machine, swapped_uuid};

/// Kernels keep some memory for themselves, each another amount: what differs by less than this part of it is
/// the same memory.
const MEMORY_PART: u64 = 64;
/// Interfaces that are named in one difference.
const NAMED_MAX: usize = 4;

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `memory`, `disks`, ….
    pub what: &'static str,
    /// How it is now.
    pub now: String,
    /// How it was.
    pub before: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {} before", self.what, self.now, self.before)
    }
}

/// What of the machine differs from what the tables say of the node. What one of them does not say is no
/// difference.
pub fn differences(snapshot: &Snapshot, node: &str, machine: &Machine) -> Vec<Difference> {
    let cell = |col: Col| snapshot.attr(node, col).map(|text| text.to_string()).unwrap_or_default();
    let mut found = Vec::new();
    let mut compare = |what, before: String, now: &str, is_same: &dyn Fn(&str, &str) -> bool| {
        if !before.is_empty() && !now.is_empty() && !is_same(&before, now) {
            found.push(Difference { what, now: shown(what, now), before: shown(what, &before) });
        }
    };
    let is_equal = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    compare("memory", cell(col::hwinv::MEMORY), &machine.memory, &is_same_memory);
    compare("processors", cell(col::hwinv::CPUCOUNT), &machine.cpucount, &is_equal);
    compare("processor", cell(col::hwinv::CPUTYPE), &machine.cputype, &is_equal);
    compare("disks", cell(col::hwinv::DISKSIZE), &machine.disksize, &|one, other| sizes(one) == sizes(other));
    compare("machine type", cell(col::vpd::MTM), &machine.mtm, &is_equal);
    compare("serial number", cell(col::vpd::SERIAL), &machine.serial, &is_equal);
    compare("UUID", cell(col::vpd::UUID), &machine.uuid, &|one, other| {
        is_equal(one, other) || swapped_uuid(&one.to_lowercase()).is_some_and(|one| is_equal(&one, other))
    });
    found.extend(interfaces(snapshot, node, machine));
    found
}

/// Interfaces that came and went since the machine's last packet.
fn interfaces(snapshot: &Snapshot, node: &str, machine: &Machine) -> Option<Difference> {
    let row = snapshot.find_row(&[(col::discoverydata::NODE, node)])?;
    let uuid = row.get(col::discoverydata::UUID)?.to_string();
    let before: BTreeSet<MacAddr> = assign::of_record(snapshot, &uuid)?.macs().collect();
    let now: BTreeSet<MacAddr> = machine.macs().collect();
    if before.is_empty() || now.is_empty() || before == now {
        return None;
    }
    let named = |list: Vec<&MacAddr>, sign: &str| -> Vec<String> {
        list.into_iter().take(NAMED_MAX).map(|mac| format!("{sign}{mac}")).collect()
    };
    let mut changed = named(now.difference(&before).collect(), "+");
    changed.extend(named(before.difference(&now).collect(), "-"));
    Some(Difference {
        what: "interfaces",
        now: format!("{} ({})", now.len(), changed.join(" ")),
        before: before.len().to_string(),
    })
}

fn shown(what: &str, text: &str) -> String {
    if what == "memory" { memory_text(text) } else { text.to_owned() }
}

/// `65536MB` as people say it: `64 GiB`. A text of another form stays.
pub fn memory_text(memory: &str) -> String {
    match mebibytes(memory) {
        Some(size) if size < 1024 => format!("{size} MiB"),
        Some(size) if size % 1024 < 103 => format!("{} GiB", size / 1024),
        Some(size) => format!("{}.{} GiB", size / 1024, size % 1024 * 10 / 1024),
        None => memory.to_owned(),
    }
}

fn mebibytes(memory: &str) -> Option<u64> {
    memory.trim().trim_end_matches("MB").trim_end().parse().ok()
}

fn is_same_memory(one: &str, other: &str) -> bool {
    match (mebibytes(one), mebibytes(other)) {
        (Some(one), Some(other)) => one.abs_diff(other) <= one.max(other) / MEMORY_PART,
        _ => one == other,
    }
}

/// The sizes of `sda:960GB,sdb:480GB`, sorted: names of disks change from boot to boot.
fn sizes(disks: &str) -> Vec<&str> {
    let mut sizes: Vec<&str> =
        disks.split(',').map(|disk| disk.rsplit(':').next().unwrap_or_default().trim()).collect();
    sizes.sort_unstable();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Nic;

    fn before() -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", [("node", "cn7"), ("groups", "all")].as_slice()),
            (
                "hwinv",
                &[
                    ("node", "cn7"),
                    ("memory", "98304MB"),
                    ("cpucount", "32"),
                    ("disksize", "sda:960GB,sdb:480GB"),
                ],
            ),
            ("vpd", &[("node", "cn7"), ("serial", "S7"), ("uuid", "00010203-0405-0607-0809-0A0B0C0D0E0F")]),
            (
                "discoverydata",
                &[
                    ("uuid", "u-7"),
                    ("node", "cn7"),
                    ("nichwaddr", "eno1!02:00:00:00:00:01,eno2!02:00:00:00:00:02"),
                ],
            ),
        ])
    }

    fn said(machine: &Machine) -> Vec<String> {
        differences(&before(), "cn7", machine).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_changed() {
        let nic = |last| Nic::new(MacAddr([2, 0, 0, 0, 0, last]));
        let machine = Machine {
            memory: "65536MB".into(),
            cpucount: "16".into(),
            disksize: "sda:960GB".into(),
            serial: "S8".into(),
            nics: vec![nic(1), nic(3)],
            ..Machine::default()
        };
        assert_eq!(
            said(&machine),
            [
                "memory: 64 GiB, 96 GiB before",
                "processors: 16, 32 before",
                "disks: sda:960GB, sda:960GB,sdb:480GB before",
                "serial number: S8, S7 before",
                "interfaces: 2 (+02:00:00:00:00:03 -02:00:00:00:00:02), 2 before",
            ]
        );
    }

    #[test]
    fn what_is_the_same() {
        let machine = Machine {
            // Another kernel keeps another amount for itself.
            memory: "97280MB".into(),
            // The kernel found the disks in another order.
            disksize: "sda:480GB,sdb:960GB".into(),
            serial: "s7".into(),
            uuid: "03020100-0504-0706-0809-0a0b0c0d0e0f".into(),
            ..Machine::default()
        };
        assert_eq!(said(&machine), Vec::<String>::new());
        assert_eq!(said(&Machine::default()), Vec::<String>::new());
        assert_eq!(differences(&before(), "cn8", &machine), Vec::new());
    }

    #[test]
    fn sizes_of_memory() {
        for (text, expect) in [
            ("512MB", "512 MiB"),
            ("65536MB", "64 GiB"),
            ("128645MB", "125.6 GiB"),
            ("64 GB", "64 GB"),
            ("", ""),
        ] {
            assert_eq!(memory_text(text), expect);
        }
    }
}
