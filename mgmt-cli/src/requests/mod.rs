//! What programs and nodes ask beside the commands: not in `dawn help`, named as in the reference.
//!
//! A request is a [`crate::frame::Command`] like any other, with policy, audit and log; its input is often in
//! elements of its own instead of words. [`names`] and [`tables`] are asked by programs, the others by nodes,
//! which speak without a certificate: those answer about the caller only, and what is secret only after the
//! caller's [`consent`] was proved.
//!
//! Deliberately missing: service nodes (`xcat_server_cred`, `xcat_client_cred`, `xcat_cfgloc`), certificates
//! for nodes (`x509cert`), Kerberos, copying of files to running nodes. They answer with an error that says
//! so.

use crate::frame::{Ctx, Entry};
use crate::output::Stop;
use dawn_cluster::Snapshot;

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

static ENTRIES: &[Entry] = &[
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

/// The request of that name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Whether nodes that ask for boot and script must show a certificate with their name
/// (`site.nodeauthentication`).
pub fn wants_certificates(snapshot: &Snapshot) -> bool {
    snapshot.site("nodeauthentication").is_some_and(|value| !value.trim().is_empty())
}

/// The node that asks for its boot or script: by its address, or by its certificate where the site wants one;
/// `None` for a caller that is no node.
pub fn booting_node(ctx: &Ctx<'_>) -> Result<Option<String>, Stop> {
    if !wants_certificates(&ctx.snapshot) {
        let node = ctx.call.peer.ip.and_then(|ip| ctx.snapshot.node_by_ip(ip));
        return Ok(node.map(|node| node.to_string()));
    }
    match ctx.call.peer.certificate_name.as_deref() {
        Some(name) => Ok(ctx.snapshot.has_node(name).then(|| name.to_owned())),
        None => Err(Stop::message(
            "site.nodeauthentication asks nodes for a certificate with their name, and the caller shows none",
        )),
    }
}

/// The node that asks, known by its address. No certificate and no word of the request changes who that is.
fn calling_node(ctx: &Ctx<'_>) -> Result<String, Stop> {
    let node = ctx.call.peer.ip.and_then(|ip| ctx.snapshot.node_by_ip(ip));
    node.map(|node| node.to_string()).ok_or_else(|| {
        Stop::message(format!("{} asks for nodes only, and the caller is none", ctx.call.request.command))
    })
}
