//! `makedhcp`: address reservations.
//!
//! The DHCP service answers from the tables, so there is nothing to write: the command checks what it
//! would answer and reports what keeps a node from an answer. `-d` finds nothing to take away and says so: a node
//! gets no answer when its `mac.mac` is cleared or it is gone.

use crate::addresses::outside_networks;
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::{Guid, MacAddr, MacEntry, Snapshot, XCATMASTER, parse_mac_column_as, schema};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Check or show the DHCP reservations of nodes
///
/// Reservations follow from the tables mac, hosts and networks at once; nothing has to be generated.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Check the networks
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
    /// With -q: print as JSON
    #[arg(long, requires = "query")]
    json: bool,
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

const STATEMENTS: &str = "makedhcp -s: statements of another DHCP server mean nothing to this one. The boot file follows from \
     noderes.netboot and nodeset, its server from noderes.tftpserver, and what else a client is told from networks and site.";

impl Command for Args {
    const NAME: &'static str = "makedhcp";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.check_combination()?;
        if self.new {
            return check_networks(&ctx.snapshot, out);
        }
        let nodes: Vec<String> = match (&self.noderange, self.all) {
            (Some(_), _) => ctx.nodes().to_vec(),
            (None, true) => with_mac(&ctx.snapshot),
            (None, false) => {
                out.lines(USAGE)?;
                return Err(Stop::Code(1));
            }
        };
        if self.delete {
            return self.say_what_stays(&nodes, &ctx.snapshot, out);
        }
        if self.json {
            let list: Vec<_> = nodes.iter().map(|node| as_json(node, &ctx.snapshot)).collect();
            return out.json(&list);
        }
        let tell = if self.query { show } else { check };
        nodes.iter().try_for_each(|node| tell(node, &ctx.snapshot, out))
    }
}

impl Args {
    /// There is no entry to delete: an answer follows from the tables, and a script that has removed it elsewhere must know.
    fn say_what_stays(&self, nodes: &[String], snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
        let stay = nodes.iter().filter(|node| reservation(node, snapshot).is_ok()).count();
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
        } else if self.new && others {
            "The -n option cannot be used with other options."
        } else {
            return match self.statements {
                Some(_) => Err(Stop::message(STATEMENTS)),
                None => Ok(()),
            };
        };
        Err(Stop::message(text))
    }
}

fn with_mac(snapshot: &Snapshot) -> Vec<String> {
    let has_mac = |node: &str| snapshot.attr(node, "mac.mac").is_some();
    snapshot.node_names().filter(|node| has_mac(node)).map(|node| node.to_string()).collect()
}

fn show(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    match reservation(node, snapshot) {
        Ok((mac, ip)) => out.line(format!("{node}: ip-address = {ip}, hardware-address = {mac}")),
        Err(reason) => out.warning(format!("{node} has no reservation: {reason}")),
    }
}

/// The reservation, or why there is none.
fn as_json(node: &str, snapshot: &Snapshot) -> serde_json::Value {
    match reservation(node, snapshot) {
        Ok((mac, ip)) => serde_json::json!({ "node": node, "ip": ip.to_string(), "mac": mac }),
        Err(reason) => serde_json::json!({ "node": node, "problem": reason }),
    }
}

/// What the node's own interface is answered: link-layer address and IP address.
fn reservation(node: &str, snapshot: &Snapshot) -> Result<(String, Ipv4Addr), String> {
    let column = snapshot.attr(node, "mac.mac").ok_or("mac.mac is not set")?;
    let ethernet = own_interface::<MacAddr>(node, &column);
    let entry = ethernet.or_else(|| own_interface::<Guid>(node, &column));
    let entry = entry.ok_or_else(|| format!("no MAC address of '{column}' is for the node itself"))?;
    if entry.no_ip {
        return Err(format!("{} gets no address (*NOIP*)", entry.mac));
    }
    let ip = snapshot.attr(node, "hosts.ip").ok_or("hosts.ip is not set")?;
    let address = ip.trim().parse().map_err(|_| format!("hosts.ip '{ip}' is no IPv4 address"))?;
    match outside_networks(snapshot, node) {
        None => Ok((entry.mac, address)),
        Some(problem) => Err(problem),
    }
}

/// The first entry of `mac.mac` that is for the node itself.
fn own_interface<A: FromStr + ToString>(node: &str, column: &str) -> Option<MacEntry<String>> {
    let mine = |host: &Option<String>| host.as_deref().is_none_or(|host| host == node);
    let entry = parse_mac_column_as::<A>(column).into_iter().find(|entry| mine(&entry.host))?;
    Some(MacEntry { mac: entry.mac.to_string(), host: entry.host, no_ip: entry.no_ip })
}

/// What keeps the node from an answer.
fn check(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    let Some(column) = snapshot.attr(node, "mac.mac") else {
        return out.warning(format!("Unable to find mac address for {node}"));
    };
    for entry in column.split('|') {
        let mac = entry.split('!').next().unwrap_or(entry).trim();
        if mac.parse::<MacAddr>().is_err() && mac.parse::<Guid>().is_err() {
            out.error(format!("Invalid mac address {mac} for {node}"))?;
        }
    }
    match snapshot.attr(node, "hosts.ip") {
        None => out.warning(format!("The hostname {node} of node {node} could not be resolved.")),
        // A template can come to anything with the node's name.
        Some(ip) if ip.trim().parse::<IpAddr>().is_err() => {
            out.error(format!("hosts.ip of {node} is '{ip}', which is no IP address"))
        }
        Some(_) => Ok(()),
    }?;
    check_servers(node, snapshot, out)
}

/// A server that has no address is passed over by the DHCP service: the node would be sent to its network's.
fn check_servers(node: &str, snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    let has_address = |name: &str| {
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().is_ok();
        address(name) || snapshot.attr(name, "hosts.ip").is_some_and(|ip| address(&ip))
    };
    let lost = |column: &str| {
        let server = snapshot.attr(node, column).filter(|server| &**server != XCATMASTER);
        server.is_some_and(|server| !has_address(&server))
    };
    if lost("noderes.tftpserver") {
        return out.error("Unable to resolve the tftpserver for node");
    }
    let method = snapshot.attr(node, "noderes.netboot");
    if method.is_some_and(|method| ["petitboot", "onie"].contains(&&*method)) && lost("noderes.xcatmaster") {
        return out.error(format!(
            "Unable to determine the tftpserver for {node}, verify \"xcatmaster\" is set correctly"
        ));
    }
    Ok(())
}

fn check_networks(snapshot: &Snapshot, out: &mut Out<'_>) -> Done {
    for (inner, outer) in snapshot.nested_networks() {
        out.warning(format!(
            "Network {inner} lies inside of {outer} on the same interface: machines there may get an address of either."
        ))?;
    }
    for row in snapshot.enabled_rows("networks") {
        let text = |name| schema().find_col(name).and_then(|col| row.get(col)).cloned();
        let Some(net) = text("networks.net") else { continue };
        if text("networks.domain").is_none() && snapshot.site("domain").is_none() {
            out.error(format!(
                "No domain defined for {net} entry in networks table, and no domain defined in site table."
            ))?;
        }
        if text("networks.nameservers").is_none() && snapshot.site("nameservers").is_none() {
            out.warning(format!(
                "No {net} specific entry for nameservers, and no nameservers defined in site table."
            ))?;
        }
        if text("networks.dynamicrange").is_none() {
            out.warning(format!(
                "No dynamic range specified for {net}. If hardware discovery is being used, a dynamic range \
                 is required."
            ))?;
        }
    }
    Ok(())
}
