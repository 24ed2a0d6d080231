//! `makehosts`: node names in `/etc/hosts` of this machine.

use crate::edits::{Fields, keep_old, show_lines_with};
use crate::hosts::{Entry, Style, entries, merge};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::hosts_record::{self, Record};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::excerpt;
use dawn_serving::whole;
use std::fmt::Display;
use std::path::Path;

/// Everyone on this machine reads it.
const MODE: u32 = 0o644;
/// What a new file starts with.
const FRESH: &str = "127.0.0.1 localhost\n";

/// Write names and addresses of nodes into /etc/hosts of the management node
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Start with an empty file
    #[arg(short = 'n')]
    new: bool,
    /// Put other names before the name of the node
    #[arg(short = 'o', long = "othernamesfirst")]
    others_first: bool,
    /// Also add other names with the domain
    #[arg(short = 'a', long = "adddomaintohostnames")]
    add_domain: bool,
    /// Put the long name before the short one
    #[arg(short = 'l', long = "longnamefirst")]
    long_first: bool,
    /// Not possible: addresses derived from MAC addresses
    #[arg(short = 'm', long = "mactolinklocal", hide = true)]
    link_local: bool,
    /// Remove the lines of these nodes
    #[arg(short = 'd')]
    delete: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes [default: all]
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "makehosts";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.link_local {
            return Err(Stop::refused("-m is not supported: give the nodes their addresses in hosts.ip"));
        }
        if self.new && ctx.view.limits().is_some() {
            return Err(Stop::refused(
                "Permission denied: -n removes the lines of nodes that policy keeps from you",
            ));
        }
        let path = Path::new(ctx.hosts_file);
        let old = present(path)?;
        let text = if self.new { FRESH } else { old.as_str() };
        let directory = ctx.model.directory();
        let mut record =
            Record::read(directory).map_err(|error| failed(Path::new(hosts_record::FILE), &error))?;
        let nodes = self.entries(ctx, out)?;
        let entries: Vec<&Entry> = nodes.iter().flat_map(|(_, entries)| entries).collect();
        let names = nodes.iter().map(|(node, _)| node.as_str()).collect();
        let merged = merge(text, &entries, &record.stale(&names), self.delete);
        if self.dry_run {
            return show_lines_with(path, &old, &merged, out, fields);
        }
        write(path, &merged).map_err(|error| failed(path, &error))?;
        if self.new {
            record = Record::default();
        }
        for (node, entries) in &nodes {
            let written = entries.iter().filter(|_| !self.delete).map(|entry| entry.line().to_owned());
            record.set(node, written.collect());
        }
        record.write(directory).map_err(|error| failed(Path::new(hosts_record::FILE), &error))
    }
}

/// Address and names of a line.
fn fields(line: &str) -> Fields {
    let mut words = hosts_record::words(line);
    let Some(address) = words.next() else { return Fields::new() };
    Fields::from([("address", address.into()), ("names", words.collect::<Vec<_>>().into())])
}

impl Args {
    fn entries(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Result<Vec<(String, Vec<Entry>)>, Stop> {
        let style = Style {
            long_first: self.long_first || ctx.snapshot.site_flag("FQDNfirst", false),
            others_first: self.others_first,
            domain_for_others: self.add_domain,
        };
        let nodes: Vec<String> = match self.noderange {
            Some(_) => ctx.nodes().to_vec(),
            None => {
                let names = ctx.snapshot.node_names().filter(|name| ctx.view.covers(name));
                names.map(ToString::to_string).collect()
            }
        };
        for node in &nodes {
            let ip = ctx.snapshot.attr(node, dawn_cluster::col::hosts::IP).filter(|ip| !ip.trim().is_empty());
            if let Some(ip) = ip.filter(|ip| ip.trim().parse::<std::net::IpAddr>().is_err()) {
                out.warning(format!("{node} gets no line: hosts.ip is '{ip}', which is not an IP address"))?;
            }
        }
        let mut list = Vec::new();
        for node in nodes {
            let mut odd = Vec::new();
            let found = entries(&ctx.snapshot, &node, style, &mut odd);
            for name in odd {
                out.warning(format!("{node}: '{}' is not a host name and is left out", excerpt(&name)))?;
            }
            list.push((node, found));
        }
        Ok(list)
    }
}

/// The file's text; none if there is no file. A file that cannot be read is not replaced.
fn present(path: &Path) -> Result<String, Stop> {
    hosts_record::text(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &dyn Display) -> Stop {
    Stop::unavailable(format!("{}: {error}", path.display()))
}

/// The old file becomes `…xcatbak`; the new one appears as a whole.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    keep_old(path, MODE)?;
    whole::write(path, text.as_bytes(), MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_beside_the_file_are_replaced_and_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, victim) = (dir.path().join("hosts"), dir.path().join("victim"));
        std::fs::write(&path, "old\n").expect("a file");
        std::fs::write(&victim, "untouched").expect("a file");
        for name in ["hosts.xcatbak", "hosts.new"] {
            std::os::unix::fs::symlink(&victim, dir.path().join(name)).expect("a link");
        }
        write(&path, "new\n").expect("written");
        let text = |path: &Path| std::fs::read_to_string(path).expect("a text");
        assert_eq!((text(&path).as_str(), text(&victim).as_str()), ("new\n", "untouched"));
        assert_eq!(text(&dir.path().join("hosts.xcatbak")), "old\n");
    }
}
