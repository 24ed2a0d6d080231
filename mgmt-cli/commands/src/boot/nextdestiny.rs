//! `nextdestiny`: a node has finished its task.

use crate::destiny_reply::{caller, reply};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// Advance the chain of nodes and report what they are to do (nodes send this request themselves)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes [default: the calling node]
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "nextdestiny";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        caller(ctx, self.noderange.is_some())?
            .iter()
            .try_for_each(|node| reply(node.as_deref(), true, ctx, out))
    }
}
