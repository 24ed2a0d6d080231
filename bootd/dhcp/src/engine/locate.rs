//! Which networks a client is on, and which of our addresses answers it.
//!
//! A relayed client is where the relay says: link selection (RFC 3527), subnet selection (RFC 3011), or the
//! relay's own address. A client that has an address and sends from it is on that address's network. Any
//! other client is on the networks of the interface it came in on; there may be several on one link.

use std::net::Ipv4Addr;

use super::{Ask, Incoming};
use crate::directory::Network;
use crate::wire::code::relay;
use crate::wire::{Packet, code, ipv4};

/// One of this server's interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its addresses with prefix lengths, primary first.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

/// Whether the address is one of ours.
pub(super) fn is_own(interfaces: &[Interface], address: Ipv4Addr) -> bool {
    interfaces.iter().any(|interface| interface.addresses.iter().any(|(own, _)| *own == address))
}

/// The networks of the client's link, the likeliest first.
pub(super) fn link<'n>(
    networks: &'n [Network],
    interfaces: &[Interface],
    incoming: &Incoming<'_>,
    packet: &Packet<'_>,
) -> Vec<&'n Network> {
    let selected = packet.relay_option(relay::LINK_SELECTION).and_then(ipv4);
    let subnet = packet.options.get(code::SUBNET_SELECTION).and_then(ipv4);
    let relay = (!packet.giaddr.is_unspecified()).then_some(packet.giaddr);
    if let Some(address) = selected.or(subnet).or(relay) {
        return containing(networks, address);
    }
    let own_address = !packet.ciaddr.is_unspecified() && *incoming.source.ip() == packet.ciaddr;
    let of_interface = of_interface(networks, interfaces, incoming.interface);
    if own_address && !of_interface.iter().any(|network| network.contains(packet.ciaddr)) {
        return containing(networks, packet.ciaddr);
    }
    of_interface
}

/// The network with the address, the most specific first, then the others of the same link: those that name
/// the same remote interface.
fn containing(networks: &[Network], address: Ipv4Addr) -> Vec<&Network> {
    let mut found: Vec<&Network> = networks.iter().filter(|network| network.contains(address)).collect();
    found.sort_by_key(|network| std::cmp::Reverse(network.prefix));
    found
}

fn of_interface<'n>(networks: &'n [Network], interfaces: &[Interface], index: u32) -> Vec<&'n Network> {
    let Some(interface) = interfaces.iter().find(|interface| interface.index == index) else {
        return Vec::new();
    };
    let rank = |network: &Network| {
        interface.addresses.iter().position(|(address, _)| network.contains(*address)).unwrap_or(usize::MAX)
    };
    let mut found: Vec<&Network> = networks
        .iter()
        .filter(|network| match &network.interface {
            Some(name) => *name == interface.name,
            None => rank(network) != usize::MAX,
        })
        .collect();
    found.sort_by_key(|network| rank(network));
    found
}

/// Our address towards the client, for `siaddr`, URLs and the source of the answer.
pub(super) fn server_address(interfaces: &[Interface], ask: &Ask<'_>, network: &Network) -> Ipv4Addr {
    if !ask.packet.giaddr.is_unspecified() && is_own(interfaces, ask.incoming.local) {
        return ask.incoming.local;
    }
    let interface = interfaces.iter().find(|interface| interface.index == ask.incoming.interface);
    let addresses = interface.map(|interface| interface.addresses.as_slice()).unwrap_or(&[]);
    let inside = addresses.iter().find(|(address, _)| network.contains(*address));
    inside.or(addresses.first()).map_or(Ipv4Addr::UNSPECIFIED, |(address, _)| *address)
}

/// The server identifier: our address, or what the relay asks for (RFC 5107).
pub(super) fn server_id(interfaces: &[Interface], ask: &Ask<'_>, network: &Network) -> Ipv4Addr {
    let relay = ask.packet.relay_option(relay::SERVER_ID_OVERRIDE).and_then(ipv4);
    relay.unwrap_or_else(|| server_address(interfaces, ask, network))
}
