//! `noderange`: what a noderange stands for.

use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};

/// Print the nodes of a noderange, one a line
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The expression
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Print one line, names separated by commas
    #[arg(long)]
    comma: bool,
}

impl Command for Args {
    const NAME: &'static str = "noderange";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.comma {
            return out.line(ctx.nodes().join(","));
        }
        ctx.nodes().iter().try_for_each(|node| out.line(node))
    }
}
