//! `nodegrpch`: values of groups.

use crate::edits::{Edits, transact_rows};
use crate::nodes::nodech::{Assignment, BLANK, Operator};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::{Snapshot, Text, col};

/// Change values of groups and clear the same values of their members
#[derive(Debug, clap::Args)]
#[command(override_usage = "nodegrpch [OPTIONS] GROUP[,GROUP...] ITEM=VALUE...")]
pub struct Args {
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Groups, comma separated
    #[arg(value_name = "GROUPS", required = true)]
    groups: String,
    /// ITEM=VALUE with ITEM table.column or mgt
    #[arg(value_name = "ITEM", required = true)]
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "nodegrpch";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let words = Assignment::read_all(&self.items, &ctx.view, out)?;
        if out.failed() {
            return Ok(());
        }
        if words.assignments.iter().any(|a| a.col == col::nodelist::GROUPS) {
            return Err(Stop::refused("Group membership is not changeable via nodegrpch"));
        }
        if words.assignments.iter().any(|a| a.operator != Operator::Set) || !words.conditions.is_empty() {
            return Err(Stop::refused(",= and ^= are not supported by nodegrpch"));
        }
        transact_rows(ctx, out, self.dry_run, |snapshot, out| {
            let mut edits = Edits::new();
            for group in self.groups.split(',').filter(|group| !group.is_empty()) {
                let members = ctx.view.members(snapshot, group);
                if members.is_empty() {
                    out.warning(format!("The group {group} has no members."))?;
                }
                for assignment in &words.assignments {
                    change(group, &members, assignment, snapshot, &mut edits);
                }
            }
            Ok(edits)
        })
    }
}

fn change(group: &str, members: &[Text], assignment: &Assignment, snapshot: &Snapshot, edits: &mut Edits) {
    let table = assignment.col.table.info();
    let Some(key) = table.node_col() else { return };
    let value = if assignment.value.is_empty() { BLANK } else { &assignment.value };
    edits.set(table, vec![(key, group.to_owned())], vec![(assignment.col, value.to_owned())]);
    for node in members {
        let has = snapshot.own_rows(table.id, node).any(|row| row.get(assignment.col).is_some());
        if has {
            edits.set(table, vec![(key, node.to_string())], vec![(assignment.col, String::new())]);
        }
    }
}
