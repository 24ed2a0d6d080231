//! `litefile`: the special files of nodes.

use crate::lite::{file_lines, file_objects, files_of, nodes};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// List the files that statelite nodes have of their own, with their options
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
    const NAME: &'static str = "litefile";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let mut list = Vec::new();
        for node in nodes(ctx, self.noderange.is_some())? {
            let files = files_of(&ctx.snapshot, &node);
            if self.json {
                list.extend(file_objects("node", &node, &files));
            } else {
                file_lines(&node, &files, out)?;
            }
        }
        if self.json { out.json(&list) } else { Ok(()) }
    }
}
