//! `makeknownhosts`: root's known_hosts file, with the keys of nodes.
//!
//! The daemon itself knows the keys it gave to its nodes without this file; `ssh` on the management node
//! reads it. `--scan` records what a host shows now: for nodes whose keys come from elsewhere.

use super::options::unanswered;
use super::targets::{KNOWN_HOSTS, address, targets};
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_bootd::zones::keys_of;
use dawn_remote::host_keys::{KNOWN_HOSTS_BYTES_MAX, without};
use dawn_remote::names::{PORT_DEFAULT, host_name};
use dawn_remote::run::CONNECT_TIME_DEFAULT;
use dawn_remote::scan::scan;
use dawn_serving::{bounded_read, whole};
use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Record the host keys of nodes in root's known_hosts file
///
/// Lines of the nodes are replaced, all others stay; the file as it was is kept as known_hosts.backup.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only remove the lines of the nodes
    #[arg(short = 'r', long = "remove", short_alias = 'd')]
    remove: bool,
    /// Ask the nodes for their keys and record what they show now, with its fingerprint to compare
    #[arg(long = "scan", conflicts_with = "remove")]
    scan: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Command for Args {
    const NAME: &'static str = "makeknownhosts";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("write root's known_hosts file")?;
        let directory = keys_of(dawn_bootd::zones::default_row(&ctx.snapshot).as_ref());
        let path = directory.join(KNOWN_HOSTS);
        // What is missing is said before a file is asked for that the daemon may not be able to read.
        let added = if self.remove { Vec::new() } else { self.lines(ctx, out)? };
        let old = match bounded_read::read_text(&path, KNOWN_HOSTS_BYTES_MAX) {
            Err(bounded_read::Refused::Missing) => String::new(),
            read => read.map_err(|why| Stop::unavailable(format!("{}: {why}", path.display())))?,
        };
        let text = replaced(ctx, &old, &added);
        if self.dry_run {
            return show(&old, &text, out);
        }
        if text != old {
            let failed = |error| Stop::unavailable(format!("{}: {error}", path.display()));
            look(&directory, move |directory| write(directory, &old, &text))?.map_err(failed)?;
        }
        Ok(())
    }
}

impl Args {
    /// The lines of all nodes.
    fn lines(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Result<Vec<String>, Stop> {
        if self.scan {
            return scanned(ctx, self.dry_run, out);
        }
        let issued = dawn_bootd::host_keys::Issued::new(ctx.data);
        let mut lines = Vec::new();
        for node in ctx.nodes() {
            let keys = issued.of(node);
            if keys.is_empty() {
                let place = ctx.data.map(dawn_bootd::host_keys::directory).unwrap_or_default();
                let place = place.display();
                let text = format!("there are no host keys in {place}. Cannot create the known_hosts file.");
                let hint = "`dawn init` makes them; `--scan` asks the nodes for theirs.";
                return Err(CommandError::not_found(text).hint(hint).into());
            }
            lines.extend(keys.lines(&names(ctx, node)?));
        }
        Ok(lines)
    }
}

/// The key that a node shows.
#[derive(serde::Serialize)]
struct Scanned<'k> {
    node: &'k str,
    fingerprint: &'k str,
}

impl Report for Scanned<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.fingerprint)
    }
}

/// What the nodes show now.
fn scanned(ctx: &Ctx<'_>, quiet: bool, out: &mut Out<'_>) -> Result<Vec<String>, Stop> {
    let all = scan(&targets(ctx, "root", PORT_DEFAULT), CONNECT_TIME_DEFAULT);
    let mut lines = Vec::new();
    for (node, shown) in all.map_err(|error| Stop::unavailable(error.to_string()))? {
        match shown {
            Ok(shown) => {
                if !quiet {
                    out.report(&Scanned { node: &node, fingerprint: &shown.fingerprint })?;
                }
                lines.push(format!("{} {}", names(ctx, &node)?, shown.key));
            }
            Err(failure) => out.node_error(&node, unanswered(&failure))?,
        }
    }
    Ok(lines)
}

/// Name, name with domain, address.
fn names(ctx: &Ctx<'_>, node: &str) -> Result<String, Stop> {
    let node = host_name(node).map_err(|error| Stop::usage(error.to_string()))?;
    let mut names = vec![node.to_owned()];
    names.extend(full_name(ctx, node).filter(|name| host_name(name).is_ok()));
    names.extend(address(&ctx.snapshot, node).map(|address| address.to_string()));
    Ok(names.join(","))
}

/// The name with the domain of the node.
fn full_name(ctx: &Ctx<'_>, node: &str) -> Option<String> {
    let domain = ctx.snapshot.domain_of(address(&ctx.snapshot, node))?;
    Some(format!("{node}.{}", domain.name))
}

/// The text without the lines of the nodes, and with the new ones.
fn replaced(ctx: &Ctx<'_>, old: &str, added: &[String]) -> String {
    let mut gone: HashSet<String> = HashSet::new();
    for node in ctx.nodes() {
        gone.insert(node.to_ascii_lowercase());
        gone.extend(address(&ctx.snapshot, node).map(|address| address.to_string()));
        gone.extend(full_name(ctx, node).map(|name| name.to_ascii_lowercase()));
    }
    let mut text = without(old, &gone);
    for line in added {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn show(old: &str, new: &str, out: &mut Out<'_>) -> Done {
    let of = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (of(old), of(new));
    let (before, after): (HashSet<&String>, HashSet<&String>) = (old.iter().collect(), new.iter().collect());
    let mut differ = |change, line: &String| out.report(&KnownHost { change, line });
    old.iter().filter(|line| !after.contains(line)).try_for_each(|line| differ('-', line))?;
    new.iter().filter(|line| !before.contains(line)).try_for_each(|line| differ('+', line))
}

/// A line that differs.
#[derive(serde::Serialize)]
struct KnownHost<'a> {
    change: char,
    line: &'a str,
}

impl Report for KnownHost<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("{} {}", self.change, self.line))
    }
}

/// Makes root's directory of ssh, too, where nobody has used ssh yet.
fn write(directory: &Path, old: &str, text: &str) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if !old.is_empty() {
        whole::write(&directory.join("known_hosts.backup"), old.as_bytes(), 0o600)?;
    }
    whole::write(&directory.join(KNOWN_HOSTS), text.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_directory_is_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let ssh = dir.path().join(".ssh");
        write(&ssh, "", "cn1 key\n").expect("it is written");
        let mode = std::fs::metadata(&ssh).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(std::fs::read_to_string(ssh.join(KNOWN_HOSTS)).expect("the file"), "cn1 key\n");
    }

    #[test]
    fn a_scanned_key_has_fields() {
        let scanned = Scanned { node: "cn1", fingerprint: "ED25519 SHA256:x" };
        let json = serde_json::to_value(&scanned).expect("JSON");
        assert_eq!(json, serde_json::json!({"node": "cn1", "fingerprint": "ED25519 SHA256:x"}));
    }
}
