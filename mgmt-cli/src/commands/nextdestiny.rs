//! `nextdestiny`: a node has done what it was told.

use crate::destiny_reply::{caller, reply};
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};

/// Advance the chain of nodes and tell them what to do (nodes ask this themselves)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes; the caller without it
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
