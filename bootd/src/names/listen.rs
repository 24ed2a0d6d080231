//! Where the name server listens: on the addresses of this machine that face a network of the tables, as far
//! as `site.dnsinterfaces` leaves their interface in, and on loopback.

use super::records::{Frame, Host};
use crate::dhcp::{Here, Interfaces};
use dawn_cluster::Snapshot;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses of IPv6 as the kernel lists them: address, index, prefix length, scope, flags, interface.
const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";
/// Flags of an address that is not usable yet, or never (include/uapi/linux/if_addr.h).
const TENTATIVE_OR_FAILED: u32 = 0x40 | 0x08;

/// An IPv6 address of this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalIpv6 {
    /// Interface name.
    pub interface: String,
    /// The address.
    pub address: Ipv6Addr,
}

/// The IPv6 addresses of this machine, without link-local ones.
#[must_use]
pub fn ipv6_of_this_machine() -> BTreeSet<LocalIpv6> {
    read_ipv6(&std::fs::read_to_string(IPV6_ADDRESSES).unwrap_or_default())
}

fn read_ipv6(text: &str) -> BTreeSet<LocalIpv6> {
    let one = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [address, _, _, scope, flags, interface] = words.as_slice() else { return None };
        let address = Ipv6Addr::from_bits(u128::from_str_radix(address, 16).ok()?);
        let flags = u32::from_str_radix(flags, 16).ok()?;
        let usable = flags & TENTATIVE_OR_FAILED == 0 && matches!(*scope, "00" | "10");
        usable.then(|| LocalIpv6 { interface: (*interface).to_owned(), address })
    };
    text.lines().filter_map(one).collect()
}

/// The addresses to listen on, loopback ones last.
#[must_use]
pub fn addresses(
    snapshot: &Snapshot,
    host: Host<'_>,
    frame: &Frame,
    ipv6: &BTreeSet<LocalIpv6>,
    port: u16,
) -> Vec<SocketAddr> {
    let name_servers = &BTreeSet::new();
    let here = Here { snapshot, addresses: host.addresses, host: host.name, forwards: false, name_servers };
    let text = snapshot.site("dnsinterfaces").filter(|text| !text.trim().is_empty());
    let listed = text.map(|text| Interfaces::listed(here, &text));
    let is_in = |interface: &str| listed.as_ref().is_none_or(|list| list.find(Some(interface)).is_some());
    let faces = |ip: IpAddr| frame.net(ip).is_some_and(|net| net.ours);
    let v4 = host.addresses.iter().filter(|local| !local.address.is_loopback());
    let v4 = v4.filter(|local| is_in(&local.interface)).map(|local| IpAddr::V4(local.address));
    let v6 = ipv6.iter().filter(|local| is_in(&local.interface)).map(|local| IpAddr::V6(local.address));
    let mut list: Vec<IpAddr> = v4.chain(v6).filter(|ip| faces(*ip)).collect();
    list.push(Ipv4Addr::LOCALHOST.into());
    if ipv6.iter().any(|local| local.address.is_loopback()) {
        list.push(Ipv6Addr::LOCALHOST.into());
    }
    list.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list() {
        let text = "fe800000000000000000000000000001 02 40 20 80 eth0\n\
                    fd000000000000000000000000000001 02 40 00 80 eth0\n\
                    fd000000000000000000000000000002 02 40 00 c0 eth0\n\
                    00000000000000000000000000000001 01 80 10 80 lo\njunk\n";
        let found: Vec<String> =
            read_ipv6(text).iter().map(|local| format!("{} {}", local.interface, local.address)).collect();
        assert_eq!(found, ["eth0 fd00::1", "lo ::1"]);
    }
}
