//! `rcons`: the console of a node. The daemon lets the caller in; the client is a terminal then
//! (`mgmt-cli/src/console.rs`).

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::consoles;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_hardware::console::place::{Place, place};
use dawn_hardware::console::{AttachError, Mode};

/// Show the console of a node and type on it
///
/// Several callers may look at one console; one of them writes. A caller finds on the screen what was
/// written last. `^Ec.` ends it, `^Ec?` lists the other keys: take over, read only, connect again, send a
/// break, who else looks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node
    #[arg(value_name = "NODE", required = true)]
    noderange: String,
    /// Take the right to write from the caller who has it
    #[arg(short = 'f', long)]
    force: bool,
    /// Read only
    #[arg(short = 's', long)]
    spy: bool,
}

impl Command for Args {
    const NAME: &'static str = "rcons";
    const KIND: Kind = Kind::Nodes;
    const JSON: bool = false;
    const STREAMS: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let mode = match (self.force, self.spy) {
            (true, true) => return Err(Stop::usage("cannot use option -s and -f together.")),
            (true, false) => Mode::Take,
            (false, true) => Mode::Watch,
            (false, false) => Mode::Write,
        };
        let [node] = ctx.nodes() else {
            let count = ctx.nodes().len();
            return Err(Stop::usage(format!("rcons shows the console of one node, not of {count}")));
        };
        match place(&ctx.snapshot, node) {
            None => return Err(no_console(node).into()),
            Some(Place::Nowhere(why)) => return Err(nowhere(node, why).into()),
            Some(_) => {}
        }
        let hub = ctx.boot.consoles().ok_or_else(not_held)?;
        let user = ctx.call.username.as_deref().unwrap_or("unknown");
        let name = format!("{user}@{}", ctx.call.peer_host);
        match consoles::attach(hub, node, &name, mode) {
            Ok(stream) => out.join(stream),
            Err(AttachError::NoConsole(_)) => Err(not_held().into()),
            Err(error) => Err(CommandError::unavailable(error.to_string()).into()),
        }
    }
}

/// What the tables lack.
pub(super) fn no_console(node: &str) -> CommandError {
    CommandError::conflict(format!("{node} has no console"))
        .hint(format!("nodehm.cons names one: `chdef {node} cons=ipmi`; docs/consoles.md has the others."))
}

/// Why the console that the tables name is not one that can be shown.
pub(super) fn nowhere(node: &str, why: impl Into<String>) -> CommandError {
    CommandError::conflict(why)
        .hint(format!("`chdef {node} cons=ipmi` is the console of a BMC; docs/consoles.md has the others."))
}

fn not_held() -> CommandError {
    CommandError::unavailable("this daemon does not hold consoles yet").hint(
        "its service `console` must run; `dawn serve` without --services starts it shortly after the start.",
    )
}
