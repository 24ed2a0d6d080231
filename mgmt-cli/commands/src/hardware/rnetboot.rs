//! `rnetboot`: no driver of this version knows it; every node gets an error.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_hardware::target::Deciding;

/// Boot nodes of a hardware manager over the network
///
/// Dawn has no driver for the machines that this command is for (logical partitions of Power). For all
/// others: rsetboot NODE net, then rpower NODE boot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Accepted for scripts
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "rnetboot";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        jobs::not_for_these(ctx, out, Deciding::Mgt, |node| {
            format!("`rsetboot {node} net`, then `rpower {node} boot`.")
        })
    }
}
