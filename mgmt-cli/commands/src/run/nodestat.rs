//! `nodestat`: which nodes answer, and which services do.
//!
//! Missing: services of the monitoring tables (`-m`), the power state of nodes that do not answer (`-p`), and
//! writing the status to the tables (`-u`).

use super::targets::address;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_remote::names::host_name;
use dawn_remote::ping::{Answer, alive, connects, resolve};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Services and their ports, by name.
const SERVICES: [(&str, u16); 6] =
    [("https", 443), ("msrpc", 135), ("pbs", 15002), ("rdp", 3389), ("sshd", 22), ("xend", 8002)];

/// Show which nodes answer, and with which services
///
/// NODE: sshd,... lists the services that take connections; without one, ping and what the node boots next;
/// noping is a node that does not answer, nosuchhost one without an address.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Accepted for compatibility: there is one way to ask
    #[arg(short = 'f', long = "usefping")]
    fping: bool,
    #[arg(short = 'm', long = "usemon", hide = true)]
    usemon: bool,
    #[arg(short = 'p', long = "powerstat", hide = true)]
    powerstat: bool,
    #[arg(short = 'u', long = "updatedb", hide = true)]
    updatedb: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
}

impl Args {
    /// Options of xCAT that are done otherwise.
    fn refuse(&self) -> Done {
        let options = [
            (self.usemon, "-m", "`xdsh NODERANGE COMMAND` asks for a service of your own."),
            (self.powerstat, "-p", "`rpower NODERANGE stat` shows which machines are on."),
            (
                self.updatedb,
                "-u",
                "nodes report their status themselves: `nodels NODERANGE nodelist.status` shows it.",
            ),
        ];
        match options.into_iter().find(|(given, ..)| *given) {
            Some((_, option, hint)) => {
                Err(CommandError::refused(format!("Dawn's nodestat does not have {option}"))
                    .hint(hint)
                    .into())
            }
            None => Ok(()),
        }
    }
}

/// The state of a node.
#[derive(serde::Serialize)]
struct State<'n> {
    node: &'n str,
    status: String,
}

impl Report for State<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.node(self.node, self.status.as_str())
    }
}

impl Command for Args {
    const NAME: &'static str = "nodestat";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.refuse()?;
        let of = |node: &String| -> Option<IpAddr> {
            address(&ctx.snapshot, node).or_else(|| resolve(host_name(node).ok()?))
        };
        let addresses: HashMap<&String, Option<IpAddr>> =
            ctx.nodes().iter().map(|node| (node, of(node))).collect();
        let known: Vec<IpAddr> = addresses.values().flatten().copied().collect();
        let ports: Vec<SocketAddr> = known
            .iter()
            .flat_map(|ip| SERVICES.iter().map(|(_, port)| SocketAddr::new(*ip, *port)))
            .collect();
        let failed = |error: std::io::Error| Stop::unavailable(error.to_string());
        let answers = connects(&ports).map_err(failed)?;
        let open: HashSet<SocketAddr> =
            answers.iter().filter(|(_, answer)| *answer == Answer::Open).map(|(at, _)| *at).collect();
        let mut there: HashSet<IpAddr> =
            answers.iter().filter(|(_, answer)| *answer != Answer::None).map(|(at, _)| at.ip()).collect();
        let silent: Vec<IpAddr> = known.into_iter().filter(|ip| !there.contains(ip)).collect();
        there.extend(alive(&silent).map_err(failed)?);
        for node in ctx.nodes() {
            let status = match addresses.get(node).copied().flatten() {
                None => "nosuchhost".to_owned(),
                Some(ip) if !there.contains(&ip) => "noping".to_owned(),
                Some(ip) => services(ip, &open).unwrap_or_else(|| next_boot(ctx, node)),
            };
            out.report(&State { node, status })?;
        }
        Ok(())
    }
}

/// The services that take connections.
fn services(ip: IpAddr, open: &HashSet<SocketAddr>) -> Option<String> {
    let is_open = |port: u16| open.contains(&SocketAddr::new(ip, port));
    let names: Vec<&str> =
        SERVICES.iter().filter(|(_, port)| is_open(*port)).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// `ping`, and what the node boots next.
fn next_boot(ctx: &Ctx<'_>, node: &str) -> String {
    match ctx.snapshot.attr(node, dawn_cluster::col::chain::CURRSTATE) {
        Some(state) => format!("ping {state}"),
        None => "ping".to_owned(),
    }
}
