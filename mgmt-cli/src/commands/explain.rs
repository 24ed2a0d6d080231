//! `explain`: why a node boots what it boots.

use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};

/// Say what nodes will boot and where each decision comes from
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Command for Args {
    const NAME: &'static str = "explain";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        for node in ctx.nodes() {
            let snapshot = &ctx.snapshot;
            let state = snapshot.attr(node, "chain.currstate");
            out.node(node, format!("state {}", state.as_deref().unwrap_or("(none)")))?;
            if let Err(reason) = ctx.hooks.check_plan(snapshot, node) {
                out.node(node, format!("would not boot: {reason}"))?;
            }
            for line in ctx.hooks.explain(snapshot, node) {
                out.node(node, line)?;
            }
        }
        Ok(())
    }
}
