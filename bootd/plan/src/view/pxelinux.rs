//! Configurations of pxelinux (`pxelinux.cfg/<key>`), petitboot (`petitboot/<node>`) and elilo
//! (`xcat/xnba/nodes/<node>.elilo`).

use super::{boot_files_url, kernel_of};
use crate::error::PlanError;
use crate::plan::Plan;

/// Renders the file of pxelinux. Paths are relative to the TFTP root, which pxelinux came from.
pub(super) fn config(plan: &Plan) -> String {
    let head = format!("#{}\nDEFAULT xCAT\nLABEL xCAT\n", plan.state);
    match kernel_of(plan) {
        Some(boot) => format!(
            "{head} KERNEL {}\n APPEND initrd={} {}\n  IPAPPEND 2\n",
            boot.kernel(),
            boot.initrd(),
            boot.args.render(&plan.server.to_string()),
        ),
        None => format!("{head} LOCALBOOT 0\n"),
    }
}

/// Renders the file of elilo, which knows the server as `%N` and its network card as `%B`.
///
/// # Errors
/// A word of the command line has a `%`, which elilo replaces with the letter after it and has no quote for.
pub(super) fn elilo(plan: &Plan) -> Result<String, PlanError> {
    let Some(boot) = kernel_of(plan) else { return Ok(format!("#{}\n", plan.state)) };
    if let Some(word) = boot.args.words().find(|word| word.contains('%')) {
        let reason = "elilo would replace the '%' in it; boot this node with netboot=xnba or grub2";
        return Err(PlanError::Argument { word: word.to_owned(), reason });
    }
    Ok(format!(
        "#{}\ndefault=\"xCAT\"\ndelay=0\n\nimage=/tftpboot/{}\n   label=\"xCAT\"\n   initrd=/tftpboot/{}\n   \
         append=\"{} BOOTIF=%B\"\n",
        plan.state,
        boot.kernel(),
        boot.initrd(),
        boot.args.render("%N"),
    ))
}

/// For machines that are not a known node: nothing to boot, and what to do. Petitboot offers what else it
/// finds.
pub(super) const PETITBOOT_UNKNOWN: &str = "# no node has the MAC address of this machine; on the server:\n\
    # mkdef -t node -o NODE mac=MAC ip=ADDRESS groups=all netboot=petitboot\n";

/// Renders the file of petitboot, which wants URLs.
pub(super) fn petitboot(plan: &Plan) -> String {
    let Some(boot) = kernel_of(plan) else { return format!("#{}\n", plan.state) };
    let server = plan.server.to_string();
    let base = boot_files_url(&server, plan.http_port);
    format!(
        "#{}\ndefault xCAT\nlabel xCAT\n\tkernel {base}/{}\n\tinitrd {base}/{}\n\tappend \"{}\"\n",
        plan.state,
        boot.kernel(),
        boot.initrd(),
        boot.args.render(&server),
    )
}
