//! A machine goes from power-on to `booted` with its root in memory, on BIOS and on UEFI.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options};

/// From power-on to `booted`, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(420);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn bios_stateless() -> Result<()> {
    boots_into_memory(Firmware::Bios, "undionly.kpxe")
}

#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn uefi_stateless() -> Result<()> {
    boots_into_memory(Firmware::Uefi, "snponly.efi")
}

fn boots_into_memory(firmware: Firmware, loader: &str) -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let hardware = Hardware::numbered(1, "cn1", firmware);
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    check_root(&cluster)?;
    check_events(&cluster, loader)?;
    cluster.down()
}

fn check_root(cluster: &Cluster) -> Result<()> {
    let node = cluster.node("cn1")?;
    let cases = [
        ("hostname", "cn1"),
        ("stat -f -c %T /", "overlayfs"),
        ("systemctl is-active multi-user.target", "active"),
        ("touch /etc/proof && echo writable", "writable"),
    ];
    for (command, want) in cases {
        let got = node.exec(command, EXEC_LIMIT)?;
        ensure!(got == want, "`{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence("cn1"));
    }
    Ok(())
}

fn check_events(cluster: &Cluster, loader: &str) -> Result<()> {
    let events = cluster.events("cn1")?;
    for step in ["discover", "offer", "loader", "script", "kernel", "initrd", "root", "init", "booted"] {
        ensure!(events.iter().any(|event| event.step == step), "no event `{step}` in {events:#?}");
    }
    let loaded = events.iter().any(|event| event.step == "loader" && event.detail.contains(loader));
    ensure!(loaded, "`{loader}` was not loaded: {events:#?}");
    Ok(())
}
