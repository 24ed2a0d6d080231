//! A daemon under attack: `cargo xtask bench hostile`.
//!
//! The release binary serves in one network namespace; strangers, a hostile node and a good node live in
//! another. During each attack, root on the server runs `nodels` and the good node begins boots by
//! TFTP, HTTP and NFS. The longest waits and the daemon's memory are printed; a limit that is missed is
//! named and makes the exit code 1. Needs root and `ip` (iproute2), and `cargo build --release -p dawn`
//! before it.
//!
//! Arguments: `--seconds N` for each attack (default 10), `--dawn PATH` for a binary other than the one in
//! the release folder, `--only TEXT` for attacks whose name has it.
//!
//! Where it is run: strangers have any address of 10.78.0.0/16, which the outer namespace treats as its
//! own, so one process can act as any number of machines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measuring program may stop at the first surprise, and reads its arguments"
)]

#[path = "bench_hostile_parts/attacks.rs"]
mod attacks;
#[path = "bench_hostile_parts/probes.rs"]
mod probes;
#[path = "bench_served/mod.rs"]
mod served;
#[path = "bench_hostile_parts/world.rs"]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attacks::{ATTACKS, Attack};
use probes::Waits;
use world::{Daemon, World};

/// Longest wait for `nodels` of root on the server.
const LOCAL_WAIT_MAX: Duration = Duration::from_millis(500);
/// Longest wait of a node for the first bytes of a boot.
const NODE_WAIT_MAX: Duration = Duration::from_secs(2);
/// `--memory-max` of the daemon, MiB.
const MEMORY_MAX_MIB: u64 = 512;
/// How much more memory than before the attacks may still be in use after them, MiB.
const REST_MIB: u64 = 64;
/// How long after an attack memory is given to come back.
const REST_TIME_MAX: Duration = Duration::from_secs(120);
/// How long an attack lasts before anything is measured.
const BUILD_UP: Duration = Duration::from_secs(2);
/// Between two attacks: the daemon notices that connections are gone.
const PAUSE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    if !words.iter().any(|word| word == "--outside") {
        return world::run_outside(&words);
    }
    let seconds = value("--seconds").map_or(10, |text| text.parse().expect("a number of seconds"));
    let only = value("--only").map_or("", String::as_str);
    let world = World::new(value("--dawn").map(Into::into));
    let daemon = Daemon::start(&world);
    let before = daemon.memory_mib();
    println!(
        "{} MiB at the start; limits: nodels {LOCAL_WAIT_MAX:?}, a node {NODE_WAIT_MAX:?}, memory {MEMORY_MAX_MIB} MiB\n",
        before
    );
    println!("| attack | nodels | TFTP | HTTP | NFS | peak MiB |\n|---|---:|---:|---:|---:|---:|");
    let mut missed = Vec::new();
    let quiet = Attack { name: "none", run: |_, _| Vec::new() };
    for attack in std::iter::once(&quiet).chain(ATTACKS).filter(|attack| attack.name.contains(only)) {
        let (waits, peak) = measure(&world, &daemon, attack, Duration::from_secs(seconds));
        println!("| {} | {waits} | {peak} |", attack.name);
        missed.extend(waits.missed().map(|wait| format!("{}: {wait}", attack.name)));
        if peak > MEMORY_MAX_MIB {
            missed.push(format!("{}: {peak} MiB", attack.name));
        }
        std::thread::sleep(PAUSE);
    }
    let (after, time) = settle(&daemon, before + REST_MIB);
    println!("\n{after} MiB {} s after the last attack", time.as_secs());
    if after > before + REST_MIB {
        missed.push(format!("memory does not come back: {after} MiB"));
    }
    missed.iter().for_each(|miss| println!("MISSED {miss}"));
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The longest waits during an attack, and the daemon's peak of memory in MiB.
fn measure(world: &World, daemon: &Daemon, attack: &Attack, time: Duration) -> (Waits, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    daemon.forget_peak();
    let attackers = (attack.run)(world, &stop);
    std::thread::sleep(BUILD_UP);
    let waits = probes::run(world, time);
    stop.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.join().expect("an attacker");
    }
    (waits, daemon.peak_mib())
}

/// Waits until memory is down to `wanted` MiB, or long enough.
fn settle(daemon: &Daemon, wanted: u64) -> (u64, Duration) {
    let start = Instant::now();
    while daemon.memory_mib() > wanted && start.elapsed() < REST_TIME_MAX {
        std::thread::sleep(Duration::from_secs(1));
    }
    (daemon.memory_mib(), start.elapsed())
}
