//! Unknown machines in virtual time: `cargo xtask sim discovery [--way sequence|ports] [--machines N]
//! [--seed N] [--seeds COUNT] [--loss PERCENT] [--kills N] [--dead N] [--late N]`.
//!
//! `--dead` and `--late` are switches that never answer, or after a while only. A seed that fails is named
//! and fails again.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a simulator may panic"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::time::{Duration, Instant};

use support::storm::{Storm, Way, run};

fn main() -> Result<(), Box<dyn Error>> {
    let mut storm = Storm::default();
    let mut seeds = 1;
    #[allow(clippy::disallowed_methods, reason = "an example is its own main")]
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().ok_or("an option needs a value")?;
        match (arg.as_str(), value.as_str()) {
            ("--way", "sequence") => storm.way = Way::Sequence,
            ("--way", "ports") => storm.way = Way::Ports,
            ("--machines", _) => storm.machines = value.parse()?,
            ("--seed", _) => storm.seed = value.parse()?,
            ("--seeds", _) => seeds = value.parse()?,
            ("--loss", _) => storm.loss = value.parse::<u64>()? * 10,
            ("--kills", _) => storm.kills = value.parse()?,
            ("--dead", _) => storm.dead_switches = value.parse()?,
            ("--late", _) => storm.late_switches = value.parse()?,
            _ => return Err(format!("unknown: {arg} {value}").into()),
        }
    }
    for _ in 0..seeds {
        one(&storm);
        storm.seed += 1;
    }
    Ok(())
}

fn one(storm: &Storm) {
    let start = Instant::now();
    let outcome = run(storm);
    let after = |percent: usize| {
        let last = outcome.times.len().saturating_sub(1);
        outcome.times.get(last * percent / 100).map_or(0.0, Duration::as_secs_f64)
    };
    println!(
        "seed {}: {} of {} machines named; s median {:.1}, 99 % {:.1}, last {:.1}; {} packets, {} without a node at first, {} reads of switches; run {:016x}, {:.1} s",
        storm.seed,
        outcome.times.len(),
        storm.machines,
        after(50),
        after(99),
        after(100),
        outcome.packets,
        outcome.queued,
        outcome.reads,
        outcome.fingerprint,
        start.elapsed().as_secs_f64(),
    );
}
