//! `noderm`: remove nodes.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::schema;

/// Remove nodes and their rows in all tables
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
    const NAME: &'static str = "noderm";
    const KIND: Kind = Kind::Nodes;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        transact_rows(ctx, out, self.dry_run, |snapshot, _| Ok(remove(ctx.nodes(), snapshot)))
    }
}

/// Deletes the nodes' rows in every table with a column `node`, as far as there are any.
pub fn remove(nodes: &[String], snapshot: &dawn_cluster::Snapshot) -> Edits {
    let mut edits = Edits::new();
    // Most tables of the schema are empty in most clusters.
    let tables = schema().tables().iter().filter(|table| snapshot.row_count(table.id) > 0);
    for table in tables.filter(|table| table.has_literal_node()) {
        let Some(col) = table.col("node") else { continue };
        for node in nodes {
            if !snapshot.find_rows(&[(col, node)]).is_empty() {
                edits.delete(&[(col, node.clone())], table);
            }
        }
    }
    edits
}
