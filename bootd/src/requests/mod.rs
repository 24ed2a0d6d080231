//! What nodes ask besides the commands: not in `dawn help`, named as in xCAT.
//!
//! A request is a [`crate::command::Command`] like any other, with policy, audit and log; its input is often
//! in separate elements instead of words. Nodes have no certificate: each request answers about the caller
//! only, and gives out secrets only after the caller's [`consent`] was proved.
//!
//! Deliberately missing: service nodes (`xcat_server_cred`, `xcat_client_cred`, `xcat_cfgloc`), certificates
//! for nodes (`x509cert`), Kerberos, copying of files to running nodes. Their answer is an error with that
//! reason.

use crate::command::Entry;

pub mod consent;
pub mod getadapter;
pub mod getbmcconfig;
pub mod getcredentials;
pub mod getpartition;
pub mod getpostscript;
pub mod syncfiles;

/// All of them.
pub static REQUESTS: &[Entry] = &[
    Entry::daemon::<getadapter::Args>(),
    Entry::daemon::<getbmcconfig::Args>(),
    Entry::daemon::<getcredentials::Args>(),
    Entry::daemon::<getpartition::Args>(),
    Entry::daemon::<getpostscript::Args>(),
    Entry::daemon::<syncfiles::Args>(),
];
