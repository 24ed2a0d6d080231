//! `site.proxydhcp`: networks on which another DHCP server gives the addresses.

use dawn_cluster::{Row, Snapshot, col, row_subnet};
use std::net::Ipv4Addr;

/// Whether `site.proxydhcp` names this network, or `ALL`.
#[must_use]
pub fn is_proxied(snapshot: &Snapshot, netname: &str) -> bool {
    let list = snapshot.site("proxydhcp").unwrap_or_default();
    list.split([',', ' ']).any(|name| name == netname || name == "ALL")
}

/// Whether another DHCP server gives this address: then a loader knows that server's name for the next one,
/// and not ours.
pub fn is_proxied_address(snapshot: &Snapshot, address: Ipv4Addr) -> bool {
    if snapshot.site("proxydhcp").is_none_or(|list| list.is_empty()) {
        return false;
    }
    let name = col::networks::NETNAME;
    let holds = |row: &Row| {
        let inside = row_subnet(row).is_some_and(|net| net.contains(address));
        inside && is_proxied(snapshot, row.get(name).map_or("", |text| text))
    };
    snapshot.enabled_rows("networks").any(holds)
}
