//! Names and addresses of a node's interfaces: `hosts.ip`, `hosts.otherinterfaces` and the table `nics`.
//!
//! `/etc/hosts` is written from them, and an entry `mac!name` of `mac.mac` gets its address from them.

use crate::nics::expand_entry;
use crate::{Snapshot, Text, nic_entries};
use std::net::IpAddr;

/// One address of a node and the names it goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAddress {
    /// Host name of the interface; the node's own for `hosts.ip`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Other names.
    pub aliases: Vec<String>,
}

impl Snapshot {
    /// The addresses of a node, its own first. What is not an address is left out.
    pub fn named_addresses(&self, node: &str) -> Vec<NamedAddress> {
        let value = |column: &str| self.attr(node, column).unwrap_or_default();
        let mut list: Vec<NamedAddress> = Vec::new();
        if let Ok(ip) = value("hosts.ip").trim().parse() {
            let names = value("hosts.hostnames");
            let aliases =
                names.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
            list.push(NamedAddress { name: node.to_owned(), ip, aliases });
        }
        list.extend(other_interfaces(&value("hosts.otherinterfaces"), node));
        for nic in self.nics(node) {
            if !list.iter().any(|known| known.ip == nic.ip) {
                list.push(nic);
            }
        }
        list
    }

    fn nics(&self, node: &str) -> Vec<NamedAddress> {
        let column = |name: &str| self.attr(node, name).unwrap_or_default();
        let ips = column("nics.nicips");
        if ips.is_empty() {
            return Vec::new();
        }
        let suffixes = column("nics.nichostnamesuffixes");
        let (prefixes, aliases) = (column("nics.nichostnameprefixes"), column("nics.nicaliases"));
        // A group's row has templates in single entries.
        let of = |text: &Text, nic: &str, at: usize| -> Option<String> {
            let (_, values) = nic_entries(text).into_iter().find(|(name, _)| *name == nic)?;
            expand_entry(values, node).split('|').nth(at).map(str::to_owned)
        };
        let mut list = Vec::new();
        for (nic, values) in nic_entries(&ips) {
            for (at, ip) in expand_entry(values, node).split('|').enumerate() {
                let Ok(ip) = ip.trim().parse() else { continue };
                let name = match (of(&prefixes, nic, at), of(&suffixes, nic, at)) {
                    (Some(prefix), _) => format!("{prefix}{node}"),
                    (None, Some(suffix)) => format!("{node}{suffix}"),
                    (None, None) => format!("{node}-{nic}"),
                };
                let others = of(&aliases, nic, at).unwrap_or_default();
                let aliases = others.split_whitespace().map(str::to_owned).collect();
                list.push(NamedAddress { name, ip, aliases });
            }
        }
        list
    }
}

/// `name:ip,-suffix:ip`; a name that begins with `-` is appended to the node's.
fn other_interfaces(text: &str, node: &str) -> Vec<NamedAddress> {
    let one = |part: &str| {
        let (name, ip) = part.split_once(':')?;
        let name = if name.starts_with('-') { format!("{node}{name}") } else { name.to_owned() };
        Some(NamedAddress { name, ip: ip.trim().parse().ok()?, aliases: Vec::new() })
    };
    text.split(',').filter_map(one).collect()
}
