//! `litetree`: where nodes look for their files.

use crate::lite::{nodes, tree_lines, tree_objects};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// List the directories in which statelite nodes look for their files, in order
///
/// A node that asks without noderange gets its own list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "litetree";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let nodes = nodes(ctx, self.noderange.is_some())?;
        if self.json {
            let mut trees = Vec::new();
            for node in &nodes {
                trees.extend(tree_objects(node, &ctx.snapshot, out)?);
            }
            return out.json(&trees);
        }
        nodes.iter().try_for_each(|node| tree_lines(node, &ctx.snapshot, out))
    }
}
