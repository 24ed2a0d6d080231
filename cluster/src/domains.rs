//! Domains of machines and the servers that their network names to them.
//!
//! One rule for all: what `networks` says for the smallest network that holds an address takes precedence
//! over the attribute of `site` with the same name. DHCP, the name server, the host files and the answers for
//! installers take domains and name servers from here.
//!
//! Deliberately missing: which addresses these servers have. `<xcatmaster>` is another address in each
//! network, and only the daemon knows its own.

use crate::col;
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::servers::NamedServer;
use crate::snapshot::Snapshot;
use crate::subnet::row_network;
use std::cmp::Reverse;
use std::net::IpAddr;

/// A domain, and where the tables say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Without dots at its ends; the case is the table's.
    pub name: String,
    /// `networks.domain` or `site.domain`.
    pub said_in: &'static str,
}

impl Snapshot {
    /// The domain of a machine by its address; `site.domain` for one without an address, or outside of all
    /// networks.
    pub fn domain_of(&self, address: Option<IpAddr>) -> Option<Domain> {
        self.domain_in(address.and_then(|address| self.network_row_of(address)))
    }

    /// The domain of the machines in the network of a row of `networks`; of no network, `site.domain`.
    pub fn domain_in(&self, network: Option<&Row>) -> Option<Domain> {
        let of_network = network.and_then(|row| bare(row.get(col::networks::DOMAIN)?));
        let of_site = || Some((self.site_domain()?, "site.domain"));
        let found = of_network.map(|name| (name, "networks.domain")).or_else(of_site);
        found.map(|(name, said_in)| Domain { name, said_in })
    }

    /// Every domain of the cluster's machines, each once: those of the networks in the order of their table,
    /// then `site.domain`.
    pub fn domains(&self) -> Vec<String> {
        each_once(self.network_domains(col::networks::DOMAIN).chain(self.site_domain()))
    }

    /// The domains whose names are the cluster's to give, each once: `site.domain`, then the others of
    /// [`domains`](Self::domains) and those in which machines are entered by `networks.ddnsdomain`.
    pub fn zone_domains(&self) -> Vec<String> {
        let dynamic = self.network_domains(col::networks::DDNSDOMAIN);
        each_once(self.site_domain().into_iter().chain(self.domains()).chain(dynamic))
    }

    fn site_domain(&self) -> Option<String> {
        bare(&self.site("domain")?)
    }

    fn network_domains(&self, column: Col) -> impl Iterator<Item = String> {
        self.enabled_rows("networks").filter_map(move |row| bare(row.get(column)?))
    }

    /// The name servers of the machines in a network; of no network, those of `site`.
    pub fn name_servers_of(&self, network: Option<&Row>) -> Vec<NamedServer> {
        self.servers_of(network, col::networks::NAMESERVERS)
    }

    /// The servers that a network names in one of its columns which `site` has an attribute for, too:
    /// `nameservers`, `ntpservers`, `logservers`.
    pub fn servers_of(&self, network: Option<&Row>, column: Col) -> Vec<NamedServer> {
        let own = network.and_then(|row| row.get(column).cloned());
        let text: Option<Text> = own.or_else(|| self.site(column.name()));
        text.map(|text| NamedServer::list(&text)).unwrap_or_default()
    }

    /// The row of the smallest network, of IPv4 or IPv6, that holds an address.
    fn network_row_of(&self, address: IpAddr) -> Option<&Row> {
        let networks = self.enabled_rows("networks").filter_map(|row| Some((row_network(row)?, row)));
        let holding = networks.filter(|((net, bits), _)| begins_alike(*net, address, *bits));
        holding.min_by_key(|((_, bits), _)| Reverse(*bits)).map(|(_, row)| row)
    }
}

/// A domain without blanks and dots at its ends; `None` if nothing is left.
fn bare(text: &str) -> Option<String> {
    Some(text.trim().trim_matches('.').to_owned()).filter(|name| !name.is_empty())
}

/// The names without those that differ from an earlier one in case only (RFC 4343).
fn each_once(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in names {
        if !found.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            found.push(name);
        }
    }
    found
}

/// Whether the first bits of two addresses of one family are the same.
fn begins_alike(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Snapshot {
        let net = |net, mask, domain, more: (_, _)| [("net", net), ("mask", mask), ("domain", domain), more];
        let rows = [
            net("10.0.0.0", "255.0.0.0", "wide.example", ("ddnsdomain", "dynamic.example")),
            net("10.1.0.0", "255.255.0.0", ".small.example.", ("nameservers", "<xcatmaster>, ns1 10.0.0.53")),
            net("10.2.0.0", "255.255.0.0", ".", ("ddnsdomain", "six.example")),
            net("fd00:1::", "64", "six.example", ("comments", "")),
            net("nonsense", "255.0.0.0", "Wide.Example", ("comments", "")),
        ];
        let site = |key, value| [("key", key), ("value", value)];
        let site = [site("domain", "cluster.example"), site("nameservers", "10.0.0.1")];
        let rows = rows.iter().map(|row| ("networks", &row[..]));
        Snapshot::from_rows(rows.chain(site.iter().map(|row| ("site", &row[..]))))
    }

    #[test]
    fn the_domain_is_that_of_the_smallest_network() {
        let snapshot = cluster();
        for (address, name, said_in) in [
            ("10.1.0.9", "small.example", "networks.domain"),
            ("10.9.0.9", "wide.example", "networks.domain"),
            ("10.2.0.9", "cluster.example", "site.domain"),
            ("192.0.2.1", "cluster.example", "site.domain"),
            ("fd00:1::9", "six.example", "networks.domain"),
            ("fd00:2::9", "cluster.example", "site.domain"),
            ("", "cluster.example", "site.domain"),
        ] {
            let expected = Some(Domain { name: name.to_owned(), said_in });
            assert_eq!(snapshot.domain_of(address.parse().ok()), expected, "{address}");
        }
        assert_eq!(Snapshot::empty().domain_of(None), None);
        assert_eq!(snapshot.domains(), ["wide.example", "small.example", "six.example", "cluster.example"]);
        let zones = ["cluster.example", "wide.example", "small.example", "six.example", "dynamic.example"];
        assert_eq!(snapshot.zone_domains(), zones);
    }

    #[test]
    fn servers_of_a_network_take_precedence_over_those_of_the_site() {
        let snapshot = cluster();
        let other = |name: &str| NamedServer::Other(name.to_owned());
        let of = |at: usize| snapshot.name_servers_of(snapshot.enabled_rows("networks").nth(at));
        assert_eq!(of(1), [NamedServer::Master, other("ns1"), other("10.0.0.53")]);
        assert_eq!(
            (of(0), snapshot.name_servers_of(None)),
            (vec![other("10.0.0.1")], vec![other("10.0.0.1")])
        );
        assert!(snapshot.servers_of(None, col::networks::NTPSERVERS).is_empty());
    }
}
