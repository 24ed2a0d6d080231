//! The entry of fuzzers: any bytes as the packet of an unknown machine.

use std::time::Duration;

use dawn_cluster::Snapshot;

use crate::arrival::{Arrival, Surroundings};
use crate::desk::Desk;
use crate::directory::Directory;
use crate::evidence::Verdict;
use crate::fabric::Fabric;
use crate::findme;
use crate::limits::{NICS_MAX, TEXT_BYTES_MAX};

/// What can be read keeps the limits, and nothing in it gives a node where there is none.
pub fn fuzz_findme(data: &[u8]) {
    let Ok(packet) = findme::parse(data) else { return };
    let machine = &packet.machine;
    assert!(machine.nics.len() <= NICS_MAX);
    for text in [&machine.arch, &machine.serial, &machine.mtm, &machine.uuid, &machine.cputype] {
        assert!(text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control));
    }
    let snapshot = Snapshot::empty();
    let directory = Directory::of(&snapshot);
    let fabric = Fabric::default();
    let around = Surroundings::usual(&snapshot, &directory, &fabric);
    let mut desk = Desk::default();
    let decision = desk.arrive(Duration::ZERO, &around, &Arrival { machine, from: None });
    assert!(matches!(decision.verdict, Verdict::Queue(_)));
}
