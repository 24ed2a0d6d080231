//! Storms at a size that fits into the tests; `cargo xtask sim boot --nodes 10000` runs larger ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use support::storm::{Storm, run};

#[test]
fn every_machine_gets_up() {
    for seed in 1..=4 {
        let storm = Storm { seed, machines: 400, loss: 10 * (seed % 3), ..Storm::default() };
        let outcome = run(&storm);
        println!("seed {seed}: {} packets, {} started over", outcome.packets, outcome.started_over);
        assert_eq!(outcome.up, 400);
    }
}

#[test]
fn a_quiet_network_needs_no_patience() {
    let storm = Storm {
        machines: 400,
        loss: 0,
        doubled: 0,
        reordered: 0,
        kills: 0,
        spread_us: 1000,
        kernel_bytes: 100_000,
        initrd_bytes: 50_000,
        ..Storm::default()
    };
    let outcome = run(&storm);
    assert_eq!((outcome.up, outcome.started_over), (400, 0));
    // No machine had to repeat anything: the first repeat of firmware comes after four seconds.
    assert!(outcome.percentile_ms(100) < 4000, "{}", outcome.percentile_ms(100));
}
