//! `sshtargets`: how nodes are reached by ssh, for the commands that log in from the caller's process with
//! the caller's own keys (`psh`, `pscp`, `prsync`).
//!
//! A line for each node: its name, its address or `-`, and the public keys that the daemon gave it, with tabs
//! between them. Nothing in it is secret.

use super::targets::address;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::host_keys::Issued;
use dawn_bootd::output::{Done, Out};

/// The word for an address that is not in the tables.
pub const NO_ADDRESS: &str = "-";

/// List how nodes are reached by ssh: name, address, host keys
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Command for Args {
    const NAME: &'static str = "sshtargets";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let issued = Issued::new(ctx.data);
        for node in ctx.nodes() {
            let address = address(&ctx.snapshot, node);
            let mut line = format!("{node}\t{}", address.map_or(NO_ADDRESS.to_owned(), |ip| ip.to_string()));
            for key in issued.of(node).lines("") {
                line.push('\t');
                line.push_str(key.trim_start());
            }
            out.data(line)?;
        }
        Ok(())
    }
}
