//! `tabgrep`: in which tables a node is mentioned.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_cluster::schema;

/// List the tables in which a node, or one of its groups, has a row
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node; of a range the first
    #[arg(value_name = "NODE", required = true)]
    noderange: String,
}

/// A table with a row of the node.
#[derive(serde::Serialize)]
struct Found {
    table: &'static str,
}

impl Report for Found {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(self.table)
    }
}

impl Command for Args {
    const NAME: &'static str = "tabgrep";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let Some(node) = ctx.nodes().first() else { return Ok(()) };
        let mut names = vec![node.clone()];
        names.extend(ctx.snapshot.groups_of(node).iter().map(|group| group.to_string()));
        for table in schema().tables_by_name().filter(|table| table.has_literal_node()) {
            let Some(col) = table.col("node") else { continue };
            let found = |name: &String| ctx.snapshot.find_row(&[(col, name)]).is_some();
            if names.iter().any(found) {
                out.report(&Found { table: table.name })?;
            }
        }
        Ok(())
    }
}
