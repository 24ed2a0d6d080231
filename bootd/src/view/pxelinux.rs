//! Configurations of pxelinux (`pxelinux.cfg/<key>`) and petitboot (`petitboot/<node>`).

use super::{host_and_port, kernel_of};
use crate::plan::{KERNEL, Plan};

/// Renders the file of pxelinux. Paths are relative to the TFTP root, which pxelinux came from.
pub(super) fn config(plan: &Plan) -> String {
    let head = format!("#{}\nDEFAULT xCAT\nLABEL xCAT\n", plan.state);
    match kernel_of(plan) {
        Some(boot) => format!(
            "{head} KERNEL {}\n APPEND initrd={} {}\n  IPAPPEND 2\n",
            boot.path(KERNEL),
            boot.path(boot.initrd),
            boot.args.render(&plan.server.to_string()),
        ),
        None => format!("{head} LOCALBOOT 0\n"),
    }
}

/// Renders the file of petitboot, which wants URLs.
pub(super) fn petitboot(plan: &Plan) -> String {
    let Some(boot) = kernel_of(plan) else { return format!("#{}\n", plan.state) };
    let server = plan.server.to_string();
    let base = format!("http://{}/tftpboot", host_and_port(&server, plan.http_port));
    format!(
        "#{}\ndefault xCAT\nlabel xCAT\n\tkernel {base}/{}\n\tinitrd {base}/{}\n\tappend \"{}\"\n",
        plan.state,
        boot.path(KERNEL),
        boot.path(boot.initrd),
        boot.args.render(&server),
    )
}
