//! `nodepurge`: nodes and everything about them removed.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::schema;

/// Remove nodes and their rows in all tables, including rows of consoles and switches named after them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Command for Args {
    const NAME: &'static str = "nodepurge";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        transact_rows(ctx, out, self.dry_run, |snapshot, _| {
            let mut edits = Edits::new();
            for table in schema().tables() {
                let Some(col) = table.node_col() else { continue };
                for node in ctx.nodes() {
                    if !snapshot.find_rows(&[(col, node)]).is_empty() {
                        edits.delete(&[(col, node.clone())], table);
                    }
                }
            }
            Ok(edits)
        })
    }
}
