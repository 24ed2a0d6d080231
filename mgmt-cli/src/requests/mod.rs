//! What programs and nodes ask beside the commands: not in `dawn help`, named as in the reference.
//!
//! A request is a [`crate::command::Command`] like any other, with policy, audit and log; its input is often
//! in elements of its own instead of words. [`names`] and [`tables`] are asked by programs, the others by
//! nodes, which speak without a certificate: those answer about the caller only, and what is secret only
//! after the caller's [`consent`] was proved.
//!
//! Deliberately missing: service nodes (`xcat_server_cred`, `xcat_client_cred`, `xcat_cfgloc`), certificates
//! for nodes (`x509cert`), Kerberos, copying of files to running nodes. They answer with an error that says
//! so.

use crate::command::Entry;

pub mod consent;
pub mod getadapter;
pub mod getbmcconfig;
pub mod getcredentials;
pub mod getpartition;
pub mod getpostscript;
pub mod help;
pub mod names;
pub mod syncfiles;
pub mod tables;

/// All of them.
pub static REQUESTS: &[Entry] = &[
    Entry::daemon::<getadapter::Args>(),
    Entry::daemon::<getbmcconfig::Args>(),
    Entry::daemon::<getcredentials::Args>(),
    Entry::daemon::<getpartition::Args>(),
    Entry::daemon::<getpostscript::Args>(),
    Entry::daemon::<help::Args>(),
    Entry::daemon::<names::Extended>(),
    Entry::daemon::<names::Generate>(),
    Entry::daemon::<names::Nodes>(),
    Entry::daemon::<names::Shorten>(),
    Entry::daemon::<syncfiles::Args>(),
    Entry::daemon::<tables::AllEntries>(),
    Entry::daemon::<tables::NodesAttribs>(),
    Entry::daemon::<tables::TablesAllNodes>(),
    Entry::daemon::<tables::TablesNodes>(),
    Entry::daemon::<tables::TablesAllRows>(),
    Entry::daemon::<tables::SetNodes>(),
    Entry::daemon::<tables::DelEntries>(),
    Entry::daemon::<tables::GetAttribs>(),
    Entry::daemon::<tables::SetAttribs>(),
];
