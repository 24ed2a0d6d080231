//! The GRUB configuration of a node (`boot/grub2/<node>` and the names that GRUB tries by itself).
//!
//! Files come by TFTP: the signed GRUB of the distributions, the only one that Secure Boot lets run, has
//! no HTTP built in and may not load the module.

use super::kernel_of;
use crate::plan::{DISCOVERY_ARCH, KernelBoot, Plan};
use dawn_cluster::MacAddr;
use dawn_wire::image::{genesis_initrd, genesis_kernel};

/// The first file that the signed GRUB asks for after a network boot (`grub/grub.cfg`), the same for every
/// node: it leads to the node's own.
pub const FIRST_CONFIG: &str =
    "configfile (tftp,$net_default_server)/boot/grub2/grub.cfg-01-$net_default_mac\n";

const ENTRY: &str = "xCAT OS Deployment";

/// Renders the file.
pub(super) fn config(plan: &Plan) -> String {
    let head = format!("#{}\nset timeout=5\n", plan.state);
    let Some(boot) = kernel_of(plan) else { return head };
    let entry = entry(&plan.server.to_string(), &boot.kernel(), &boot.initrd(), &words(boot, plan));
    format!("{head}{entry}")
}

/// For machines that are not a known node: the discovery system from the server that GRUB came from. It is
/// for one kind of processor; GRUB runs on others, too.
pub(super) fn strangers_config(words: &str) -> String {
    let (kernel, initrd) = (genesis_kernel(DISCOVERY_ARCH), genesis_initrd(DISCOVERY_ARCH));
    let entry = entry("$net_default_server", &kernel, &initrd, &quoted(words));
    format!("#discover\nset timeout=5\nif [ \"$grub_cpu\" = {DISCOVERY_ARCH} ]; then\n{entry}\nfi\n")
}

/// An entry that is loaded by TFTP.
fn entry(server: &str, kernel: &str, initrd: &str, words: &str) -> String {
    format!(
        "set default=\"{ENTRY}\"\n\
         menuentry \"{ENTRY}\" {{\n\
         \x20   set root=tftp,{server}\n\
         \x20   echo Loading kernel ...\n\
         \x20   linux /{kernel} {words} BOOTIF=01-$net_default_mac\n\
         \x20   echo Loading initial ramdisk ...\n\
         \x20   initrd /{initrd}\n\
         }}"
    )
}

/// Renders the configuration inside a boot image: the files are next to it, and GRUB has no network there,
/// so the boot NIC comes from the tables.
pub(super) fn image_config(plan: &Plan, boot: &KernelBoot, nic: Option<MacAddr>) -> String {
    let nic = nic.map(|mac| format!(" BOOTIF=01-{}", mac.to_string().replace(':', "-"))).unwrap_or_default();
    image_entry(&plan.state.to_string(), &format!("{}{nic}", words(boot, plan)))
}

/// The same for machines that no node is known for: the discovery system tries every interface with a link.
pub(super) fn strangers_image_config(words: &str) -> String {
    image_entry("discover", &quoted(words))
}

fn image_entry(state: &str, words: &str) -> String {
    format!(
        "#{state}\nset timeout=0\nset default=\"{ENTRY}\"\n\
         menuentry \"{ENTRY}\" {{\n\
         \x20   if [ ! -f /kernel ]; then search --no-floppy --set=root --file /kernel; fi\n\
         \x20   linux /kernel {words}\n\
         \x20   initrd /initrd\n\
         }}\n"
    )
}

fn words(boot: &KernelBoot, plan: &Plan) -> String {
    quoted(&boot.args.render(&plan.server.to_string()))
}

/// The kernel's arguments as GRUB reads them: `$` would begin a variable (`memmap=64M$4G` is a good
/// argument), `&` and `;` end the command.
fn quoted(words: &str) -> String {
    words.replace('$', "\\$").replace('&', "\\&").replace(';', "\\;")
}
