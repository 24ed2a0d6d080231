//! Which names a caller who is limited to some nodes may give to them.
//!
//! `makehosts` and the name server hand the names on: a name of another machine would redirect that machine's
//! traffic to the node, and a name outside of the cluster's domain could be that of a host on the Internet.
//! Code that knows this machine asks the register ([`Snapshot::taken`]) whether a name is in use elsewhere.

use dawn_cluster::{Col, Snapshot, Text, col, nic_column_for};
use std::collections::BTreeSet;

/// What is taken already, for a caller who may change the nodes that `covers` says.
pub(crate) struct Limits<'a> {
    snapshot: &'a Snapshot,
    covers: &'a dyn Fn(&str) -> bool,
}

impl<'a> Limits<'a> {
    /// The names as they are before the change.
    pub(crate) fn new(snapshot: &'a Snapshot, covers: &'a dyn Fn(&str) -> bool) -> Self {
        Self { snapshot, covers }
    }

    /// The first name that the node gets by a change and may not have, and why.
    pub(crate) fn refused(&self, next: &Snapshot, node: &str) -> Option<(String, &'static str)> {
        let before = names(self.snapshot, node);
        let is_new = |name: &String| **name != *node && !before.contains(name);
        names(next, node).into_iter().filter(is_new).find_map(|name| {
            let why = self.unfit(&name)?;
            Some((name, why))
        })
    }

    fn unfit(&self, name: &str) -> Option<&'static str> {
        let inside = without_domain(self.snapshot, name);
        let is_others = belongs_to_others(self.snapshot, name, self.covers);
        match () {
            () if is_others => Some("it is the name of another machine"),
            () if inside.is_none() => Some("it is outside of the cluster's domain"),
            () => None,
        }
    }
}

/// The names that `makehosts` would write for a node, or would as soon as it has the address that goes with
/// them: prefixes and suffixes of its interfaces make some.
fn names(snapshot: &Snapshot, node: &str) -> BTreeSet<String> {
    let addresses = snapshot.named_addresses(node).into_iter();
    let known = addresses.flat_map(|known| std::iter::once(known.name).chain(known.aliases));
    let words = |cell: Option<Text>| cell.map(|cell| cell.to_string()).unwrap_or_default();
    let hostnames = words(snapshot.attr(node, col::hosts::HOSTNAMES));
    let hostnames = hostnames.split([',', ' ']).map(str::to_owned);
    let others = words(snapshot.attr(node, col::hosts::OTHERINTERFACES));
    let others = others.split(',').filter_map(|part| Some(part.split_once(':')?.0.to_owned()));
    let others = others.map(|name| if name.starts_with('-') { format!("{node}{name}") } else { name });
    let parts = |col: Col| {
        let cell = nic_column_for(&words(snapshot.attr(node, col)), node);
        let values = cell.split(',').filter_map(|entry| Some(entry.split_once('!')?.1.to_owned()));
        values.flat_map(|values| values.split(['|', ' ']).map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let [prefixes, suffixes, aliases]: [Vec<String>; 3] =
        [col::nics::NICHOSTNAMEPREFIXES, col::nics::NICHOSTNAMESUFFIXES, col::nics::NICALIASES].map(parts);
    let prefixed = prefixes.iter().filter(|part| !part.is_empty()).map(|part| format!("{part}{node}"));
    let suffixed = suffixes.iter().filter(|part| !part.is_empty()).map(|part| format!("{node}{part}"));
    let all = known.chain(hostnames).chain(others).chain(prefixed).chain(suffixed).chain(aliases);
    all.filter(|name| !name.is_empty()).collect()
}

/// Names are the same in upper and lower case, and with the dot of the root at their end (RFC 4343, RFC
/// 1034).
fn folded(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The name as it is in one of the domains of `site` and the networks; `None` for one outside of them.
fn without_domain(snapshot: &Snapshot, name: &str) -> Option<String> {
    let name = folded(name);
    if !name.contains('.') {
        return Some(name);
    }
    let mut domains = snapshot.domains().into_iter().map(|own| folded(&own));
    domains.find_map(|own| Some(name.strip_suffix(&own)?.strip_suffix('.')?.to_owned()))
}

/// Whether a name or address is that of a node that is not covered, or of this machine. Names are the same in
/// upper and lower case (RFC 4343).
pub(crate) fn belongs_to_others(snapshot: &Snapshot, word: &str, covers: impl Fn(&str) -> bool) -> bool {
    let is_others = |name: &str| snapshot.has_node(name) && !covers(name);
    let of_node = |name: &str| is_others(name) || is_others(&name.to_ascii_lowercase());
    let short = word.split('.').next().unwrap_or(word);
    let owner = word.parse().ok().and_then(|ip| snapshot.node_by_ip(ip));
    of_node(word)
        || of_node(short)
        || owner.is_some_and(|name| !covers(&name))
        || short.eq_ignore_ascii_case("localhost")
        || snapshot.site("master").as_deref() == Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Edit;
    #[test]
    fn names_of_others_and_of_other_domains_are_refused() {
        let base = Snapshot::from_rows([
            ("site", &[("key", "domain"), ("value", "cluster.example")][..]),
            ("nodelist", &[("node", "cn1")]),
            ("nodelist", &[("node", "cn2")]),
            ("nodelist", &[("node", "cn1-a7")]),
            ("hosts", &[("node", "cn1"), ("ip", "10.0.0.1")]),
            (
                "hosts",
                &[
                    ("node", "cn2"),
                    ("ip", "10.0.0.2"),
                    ("hostnames", "login"),
                    ("otherinterfaces", "-ib:10.8.0.2"),
                ],
            ),
            ("ipmi", &[("node", "cn2"), ("bmc", "bmc-cn2.mgmt.example")]),
            (
                "networks",
                &[("net", "10.0.0.0"), ("mask", "255.255.0.0"), ("ntpservers", "clock.cluster.example")],
            ),
        ]);
        let covers = |name: &str| name == "cn1";
        let limits = Limits::new(&base, &covers);
        for (table, column, value, why) in [
            ("hosts", "hostnames", "www.bank.example", "outside"),
            ("hosts", "hostnames", "a,www.bank.example.", "outside"),
            ("hosts", "hostnames", "cluster.example.evil", "outside"),
            ("hosts", "hostnames", "xcluster.example", "outside"),
            ("hosts", "hostnames", "|.*|www.bank.example|", "outside"),
            ("hosts", "otherinterfaces", "www.bank.example:10.0.0.98", "outside"),
            ("nics", "nicaliases", "eth9!www.bank.example", "outside"),
            ("nics", "nichostnamesuffixes", "eth9!.bank.example", "outside"),
            ("nics", "nichostnameprefixes", "eth9!a.bank-", "outside"),
            ("hosts", "hostnames", "bmc-cn2.mgmt.example", "outside"),
            ("hosts", "hostnames", "CN2.cluster.example", "another"),
            ("nics", "nichostnamesuffixes", "eth9!-a7", "another"),
            ("hosts", "hostnames", "vm.cluster.example", ""),
            ("hosts", "hostnames", "vm,db.rack1.Cluster.Example.", ""),
            ("hosts", "hostnames", "cn1-a", ""),
        ] {
            let next =
                base.with(&[Edit::set(table, &[("node", "cn1")], &[(column, value)]).unwrap()]).unwrap();
            let got = limits.refused(&next, "cn1");
            assert_eq!(got.is_some(), !why.is_empty(), "{column} {value}: {got:?}");
            assert!(got.iter().all(|(_, text)| text.contains(why)), "{column} {value}: {got:?}");
        }
    }
}
