//! `leases`: addresses that are given out.

use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};

/// List the addresses that the DHCP service has given out
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Command for Args {
    const NAME: &'static str = "leases";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let leases = ctx.hooks.leases();
        if self.json {
            return out.json(&leases);
        }
        for lease in leases {
            let node = if lease.node.is_empty() { "-" } else { &lease.node };
            let end = if lease.expires.is_empty() { "never" } else { &lease.expires };
            out.line(format!("{:<15} {} {node} {} {end}", lease.ip, lease.mac, lease.kind))?;
        }
        Ok(())
    }
}
