//! The GRUB configuration of a node (`boot/grub2/<node>` and the names that GRUB tries by itself).
//!
//! Files come by TFTP: the signed GRUB of the distributions, the only one that Secure Boot lets run, has
//! no HTTP built in and may not load the module.

use super::kernel_of;
use crate::plan::{KernelBoot, Plan};
use dawn_cluster::MacAddr;

/// The first file that the signed GRUB asks for after a network boot (`grub/grub.cfg`), the same for every
/// node: it leads to the node's own.
pub const FIRST_CONFIG: &str =
    "configfile (tftp,$net_default_server)/boot/grub2/grub.cfg-01-$net_default_mac\n";

const ENTRY: &str = "xCAT OS Deployment";

/// Renders the file.
pub(super) fn config(plan: &Plan) -> String {
    let head = format!("#{}\nset timeout=5\n", plan.state);
    let Some(boot) = kernel_of(plan) else { return head };
    format!(
        "{head}set default=\"{ENTRY}\"\n\
         menuentry \"{ENTRY}\" {{\n\
         \x20   set root=tftp,{server}\n\
         \x20   echo Loading kernel ...\n\
         \x20   linux /{kernel} {args} BOOTIF=01-$net_default_mac\n\
         \x20   echo Loading initial ramdisk ...\n\
         \x20   initrd /{initrd}\n\
         }}",
        server = plan.server,
        kernel = boot.kernel(),
        args = words(boot, plan),
        initrd = boot.initrd(),
    )
}

/// Renders the configuration inside a boot image: the files are next to it, and GRUB has no network there,
/// so the boot NIC comes from the tables.
pub(super) fn image_config(plan: &Plan, boot: &KernelBoot, nic: Option<MacAddr>) -> String {
    let nic = nic.map(|mac| format!(" BOOTIF=01-{}", mac.to_string().replace(':', "-"))).unwrap_or_default();
    format!(
        "#{}\nset timeout=0\nset default=\"{ENTRY}\"\n\
         menuentry \"{ENTRY}\" {{\n\
         \x20   if [ ! -f /kernel ]; then search --no-floppy --set=root --file /kernel; fi\n\
         \x20   linux /kernel {args}{nic}\n\
         \x20   initrd /initrd\n\
         }}\n",
        plan.state,
        args = words(boot, plan),
    )
}

/// The kernel's arguments as GRUB reads them: `$` would begin a variable (`memmap=64M$4G` is a good
/// argument), `&` and `;` end the command.
fn words(boot: &KernelBoot, plan: &Plan) -> String {
    boot.args.render(&plan.server.to_string()).replace('$', "\\$").replace('&', "\\&").replace(';', "\\;")
}
