//! Storms at a size that fits into the tests; `cargo xtask sim discovery` runs larger ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::time::Duration;

use support::storm::{Storm, Way, run};

fn small(seed: u64, way: Way) -> Storm {
    Storm { seed, machines: 200, way, ..Storm::default() }
}

#[test]
fn in_sequence() {
    for seed in 1..=4 {
        assert_eq!(run(&small(seed, Way::Sequence)).times.len(), 200);
    }
}

#[test]
fn by_port_though_switches_are_silent() {
    for seed in 1..=4 {
        let storm = Storm { dead_switches: 1, late_switches: 1, ..small(seed, Way::Ports) };
        assert_eq!(run(&storm).times.len(), 200);
    }
}

#[test]
fn a_bad_network() {
    for way in [Way::Sequence, Way::Ports] {
        let storm = Storm { loss: 300, doubled: 300, failed_writes: 100, kills: 5, ..small(1, way) };
        assert_eq!(run(&storm).times.len(), 200);
    }
}

#[test]
fn a_seed_repeats_a_run() {
    for way in [Way::Sequence, Way::Ports] {
        let run_of = |seed| run(&small(seed, way)).fingerprint;
        assert_eq!(run_of(7), run_of(7));
        assert_ne!(run_of(7), run_of(8));
    }
}

/// On a network where nothing is lost a machine whose place is known needs no second packet.
#[test]
fn a_quiet_network_needs_no_patience() {
    let quiet = Storm { loss: 0, doubled: 0, failed_writes: 0, kills: 0, ..small(1, Way::Ports) };
    let outcome = run(&quiet);
    assert_eq!((outcome.packets, outcome.queued), (200, 0), "{outcome:?}");
    assert!(*outcome.times.last().unwrap() < quiet.spread + Duration::from_secs(5), "{outcome:?}");
}
