//! `/init` of every node: network root, statelite set-up, status reports.
//!
//! One static program in several roles:
//! - process 1 of the initramfs ([`boot`]): mounts, modules, boot interface, DHCP, root, hand-over;
//!   without a root it is the discovery system ([`discover`]);
//! - `/run/dawn/init boot` in the running system, which runs the node's post scripts and reports `booted`
//!   ([`post`]); `post` runs them again, by hand;
//! - `/run/dawn/init renew`, which keeps the lease ([`running`]);
//! - `/run/dawn/init consent`, which proves to the server that root asks ([`consent`]), `syncfiles`, and
//!   `report STATUS`, for scripts.
//!
//! Process 1 must never end: failures are reported on the console, then there is a shell or, after a bounded
//! wait, a restart ([`rescue`]). There is no SQL, no async runtime and no configuration but the kernel line.

mod boot;
mod chance;
mod clock;
mod cmdline;
mod consent;
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
mod post;
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
        ["boot"] => post::boot(false),
        ["boot", "wait"] => post::boot(true),
        ["post", scripts @ ..] => post::run(scripts),
        ["report", status] => running::report(status),
        ["renew"] => running::renew(),
        ["consent"] => consent::give(),
        ["syncfiles"] => post::sync_files(),
        _ => {
            eprintln!(
                "dawn-init is the first program of a node; by hand: `post [SCRIPT ...]`, `report STATUS`, \
                 `renew`, `consent`, `syncfiles`"
            );
            ExitCode::from(2)
        }
    }
}
