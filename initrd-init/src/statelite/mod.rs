//! A shared read-only NFS root with per-node files on top (statelite).
use crate::boot;
use crate::cmdline::{Cmdline, Remote};
use crate::error::{Error, Result};
use crate::handover::Facts;
use crate::modules::Loader;
use std::net::Ipv4Addr;

pub struct Wish<'a> {
    pub line: &'a Cmdline,
    pub facts: &'a Facts,
    pub server: Option<Ipv4Addr>,
    pub remote: &'a Remote,
    pub options: &'a str,
}
pub fn build(_wish: &Wish<'_>, _loader: &mut Loader, _root: &str) -> Result<()> {
    let _ = boot::ROOT;
    Err(Error::Image("statelite: later".into()))
}
