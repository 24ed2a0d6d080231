//! The IPv4 networks this machine is directly connected to, from the kernel's routing table.

use dawn_bootd::output::CommandError;
use dawn_cluster::LocalNetwork;
use std::net::Ipv4Addr;

const ROUTES: &str = "/proc/net/route";

/// Reads them; loopback, link-local and multicast are left out.
///
/// # Errors
/// The kernel does not show them.
pub fn read() -> Result<Vec<LocalNetwork>, CommandError> {
    let text =
        std::fs::read_to_string(ROUTES).map_err(|error| CommandError::unavailable(ROUTES).cause(error))?;
    let mtu = |interface: &str| {
        let path = format!("/sys/class/net/{interface}/mtu");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok())
    };
    Ok(parse(&text, mtu))
}

struct Route {
    interface: String,
    destination: Ipv4Addr,
    gateway: Ipv4Addr,
    mask: Ipv4Addr,
}

fn parse(text: &str, mtu: impl Fn(&str) -> Option<u32>) -> Vec<LocalNetwork> {
    let routes: Vec<Route> = text.lines().skip(1).filter_map(route).collect();
    let default = routes.iter().find(|route| route.mask.is_unspecified()).map(|route| route.gateway);
    let inside = |gateway: &Ipv4Addr, route: &Route| {
        u32::from(*gateway) & u32::from(route.mask) == u32::from(route.destination)
    };
    let connected = routes.iter().filter(|route| {
        let net = route.destination;
        route.gateway.is_unspecified()
            && !route.mask.is_unspecified()
            && route.mask != Ipv4Addr::BROADCAST
            && !(net.is_loopback() || net.is_link_local() || net.is_multicast())
    });
    connected
        .map(|route| LocalNetwork {
            net: route.destination,
            mask: route.mask,
            interface: route.interface.clone(),
            gateway: default.filter(|gateway| inside(gateway, route)),
            mtu: mtu(&route.interface),
        })
        .collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses as little-endian hex.
fn route(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| {
        let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
        Some(Ipv4Addr::from(number.swap_bytes()))
    };
    Some(Route {
        interface: (*fields.first()?).to_owned(),
        destination: address(1)?,
        gateway: address(2)?,
        mask: address(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\tFE00010A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                    eth1\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let networks = parse(text, |_| Some(1500));
        assert_eq!(networks.len(), 1);
        let network = networks.first().expect("a network");
        assert_eq!(network.name(), "10_1_0_0-255_255_0_0");
        assert_eq!(network.gateway, Some(Ipv4Addr::new(10, 1, 0, 254)));
    }
}
