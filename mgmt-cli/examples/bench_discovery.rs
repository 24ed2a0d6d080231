//! Unknown machines behind switches become nodes: `cargo xtask bench discovery`.
//!
//! The release binary serves in one network namespace; in another one are the machines, and the switches as a
//! process with one SNMP agent for each, on UDP. All machines know their own port of a switch only by these
//! agents. Printed are the time from the first packet to the last machine that was called a node, what the
//! switches were asked, and the daemon's processor time; then the tables are compared with the truth. Needs
//! root and `ip` (iproute2), and `cargo build --release -p dawn` before it.
//!
//! Arguments: `--machines N` (500), `--switches N` (20), `--spread MS` in which the machines send their first
//! packets (1000), `--silent N` switches beside these that do not answer (0), `--agent-ms MS` that an agent
//! needs for an answer (1), `--dawn PATH` for a binary other than the one in the release folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measuring program may stop at the first surprise, and reads its arguments"
)]

#[path = "bench_discovery_parts/agents.rs"]
mod agents;
#[path = "bench_discovery_parts/machines.rs"]
mod machines;
#[path = "bench_discovery_parts/plan.rs"]
mod plan;
#[path = "bench_served/mod.rs"]
mod served;
#[path = "bench_discovery_parts/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Duration;

use plan::Plan;
use world::{Daemon, World};

/// What the daemon may need for 500 machines behind 20 switches.
const GOAL: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| words.iter().any(|word| word == name);
    let plan = Plan::of(&words);
    if has("--agents") {
        agents::run(&plan);
        return ExitCode::SUCCESS;
    }
    if !has("--outside") {
        return world::run_outside(&words);
    }
    let world = World::new(&plan);
    let daemon = Daemon::start(&world, &plan);
    let agents = agents::Process::start(&words);
    let cpu_before = daemon.cpu();
    let taken = machines::storm(&plan);
    let cpu = daemon.cpu() - cpu_before;
    let questions = agents.end();
    println!(
        "{} machines, {} switches{}: {:.2} s from the first packet to the last node; {} packets of machines, {questions} requests to switches, {:.2} s of processor time",
        plan.machines,
        plan.switches,
        if plan.silent == 0 { String::new() } else { format!(" and {} silent ones", plan.silent) },
        taken.time.as_secs_f64(),
        taken.packets,
        cpu.as_secs_f64(),
    );
    let wrong = world.wrong_nodes(&plan);
    println!("{wrong} machines are the wrong node");
    let is_good = wrong == 0 && (taken.time <= GOAL || plan.machines > 500);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
