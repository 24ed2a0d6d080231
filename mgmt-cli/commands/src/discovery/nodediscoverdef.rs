//! `nodediscoverdef`: a machine becomes a node by hand.

use super::records::{all, cell, cell_or, method_of};
use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::discovery::node_to_define;
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_cluster::Edit;

/// Assign a discovered machine to a node, or remove entries of discovered machines
///
/// The machine gets everything that discovery would write: MAC, inventory, the chain from its beginning. If
/// it still waits, it goes on at once.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "nodediscoverdef [OPTIONS] -u UUID -n NODE\n       nodediscoverdef [OPTIONS] -r {-u UUID | -t METHOD}"
)]
pub struct Args {
    /// The machine with this UUID
    #[arg(short = 'u', value_name = "UUID")]
    uuid: Option<String>,
    /// The node that it becomes
    #[arg(short = 'n', value_name = "NODE", requires = "uuid", conflicts_with = "remove")]
    node: Option<String>,
    /// Remove the entry of the machine (-u), or the entries of a method (-t)
    #[arg(short = 'r')]
    remove: bool,
    /// With -r: remove the entries of machines that this method found; `all`: all entries
    #[arg(short = 't', value_name = "METHOD", requires = "remove")]
    kind: Option<String>,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "nodediscoverdef";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.remove {
            return self.forget(ctx, out);
        }
        let (Some(uuid), Some(node)) = (&self.uuid, &self.node) else {
            return Err(Stop::usage("Name a machine and a node: nodediscoverdef -u UUID -n NODE"));
        };
        let discovery = ctx.boot.discovery();
        let discovery = discovery.ok_or_else(|| Stop::unavailable("This daemon discovers no machines."))?;
        if !ctx.view.covers(node) {
            return Err(Stop::refused(format!("Permission denied: {node}")));
        }
        if self.dry_run {
            let node = node_to_define(&ctx.snapshot, node)?;
            let would = Deed::new("would define", "node", &*node).with("uuid", uuid.as_str());
            return out.report(&would.line(format!("~ {node}: the machine {uuid} would become this node")));
        }
        let who = ctx.call.username.as_deref().unwrap_or(&ctx.call.peer_host);
        discovery.define(who, uuid, node)?;
        let defined = Deed::new("defined", "node", node.as_str()).with("uuid", uuid.as_str());
        out.report(&defined.line(format!("Defined [{uuid}] to node {node}.")))
    }
}

impl Args {
    fn forget(&self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.uuid.is_some() && self.kind.is_some() {
            return Err(Stop::usage("-u and -t exclude each other: -u names one machine, -t a method"));
        }
        if self.uuid.is_none() && self.kind.is_none() {
            return Err(Stop::usage(
                "Name a machine or a method: nodediscoverdef -r -u UUID, or -r -t METHOD",
            ));
        }
        let method = self.kind.as_deref().map(method_of).transpose()?.flatten();
        let is_meant = |row: &dawn_cluster::Row| match &self.uuid {
            Some(uuid) => cell(row, "uuid") == *uuid,
            None => method.is_none_or(|method| cell_or(row, "method", "undef") == method),
        };
        transact(ctx, out, self.dry_run, |snapshot, _| {
            let mut edits = Edits::new();
            for row in all(snapshot).iter().filter(|row| is_meant(row)) {
                edits.push(Edit::delete("discoverydata", &[("uuid", &cell(row, "uuid"))])?);
            }
            if let Some(uuid) = self.uuid.as_deref().filter(|_| edits.is_empty()) {
                return Err(Stop::not_found(format!("No machine with the UUID {uuid} was seen.")));
            }
            Ok(edits)
        })?;
        if self.dry_run {
            return Ok(());
        }
        if let Some(discovery) = ctx.boot.discovery() {
            let meant = ctx.snapshot.rows("discoverydata").filter(|row| is_meant(row));
            let uuids: Vec<String> = meant.map(|row| cell(row, "uuid")).collect();
            discovery.forget(&ctx.snapshot, &uuids);
        }
        let removed = Deed::new("removed", "discovery entries", self.uuid.as_deref().unwrap_or("all"));
        out.report(&removed.line("Removing discovery entries finished."))
    }
}
