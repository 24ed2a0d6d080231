//! The iPXE script of a node (`xcat/xnba/nodes/<node>`).
//!
//! `${next-server}` is the server that iPXE itself booted from, so an address that moves between machines
//! works; next to another DHCP server it would be that server, so our address is written instead. The script
//! reports a file that it cannot fetch on the screen and tries again, as it does for a node without a plan:
//! otherwise somebody would have to walk to the rack.

use super::{boot_files_url, kernel_of};
use crate::plan::{DISCOVERY_ARCH, KernelBoot, Plan};
use dawn_wire::image::{genesis_initrd, genesis_kernel};
use dawn_wire::kernel::BOOT_INTERFACE;
use std::fmt::Write as _;

/// Seconds between two tries of a node whose files could not be loaded.
const RETRY_SECONDS: u32 = 10;
/// Characters of a reason that are shown: three lines of a text screen.
const REASON_CHARS_MAX: usize = 220;

/// Which firmware runs the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firmware {
    /// PC BIOS: iPXE hands the initramfs to the kernel by itself.
    Bios,
    /// UEFI: the kernel's EFI stub finds the initramfs by the name in `initrd=`.
    Uefi,
}

/// Renders the script.
pub(super) fn script(plan: &Plan, firmware: Firmware) -> String {
    match kernel_of(plan) {
        Some(boot) => kernel_script(plan, boot, firmware),
        None => format!("#!gpxe\n#{}\nexit\n", plan.state),
    }
}

/// For machines that are not a known node: the screen shows what to do, and firmware tries its next device.
pub(super) const UNKNOWN: &str = "#!gpxe\n\
    echo Dawn: no node has the MAC address ${netX/mac}, so there is nothing to boot here.\n\
    echo Dawn: on the server: mkdef -t node -o NODE mac=${netX/mac} ip=ADDRESS groups=all\n\
    sleep 10\n\
    exit\n";

/// For machines that are not a known node, if there is a discovery system: it says what the machine is,
/// and waits until it is a node. Firmware tries its next device if the files cannot be loaded.
pub(super) fn discovery(words: &str, http_port: u16, firmware: Firmware) -> String {
    let base = boot_files_url("${next-server}", http_port);
    let (kernel, initrd) = (genesis_kernel(DISCOVERY_ARCH), genesis_initrd(DISCOVERY_ARCH));
    let stub = if firmware == Firmware::Uefi { " initrd=initrd" } else { "" };
    format!(
        "#!gpxe\n\
         imgfree\n\
         imgfetch -n kernel {base}/{kernel} || goto failed\n\
         imgload kernel || goto failed\n\
         imgargs kernel {words} {nic}=01-${{netX/mac:hexhyp}}{stub}\n\
         imgfetch -n initrd {base}/{initrd} || goto failed\n\
         imgexec kernel || goto failed\n\
         :failed\n\
         echo Dawn: the discovery system cannot be loaded. On the server: mknb x86_64\n\
         sleep {RETRY_SECONDS}\n\
         exit\n",
        nic = BOOT_INTERFACE,
    )
}

/// A script for a node that there is no plan for. It asks for itself again, so the node boots when the cause
/// is fixed.
pub(super) fn explanation(node: &str, reason: &str, firmware: Firmware) -> String {
    let own = if firmware == Firmware::Uefi { ".uefi" } else { "" };
    format!(
        "#!gpxe\n\
         :again\n\
         echo Dawn: {node} has nothing to boot: {reason}\n\
         echo Dawn: next try in {RETRY_SECONDS} seconds.\n\
         sleep {RETRY_SECONDS}\n\
         chain --replace --autofree {node}{own} || goto again\n",
        reason = harmless(reason),
    )
}

/// A text as words of `echo`: characters with a meaning in the script's language become question marks.
fn harmless(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " .,:/=<>_-()'*+@[]".contains(c);
    text.chars().take(REASON_CHARS_MAX).map(|c| if plain(c) { c } else { '?' }).collect()
}

fn kernel_script(plan: &Plan, boot: &KernelBoot, firmware: Firmware) -> String {
    let server = if plan.proxied { plan.server.to_string() } else { "${next-server}".to_owned() };
    let base = boot_files_url(&server, plan.http_port);
    let kernel = format!("{base}/{}", boot.kernel());
    let initrd = format!("{base}/{}", boot.initrd());
    let args = boot.args.render(&server);
    let stub = if firmware == Firmware::Uefi { " initrd=initrd" } else { "" };
    let mut script = String::with_capacity(1024);
    let _ = write!(
        script,
        "#!gpxe\n#{state}\n\
         :again\n\
         imgfree\n\
         imgfetch -n kernel {kernel} || goto failed\n\
         imgload kernel || goto failed\n\
         imgargs kernel {args} BOOTIF=01-${{netX/mac:hexhyp}}{stub}\n\
         imgfetch -n initrd {initrd} || goto failed\n\
         imgexec kernel || goto failed\n\
         :failed\n\
         echo Dawn: {node} could not load its kernel or initramfs from {server}.\n\
         echo Dawn: the reason stands above, and on the server: dawn events {node}\n\
         echo Dawn: next try in {RETRY_SECONDS} seconds.\n\
         sleep {RETRY_SECONDS}\n\
         goto again\n",
        state = plan.state,
        node = plan.node,
    );
    script
}
