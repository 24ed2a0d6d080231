//! What must be refused when networks and reservations are defined, with the reason: two machines would fight for one
//! address, or an answer could not work.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::directory::{Network, Range, Reservation};
use crate::hwaddr::HwAddr;

/// A definition that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A node's address could be given to someone else.
    #[error(
        "Node {node} has IP {address} which is inside the DHCP dynamic range. Move the node IP outside the dynamic \
         range or adjust the range in the networks table."
    )]
    InsideRange {
        /// The node.
        node: String,
        /// Its address.
        address: Ipv4Addr,
        /// The network with the range.
        network: String,
    },
    /// Two nodes with one link-layer address: neither could be told from the other.
    #[error("MAC address {hw} belongs to both {first} and {second}")]
    DuplicateMac {
        /// The address.
        hw: HwAddr,
        /// One node.
        first: String,
        /// The other.
        second: String,
    },
    /// Two nodes with one IP address.
    #[error("IP address {address} belongs to both {first} and {second}")]
    DuplicateAddress {
        /// The address.
        address: Ipv4Addr,
        /// One node.
        first: String,
        /// The other.
        second: String,
    },
    /// A router that clients of the network cannot reach.
    #[error("Specified gateway {gateway} is not valid for {network}/{mask}, must be on same network")]
    Gateway {
        /// The router.
        gateway: Ipv4Addr,
        /// The network's address.
        network: Ipv4Addr,
        /// Its mask.
        mask: Ipv4Addr,
    },
    /// A dynamic range that reaches out of its network.
    #[error("dynamic range {}-{} is not inside {network}", range.first(), range.last())]
    RangeOutside {
        /// The range.
        range: Range,
        /// The network's name.
        network: String,
    },
    /// Two dynamic ranges share addresses.
    #[error("dynamic ranges {}-{} and {}-{} overlap", first.first(), first.last(), second.first(), second.last())]
    RangesOverlap {
        /// One range.
        first: Range,
        /// The other.
        second: Range,
    },
}

/// Everything that is wrong with the networks themselves.
pub fn networks(networks: &[Network]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: Vec<Range> = Vec::new();
    for network in networks {
        let outside = network.routers.iter().filter(|router| !network.contains(**router));
        problems.extend(outside.map(|gateway| Problem::Gateway {
            gateway: *gateway,
            network: network.address,
            mask: network.mask(),
        }));
        for range in &network.ranges {
            if !network.contains(range.first()) || !network.contains(range.last()) {
                problems.push(Problem::RangeOutside { range: *range, network: network.name.to_string() });
            }
            let clash = seen.iter().find(|other| other.overlaps(range));
            problems.extend(clash.map(|first| Problem::RangesOverlap { first: *first, second: *range }));
            seen.push(*range);
        }
    }
    problems
}

/// Everything that is wrong with reservations, among themselves and with the networks' dynamic ranges.
pub fn reservations<'r>(
    networks: &[Network],
    reservations: impl IntoIterator<Item = (HwAddr, &'r Reservation)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut by_hw: HashMap<HwAddr, &str> = HashMap::new();
    let mut by_address: HashMap<Ipv4Addr, &str> = HashMap::new();
    for (hw, reservation) in reservations {
        let node: &'r str = &reservation.node;
        let second = || node.to_owned();
        if let Some(first) = by_hw.insert(hw, node).filter(|first| *first != node) {
            problems.push(Problem::DuplicateMac { hw, first: first.to_owned(), second: second() });
        }
        let Some(address) = reservation.address else { continue };
        if let Some(first) = by_address.insert(address, node).filter(|first| *first != node) {
            problems.push(Problem::DuplicateAddress { address, first: first.to_owned(), second: second() });
        }
        let inside =
            networks.iter().find(|network| network.ranges.iter().any(|range| range.contains(address)));
        problems.extend(inside.map(|network| Problem::InsideRange {
            node: second(),
            address,
            network: network.name.to_string(),
        }));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::BootRule;

    fn range(first: u8, last: u8) -> Range {
        Range::new([10, 1, 0, first].into(), [10, 1, 0, last].into()).unwrap()
    }

    fn node(name: &str, mac: u8, last: u8) -> (HwAddr, Reservation) {
        let reservation = Reservation {
            node: name.into(),
            hostname: name.into(),
            address: Some([10, 1, 0, last].into()),
            next_server: None,
            boot: BootRule::Disk,
            options: Vec::new(),
        };
        (HwAddr::ethernet([2, 0, 0, 0, 0, mac]), reservation)
    }

    #[test]
    fn each_problem_is_named() {
        let mut network = Network::new("compute", [10, 1, 0, 0].into(), 24);
        network.ranges = vec![range(100, 200), range(200, 210)];
        network.routers = vec![[10, 2, 0, 254].into()];
        let mut far = Network::new("far", [10, 3, 0, 0].into(), 24);
        far.ranges = vec![range(1, 2)];
        let nodes =
            [node("cn1", 1, 1), node("cn1", 1, 1), node("cn2", 1, 2), node("cn3", 3, 2), node("cn4", 4, 150)];
        let found = networks(&[network.clone(), far]);
        let found = found
            .iter()
            .chain(&reservations(&[network], nodes.iter().map(|(hw, r)| (*hw, r))))
            .map(|problem| format!("{problem}\n"))
            .collect::<String>();
        expect_test::expect![[r#"
            Specified gateway 10.2.0.254 is not valid for 10.1.0.0/255.255.255.0, must be on same network
            dynamic ranges 10.1.0.100-10.1.0.200 and 10.1.0.200-10.1.0.210 overlap
            dynamic range 10.1.0.1-10.1.0.2 is not inside far
            MAC address 02:00:00:00:00:01 belongs to both cn1 and cn2
            IP address 10.1.0.2 belongs to both cn2 and cn3
            Node cn4 has IP 10.1.0.150 which is inside the DHCP dynamic range. Move the node IP outside the dynamic range or adjust the range in the networks table.
        "#]]
        .assert_eq(&found);
    }
}
