//! A machine with Secure Boot and Microsoft's keys goes from power-on to `booted`, by UEFI HTTP Boot and by PXE.
//!
//! Firmware checks shim, shim checks GRUB, GRUB has shim check the kernel, and the kernel's lockdown lets in signed
//! modules only: nothing in this chain is ours. By HTTP all of it comes out of one image that is made for the node
//! while it is sent.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options};

/// From power-on to `booted`, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(60);
/// The boot image stays in memory beside the root.
const MEMORY_MIB: u32 = 1792;

#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn http_boot_under_secure_boot() -> Result<()> {
    boots_locked_down(Firmware::SecureHttp, "xnba", "xcat/httpboot/cn1.img")
}

/// shim and GRUB by TFTP, and by TFTP whatever GRUB loads: the signed one has no HTTP.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn pxe_under_secure_boot() -> Result<()> {
    boots_locked_down(Firmware::SecurePxe, "grub2", "shimx64.efi")
}

fn boots_locked_down(firmware: Firmware, netboot: &str, loader: &str) -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let hardware = Hardware { memory_mib: MEMORY_MIB, ..Hardware::numbered(1, "cn1", firmware) };
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    cluster.dawn(["chdef", "-t", "node", "-o", "cn1", &format!("netboot={netboot}")])?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let lockdown = cluster.node("cn1")?.exec("cat /sys/kernel/security/lockdown", EXEC_LIMIT)?;
    ensure!(
        lockdown.contains("[integrity]"),
        "not under Secure Boot: {lockdown}\n{}",
        cluster.evidence("cn1")
    );
    let events = cluster.events("cn1")?;
    let fetched = events.iter().any(|event| event.detail.contains(loader));
    ensure!(fetched, "`{loader}` was not fetched: {events:#?}");
    cluster.down()
}
