//! `rspreset`: restarts service processors.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_hardware::target::Deciding;
use dawn_hardware::{Error, Links, Target};
use std::sync::Arc;

/// Restart the service processors of nodes; the nodes themselves keep running
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

/// A node whose service processor restarts.
#[derive(serde::Serialize)]
struct Restarting<'n> {
    node: &'n str,
    done: &'static str,
}

impl Report for Restarting<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.done)
    }
}

impl Command for Args {
    const NAME: &'static str = "rspreset";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let job = |links: Arc<Links>, target: Target| async move {
            let driver = links.driver(&target).await?;
            let unidentified = || Error::NoDriver(Deciding::Mgt.unidentified());
            driver.processor().ok_or_else(unidentified)?.reset().await
        };
        let targets = jobs::targets(ctx, Deciding::Mgt);
        jobs::run(ctx, out, jobs::fanout(ctx)?, targets, job, |out, node, ()| {
            out.report(&Restarting { node, done: "BMC reset" })
        })
    }
}
