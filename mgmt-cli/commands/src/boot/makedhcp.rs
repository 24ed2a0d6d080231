//! `makedhcp`: address reservations.
//!
//! The DHCP service answers from the tables, so there is nothing to write: the command checks what it would
//! answer and reports what keeps a node from an answer. `-d` finds nothing to remove and reports that: a node
//! gets no answer when its `mac.mac` is cleared or it is gone.

use crate::addresses::unanswered;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::dhcp::{Answers, Interface, Silence};
use dawn_bootd::output::{CommandError, Done, Lines, Out, Report, Stop};
use dawn_cluster::{Col, Guid, MacAddr, Netboot, Snapshot, XCATMASTER, col};
use std::net::{IpAddr, Ipv4Addr};

/// Check or show the DHCP reservations of nodes
///
/// Reservations follow from the tables mac, hosts and networks at once; nothing has to be generated.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Check the table networks
    #[arg(short = 'n')]
    new: bool,
    /// All nodes that have a MAC address
    #[arg(short = 'a')]
    all: bool,
    /// Accepted for compatibility: a reservation goes when mac.mac is cleared
    #[arg(short = 'd')]
    delete: bool,
    /// Show the reservations
    #[arg(short = 'q')]
    query: bool,
    /// Refused: statements of another DHCP server mean nothing to this one
    #[arg(short = 's', value_name = "STATEMENTS")]
    statements: Option<String>,
    /// Accepted for compatibility: this daemon is the only server
    #[arg(short = 'l', long = "localonly")]
    local: bool,
    /// Accepted for compatibility
    #[arg(short = 'r')]
    restart: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

const USAGE: &str = "Usage: makedhcp -n
       makedhcp -a
       makedhcp -a -d
       makedhcp -d noderange
       makedhcp <noderange> [-s statements]
       makedhcp -q <noderange>
       makedhcp [-h|--help]";

const NO_MAC: &str = "mac.mac has no MAC address";

const STATEMENTS: &str = "makedhcp -s: statements of another DHCP server mean nothing to this one. The boot file follows from \
     noderes.netboot and nodeset, its server from noderes.tftpserver, and the other options from networks and site.";

impl Command for Args {
    const NAME: &'static str = "makedhcp";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.check_combination()?;
        if self.new {
            ctx.boot.dhcp_problems(&ctx.snapshot).into_iter().try_for_each(|text| out.warning(text))?;
            return check_networks(&ctx.snapshot, !ctx.boot.name_servers().is_empty(), out);
        }
        let answers = ctx.boot.dhcp_answers(&ctx.snapshot);
        let nodes: Vec<String> = match (&self.noderange, self.all) {
            (Some(_), _) => ctx.nodes().to_vec(),
            (None, true) => with_mac(&ctx.snapshot),
            (None, false) => {
                out.lines(USAGE)?;
                return Err(Stop::Code(1));
            }
        };
        if self.delete {
            return self.say_what_stays(&nodes, &answers, out);
        }
        match self.query {
            true => nodes.iter().try_for_each(|node| out.report(&Reservations::of(node, &answers))),
            false => nodes.iter().try_for_each(|node| check(node, &ctx.snapshot, &answers, out)),
        }
    }
}

impl Args {
    /// There is no entry to delete: an answer follows from the tables, and a script that has removed it
    /// elsewhere must know.
    fn say_what_stays(&self, nodes: &[String], answers: &Answers<'_>, out: &mut Out<'_>) -> Done {
        // Without an interface there is no reservation.
        let has_interface = |node: &&String| !answers.of_node(node).is_empty();
        let stay = nodes.iter().filter(|node| has_interface(node) && unanswered(answers, node).is_none());
        let stay = stay.count();
        if stay == 0 {
            return Ok(());
        }
        out.warning(format!(
            "Nothing is deleted: the DHCP service answers from the tables. {stay} node(s) keep their reservation until \
             mac.mac is cleared or the node is removed; a node that is set offline gets an address and no boot file."
        ))
    }

    fn check_combination(&self) -> Done {
        let others = self.all || self.delete || self.restart || self.statements.is_some();
        let text = if self.query && (others || self.new) {
            "The -q option cannot be used with other options."
        } else if self.new && (others || self.noderange.is_some()) {
            "The -n option cannot be used with other options."
        } else {
            return match self.statements {
                Some(_) => Err(Stop::refused(STATEMENTS)),
                None => Ok(()),
            };
        };
        Err(Stop::usage(text))
    }
}

fn with_mac(snapshot: &Snapshot) -> Vec<String> {
    let has_mac = |node: &str| snapshot.attr(node, col::mac::MAC).is_some();
    snapshot.node_names().filter(|node| has_mac(node)).map(|node| node.to_string()).collect()
}

/// The interfaces of a node.
struct Reservations<'n> {
    node: &'n str,
    interfaces: Vec<Interface>,
}

/// An interface with its address, or why there is none.
#[derive(serde::Serialize)]
struct Reservation<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    node: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl<'n> Reservations<'n> {
    fn of(node: &'n str, answers: &Answers<'_>) -> Self {
        Self { node, interfaces: answers.of_node(node) }
    }
}

impl serde::Serialize for Reservations<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = self.node;
        let one = |Interface { mac, hostname, answer }: &Interface| {
            let (ip, problem) = match answer {
                Ok(ip) => (Some(ip.to_string()), None),
                Err(silence) => (None, Some(silence.to_string())),
            };
            serde_json::to_value(Reservation {
                host: Some(hostname),
                ip,
                mac: Some(mac.to_string()),
                node,
                problem,
            })
        };
        let nothing = Reservation { host: None, ip: None, mac: None, node, problem: Some(NO_MAC.to_owned()) };
        match self.interfaces.as_slice() {
            [] => serializer.collect_seq([nothing]),
            some => serializer.collect_seq(some.iter().flat_map(one)),
        }
    }
}

impl Report for Reservations<'_> {
    const MANY: bool = true;

    /// A line for each address that is given. An interface marked `*NOIP*` is as intended, unless the node
    /// has no other.
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        if self.interfaces.is_empty() {
            return lines.warning(format!("{} has no reservation: {NO_MAC}", self.node));
        }
        let any = self.interfaces.iter().any(|interface| interface.answer.is_ok());
        for Interface { mac, hostname, answer } in &self.interfaces {
            match answer {
                Ok(ip) => lines.line(format!("{hostname}: ip-address = {ip}, hardware-address = {mac}"))?,
                Err(Silence::NoIp(_)) if any => {}
                Err(silence) => lines.warning(format!("{hostname} has no reservation: {silence}"))?,
            }
        }
        Ok(())
    }
}

/// What keeps the node from an answer.
fn check(node: &str, snapshot: &Snapshot, answers: &Answers<'_>, out: &mut Out<'_>) -> Done {
    let Some(column) = snapshot.attr(node, col::mac::MAC) else {
        return out.warning(format!("Unable to find mac address for {node}"));
    };
    for entry in column.split('|') {
        let mac = entry.split('!').next().unwrap_or(entry).trim();
        if mac.parse::<MacAddr>().is_err() && mac.parse::<Guid>().is_err() {
            out.error(CommandError::conflict(format!("Invalid mac address {mac} for {node}")))?;
        }
    }
    for interface in answers.of_node(node).into_iter().filter(|interface| interface.hostname != node) {
        if matches!(interface.answer, Err(Silence::Unresolved { .. })) {
            let host = interface.hostname;
            out.warning(format!("The hostname {host} of node {node} could not be resolved."))?;
        }
    }
    match snapshot.attr(node, col::hosts::IP) {
        None => out.warning(format!("The hostname {node} of node {node} could not be resolved.")),
        // A template can come to anything with the node's name.
        Some(ip) if ip.trim().parse::<IpAddr>().is_err() => out.error(CommandError::conflict(format!(
            "hosts.ip of {node} is '{ip}', which is not an IP address"
        ))),
        Some(_) => Ok(()),
    }?;
    check_servers(node, snapshot, out)
}

/// A server that has no address is passed over by the DHCP service: the node would be sent to its network's.
fn check_servers(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    let has_address = |name: &str| {
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().is_ok();
        address(name) || snapshot.attr(name, col::hosts::IP).is_some_and(|ip| address(&ip))
    };
    let lost = |column: Col| {
        let server = snapshot.attr(node, column).filter(|server| &**server != XCATMASTER);
        server.is_some_and(|server| !has_address(&server))
    };
    if lost(col::noderes::TFTPSERVER) {
        return out.error(CommandError::conflict("Unable to resolve the tftpserver for node"));
    }
    if Netboot::of(snapshot, node).is_sent_a_url() && lost(col::noderes::XCATMASTER) {
        return out.error(CommandError::conflict(format!(
            "Unable to determine the tftpserver for {node}, verify \"xcatmaster\" is set correctly"
        )));
    }
    Ok(())
}

/// `own_names`: this machine's name server runs, and DHCP names it to clients unless the tables name others.
fn check_networks(snapshot: &Snapshot, own_names: bool, out: &mut Out<'_>) -> Done {
    for (inner, outer) in snapshot.nested_networks() {
        out.warning(format!(
            "Network {inner} lies inside of {outer} on the same interface: machines there may get an address of either."
        ))?;
    }
    for row in snapshot.enabled_rows("networks") {
        let text = |col| row.get(col).cloned();
        let Some(net) = text(col::networks::NET) else { continue };
        if snapshot.domain_in(Some(row)).is_none() {
            out.error(CommandError::conflict(format!(
                "No domain defined for {net} entry in networks table, and no domain defined in site table."
            )))?;
        }
        if snapshot.name_servers_of(Some(row)).is_empty() && !own_names {
            out.warning(format!(
                "No {net} specific entry for nameservers, and no nameservers defined in site table."
            ))?;
        }
        if text(col::networks::DYNAMICRANGE).is_none() {
            out.warning(format!(
                "No dynamic range specified for {net}. If hardware discovery is being used, a dynamic range \
                 is required."
            ))?;
        }
    }
    Ok(())
}
