//! `makeconservercf`: consoles in an outside conserver's `conserver.cf`; or, as the daemon holds consoles
//! itself, a check of the tables.

use super::conserver::{Console, File, Shared, is_host};
use super::held::{self, Found, Service, confluent, found, is_plain, nothing_to_delete, service};
use crate::edits::{NOTHING, show_lines};
use crate::units::{running, systemctl};
use dawn_bootd::address::of_this_machine;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_cluster::col;
use std::path::Path;

/// Where conserver looks for it, if `site.conserverconf` is empty.
const FILE: &str = "/etc/conserver.cf";
/// Units of conserver: Debian's, others.
const UNITS: [&str; 2] = ["conserver-server", "conserver"];

/// Check the consoles of nodes, or write conserver's configuration
///
/// The daemon holds the consoles itself; then the command names the nodes whose tables lack something. With
/// site.consoleservice=conserver it writes the nodes into conserver.cf: conserver shows consoles by rcons.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Remove the nodes from conserver.cf; without nodes all
    #[arg(short = 'd', long = "delete", conflicts_with = "cleanup")]
    delete: bool,
    /// Remove nodes that are not defined any more
    #[arg(short = 'C', long = "cleanup", conflicts_with = "noderange")]
    cleanup: bool,
    /// Accepted for compatibility: only this machine's file is written
    #[arg(short = 'c', long = "conserver")]
    conserver: bool,
    /// Accepted for compatibility: only this machine's file is written
    #[arg(short = 'l', long = "local")]
    local: bool,
    /// More hosts that may ask conserver, separated by commas
    #[arg(short = 't', long = "trust", value_name = "HOSTS", value_delimiter = ',')]
    trust: Vec<String>,
    /// Accepted for compatibility
    #[arg(short = 'V', long = "verbose")]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes [default: all that have a console]
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "makeconservercf";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.local && self.noderange.is_some() {
            return Err(Stop::usage("Invalid option -l or --local when there are nodes specified."));
        }
        match service(&ctx.snapshot) {
            Service::Conserver => self.write(ctx, out),
            Service::Goconserver => Err(Stop::conflict(
                "goconserver is being used as the console service, did you mean: makegocons <noderange>? If not, stop \
                 goconserver and retry.",
            )),
            Service::Confluent => Err(confluent()),
            Service::Ours if self.dry_run => out.heading(NOTHING),
            Service::Ours if self.cleanup => out.heading("Nothing removed"),
            Service::Ours if self.delete => nothing_to_delete(out),
            Service::Ours => with_console(&found(ctx, self.noderange.is_some()), out).map(drop),
        }
    }
}

/// The nodes that have a console; an error for each of the others.
fn with_console<'f>(found: &'f [Found], out: &mut Out<'_>) -> Result<Vec<&'f Found>, Stop> {
    let mut good = Vec::new();
    for one in found {
        let lacks = one.lacks().or_else(|| {
            (!is_plain(&one.node))
                .then(|| "the name of the node cannot be written to conserver.cf".to_owned())
        });
        match lacks {
            None => good.push(one),
            Some(lacks) => {
                let text = format!("Bad configuration, check attributes under the nodehm category: {lacks}");
                out.node_error(&one.node, CommandError::conflict(text))?;
            }
        }
    }
    Ok(good)
}

impl Args {
    fn write(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("write conserver.cf")?;
        if let Some(host) = self.trust.iter().find(|host| !is_host(host)) {
            return Err(Stop::usage(format!("'{host}' is not the name or address of a host")));
        }
        let path = held::path_of(&ctx.snapshot, "conserverconf", FILE)?;
        let old = held::text_of(&path)?;
        let mut file = File::read(&old)
            .map_err(|error| Stop::from(CommandError::conflict(path.display().to_string()).cause(error)))?;
        if self.cleanup {
            let is_gone = |node: &&str| !ctx.snapshot.has_node(node);
            let gone: Vec<String> = file.nodes().into_iter().filter(is_gone).map(str::to_owned).collect();
            file.remove(|node| gone.iter().any(|name| name == node));
            if !self.dry_run {
                out.heading(match gone.as_slice() {
                    [] => "Nothing removed".to_owned(),
                    gone => format!("Remove console entry for the nodes:{}", gone.join(",")),
                })?;
            }
        } else if self.delete {
            let is_named = self.noderange.is_some();
            file.remove(|node| !is_named || ctx.nodes().iter().any(|name| name == node));
        } else {
            self.set(ctx, &mut file, out)?;
        }
        let new = file.text();
        if self.dry_run {
            return show_lines(&path, &old, &new, out);
        }
        if new == old {
            return Ok(());
        }
        held::write(&path, &new)?;
        out.report(&Deed::new("wrote", "file", path.display().to_string()))?;
        restart(&path, out)
    }

    /// The nodes as the tables have them; without a noderange no others of ours.
    fn set(&self, ctx: &Ctx<'_>, file: &mut File, out: &mut Out<'_>) -> Done {
        let is_named = self.noderange.is_some();
        let found = found(ctx, is_named);
        let nodes = with_console(&found, out)?;
        let on_demand = ctx.snapshot.site_flag("consoleondemand", false);
        file.set_shared(&Shared { trusted: self.trusted(ctx), on_demand });
        if !is_named {
            file.remove(|node| !nodes.iter().any(|one| one.node == node));
        }
        for one in nodes {
            let master =
                ctx.snapshot.attr(&one.node, col::nodehm::CONSERVER).map(|host| host.trim().to_owned());
            let master = master.filter(|host| !self.is_here(ctx, host));
            if let Some(host) = master.as_ref().filter(|host| !is_host(host)) {
                let text = format!("nodehm.conserver is '{host}', which is not the name of a host");
                out.node_error(&one.node, CommandError::conflict(text))?;
                continue;
            }
            let own = Some(one.on_demand).filter(|own| *own != on_demand);
            file.set(&Console { node: one.node.clone(), master, on_demand: own });
        }
        Ok(())
    }

    fn is_here(&self, ctx: &Ctx<'_>, host: &str) -> bool {
        let master = ctx.snapshot.site("master");
        host.is_empty()
            || host == ctx.host
            || host == "localhost"
            || master.is_some_and(|master| *master == *host)
    }

    /// Who may ask conserver: this machine, by all its addresses, and those of `-t`.
    fn trusted(&self, ctx: &Ctx<'_>) -> Vec<String> {
        let mut hosts = vec!["127.0.0.1".to_owned()];
        hosts.extend(ctx.snapshot.site("master").map(|master| master.trim().to_owned()));
        let own = of_this_machine().unwrap_or_default();
        hosts.extend(own.iter().map(|own| own.address.to_string()).chain(self.trust.iter().cloned()));
        let mut seen = std::collections::HashSet::new();
        hosts.retain(|host| !host.is_empty() && seen.insert(host.clone()));
        hosts
    }
}

/// conserver reads the file again.
fn restart(path: &Path, out: &mut Out<'_>) -> Done {
    match running(&UNITS) {
        Some(unit) if systemctl("reload-or-restart", unit) => {
            out.report(&Deed::new("restarted", "service", unit))
        }
        Some(unit) => Err(Stop::unavailable(format!("{unit} could not be restarted"))),
        None => out.warning(format!(
            "conserver does not run as a service of systemd here: it reads {} when it starts",
            path.display()
        )),
    }
}
