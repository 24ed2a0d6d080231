//! What `site` says of discovery.

use std::net::IpAddr;

use dawn_cluster::{Snapshot, col};
use dawn_discovery::Method;
use dawn_discovery::limits::RULES_MAX;
use dawn_discovery::rule::Rule;

/// `site` key: methods in the order in which they are asked.
const METHODS_KEY: &str = "discoverymethods";
/// `site` key: rules, separated by blanks.
const RULES_KEY: &str = "discoveryrules";
/// `site` key: networks (`networks.netname`) whose machines wait for an administrator, or `all`.
const APPROVAL_KEY: &str = "discoveryapproval";

/// The name of the network of an address.
pub(super) fn network_at(snapshot: &Snapshot, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(address) = ip else { return None };
    let (_, row) = snapshot.network_of(address)?;
    Some(row.get(col::networks::NETNAME).map(ToString::to_string).unwrap_or_default())
}

pub(super) fn needs_approval(snapshot: &Snapshot, from: IpAddr) -> bool {
    let Some(list) = snapshot.site(APPROVAL_KEY) else { return false };
    let network = network_at(snapshot, from).unwrap_or_default();
    list.split(',').map(str::trim).any(|word| word == "all" || (!word.is_empty() && word == network))
}

/// The methods of the cluster in their order; a word that is none is left out.
pub(super) fn methods(snapshot: &Snapshot) -> Vec<Method> {
    let Some(list) = snapshot.site(METHODS_KEY) else { return Method::ALL.to_vec() };
    let method = |word: &str| Method::ALL.into_iter().find(|method| method.name() == word);
    list.split(',').filter_map(|text| method(text.trim())).collect()
}

pub(super) fn rules(snapshot: &Snapshot) -> Vec<Rule> {
    let Some(list) = snapshot.site(RULES_KEY) else { return Vec::new() };
    let rules = list.split_whitespace().take(RULES_MAX);
    rules.filter_map(|text| text.parse().ok()).collect()
}
