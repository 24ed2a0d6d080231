//! A machine with Secure Boot and Microsoft's keys goes from power-on to `booted` by UEFI HTTP Boot alone.
//!
//! Firmware checks shim, shim checks GRUB, GRUB has shim check the kernel, and the kernel's lockdown lets in signed
//! modules only: nothing in this chain is ours, and all of it comes out of one image that is made for the node while
//! it is sent.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs it.

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
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let hardware = Hardware { memory_mib: MEMORY_MIB, ..Hardware::numbered(1, "cn1", Firmware::SecureHttp) };
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let lockdown = cluster.node("cn1")?.exec("cat /sys/kernel/security/lockdown", EXEC_LIMIT)?;
    ensure!(
        lockdown.contains("[integrity]"),
        "not under Secure Boot: {lockdown}\n{}",
        cluster.evidence("cn1")
    );
    let events = cluster.events("cn1")?;
    let image = events.iter().any(|event| event.detail.contains("xcat/httpboot/cn1.img"));
    ensure!(image, "the boot image was not fetched: {events:#?}");
    cluster.down()
}
