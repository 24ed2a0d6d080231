//! What the tables ask of DHCP and this machine cannot do. None of these words can be refused, because a name
//! may refer to a row that is added later; but each silently changes what machines are answered.

use super::{Here, Interfaces, NetworkRow, named_address, networks};
use crate::address::host_name;
use dawn_cluster::{Col, NamedServer, Snapshot, col};
use dawn_dhcp::directory::Mode;
use dawn_plan::LocalAddresses;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

/// Columns of `networks` that name servers for clients; keys of `site` have the same names.
const SERVERS: [Col; 3] = [col::networks::NAMESERVERS, col::networks::NTPSERVERS, col::networks::LOGSERVERS];

/// One line for each.
#[must_use]
pub fn problems(snapshot: &Snapshot, addresses: &LocalAddresses) -> Vec<String> {
    let host = host_name();
    let name_servers = &super::NO_NAME_SERVER;
    let here = Here { snapshot, addresses, host: &host, forwards: false, name_servers };
    let mut list = interfaces(here);
    list.extend(proxied(snapshot));
    list.extend(servers(here));
    list.extend(master(here));
    list
}

/// `site.master` that no interface of this machine has, or that nodes cannot boot from.
fn master(here: Here<'_>) -> Option<String> {
    let text = here.snapshot.site("master")?;
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(format!(
            "site.master is {text}: nodes boot over IPv4 only, so give this machine an IPv4 address and set site.master to it"
        ));
    }
    let master = named_address(here.snapshot, &text)?;
    let own = here.addresses.iter().filter(|local| !local.address.is_loopback());
    let own: Vec<String> = own.map(|local| format!("{} ({})", local.address, local.interface)).collect();
    // Without a list of addresses, nothing can be said about one.
    let known = here.addresses.iter().next().is_some();
    (known && !here.addresses.contains(master)).then(|| {
        let has = if own.is_empty() { "none".to_owned() } else { own.join(", ") };
        format!("site.master is {master}, which no interface of this machine has; its IPv4 addresses: {has}")
    })
}

/// Interfaces of `--interface` without an IPv4 address: machines there get no answer until they have one.
#[must_use]
pub fn without_address(interfaces: &[String], addresses: &LocalAddresses) -> Vec<String> {
    let has = |name: &str| addresses.iter().any(|local| local.interface == name);
    let bare = interfaces.iter().filter(|name| !has(name));
    bare.map(|name| {
        format!(
            "the interface {name} has no IPv4 address, so no machine on it gets an answer; \
             give it one, for instance: ip address add 10.1.0.1/16 dev {name}"
        )
    })
    .collect()
}

/// Names in `dhcpinterfaces` that no interface of this machine has, and networks of which none is left.
fn interfaces(here: Here<'_>) -> Vec<String> {
    let served = Interfaces::read(here);
    let own: BTreeSet<&str> = here.own_interface_names().collect();
    // Without an address of this machine, nothing can be said about it.
    let Some(listed) = served.listed.as_ref().filter(|_| !own.is_empty()) else { return Vec::new() };
    let source = super::WHERE_INTERFACES_ARE_NAMED;
    let has = own.iter().copied().collect::<Vec<_>>().join(", ");
    let lost = listed
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('!') && !own.contains(name.as_str()));
    let mut list: Vec<String> = lost
        .map(|name| {
            format!("{source} names '{name}', and no interface of this machine with an IPv4 address is called so: it has {has}")
        })
        .collect();
    let networks = networks(here);
    if !networks.is_empty() && networks.iter().all(|network| network.mode == Mode::Off) {
        list.push(format!("DHCP answers no machine at all: {source} leaves no interface that leads to a network of the networks table"));
    }
    list
}

/// Words of `site.proxydhcp` that are not networks.
fn proxied(snapshot: &Snapshot) -> Vec<String> {
    let text = snapshot.site("proxydhcp").unwrap_or_default();
    let col = col::networks::NETNAME;
    let known = |word: &str| {
        word == "ALL"
            || snapshot.enabled_rows("networks").any(|row| row.get(col).is_some_and(|name| &**name == word))
    };
    let words = text.split([',', ' ']).filter(|word| !word.is_empty() && !known(word));
    words
        .map(|word| format!("site.proxydhcp names '{word}', which is not a network (networks.netname)"))
        .collect()
}

/// Servers that are left out of answers because the tables have no address for their name.
fn servers(here: Here<'_>) -> Vec<String> {
    let lost = |text: &str| -> Vec<String> {
        let name = |server| match server {
            NamedServer::Master => None,
            NamedServer::Other(name) => Some(name),
        };
        // Addresses of IPv6 are for others than us.
        let is_lost =
            |word: &String| word.parse::<IpAddr>().is_err() && named_address(here.snapshot, word).is_none();
        NamedServer::list(text).into_iter().filter_map(name).filter(is_lost).collect()
    };
    let mut list = Vec::new();
    let mut report = |place: String, text: &str| {
        for name in lost(text) {
            list.push(format!(
                "{place} names '{name}', for which the tables have no IPv4 address: DHCP leaves it out"
            ));
        }
    };
    for key in SERVERS.map(Col::name) {
        report(format!("site.{key}"), &here.snapshot.site(key).unwrap_or_default());
    }
    let served = Interfaces { listed: None };
    for row in here.snapshot.enabled_rows("networks") {
        let row = NetworkRow { row, here, served: &served };
        let netname = row.get(col::networks::NETNAME).unwrap_or("?");
        for column in SERVERS {
            report(format!("{column} of {netname}"), row.get(column).unwrap_or_default());
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_must_have_the_address_of_its_name() {
        let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        for (master, said) in [
            ("10.1.0.1", ""),
            ("10.9.9.9", "no interface of this machine has; its IPv4 addresses: 10.1.0.1 (eth1)"),
            ("fd00::1", "over IPv4 only"),
        ] {
            let site: &[(&str, &str)] = &[("key", "master"), ("value", master)];
            let told = problems(&Snapshot::from_rows([("site", site)]), &addresses).join("\n");
            assert!(told.contains(said) && said.is_empty() == told.is_empty(), "{master}: {told}");
        }
        let interfaces = ["eth1".to_owned(), "eth2".to_owned()];
        let told = without_address(&interfaces, &addresses);
        assert!(told.len() == 1 && told.concat().contains("eth2 has no IPv4 address"), "{told:?}");
    }

    #[test]
    fn words_that_change_answers_silently_are_told() {
        let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        let told = |site: (&str, &str), nameservers: &str| {
            let network: &[(&str, &str)] = &[
                ("netname", "boot"),
                ("net", "10.1.0.0"),
                ("mask", "255.255.0.0"),
                ("nameservers", nameservers),
            ];
            let site = [("key", site.0), ("value", site.1)];
            let snapshot = Snapshot::from_rows([("networks", network), ("site", &site)]);
            problems(&snapshot, &addresses).join("\n")
        };
        for good in ["", "eth1", "eth1:noboot", "eth1,!remote!", "mn9|eth9;eth1"] {
            assert_eq!(told(("dhcpinterfaces", good), "10.1.0.9,<xcatmaster>"), "", "{good}");
        }
        let wrong = told(("dhcpinterfaces", "nosuch9"), "10.1.0.9");
        assert!(
            wrong.contains("'nosuch9'") && wrong.contains("eth1") && wrong.contains("no machine at all"),
            "{wrong}"
        );
        let other = told(("dhcpinterfaces", "mn9|eth1"), "10.1.0.9");
        assert!(other.contains("no machine at all"), "{other}");
        assert!(told(("proxydhcp", "boot,nosuchnet"), "10.1.0.9").contains("'nosuchnet'"));
        assert_eq!(told(("proxydhcp", "ALL"), "10.1.0.9"), "");
        assert!(
            told(("ntpservers", "<xcatmaster>"), "foo").contains("networks.nameservers of boot names 'foo'")
        );
    }
}
