//! `litetree`: where nodes look for their files.

use crate::lite::{Trees, nodes};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// List the directories in which statelite nodes look for their files, in order
///
/// A node that asks without noderange gets its own list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "litetree";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        nodes(ctx, self.noderange.is_some())?.iter().try_for_each(|node| {
            let trees = Trees::of(node, &ctx.snapshot, out)?;
            out.report(&trees)
        })
    }
}
