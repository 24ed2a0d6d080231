//! Checks of the boot network: other DHCP servers, and filters between the nodes and this machine.

use super::{Finding, Site};
use dawn_bootd::address;
use dawn_bootd::dhcp::probe;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long other DHCP servers have for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// Ports of DHCP: server, client.
const DHCP_PORTS: (u16, u16) = (67, 68);
/// Lists the rules of nftables and of iptables over it.
const NFT: &str = "nft";

/// Servers other than this machine that would answer nodes.
pub(super) fn other_dhcp_servers(site: &Site<'_>) -> Vec<Finding> {
    let own = address::of_this_machine().unwrap_or_default();
    let Some(interface) = interface(site) else { return Vec::new() };
    let offers = match probe::who_answers(&interface, DHCP_PORTS, ANSWER_TIME) {
        Ok(offers) => offers,
        Err(error) => {
            return vec![Finding::warn(
                format!("cannot look for other DHCP servers on {interface}: {error}"),
                "run `dawn doctor` as root, and without another DHCP client on that interface",
            )];
        }
    };
    let is_own = |server: Ipv4Addr| own.iter().any(|local| local.address == server);
    let others: Vec<Finding> = offers
        .iter()
        .filter(|offer| !is_own(offer.server))
        .map(|offer| {
            let what = match offer.address.is_unspecified() {
                true => "a boot file".to_owned(),
                false => format!("the address {}", offer.address),
            };
            Finding::warn(
                format!("the DHCP server {} on {interface} offers {what}", offer.server),
                "stop it, or leave the addresses to it with site.proxydhcp (docs/dhcp.md)",
            )
            .with("server", offer.server.to_string())
            .with("interface", interface.as_str())
        })
        .collect();
    match others.is_empty() {
        true => vec![Finding::ok(format!("no other DHCP server answers on {interface}"))],
        false => others,
    }
}

/// The interface that was named, or the one with the address of `site.master`.
fn interface(site: &Site<'_>) -> Option<String> {
    if let Some(name) = site.interface {
        return Some(name.to_owned());
    }
    if !site.is_served() {
        return None;
    }
    let master: Ipv4Addr = site.setting("master")?.parse().ok()?;
    let own = address::of_this_machine().unwrap_or_default();
    let found = own.iter().find(|local| local.address == master && !master.is_loopback());
    found.map(|local| local.interface.clone())
}

/// Filters that keep what nodes send from this machine. Without the program nothing is reported.
pub(super) fn filters(site: &Site<'_>) -> Vec<Finding> {
    let mut command = Command::new(NFT);
    let output = command.args(["--json", "list", "ruleset"]).stdin(Stdio::null()).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else { return Vec::new() };
    let interface = interface(site).unwrap_or_else(|| "INTERFACE".to_owned());
    read(&output.stdout, &interface)
}

/// Findings about a list of rules (libnftables-json(5)): firewalld's table, or a chain on the way in that
/// drops what no rule accepts. Whether a rule accepts what nodes send is for the administrator to see.
fn read(rules: &[u8], interface: &str) -> Vec<Finding> {
    let rules: Value = serde_json::from_slice(rules).unwrap_or_default();
    let items = rules.get("nftables").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_firewalld = |item: &&Value| text(item, "name") == "firewalld";
    if items.iter().filter_map(|item| item.get("table")).any(|item| is_firewalld(&item)) {
        return vec![Finding::warn(
            format!(
                "firewalld filters what reaches this machine; {interface} must be in a zone that accepts it"
            ),
            format!(
                "let it through: `firewall-cmd --permanent --zone=trusted --change-interface={interface}`, then \
                 `firewall-cmd --reload`"
            ),
        )];
    }
    let chains = items.iter().filter_map(|item| item.get("chain"));
    let closed = chains.filter(|chain| text(chain, "hook") == "input" && text(chain, "policy") == "drop");
    closed
        .map(|chain| {
            let [family, table, name] = ["family", "table", "name"].map(|key| text(chain, key));
            Finding::warn(
                format!("the chain {name} of nftables ({family} {table}) drops what no rule of it accepts"),
                format!(
                    "let it through: `nft insert rule {family} {table} {name} iifname {interface} accept`"
                ),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_on_the_way_in_are_found() {
        let rules = r#"{"nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "inet", "name": "filter", "handle": 1}},
            {"chain": {"family": "inet", "table": "filter", "name": "INPUT", "hook": "input", "policy": "drop"}},
            {"chain": {"family": "inet", "table": "filter", "name": "OUTPUT", "hook": "output", "policy": "drop"}},
            {"chain": {"family": "ip", "table": "own", "name": "INPUT", "hook": "input", "policy": "accept"}}
        ]}"#;
        let lines = |rules: &str| super::super::tests::lines(&read(rules.as_bytes(), "eth1"));
        expect_test::expect![[r#"
            [warn]   the chain INPUT of nftables (inet filter) drops what no rule of it accepts
                     Hint: Let it through: `nft insert rule inet filter INPUT iifname eth1 accept`.
        "#]]
        .assert_eq(&lines(rules));
        let firewalld = lines(r#"{"nftables": [{"table": {"family": "inet", "name": "firewalld"}}]}"#);
        assert!(firewalld.contains("--zone=trusted --change-interface=eth1"), "{firewalld}");
        for empty in [r#"{"nftables": []}"#, "{}", "garbage", ""] {
            assert_eq!(lines(empty), "");
        }
    }
}
