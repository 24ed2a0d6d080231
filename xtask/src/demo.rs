//! `cargo xtask demo`: from nothing to two booted machines.
//!
//! Everything is under `target/demo` and in the namespace `dawn-demo`; a second run finds the built image and
//! the initialised data directory and is fast. The remains of an interrupted run are removed first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use dawn_qemu::image::{STATELESS, STATELITE, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{BootEvent, Cluster, Definition, Firmware, Options, net, paths, wait};

use crate::progress::Progress;
use crate::{packages, release, timeline};

/// Namespace and socket directory of the demo.
pub(crate) const NAME: &str = "dawn-demo";
/// From power-on to `booted`, two machines at once under software emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// How often the daemon is asked for news.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// Boot two real machines from nothing
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the cluster running at the end, and say how to use it
    #[arg(long)]
    keep: bool,
    /// End a cluster that was left running
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
}

/// One of the two machines.
struct Machine {
    name: &'static str,
    firmware: Firmware,
    image: &'static str,
    root: &'static str,
}

const MACHINES: [Machine; 2] = [
    Machine {
        name: "cn1",
        firmware: Firmware::Bios,
        image: STATELESS,
        root: "stateless: squashfs in memory",
    },
    Machine { name: "cn2", firmware: Firmware::Uefi, image: STATELITE, root: "statelite: root on NFS" },
];

impl Demo {
    /// Success only if both machines reached `booted`.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let progress = Progress::start();
        if self.stop {
            return stop_leftover(&progress).map(|()| ExitCode::SUCCESS);
        }
        packages::install(packages::Purpose::Demo, &progress)?;
        build(&progress)?;
        stop_leftover(&progress)?;
        let mut cluster = bring_up(&progress)?;
        let booted = boot(&mut cluster, &progress)?;
        if self.keep {
            explain(&cluster)?;
            cluster.leave_running();
        } else {
            cluster.down()?;
        }
        Ok(if booted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn build(progress: &Progress) -> Result<()> {
    progress.say("building the release executable");
    ensure!(release::build()?, "the build failed");
    Ok(())
}

fn directory() -> PathBuf {
    paths::target().join("demo")
}

fn stop_leftover(progress: &Progress) -> Result<()> {
    if net::namespaces()?.iter().any(|name| name == NAME) {
        progress.say("ending the cluster of an earlier demo");
        net::remove(NAME)?;
    }
    for leftover in [paths::sockets().join(NAME), directory().join("nodes"), directory().join("daemon.log")] {
        let _ = fs::remove_dir_all(&leftover).or_else(|_| fs::remove_file(&leftover));
    }
    Ok(())
}

fn bring_up(progress: &Progress) -> Result<Cluster> {
    progress
        .say(&format!("network namespace {NAME}, data directory {}, `dawn serve`", directory().display()));
    let options = Options {
        name: NAME.into(),
        dir: directory(),
        dawn: paths::dawn(),
        keep_dir: true,
        capture: false,
        accel: None,
    };
    let mut cluster = Cluster::up(options)?;
    progress.say(&format!("machines run under {:?}", cluster.accel()));
    TestImage::new()?.provide(&cluster, &mut |line| progress.say(line))?;
    let definitions = MACHINES.iter().zip(1..).map(|(machine, index)| Definition {
        hardware: Hardware::numbered(index, machine.name, machine.firmware),
        image: machine.image.into(),
    });
    cluster.add_nodes(&definitions.collect::<Vec<_>>())?;
    for machine in &MACHINES {
        progress.say(&format!("{}: {}, {}", machine.name, machine.firmware.name(), machine.root));
    }
    Ok(cluster)
}

/// Boots both machines and prints their timelines; true if both came up.
fn boot(cluster: &mut Cluster, progress: &Progress) -> Result<bool> {
    let start_ms = now_ms()?;
    for machine in &MACHINES {
        cluster.clear_status(machine.name)?;
        cluster.power_on(machine.name)?;
        progress.say(&format!("{}: power on", machine.name));
    }
    let booted = watch(cluster, progress, start_ms)?;
    for machine in &MACHINES {
        println!("\n{} ({}, {})", machine.name, machine.firmware.name(), machine.root);
        print!("{}", timeline::render(&cluster.events(machine.name)?, start_ms));
        if !booted.contains(&machine.name) {
            println!("{} did not reach `booted`\n{}", machine.name, cluster.evidence(machine.name));
        }
    }
    println!();
    let total = progress.seconds();
    progress.say(&format!("{} of {} machines booted; {total:.0} s in all", booted.len(), MACHINES.len()));
    Ok(booted.len() == MACHINES.len())
}

/// Prints what happens until both machines are up, one is off, or the time is over.
fn watch(cluster: &mut Cluster, progress: &Progress, start_ms: u64) -> Result<Vec<&'static str>> {
    let end = Instant::now() + BOOT_LIMIT;
    let mut told = [0; MACHINES.len()];
    loop {
        let mut booted = Vec::new();
        for (machine, told) in MACHINES.iter().zip(&mut told) {
            let events = cluster.events(machine.name)?;
            let news: Vec<&BootEvent> = events.iter().filter(|event| event.time_ms >= start_ms).collect();
            for event in news.iter().skip(*told).filter(|event| timeline::STEPS.contains(&&*event.step)) {
                progress.say(&format!("{}: {} {}", machine.name, event.step, event.detail));
            }
            *told = news.len();
            if cluster.status(machine.name)? == "booted" {
                booted.push(machine.name);
            }
        }
        if booted.len() == MACHINES.len() || Instant::now() >= end || !cluster.all_on()? {
            return Ok(booted);
        }
        wait::pause(NEWS_INTERVAL);
    }
}

fn now_ms() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    match u64::try_from(now.as_millis()) {
        Ok(ms) => Ok(ms),
        Err(_) => bail!("the clock is beyond all years"),
    }
}

/// Prints how to use a cluster that stays, and leaves a script that reaches its daemon.
fn explain(cluster: &Cluster) -> Result<()> {
    let script = directory().join("dawn");
    let settings = cluster.environment().map(|(name, value)| format!("{name}='{value}' ")).concat();
    let text = format!("#!/bin/sh\n{settings}exec '{}' \"$@\"\n", paths::dawn().display());
    fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, mode)
        .with_context(|| format!("cannot set the mode of {}", script.display()))?;
    let script = script.display();
    println!("The cluster keeps running.");
    println!("  a console:    cargo xtask console cn1      (or: socat -,raw,echo=0 {})", console_of(cluster));
    println!("  a command:    {script} lsdef -t node -o cn1");
    println!("  what it did:  {script} events cn1");
    println!("  its network:  ip netns exec {NAME} ip address");
    println!("  the end:      cargo xtask demo --stop");
    Ok(())
}

fn console_of(cluster: &Cluster) -> String {
    cluster.node("cn1").map(|node| node.console_socket().display().to_string()).unwrap_or_default()
}
