//! `discover`: machines that wait for an administrator, and why.

use super::records::{all, cell};
use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::{Discovery, Waiting, node_to_define};
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop};
use dawn_cluster::{Edit, Snapshot};

/// What may be done.
const ACTIONS: [&str; 5] = ["list", "show", "explain", "approve", "reject"];

/// List, explain, approve or reject machines that wait for a decision
///
/// `list` shows which machines wait and why, `explain` every piece of evidence for one. `approve` makes the
/// machine the node that the evidence suggests, or NODE; `reject` removes it from the list until it sends
/// its description again. A UUID may be shortened as long as it is unique.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "discover [OPTIONS] [list]\n       discover [OPTIONS] {show | explain} UUID\n       discover [OPTIONS] approve UUID [NODE]\n       discover [OPTIONS] reject UUID"
)]
pub struct Args {
    /// list, show (or explain), approve or reject [default: list]
    #[arg(value_name = "ACTION")]
    action: Option<String>,
    /// The machine
    #[arg(value_name = "UUID")]
    uuid: Option<String>,
    /// With approve: the node
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "discover";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let discovery = ctx.boot.discovery();
        let discovery = discovery.ok_or_else(|| Stop::unavailable("This daemon discovers no machines."))?;
        let waiting = discovery.waiting();
        let action = self.action.as_deref().unwrap_or("list");
        if !ACTIONS.contains(&action) {
            return Err(Stop::usage(format!(
                "'{action}' is not one of list, show, explain, approve and reject"
            )));
        }
        if action == "list" {
            if let Some(word) = &self.uuid {
                let error =
                    CommandError::usage(format!("list shows all machines that wait, without '{word}'"));
                return Err(error.hint(format!("`discover explain {word}` shows one.")).into());
            }
            out.heading(line("UUID", "MAC", "MTM", "SERIAL", "REASON"))?;
            return waiting.iter().try_for_each(|machine| out.report(&Shown { machine, explains: false }));
        }
        let machine = self.machine(&waiting)?;
        match action {
            "show" | "explain" => out.report(&Shown { machine, explains: true }),
            "approve" => self.approve(discovery, machine, ctx, out),
            _ => self.reject(discovery, &machine.uuid, ctx, out),
        }
    }
}

impl Args {
    fn machine<'w>(&self, waiting: &'w [Waiting]) -> Result<&'w Waiting, Stop> {
        let wanted = self.uuid.as_deref().unwrap_or_default().to_lowercase();
        if wanted.is_empty() {
            return Err(Stop::usage("Name a machine by its UUID; `discover list` shows them."));
        }
        // The key of a machine that shares its UUID begins with that UUID.
        if let Some(machine) = waiting.iter().find(|machine| machine.uuid == wanted) {
            return Ok(machine);
        }
        let mut found = waiting.iter().filter(|machine| machine.uuid.starts_with(&wanted));
        match (found.next(), found.next()) {
            (Some(machine), None) => Ok(machine),
            (None, _) => Err(Stop::not_found(format!("No machine that waits has the UUID {wanted}."))),
            _ => Err(Stop::conflict(format!(
                "Several machines that wait have UUIDs that begin with {wanted}."
            ))),
        }
    }

    /// Out of the queue, and of the table, whose rows without a node wait too.
    fn reject(&self, discovery: &Discovery, uuid: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let is_recorded = |snapshot: &Snapshot| {
            all(snapshot).iter().any(|row| cell(row, "uuid") == uuid && cell(row, "node").is_empty())
        };
        if is_recorded(&ctx.snapshot) {
            transact(ctx, out, self.dry_run, |snapshot, _| {
                let mut edits = Edits::new();
                if is_recorded(snapshot) {
                    edits.push(Edit::delete("discoverydata", &[("uuid", uuid)])?);
                }
                Ok(edits)
            })?;
        }
        if self.dry_run {
            let would = Deed::new("would reject", "machine", uuid);
            return out.report(&would.line(format!("- {uuid}")));
        }
        discovery.forget(&ctx.snapshot, &[uuid.to_owned()]);
        let rejected = Deed::new("rejected", "machine", uuid);
        out.report(&rejected.line(format!("{uuid} does not wait any more.")))
    }

    fn approve(&self, discovery: &Discovery, machine: &Waiting, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let node = match (&self.node, machine.nodes.as_slice()) {
            (Some(node), _) | (None, [node]) => node,
            (None, []) => {
                return Err(Stop::usage(format!(
                    "No evidence suggests a node: discover approve {} NODE",
                    machine.uuid
                )));
            }
            (None, nodes) => {
                return Err(Stop::usage(format!("Name one of the nodes that fit: {}", nodes.join(", "))));
            }
        };
        if !ctx.view.covers(node) {
            return Err(Stop::refused(format!("Permission denied: {node}")));
        }
        if self.dry_run {
            let node = node_to_define(&ctx.snapshot, node)?;
            let would = Deed::new("would define", "node", &*node).with("uuid", machine.uuid.as_str());
            let line = format!("~ {node}: the machine {} would become this node", machine.uuid);
            return out.report(&would.line(line));
        }
        let who = ctx.call.username.as_deref().unwrap_or(&ctx.call.peer_host);
        discovery.define(who, &machine.uuid, node)?;
        let defined = Deed::new("defined", "node", node.as_str()).with("uuid", machine.uuid.as_str());
        out.report(&defined.line(format!("Defined [{}] to node {node}.", machine.uuid)))
    }
}

/// A machine that waits.
#[derive(serde::Serialize)]
struct Shown<'w> {
    #[serde(flatten)]
    machine: &'w Waiting,
    #[serde(skip)]
    explains: bool,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let machine = self.machine;
        if !self.explains {
            let mac = machine.macs.first().map_or("", String::as_str);
            return lines.line(line(&machine.uuid, mac, &machine.mtm, &machine.serial, &machine.reason));
        }
        lines.line(format!("{}: {}", machine.uuid, machine.reason))?;
        lines.line(format!("    MACs: {}", machine.macs.join(", ")))?;
        machine.evidence.iter().try_for_each(|text| lines.line(format!("    {text}")))?;
        if machine.nodes.is_empty() {
            return Ok(());
        }
        lines.line(format!("    Nodes that fit: {}", machine.nodes.join(", ")))
    }
}

fn line(uuid: &str, mac: &str, mtm: &str, serial: &str, reason: &str) -> String {
    format!("{uuid:<37} {mac:<17} {mtm:<12} {serial:<14} {reason}")
}
