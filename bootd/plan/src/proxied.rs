//! `site.proxydhcp`: networks on which another DHCP server gives the addresses.

use dawn_cluster::{Row, Snapshot, col};
use std::net::Ipv4Addr;

/// Whether `site.proxydhcp` names this network, or `ALL`.
#[must_use]
pub fn is_proxied(snapshot: &Snapshot, netname: &str) -> bool {
    let list = snapshot.site("proxydhcp").unwrap_or_default();
    list.split([',', ' ']).any(|name| name == netname || name == "ALL")
}

/// Whether another DHCP server gives this address: then a loader knows that server's name for the next one,
/// and not ours.
pub(crate) fn is_proxied_address(snapshot: &Snapshot, address: Ipv4Addr) -> bool {
    if snapshot.site("proxydhcp").is_none_or(|list| list.is_empty()) {
        return false;
    }
    let name = |row: &Row| row.get(col::networks::NETNAME).cloned().unwrap_or_default();
    snapshot.networks().any(|(net, row)| net.contains(address) && is_proxied(snapshot, &name(row)))
}
