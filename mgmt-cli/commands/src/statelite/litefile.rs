//! `litefile`: the special files of nodes.

use crate::lite::{Files, nodes};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_statelite::files;

/// List the files that are separate on each statelite node, with their options
///
/// A node that asks without noderange gets its own list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "litefile";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        nodes(ctx, self.noderange.is_some())?.iter().try_for_each(|node| {
            out.report(&Files { of_image: false, name: node, list: files(&ctx.snapshot, node) })
        })
    }
}
