//! Trees and a persistent store on servers that are not ours, one of which accepts connections but does not
//! answer.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{STATELITE, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options, wait};

use crate::nfs_server::Server;

/// From power-on to `booted`, with the time that is spent on the server that does not answer.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside the machine.
const EXEC_LIMIT: Duration = Duration::from_secs(90);
/// How long the store does not answer the running node.
const SILENCE: Duration = Duration::from_secs(10);

/// A tree on a server that does not answer costs a bounded time, then the next priority is used, and console
/// and events report it. The persistent store is on another server, which may stop answering as well: the
/// node waits for it and loses nothing.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn trees_and_store_elsewhere() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let far = Server::start(&cluster, "far", "10.77.0.2")?;
    let mute = Server::start(&cluster, "mute", "10.77.0.3")?;
    for (server, text) in [(&far, "far\n"), (&mute, "spoke at last\n")] {
        fs::create_dir_all(server.files.join("tree/etc")).context("a tree")?;
        fs::write(server.files.join("tree/etc/motd"), text).context("a file of a tree")?;
    }
    fs::create_dir(far.files.join("state")).context("a store")?;
    mute.hang()?;
    for (priority, server, address) in [("1", &mute, "10.77.0.3"), ("2", &far, "10.77.0.2")] {
        let directory = format!("litetree.directory={address}:{}/tree", server.files.display());
        cluster.dawn(["chtab", &format!("priority={priority}"), &directory])?;
    }
    let store = format!("statelite.statemnt=10.77.0.2:{}/state", far.files.display());
    cluster.dawn(["chtab", "node=compute", &store])?;
    for (path, options) in [("/etc/motd", "tmpfs"), ("/opt/kept", "persistent")] {
        let row = format!("image={STATELITE},file={path}");
        cluster.dawn(["chtab", &row, &format!("litefile.options={options}")])?;
    }
    let hardware = Hardware::numbered(1, "cn1", Firmware::Bios);
    cluster.add_nodes(&[Definition { hardware, image: STATELITE.into() }])?;
    boot(&mut cluster)?;

    expect(&cluster, "cat /etc/motd", "far")?;
    let silent = "tree 10.77.0.3:";
    let events = cluster.events("cn1")?;
    let told = events.iter().any(|event| event.step == "trouble" && event.detail.contains(silent));
    ensure!(told, "no event tells of the silent tree: {events:#?}\n{}", cluster.evidence("cn1"));
    let console = cluster.node("cn1")?.console();
    ensure!(console.contains("is left out"), "the console does not tell of the silent tree:\n{console}");

    expect(&cluster, "echo before > /opt/kept; echo mine > /srv/mine; sync; cat /opt/kept", "before")?;
    let kept = far.files.join("state/cn1/opt/kept");
    ensure!(fs::read_to_string(&kept)? == "before\n", "{} holds something else", kept.display());
    far.hang()?;
    let write = "(echo after > /opt/kept; sync /opt/kept; echo written > /root/written) >/dev/null 2>&1 &";
    expect(&cluster, write, "")?;
    wait::pause(SILENCE);
    expect(&cluster, "test -e /root/written || echo waits; hostname", "waits\ncn1")?;
    far.go_on()?;
    let mut text = String::new();
    let written = wait::until(EXEC_LIMIT, || {
        text = fs::read_to_string(&kept)?;
        Ok((text == "after\n").then_some(()))
    })?;
    ensure!(written.is_some(), "what was written in the meantime is lost: {text:?}");

    mute.go_on()?;
    cluster.clear_status("cn1")?;
    // The answer may be lost with the machine.
    let _ = cluster.node("cn1")?.exec("sync; systemctl --no-block reboot", EXEC_LIMIT);
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    expect(&cluster, "cat /opt/kept /srv/mine /etc/motd", "after\nmine\nspoke at last")?;
    cluster.down()
}

fn boot(cluster: &mut Cluster) -> Result<()> {
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)
}

fn expect(cluster: &Cluster, command: &str, want: &str) -> Result<()> {
    let got = cluster.node("cn1")?.exec(command, EXEC_LIMIT)?;
    ensure!(got == want, "`{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence("cn1"));
    Ok(())
}
