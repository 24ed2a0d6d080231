//! The GRUB configuration of a node (`boot/grub2/<node>` and the names that GRUB tries by itself).
//!
//! Files come by TFTP: the signed GRUB of the distributions, the only one that Secure Boot lets run, has
//! no HTTP built in and may not load the module.

use super::kernel_of;
use crate::plan::{KERNEL, Plan};

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
        kernel = boot.path(KERNEL),
        args = boot.args.render(&plan.server.to_string()),
        initrd = boot.path(boot.initrd),
    )
}
