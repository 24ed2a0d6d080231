//! `/init` of every node: network root, statelite set-up, status reports.
//!
//! One static program in three roles:
//! - process 1 of the initramfs ([`boot`]): mounts, modules, boot interface, DHCP, root, hand-over;
//!   without a root it is the discovery system ([`discover`]);
//! - `/run/dawn/init report STATUS` in the running system, started by a systemd unit ([`running`]);
//! - `/run/dawn/init renew`, which keeps the lease ([`running`]).
//!
//! Process 1 must never end: failures are reported on the console, then there is a shell or, after a bounded
//! wait, a restart ([`rescue`]). There is no SQL, no async runtime and no configuration but the kernel line.

mod boot;
mod clock;
mod cmdline;
mod dhcp;
mod discover;
mod error;
pub mod fuzz;
mod handover;
mod http;
pub mod inroot;
mod lease;
mod log;
mod modules;
mod network;
mod nfs;
mod nic;
mod rescue;
mod resolve;
mod running;
mod stateless;
mod statelite;
mod status;
mod sys;
mod unpack;
mod url;

pub use error::Error;
pub use statelite::rehearse;

use std::process::ExitCode;

/// Does what this process is for: as process 1 it boots the node and never comes back.
pub fn run(arguments: &[String]) -> ExitCode {
    if std::process::id() == 1 {
        boot::run();
    }
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["report", status] => running::report(status),
        ["renew"] => running::renew(),
        _ => {
            eprintln!("dawn-init is the first program of a node; by hand: `report STATUS`, `renew`");
            ExitCode::from(2)
        }
    }
}
