//! What DHCP says to the interfaces of a node, for commands: the networks and reservations that packets are
//! answered from, so that a command reports what a machine would be sent.

use super::{Here, Network, interface_owner, networks, reservation};
use crate::address::host_name;
use dawn_cluster::{Guid, Snapshot, col, parse_mac_column, parse_mac_column_as};
use dawn_dhcp::HwAddr;
use dawn_dhcp::directory::Mode;
use dawn_plan::LocalAddresses;
use std::net::Ipv4Addr;

/// One interface of a node, an entry of `mac.mac`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Link-layer address; of InfiniBand the port's GUID.
    pub mac: String,
    /// Host name it goes by.
    pub hostname: String,
    /// The address it is given, or why there is none.
    pub answer: Result<Ipv4Addr, Silence>,
}

/// Why DHCP does not give an interface its own address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// `*NOIP*`.
    #[error("{0} gets no address (*NOIP*)")]
    NoIp(String),
    /// The tables have no address for the host name.
    #[error(
        "{hostname} has no IPv4 address: hosts.ip, hosts.otherinterfaces and nics of {node} do not say one"
    )]
    Unresolved {
        /// Host name of the interface.
        hostname: String,
        /// The node.
        node: String,
    },
    /// No row of `networks` has the address.
    #[error(
        "its address {0} is in no network of the networks table, so that DHCP does not answer it; `makenetworks` or \
         `mkdef -t network` makes one"
    )]
    Outside(Ipv4Addr),
    /// The interface of ours that leads to the network is left out.
    #[error(
        "its address {address} is in the network {netname}, which DHCP does not serve: {} leaves out the interface that \
         leads there",
        super::WHERE_INTERFACES_ARE_NAMED
    )]
    NotServed {
        /// Its address.
        address: Ipv4Addr,
        /// Name of the network.
        netname: String,
    },
    /// Another server gives the address.
    #[error(
        "another DHCP server gives the addresses of its network {0} (site.proxydhcp); it gets a boot file only"
    )]
    Proxied(String),
}

/// Everything DHCP answers from, read once for many nodes.
pub struct Answers<'a> {
    snapshot: &'a Snapshot,
    networks: Vec<Network>,
}

impl<'a> Answers<'a> {
    /// The answers of a machine with these addresses.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, addresses: &LocalAddresses) -> Self {
        let host = host_name();
        let name_servers = &super::NO_NAME_SERVER;
        let here = Here { snapshot, addresses, host: &host, forwards: false, name_servers };
        Self { snapshot, networks: networks(here) }
    }

    /// The answers to the interfaces of a node, in the order of `mac.mac`; entries that are not addresses are
    /// left out.
    #[must_use]
    pub fn of_node(&self, node: &str) -> Vec<Interface> {
        let column = self.snapshot.attr(node, col::mac::MAC).unwrap_or_default();
        let entries = column.split('|').filter_map(link_layer_address);
        entries.filter_map(|mac| self.of_interface(mac)).collect()
    }

    /// Why `hosts.ip` of a node is never given out, regardless of the interfaces.
    #[must_use]
    pub fn of_own_address(&self, node: &str) -> Option<Silence> {
        self.given(super::node_ip(self.snapshot, node)?).err()
    }

    fn of_interface(&self, mac: String) -> Option<Interface> {
        let hw: HwAddr = mac.parse().ok()?;
        let found = reservation(self.snapshot, interface_owner(self.snapshot, &hw)?);
        let answer = match found.address {
            None if found.no_ip => Err(Silence::NoIp(mac.clone())),
            None => {
                Err(Silence::Unresolved { hostname: found.hostname.clone(), node: found.node.to_string() })
            }
            Some(address) => self.given(address),
        };
        Some(Interface { mac, hostname: found.hostname, answer })
    }

    /// The engine takes the network by the interface that a packet came in on; where several rows have the
    /// address, one that is served is enough.
    fn given(&self, address: Ipv4Addr) -> Result<Ipv4Addr, Silence> {
        let holds = |mode: Mode| {
            self.networks.iter().find(|network| network.mode == mode && network.contains(address))
        };
        if holds(Mode::Authoritative).is_some() {
            return Ok(address);
        }
        match (holds(Mode::Proxy), holds(Mode::Off)) {
            (Some(network), _) => Err(Silence::Proxied(network.name.to_string())),
            (None, Some(network)) => Err(Silence::NotServed { address, netname: network.name.to_string() }),
            (None, None) => Err(Silence::Outside(address)),
        }
    }
}

fn link_layer_address(entry: &str) -> Option<String> {
    let ethernet = parse_mac_column(entry).into_iter().next().map(|entry| entry.mac.to_string());
    ethernet
        .or_else(|| parse_mac_column_as::<Guid>(entry).into_iter().next().map(|entry| entry.mac.to_string()))
}
