//! `getmacs`: no driver of this version knows it; every node gets an error.

use super::jobs;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_hardware::target::Deciding;

/// Show the MAC addresses that hardware managers know of nodes
///
/// Dawn has no driver for the machines that this command is for (logical partitions of Power). Addresses
/// of other nodes come from discovery, or are entered: chdef NODE mac=ADDRESS.
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
    const NAME: &'static str = "getmacs";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        jobs::not_for_these(ctx, out, Deciding::Getmac, |node| {
            format!("discovery finds its addresses, or `chdef {node} mac=ADDRESS` enters one.")
        })
    }
}
