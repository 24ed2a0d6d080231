//! A machine with Secure Boot and Microsoft's keys goes from power-on to `booted`, by UEFI HTTP Boot and by
//! PXE.
//!
//! Firmware checks shim, shim checks GRUB, GRUB has shim check the kernel, and the kernel's lockdown accepts
//! signed modules only: nothing in this chain is ours. By HTTP all of it comes out of one image that is made
//! for the node while it is sent.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{STATE, STATELESS, STATELITE, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options};

/// From power-on to `booted`, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(60);
/// The boot image stays in memory along with the root.
const MEMORY_MIB: u32 = 1792;

#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn http_boot_under_secure_boot() -> Result<()> {
    boots_locked_down(Firmware::SecureHttp, "xnba", "xcat/httpboot/cn1.img")
}

/// shim and GRUB by TFTP, and everything that GRUB loads, too: the signed one has no HTTP.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn pxe_under_secure_boot() -> Result<()> {
    boots_locked_down(Firmware::SecurePxe, "grub2", "shimx64.efi")
}

/// The root is a shared tree on NFS and the node's files are its own, under lockdown all the way: the
/// initramfs brings signed modules only, and `/init` mounts with them.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn statelite_root_under_secure_boot() -> Result<()> {
    let mut cluster = locked_down(Firmware::SecurePxe, "grub2", STATELITE)?;
    let node = cluster.node("cn1")?;
    let cases = [
        // The tree with the node's own files in it: the server says what may be written.
        ("grep -q ' / nfs rw' /proc/mounts && echo shared", "shared"),
        ("touch /usr/proof 2>/dev/null; test ! -e /usr/proof && echo protected", "protected"),
        ("echo kept > /srv/kept && sync && cat /srv/kept", "kept"),
        ("systemctl is-active multi-user.target", "active"),
    ];
    for (command, want) in cases {
        let got = node.exec(command, EXEC_LIMIT)?;
        ensure!(got == want, "`{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence("cn1"));
    }
    // What it wrote is on the server, not in its memory, and is there after its plug was pulled.
    cluster.power_off("cn1")?;
    let state = cluster.install_dir().join(STATE).join("cn1");
    ensure!(holds(&state, "kept", "kept\n")?, "{} has no file of the node's", state.display());
    cluster.down()
}

/// Whether a file of this name with this content is somewhere below `dir`.
fn holds(dir: &Path, name: &str, content: &str) -> Result<bool> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let found = match path.is_dir() && !path.is_symlink() {
            true => holds(&path, name, content)?,
            false => path.ends_with(name) && std::fs::read(&path)? == content.as_bytes(),
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn boots_locked_down(firmware: Firmware, netboot: &str, loader: &str) -> Result<()> {
    let cluster = locked_down(firmware, netboot, STATELESS)?;
    let events = cluster.events("cn1")?;
    let fetched = events.iter().any(|event| event.detail.contains(loader));
    ensure!(fetched, "`{loader}` was not fetched: {events:#?}");
    cluster.down()
}

/// A cluster whose node has booted and is under lockdown.
fn locked_down(firmware: Firmware, netboot: &str, image: &str) -> Result<Cluster> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let hardware = Hardware { memory_mib: MEMORY_MIB, ..Hardware::numbered(1, "cn1", firmware) };
    cluster.add_nodes(&[Definition { hardware, image: image.into() }])?;
    cluster.dawn(["chdef", "-t", "node", "-o", "cn1", &format!("netboot={netboot}")])?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let lockdown = cluster.node("cn1")?.exec("cat /sys/kernel/security/lockdown", EXEC_LIMIT)?;
    ensure!(
        lockdown.contains("[integrity]"),
        "not under Secure Boot: {lockdown}\n{}",
        cluster.evidence("cn1")
    );
    Ok(cluster)
}
