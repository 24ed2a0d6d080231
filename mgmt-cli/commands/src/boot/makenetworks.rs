//! `makenetworks`: the networks this machine is on.

use crate::edits::{Edits, transact};
use crate::local_networks;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::LocalNetwork;

/// Put the networks this machine is directly connected to into the table networks
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print them as stanzas without changing anything
    #[arg(short = 'd')]
    display: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Service nodes, in xCAT; accepted, and not asked
    #[arg(value_name = "NODERANGE")]
    service_nodes: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "makenetworks";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.service_nodes.is_some() {
            out.warning("There are no service nodes to ask: these are the networks of this machine.")?;
        }
        let networks = local_networks::read()?;
        if self.display {
            out.line(format!("#From {}.", ctx.host))?;
            return networks.iter().try_for_each(|network| show(network, out));
        }
        transact(ctx, out, self.dry_run, |snapshot, out| {
            let (list, warnings) = snapshot.network_rows(&networks)?;
            warnings.into_iter().try_for_each(|text| out.warning(text))?;
            let mut edits = Edits::new();
            edits.extend(list);
            Ok(edits)
        })
    }
}

fn show(network: &LocalNetwork, out: &mut Out<'_>) -> Done {
    out.line("")?;
    out.line(format!("{}:", network.name()))?;
    out.line("    objtype=network")?;
    let gateway = network.gateway.map_or_else(|| "<xcatmaster>".to_owned(), |gateway| gateway.to_string());
    out.line(format!("    gateway={gateway}"))?;
    out.line(format!("    mask={}", network.mask))?;
    out.line(format!("    mgtifname={}", network.interface))?;
    if let Some(mtu) = network.mtu {
        out.line(format!("    mtu={mtu}"))?;
    }
    out.line(format!("    net={}", network.net))?;
    out.line("    tftpserver=<xcatmaster>")
}
