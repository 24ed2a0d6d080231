//! A shared read-only NFS root with per-node files on top (statelite).
//!
//! First stage: the root is mounted, nothing is laid over it yet.

use std::net::Ipv4Addr;

use crate::cmdline::{Cmdline, Remote};
use crate::error::Result;
use crate::handover::Facts;
use crate::log;
use crate::modules::Loader;
use crate::nfs::{self, NfsMount};
use crate::resolve::resolve;

/// What the kernel line asks for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The kernel line.
    pub line: &'a Cmdline,
    /// Node, interface, lease.
    pub facts: &'a Facts,
    /// Server for lists.
    pub server: Option<Ipv4Addr>,
    /// The shared root.
    pub remote: &'a Remote,
    /// Its mount options.
    pub options: &'a str,
}

/// Builds the root at `root`.
pub fn build(wish: &Wish<'_>, loader: &mut Loader, root: &str) -> Result<()> {
    nfs::load_client(loader)?;
    let address = resolve(&wish.remote.host, &wish.facts.lease)?;
    let ports = wish.line.nfs_ports;
    let mount = NfsMount { remote: wish.remote, address, ports, options: wish.options, read_only: true };
    mount.mount(root, nfs::ROOT_TRIES, true)?;
    log::step(&format!("NFS root {} mounted read-only (lists from {:?})", wish.remote, wish.server));
    Ok(())
}
