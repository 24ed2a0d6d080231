//! `makenetworks`: the networks this machine is on.

use crate::edits::{Edits, transact};
use crate::local_networks;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report};
use dawn_cluster::{LocalNetwork, XCATMASTER};

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
            out.heading(format!("#From {}.", ctx.host))?;
            return networks.iter().try_for_each(|network| out.report(&Found::of(network)));
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

/// A network of this machine, as a definition of it would be.
#[derive(serde::Serialize)]
struct Found {
    network: String,
    gateway: String,
    mask: String,
    mgtifname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    net: String,
    tftpserver: &'static str,
}

impl Found {
    fn of(network: &LocalNetwork) -> Self {
        let gateway = network.gateway.map(|gateway| gateway.to_string());
        Self {
            network: network.name(),
            gateway: gateway.unwrap_or_else(|| XCATMASTER.to_owned()),
            mask: network.mask.to_string(),
            mgtifname: network.interface.clone(),
            mtu: network.mtu,
            net: network.net.to_string(),
            tftpserver: XCATMASTER,
        }
    }
}

impl Report for Found {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line("")?;
        lines.line(format!("{}:", self.network))?;
        lines.line("    objtype=network")?;
        lines.line(format!("    gateway={}", self.gateway))?;
        lines.line(format!("    mask={}", self.mask))?;
        lines.line(format!("    mgtifname={}", self.mgtifname))?;
        if let Some(mtu) = self.mtu {
            lines.line(format!("    mtu={mtu}"))?;
        }
        lines.line(format!("    net={}", self.net))?;
        lines.line(format!("    tftpserver={}", self.tftpserver))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_xcatd::Response;
    use std::net::Ipv4Addr;

    #[test]
    fn a_network_is_one_element_of_the_list() {
        let network = LocalNetwork {
            net: Ipv4Addr::new(10, 0, 0, 0),
            mask: Ipv4Addr::new(255, 0, 0, 0),
            interface: "eth1".to_owned(),
            gateway: None,
            mtu: Some(9000),
        };
        let mut answers: Vec<Response> = Vec::new();
        let mut out = Out::new(&mut answers);
        out.as_json();
        let done = out.report(&Found::of(&network));
        let done = out.finish(done);
        out.conclude(done);
        let text: String = answers.iter().flat_map(|answer| &answer.info).map(String::as_str).collect();
        let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            list,
            serde_json::json!([{
                "network": "10_0_0_0-255_0_0_0",
                "gateway": "<xcatmaster>",
                "mask": "255.0.0.0",
                "mgtifname": "eth1",
                "mtu": 9000,
                "net": "10.0.0.0",
                "tftpserver": "<xcatmaster>",
            }])
        );
    }
}
