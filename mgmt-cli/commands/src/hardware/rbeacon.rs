//! `rbeacon`: the light that identifies a machine in its rack.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Links, Target};
use std::sync::Arc;

/// Switch the identify lights of nodes on or off
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// on or off
    #[arg(value_name = "STATE")]
    state: Vec<String>,
}

/// The light of a node.
#[derive(serde::Serialize)]
struct Light<'n> {
    node: &'n str,
    light: &'static str,
}

impl Report for Light<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.light)
    }
}

impl Command for Args {
    const NAME: &'static str = "rbeacon";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let words: Vec<&str> = self.state.iter().map(String::as_str).collect();
        let on = match words[..] {
            ["on"] => true,
            ["off"] => false,
            _ => {
                let text = "Only 'on' or 'off' is supported for IPMI managed nodes.";
                return ctx
                    .nodes()
                    .iter()
                    .try_for_each(|node| out.node_error(node, CommandError::usage(text)));
            }
        };
        let job = move |links: Arc<Links>, target: Target| async move {
            links.driver(&target).await?.identify(on).await
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, ()| {
            out.report(&Light { node, light: if on { "on" } else { "off" } })
        })
    }
}
