//! `makegocons`: consoles of an outside goconserver; or, as the daemon holds consoles itself, a check of the
//! tables and the states of consoles.

use super::goconserver::Nodes;
use super::held::{self, Found, Service, confluent, found, is_plain, nothing_to_delete, service};
use crate::edits::{NOTHING, answers, show_lines};
use crate::units::{running, systemctl};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop};
use dawn_hardware::console::State;

/// The file of nodes, if `site.goconserverdir` does not name another directory.
const DIRECTORY: &str = "/var/lib/goconserver";
const FILE: &str = "nodes.json";
const UNITS: [&str; 1] = ["goconserver"];

/// Check the consoles of nodes, or write goconserver's nodes
///
/// The daemon holds the consoles itself; then the command says which nodes have one. With
/// site.consoleservice=goconserver it writes the nodes into goconserver's nodes.json: goconserver shows each
/// console by rcons.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Remove the nodes; without nodes all of ours
    #[arg(short = 'd', long = "delete", conflicts_with_all = ["cleanup", "query"])]
    delete: bool,
    /// Show the states of consoles
    #[arg(short = 'q', long = "query")]
    query: bool,
    /// Remove nodes that are not defined any more
    #[arg(short = 'C', long = "cleanup", conflicts_with_all = ["noderange", "query"])]
    cleanup: bool,
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

/// The state of a console, as goconserver names it.
#[derive(serde::Serialize)]
struct Shown<'n> {
    node: &'n str,
    server: &'n str,
    state: &'n str,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(row(self.node, self.server, self.state))
    }
}

fn row(node: &str, server: &str, state: &str) -> String {
    format!("{node:<32} {server:<32} {state}")
}

impl Command for Args {
    const NAME: &'static str = "makegocons";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        match service(&ctx.snapshot) {
            Service::Goconserver => self.write(ctx, out),
            Service::Conserver => Err(Stop::conflict("conserver is started, please stop it at first.")),
            Service::Confluent => Err(confluent()),
            Service::Ours if self.query => self.states(ctx, out, |node| of_hub(ctx, node)),
            Service::Ours if self.dry_run => out.heading(NOTHING),
            Service::Ours if self.cleanup => out.heading("Nothing removed"),
            Service::Ours if self.delete => nothing_to_delete(out),
            Service::Ours => {
                let said = |one: Found| match (&one.place, one.lacks()) {
                    (None, _) => (one.node, Ok(Outcome::Ignored)),
                    (Some(_), Some(why)) => (one.node, Err(CommandError::conflict(why))),
                    (Some(_), None) => (one.node, Ok(Outcome::Created)),
                };
                say(found(ctx, self.noderange.is_some()).into_iter().map(said).collect(), out)
            }
        }
    }
}

/// What is said of a node.
type Said = (String, Result<Outcome, CommandError>);

/// What was done for a node.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Created,
    Deleted,
    /// It has no console: neither nodehm.cons nor nodehm.serialport is set.
    Ignored,
}

/// The same with the node; the lines have xCAT's words.
#[derive(serde::Serialize)]
struct Saying<'n> {
    node: &'n str,
    result: Outcome,
}

impl Report for Saying<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let words = match self.result {
            Outcome::Created => "Created",
            Outcome::Deleted => "Deleted",
            Outcome::Ignored => "ignore, cons attribute or serialport attribute is not specified.",
        };
        lines.node(self.node, words)
    }
}

fn say(all: Vec<Said>, out: &mut Out<'_>) -> Done {
    all.into_iter().try_for_each(|(node, said)| match said {
        Ok(result) => out.report(&Saying { node: &node, result }),
        Err(error) => out.node_error(&node, error),
    })
}

/// The state that the daemon knows; the spelling of "avaiable" is goconserver's.
fn of_hub(ctx: &Ctx<'_>, node: &str) -> Option<&'static str> {
    let shown = ctx.boot.consoles()?.shown(node)?;
    Some(match shown.state {
        State::Connected => "connected",
        State::Connecting => "connecting",
        State::Available => "avaiable",
        State::Nowhere => "error",
    })
}

impl Args {
    /// The table of `-q`; nodes without a state are not registered.
    fn states<'s>(&self, ctx: &Ctx<'_>, out: &mut Out<'_>, state: impl Fn(&str) -> Option<&'s str>) -> Done {
        let mut all = found(ctx, self.noderange.is_some());
        all.sort_by(|one, other| one.node.cmp(&other.node));
        if all.is_empty() {
            return out.heading("Could not find any node.");
        }
        out.heading("")?;
        out.heading(row("NODE", "SERVER", "STATE"))?;
        for one in &all {
            let (server, state) = state(&one.node).map_or(("", "unregistered"), |state| (ctx.host, state));
            out.report(&Shown { node: &one.node, server, state })?;
        }
        Ok(())
    }

    fn write(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("write goconserver's nodes")?;
        let directory = held::path_of(&ctx.snapshot, "goconserverdir", DIRECTORY)?;
        let path = directory.join(FILE);
        if !answers(&directory)? {
            return Err(Stop::unavailable("goconserver is not installed."));
        }
        let read = || -> Result<(String, Nodes), Stop> {
            let old = held::text_of(&path)?;
            let nodes = Nodes::read(&old).map_err(|error| {
                Stop::from(CommandError::conflict(path.display().to_string()).cause(error))
            })?;
            Ok((old, nodes))
        };
        if self.query {
            let (_, nodes) = read()?;
            return self.states(ctx, out, |node| nodes.has(node).then_some("registered"));
        }
        if self.dry_run {
            let (old, mut nodes) = read()?;
            self.change(ctx, &mut nodes);
            return show_lines(&path, &old, &nodes.text(), out);
        }
        // goconserver writes the file, too: it stops before the file is read.
        let unit = running(&UNITS);
        if let Some(unit) = unit {
            systemctl("stop", unit);
        }
        let done = read().and_then(|(_, mut nodes)| {
            let said = self.change(ctx, &mut nodes);
            held::write(&path, &nodes.text())?;
            say(said, out)?;
            out.report(&Deed::new("wrote", "file", path.display().to_string()))
        });
        match unit {
            Some(unit) if !systemctl("start", unit) => Err(Stop::unavailable(format!("{unit} could not be started"))),
            Some(_) => done,
            None => done.and_then(|()| {
                out.warning("goconserver does not run as a service of systemd here: it reads its nodes when it starts")
            }),
        }
    }

    /// Changes the nodes; what is to be said of each.
    fn change(&self, ctx: &Ctx<'_>, nodes: &mut Nodes) -> Vec<Said> {
        let is_named = self.noderange.is_some();
        if self.cleanup || self.delete {
            let gone: Vec<String> = match is_named {
                true => ctx.nodes().iter().filter(|node| nodes.has(node)).cloned().collect(),
                false => nodes
                    .ours()
                    .into_iter()
                    .filter(|node| self.delete || !ctx.snapshot.has_node(node))
                    .collect(),
            };
            gone.iter().for_each(|node| nodes.remove(node));
            return gone.into_iter().map(|node| (node, Ok(Outcome::Deleted))).collect();
        }
        let mut all = Vec::new();
        for one in found(ctx, is_named) {
            let odd =
                || (!is_plain(&one.node)).then(|| "the name cannot be written to nodes.json".to_owned());
            let said = match (&one.place, one.lacks().or_else(odd)) {
                (None, _) => Ok(Outcome::Ignored),
                (Some(_), Some(why)) => {
                    let text = format!("Failed to create console entry in goconserver: {why}");
                    Err(CommandError::conflict(text))
                }
                (Some(_), None) => {
                    nodes.set(&one.node, one.on_demand);
                    Ok(Outcome::Created)
                }
            };
            all.push((one.node, said));
        }
        all
    }
}
