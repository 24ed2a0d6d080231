//! The name servers that this machine asks itself (resolv.conf(5)).

use std::net::IpAddr;

/// Where they are listed.
pub const RESOLVER: &str = "/etc/resolv.conf";

/// The name servers of this machine in their order; none when the file cannot be read.
#[must_use]
pub fn name_servers() -> Vec<IpAddr> {
    parse(&std::fs::read_to_string(RESOLVER).unwrap_or_default()).collect()
}

/// Those that other machines can ask, as `site.forwarders` lists them: a resolver on loopback is not one.
#[must_use]
pub fn forwarders() -> String {
    let servers = name_servers().into_iter().map(|server| server.to_canonical()).filter(is_server);
    servers.map(|server| server.to_string()).collect::<Vec<_>>().join(",")
}

fn is_server(address: &IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_loopback() || address.is_unspecified() || address.is_multicast() || is_broadcast)
}

fn parse(text: &str) -> impl Iterator<Item = IpAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next())?
    });
    lines.filter_map(|server| server.parse().ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn name_servers_are_lines_of_their_own() {
        let text = "# nameserver 10.0.0.1\nsearch a b\nnameserver\t10.0.0.2 # first\n nameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameservers 10.0.0.3\n";
        let servers: Vec<String> = super::parse(text).map(|server| server.to_string()).collect();
        assert_eq!(servers, ["10.0.0.2", "2001:db8::1"]);
        for text in ["127.0.0.53", "::ffff:127.0.0.1", "224.0.0.251", "255.255.255.255", "::", "ff02::1"] {
            let address: std::net::IpAddr = text.parse().unwrap();
            assert!(!super::is_server(&address.to_canonical()), "{text}");
        }
    }
}
