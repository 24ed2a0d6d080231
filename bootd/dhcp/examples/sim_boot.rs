//! The boot storm in virtual time: `cargo xtask sim boot [--seed N] [--seeds COUNT] [--nodes N]
//! [--loss PERCENT] [--kills N]`.
//!
//! Every machine goes from firmware by DHCP and TFTP to its loader, by HTTP to its kernel, to its system,
//! with the real engines and a network that loses, doubles and reorders packets. A seed that fails is named
//! and fails again.
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a simulator may panic"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use support::storm::{Storm, run};

fn main() -> Result<()> {
    let mut storm = Storm { machines: 10_000, ..Storm::default() };
    let mut seeds = 1;
    #[allow(clippy::disallowed_methods, reason = "an example is its own main")]
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().context("an option needs a value")?;
        match arg.as_str() {
            "--seed" => storm.seed = value.parse()?,
            "--seeds" => seeds = value.parse()?,
            "--nodes" => storm.machines = value.parse()?,
            "--kills" => storm.kills = value.parse()?,
            "--loss" => storm.loss = per_thousand(value.parse()?),
            other => bail!("unknown option {other}"),
        }
    }
    for _ in 0..seeds {
        one(&storm);
        storm.seed += 1;
    }
    Ok(())
}

fn per_thousand(percent: f64) -> u64 {
    format!("{:.0}", percent * 10.0).parse().unwrap_or(0)
}

fn one(storm: &Storm) {
    let start = Instant::now();
    let outcome = run(storm);
    println!(
        "seed {}: {} of {} machines up; boot s median {:.1}, 99 % {:.1}, last {:.1}; {} packets, {} ACKs, {} started over; {:.1} s",
        storm.seed,
        outcome.up,
        storm.machines,
        outcome.percentile_ms(50) as f64 / 1000.0,
        outcome.percentile_ms(99) as f64 / 1000.0,
        outcome.percentile_ms(100) as f64 / 1000.0,
        outcome.packets,
        outcome.acks,
        outcome.started_over,
        start.elapsed().as_secs_f64(),
    );
}
