//! Names and addresses that nodes have, and what else uses a name or an address: the register that is asked
//! before a caller who may change some nodes only gives them another one.
//!
//! A name counts by its first label, in lower case: `CN2`, `cn2` and `cn2.example.org` are one. What nodes
//! are called and where they are comes from `hosts`, `nics` and `mac`, groups' rows and templates applied; an
//! index answers who has it, made when it is first asked for and kept up by changes of single nodes (of a
//! group's row in `hosts`, `nics` or `mac` it is made again). Other uses in the tables are in
//! [`crate::used`].
//!
//! Deliberately missing: names that only an outside name server knows.

use crate::address_index::{ClaimSlot, FOLLOWED_MAX};
use crate::chunk::ChunkMap;
use crate::claim::Claim;
use crate::col;
use crate::effect::{Effect, RowChange};
use crate::names::{Guid, parse_mac_column, parse_mac_column_as};
use crate::nics::nic_column_for;
use crate::row::{Row, Text};
use crate::rules::no_machine;
use crate::schema::{Col, TableId};
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// Something that a node gets by a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClaim {
    /// The node.
    pub node: Text,
    /// What it gets.
    pub claim: Claim,
}

/// Facts about the machine that the tables do not have.
#[derive(Clone, Debug, Default)]
pub struct MachineFacts {
    /// Its own name and addresses, and the names and addresses in lines of `/etc/hosts` that are not those of
    /// nodes which the caller may change.
    pub taken: BTreeSet<Claim>,
}

/// Names that every machine has for itself and for its surroundings (`/etc/hosts` of distributions), and the
/// management node's in every cluster.
const RESERVED: [&str; 13] = [
    "localhost",
    "localhost4",
    "localhost6",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "broadcasthost",
    "_gateway",
    "xcatmaster",
];

/// Names that programs look up in their domain by themselves, to take settings, proxies or commands from the
/// machine that is called so.
const LOOKED_UP: [&str; 13] = [
    // Proxies, tunnels and mail programs.
    "wpad",
    "isatap",
    "autodiscover",
    "autoconfig",
    "mail",
    "mailhost",
    // Configuration management.
    "puppet",
    "salt",
    // Settings of a machine in a cloud.
    "instance-data",
    "data-server",
    "metadata",
    // Directories and logs.
    "kerberos",
    "loghost",
];

impl Snapshot {
    /// What a node is called and where it is, or will be as soon as a cell of its has the address that goes
    /// with a name.
    fn claims_of(&self, node: &str) -> BTreeSet<Claim> {
        if !self.has_node(node) {
            return BTreeSet::new();
        }
        let cell = |col: Col| self.attr(node, col).unwrap_or_default();
        let mut words: Vec<String> = vec![node.to_owned()];
        for known in self.named_addresses(node) {
            words.extend([known.name, known.ip.to_string()]);
            words.extend(known.aliases);
        }
        words.push(cell(KNOWN.ip).to_string());
        words.extend(cell(col::hosts::HOSTNAMES).split([',', ' ']).map(str::to_owned));
        for part in cell(col::hosts::OTHERINTERFACES).split(',') {
            let (name, address) = part.split_once(':').unwrap_or((part, ""));
            words.push(if name.starts_with('-') { format!("{node}{name}") } else { name.to_owned() });
            words.push(address.to_owned());
        }
        let of_nics = |col: Col, words: &mut Vec<String>, full: &dyn Fn(&str) -> String| {
            let cell = nic_column_for(&cell(col), node);
            let values = cell.split(',').filter_map(|entry| Some(entry.split_once('!')?.1));
            let parts = values.flat_map(|values| values.split(['|', ' ']));
            words.extend(parts.filter(|part| !part.is_empty()).map(full));
        };
        of_nics(col::nics::NICIPS, &mut words, &str::to_owned);
        of_nics(col::nics::NICALIASES, &mut words, &str::to_owned);
        of_nics(col::nics::NICHOSTNAMEPREFIXES, &mut words, &|part| format!("{part}{node}"));
        of_nics(col::nics::NICHOSTNAMESUFFIXES, &mut words, &|part| format!("{node}{part}"));
        // DHCP gives an interface `mac!name` the address of that name.
        let mac = cell(KNOWN.mac);
        words.extend(parse_mac_column(&mac).into_iter().filter_map(|entry| entry.host));
        words.extend(parse_mac_column_as::<Guid>(&mac).into_iter().filter_map(|entry| entry.host));
        words.iter().filter_map(|word| Claim::read(word)).collect()
    }

    /// What nodes get by a change of these rows and do not have before it.
    pub fn new_claims(&self, next: &Snapshot, rows: &[RowChange]) -> Vec<NewClaim> {
        let mut nodes: BTreeSet<Text> = BTreeSet::new();
        for row in rows {
            let Some(key) = row.table.info().node_col().filter(|_| gives_claims(row.table)) else { continue };
            let renamed = row.cells.iter().filter(|(col, ..)| *col == key);
            let named = row.node().into_iter().chain(renamed.filter_map(|(_, _, new)| new.as_ref()));
            for name in named {
                nodes.extend(next.nodes_listing_group(name));
                nodes.insert(name.clone());
            }
        }
        let new = |node: Text| {
            let before = self.claims_of(&node);
            let after = next.claims_of(&node).into_iter().filter(move |claim| !before.contains(claim));
            after.map(move |claim| NewClaim { node: node.clone(), claim }).collect::<Vec<_>>()
        };
        nodes.into_iter().flat_map(new).collect()
    }

    /// The first of these names and addresses that may not become a node's, because anything but a node that
    /// `covers` says has it; and why.
    pub fn taken(
        &self,
        claims: &BTreeSet<Claim>,
        facts: &MachineFacts,
        covers: &dyn Fn(&str) -> bool,
    ) -> Option<(Claim, &'static str)> {
        let is_reserved = |claim: &Claim| match claim {
            Claim::Name(name) => RESERVED.contains(&&**name) || LOOKED_UP.contains(&&**name),
            Claim::Address(_) => false,
        };
        let is_others = |claim: &Claim| self.nodes_with(claim).any(|node| !covers(&node));
        let no_machine = no_machine(self);
        let unfit = claims.iter().find(|claim| matches!(claim, Claim::Address(ip) if no_machine(*ip)));
        if let Some(claim) = unfit {
            return Some((claim.clone(), "it is not the address of one machine"));
        }
        let known = |claim: &&Claim| is_reserved(claim) || facts.taken.contains(claim) || is_others(claim);
        let known = claims.iter().find(known).cloned();
        let taken = known.or_else(|| self.used(claims, covers));
        taken.map(|claim| (claim, "something else in the cluster has it"))
    }

    /// The nodes that have a name or an address.
    pub fn nodes_with(&self, claim: &Claim) -> impl Iterator<Item = Text> {
        let map = self.inherited.claims.get_or_init(|| self.claims());
        let start = (claim.clone(), Text::from(""));
        let found = map.range_from(&start).take_while(|((found, _), ())| found == claim);
        found.map(|((_, node), ())| node.clone()).collect::<Vec<_>>().into_iter()
    }

    fn claims(&self) -> ChunkMap<(Claim, Text), ()> {
        let of_node = |node: &Text| {
            self.claims_of(node).into_iter().map(|claim| ((claim, node.clone()), ())).collect::<Vec<_>>()
        };
        ChunkMap::from_unsorted(self.node_names().flat_map(of_node).collect())
    }
}

/// Rows of the table make names and addresses of nodes.
fn gives_claims(table: TableId) -> bool {
    [KNOWN.nodelist, KNOWN.ip.table, KNOWN.mac.table, col::nics::NICIPS.table].contains(&table)
}

/// The index after a change, if it follows from the one before it.
pub(crate) fn follow(before: &Snapshot, after: &Snapshot, effects: &[Effect]) -> ClaimSlot {
    let slot = &before.inherited.claims;
    let Some(map) = slot.get() else { return ClaimSlot::default() };
    let Some(nodes) = touched(before, after, effects).filter(|nodes| nodes.len() <= FOLLOWED_MAX) else {
        return ClaimSlot::default();
    };
    if nodes.is_empty() {
        return Arc::clone(slot);
    }
    let mut map = map.clone();
    for node in &nodes {
        for claim in before.claims_of(node) {
            map.remove(&(claim, node.clone()));
        }
        for claim in after.claims_of(node) {
            map.insert((claim, node.clone()), ());
        }
    }
    Arc::new(OnceLock::from(map))
}

/// The nodes whose names or addresses these effects may have changed; `None`: any node's.
fn touched(before: &Snapshot, after: &Snapshot, effects: &[Effect]) -> Option<BTreeSet<Text>> {
    let mut nodes = BTreeSet::new();
    for effect in effects {
        if effect.is_of_hierarchy() {
            return None;
        }
        let Some(key) = effect.table.info().node_col().filter(|_| gives_claims(effect.table)) else {
            continue;
        };
        let is_list = effect.table == KNOWN.nodelist;
        let state = |row: &Option<Row>| {
            let row = row.as_ref().filter(|row| row.enabled(effect.table));
            row.map(|row| (row.get(key).cloned(), row.get(KNOWN.groups).cloned()))
        };
        // A status does not change what a node is called.
        if is_list && state(&effect.before) == state(&effect.after) {
            continue;
        }
        for name in [&effect.before, &effect.after].into_iter().flatten().filter_map(|row| row.get(key)) {
            if !is_list && (before.is_listed_group(name) || after.is_listed_group(name)) {
                return None;
            }
            nodes.insert(name.clone());
        }
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Edit;

    fn cluster() -> Snapshot {
        let rows: [(&str, &[(&str, &str)]); 24] = [
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("nodelist", &[("node", "cn2"), ("groups", "all,ib")]),
            ("nodelist", &[("node", "cn3"), ("groups", "all,ib")]),
            ("hosts", &[("node", "cn1"), ("ip", "10.0.0.1")]),
            (
                "hosts",
                &[
                    ("node", "cn2"),
                    ("ip", "10.0.0.2"),
                    ("hostnames", "Web www.dom"),
                    ("otherinterfaces", "-ib:10.9.3.2,later:"),
                ],
            ),
            ("hosts", &[("node", "pdu7"), ("ip", "10.6.0.7")]),
            (
                "nics",
                &[("node", "ib"), ("nicips", r"ib0!|\D+(\d+)|10.8.0.($1+20)|"), ("nicaliases", "ib0!fast")],
            ),
            ("mac", &[("node", "cn2"), ("mac", "52:54:00:00:00:02!cn2-pxe")]),
            ("ipmi", &[("node", "cn1"), ("bmc", "cn1-bmc:9001")]),
            ("ipmi", &[("node", "ib"), ("bmc", r"|\D+(\d+)|10.7.0.($1)|")]),
            ("vm", &[("node", "cn3"), ("host", "kvm1")]),
            ("switches", &[("switch", "sw1")]),
            ("statelite", &[("node", "all"), ("statemnt", "10.0.9.9:/state/$node")]),
            ("site", &[("key", "domain"), ("value", "dom.example")]),
            ("site", &[("key", "master"), ("value", "10.0.0.254")]),
            ("site", &[("key", "ntpservers"), ("value", "time.example,10.0.0.253")]),
            (
                "networks",
                &[
                    ("netname", "n"),
                    ("net", "10.0.0.0"),
                    ("mask", "255.255.0.0"),
                    ("gateway", "10.0.0.250"),
                    ("dynamicrange", "10.0.1.1-10.0.1.9"),
                ],
            ),
            ("noderes", &[("node", "all"), ("nfsserver", "nfs1")]),
            ("pduoutlet", &[("node", "cn3"), ("pdu", "pduA:3,pduB:4")]),
            ("cfgmgt", &[("node", "cn2"), ("cfgserver", "cfg1")]),
            ("linuximage", &[("imagename", "img"), ("otherpkgdir", "/install/x,http://mirror1.dom/y")]),
            ("routes", &[("routename", "r1"), ("gateway", "10.0.0.32")]),
            ("noderes", &[("node", "cn2"), ("syslog", "logs1"), ("nameservers", "ns1,10.0.0.53")]),
            ("servicenode", &[("node", "sn1"), ("tftpserver", "1")]),
        ];
        Snapshot::from_rows(rows)
    }

    fn taken(snapshot: &Snapshot, word: &str) -> bool {
        let facts =
            MachineFacts { taken: ["mn1", "192.0.2.1"].into_iter().filter_map(Claim::read).collect() };
        let claims = BTreeSet::from([Claim::read(word).unwrap()]);
        snapshot.taken(&claims, &facts, &|node| node == "cn1").is_some()
    }

    #[test]
    fn what_is_used_and_what_is_free() {
        let snapshot = cluster();
        for word in [
            "cn2",
            "CN3.other.example",
            "web",
            "www",
            "cn2-ib",
            "later",
            "cn2-pxe",
            "cn3-ib0",
            "fast",
            "pdu7",
            "cn1-bmc",
            "kvm1",
            "sw1",
            "dom",
            "dom.example",
            "time",
            "nfs1",
            "pduA",
            "pduB",
            "mn1",
            "cfg1",
            "mirror1",
            "10.0.0.32",
            "logs1",
            "ns1",
            "10.0.0.53",
            "sn1",
            "wpad",
            "puppet",
            "localhost",
            "ip6-loopback",
            "xcatmaster",
            "10.0.0.2",
            "10.9.3.2",
            "10.8.0.22",
            "10.6.0.7",
            "10.7.0.3",
            "10.0.9.9",
            "10.0.0.254",
            "10.0.0.253",
            "10.0.0.250",
            "192.0.2.1",
            "::ffff:10.9.3.2",
            "10.0.255.255",
            "10.0.0.0",
            "10.0.1.5",
            "127.0.0.2",
            "224.0.0.1",
        ] {
            assert!(taken(&snapshot, word), "{word}");
        }
        for word in ["cn1", "cn1-ib", "web2", "10.0.0.1", "10.9.3.3", "10.8.0.20", "fd00::1"] {
            assert!(!taken(&snapshot, word), "{word}");
        }
    }

    #[test]
    fn what_a_change_brings() {
        let base = cluster();
        let edits = [
            Edit::set("nodelist", &[("node", "cn1")], &[("groups", "all,ib")]).unwrap(),
            Edit::set("mac", &[("node", "cn1")], &[("mac", "52:54:00:00:00:01!cn2")]).unwrap(),
            Edit::set("hosts", &[("node", "cn1")], &[("otherinterfaces", "-a:10.5.0.1,b:")]).unwrap(),
        ];
        let next = base.with(&edits).unwrap();
        let new = base.new_claims(&next, &base.preview(&edits).unwrap());
        let words: Vec<String> = new.iter().map(|new| new.claim.to_string()).collect();
        assert_eq!(words, ["10.5.0.1", "10.8.0.21", "b", "cn1-a", "cn1-ib0", "cn2", "fast"]);
    }

    #[test]
    fn the_index_follows() {
        let mut now = cluster();
        let edits = [
            Edit::set("hosts", &[("node", "cn2")], &[("hostnames", "")]).unwrap(),
            Edit::set("nodelist", &[("node", "cn3")], &[("groups", "all")]).unwrap(),
            Edit::set("nodelist", &[("node", "cn3")], &[("status", "booted")]).unwrap(),
            Edit::delete("nodelist", &[("node", "cn3")]).unwrap(),
            Edit::set("nics", &[("node", "ib")], &[("nicaliases", "ib0!slow")]).unwrap(),
        ];
        for edit in edits {
            let _ = now.nodes_with(&Claim::Name("web".into())).count();
            let next = now.with(std::slice::from_ref(&edit)).unwrap();
            let fresh: Vec<_> = next.claims().iter().map(|(key, ())| key.clone()).collect();
            let _ = next.nodes_with(&Claim::Name("web".into())).count();
            let map = next.inherited.claims.get().unwrap();
            let followed: Vec<_> = map.iter().map(|(key, ())| key.clone()).collect();
            assert_eq!(followed, fresh, "{edit:?}");
            now = next;
        }
    }
}
