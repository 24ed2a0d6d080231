//! A node that works on its files over NFS while the server is killed again and again.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs it for
//! two minutes, `cargo xtask soak` for ten.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATE, STATELITE, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options, fingerprint, process, wait};

/// From power-on to `booted`, under software emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside the machine; long enough for a client that has backed off from a dead server.
const EXEC_LIMIT: Duration = Duration::from_secs(240);
/// How long the node works, unless the environment says otherwise.
const WORK_SECONDS_DEFAULT: u64 = 60;
/// Names the seconds of work in the environment; `cargo xtask soak` sets it.
const WORK_SECONDS_VARIABLE: &str = "DAWN_SOAK_SECONDS";
/// Time between two deaths of the server.
const KILL_INTERVAL: Duration = Duration::from_secs(20);
/// Time the work may take beyond its own: a last round, a comparison of everything, an emulated processor.
const FINISH_LIMIT: Duration = Duration::from_secs(600);
/// What is run, below the node's directory; its last line begins with `done`.
const WORKS: [(&str, &str); 2] = [
    ("posix", "/srv/nfs-work run /srv/posix SECONDS 20261121"),
    ("tools", "sh /srv/tools.sh /srv/tools SECONDS"),
];

/// No error reaches a program, no byte differs, nothing is left undone: what the node sees at the end,
/// freshly asked for, is what the server's disk holds.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn soak_with_a_server_that_is_killed_every_20_seconds() -> Result<()> {
    let seconds = work_seconds()?;
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let hardware = Hardware::numbered(1, "cn1", Firmware::Bios);
    cluster.add_nodes(&[Definition { hardware, image: STATELITE.into() }])?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let image = fingerprint::of_tree(&cluster.install_dir().join(ROOTIMGDIR).join("rootimg"))?;

    let store = store_of(&cluster, "cn1")?;
    fs::copy(env!("CARGO_BIN_EXE_nfs-work"), store.join("nfs-work")).context("the program")?;
    fs::write(store.join("tools.sh"), include_str!("soak/tools.sh")).context("the script")?;
    begin(&cluster, seconds)?;
    let kills = kill_for(&mut cluster, Duration::from_secs(seconds))?;
    for (name, _) in WORKS {
        let result = end_of(&cluster, name)?;
        eprintln!("{name}: {result}; the server was killed {kills} times");
    }
    same_on_both_sides(&cluster, &store)?;
    let after = fingerprint::of_tree(&cluster.install_dir().join(ROOTIMGDIR).join("rootimg"))?;
    ensure!(image == after, "the shared image changed on the server");
    cluster.down()
}

#[expect(clippy::disallowed_methods, reason = "a test has no other arguments")]
fn work_seconds() -> Result<u64> {
    match std::env::var(WORK_SECONDS_VARIABLE) {
        Ok(text) => text.parse().with_context(|| format!("{WORK_SECONDS_VARIABLE}={text}")),
        Err(_) => Ok(WORK_SECONDS_DEFAULT),
    }
}

/// The server's directory behind the node's `/srv`.
fn store_of(cluster: &Cluster, node: &str) -> Result<PathBuf> {
    let store = cluster.install_dir().join(STATE).join(node).join("srv");
    ensure!(store.is_dir(), "{} is not there\n{}", store.display(), cluster.evidence(node));
    Ok(store)
}

fn begin(cluster: &Cluster, seconds: u64) -> Result<()> {
    let node = cluster.node("cn1")?;
    node.exec("grep -q ' /srv nfs ' /proc/mounts || grep ' nfs ' /proc/mounts", EXEC_LIMIT)?;
    node.exec("mkdir /srv/posix && chmod 755 /srv /srv/posix /srv/nfs-work", EXEC_LIMIT)?;
    for (name, command) in WORKS {
        let command = command.replace("SECONDS", &seconds.to_string());
        let command = format!("nohup sh -c '{command}; echo ended $?' > /root/{name}.log 2>&1 &");
        node.exec(&command, EXEC_LIMIT)?;
    }
    Ok(())
}

/// Kills and starts the server until the time is over; says how often.
fn kill_for(cluster: &mut Cluster, time: Duration) -> Result<u32> {
    let start = Instant::now();
    let mut kills = 0;
    while start.elapsed() + KILL_INTERVAL < time {
        wait::pause(KILL_INTERVAL);
        cluster.kill_daemon()?;
        cluster.serve()?;
        kills += 1;
    }
    ensure!(kills > 0, "the server was never killed in {time:?}");
    Ok(kills)
}

/// What a work says of itself at its end; an error if it failed.
fn end_of(cluster: &Cluster, name: &str) -> Result<String> {
    let node = cluster.node("cn1")?;
    let mut log = String::new();
    let ended = wait::until(FINISH_LIMIT, || {
        log = node.exec(&format!("tail -n 30 /root/{name}.log"), EXEC_LIMIT)?;
        Ok(log.lines().any(|line| line.starts_with("ended ")).then_some(()))
    })?;
    let evidence = || format!("{log}\n{}", cluster.evidence("cn1"));
    ensure!(ended.is_some(), "{name} does not end:\n{}", evidence());
    ensure!(log.lines().any(|line| line == "ended 0"), "{name} failed:\n{}", evidence());
    let result = log.lines().rfind(|line| line.starts_with("done ")).map(ToOwned::to_owned);
    result.with_context(|| format!("{name} ended without a result:\n{}", evidence()))
}

/// The node's view without its caches, and the server's disk, name by name and byte by byte.
fn same_on_both_sides(cluster: &Cluster, store: &Path) -> Result<()> {
    let asked = "sync; echo 3 > /proc/sys/vm/drop_caches; /srv/nfs-work manifest /srv/posix/tree";
    let seen = cluster.node("cn1")?.exec(asked, EXEC_LIMIT)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_nfs-work"));
    let held = process::run(command.arg("manifest").arg(store.join("posix/tree")))?;
    let differing = seen.lines().zip(held.lines()).find(|(seen, held)| seen != held);
    ensure!(seen.trim() == held.trim(), "the node and the server differ: {differing:?}");
    ensure!(held.lines().count() > 4, "nothing to compare");
    Ok(())
}
