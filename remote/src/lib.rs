//! Commands and files on many nodes.
//!
//! [`run`](run::run) carries out jobs for many targets at once: commands over ssh connections of our own
//! ([`session`]), or programs of this machine ([`program`], among them OpenSSH's: [`openssh`]). Output comes
//! in whole lines ([`lines`]) and without control characters ([`visible`]). Hosts are known by their keys
//! ([`host_keys`]); there is no way to switch the check off.
//!
//! Which files nodes have is what a [`synclist`] says. Besides, there is what reads output ([`collate`]) and
//! [`ping`].
//!
//! The crate does not know tables, terminals or the environment: the caller passes the targets and the keys.
//! Missing on purpose: a reader of `~/.ssh/config`; where a user has one, OpenSSH's `ssh` is the job.

pub mod collate;
pub mod event;
pub mod failure;
pub mod host_keys;
pub mod identity;
pub mod lines;
pub mod names;
pub mod openssh;
mod output;
pub mod ping;
pub mod program;
pub mod quote;
pub mod run;
pub mod scan;
pub mod session;
pub mod shell;
pub mod sinv;
pub mod synclist;
pub mod target;
pub mod visible;

pub use output::KEPT_BYTES_MAX;
