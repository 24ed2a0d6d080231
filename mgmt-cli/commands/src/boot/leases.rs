//! `leases`: addresses that are given out.

use dawn_bootd::boot_services::Lease;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_cluster::{MacAddr, Snapshot};
use std::collections::HashSet;

/// List the addresses that the DHCP service has given out
///
/// STATE is offered (held for the machine's request), bound, declined (another machine was found to have the
/// address; it is not given out for a while) or free (given back or run out, kept for the machine until
/// another one needs it).
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only leases of these nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "leases";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let mut leases = ctx.boot.leases();
        leases.iter_mut().for_each(|lease| name_owner(lease, &ctx.snapshot));
        if self.noderange.is_some() {
            let wanted: HashSet<&str> = ctx.nodes().iter().map(String::as_str).collect();
            leases.retain(|lease| wanted.contains(lease.node.as_str()));
        }
        out.heading(line("ADDRESS", "MAC", "NODE", "KIND", "STATE", "UNTIL"))?;
        leases.iter().try_for_each(|lease| out.report(&Shown { lease }))
    }
}

/// A lease of the list.
#[derive(serde::Serialize)]
struct Shown<'l> {
    #[serde(flatten)]
    lease: &'l Lease,
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let lease = self.lease;
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let (node, until) = (or(&lease.node, "-"), or(&lease.expires, "never"));
        lines.line(line(&lease.ip, &lease.mac, &node, &lease.kind, &lease.state, &until))
    }
}

/// A node that has a dynamic address, away from its own network, is named too.
fn name_owner(lease: &mut Lease, snapshot: &Snapshot) {
    if lease.node.is_empty()
        && let Ok(mac) = lease.mac.parse::<MacAddr>()
        && let Some(node) = snapshot.node_by_mac(mac)
    {
        lease.node = node.to_string();
    }
}

fn line(ip: &str, mac: &str, node: &str, kind: &str, state: &str, until: &str) -> String {
    format!("{ip:<15} {mac:<17} {node:<15} {kind:<8} {state:<8} {until}")
}
