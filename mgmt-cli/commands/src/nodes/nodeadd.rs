//! `nodeadd`: new nodes with their values.

use crate::edits::{Edits, transact_rows};
use crate::nodes::nodech::{Assignment, Operator, assign, warn_dynamic};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::col;

/// Add nodes, with values of their tables
///
/// ITEM=VALUE with ITEM table.column or a short name (groups, tags, mgt). Without groups= no node is
/// defined, only rows are made. Nodes that exist are changed.
#[derive(Debug, clap::Args)]
#[command(override_usage = "nodeadd [OPTIONS] NODERANGE groups=GROUP[,GROUP...] [ITEM=VALUE...]")]
pub struct Args {
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Names, as a noderange; they need not exist
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Assignments
    #[arg(value_name = "ITEM", required = true)]
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "nodeadd";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let nodes = crate::names::expand_new(&ctx.snapshot, &ctx.view, &self.noderange)?;
        let words = Assignment::read_all(&self.items, &ctx.view, out)?;
        if out.failed() {
            return Ok(());
        }
        if let Some(other) = words.assignments.iter().find(|a| a.operator != Operator::Set) {
            let name = other.col;
            return Err(Stop::usage(format!("only {name}=value is possible for new nodes")));
        }
        let empty_group = |a: &&Assignment| {
            a.col == col::nodelist::GROUPS && a.value.split(',').any(|group| group.trim().is_empty())
        };
        if let Some(groups) = words.assignments.iter().find(empty_group) {
            return Err(Stop::usage(format!("groups={}: a group has no name", groups.value)));
        }
        crate::names::warn_capitals(&nodes, out)?;
        transact_rows(ctx, out, self.dry_run, |snapshot, out| {
            warn_dynamic(&words.assignments, snapshot, out)?;
            let mut edits = Edits::new();
            for node in &nodes {
                assign(node, &words.assignments, snapshot, &mut edits);
            }
            Ok(edits)
        })
    }
}
