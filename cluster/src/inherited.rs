//! Who has which address, groups' rows and templates applied.
//!
//! The alias indexes of the tables contain the text of cells. An address that a node has by a group's row or
//! by a template is in no cell; it is found here. The index of a column is made when it is first asked for,
//! only if a shared or templated row exists at all, and follows changes of single nodes; a change of a
//! group's row or of a node that is a group as well makes it again.

use crate::address_index::{AddressIndexes, FOLLOWED_MAX, Index, Map, Slot};
use crate::chunk::ChunkMap;
use crate::effect::Effect;
use crate::names::{Guid, MacAddr, parse_mac_column, parse_mac_column_as};
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::snapshot::{KNOWN, Snapshot};
use crate::template::is_template;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// A kind of address, and the column that holds it.
pub(crate) trait Address: Ord + Clone + ToString + 'static {
    /// The column.
    fn col() -> Col;
    /// The addresses in a cell.
    fn read(text: &str) -> Vec<Self>;
    /// The snapshot's index of this kind.
    fn slot(all: &AddressIndexes) -> &Slot<Self>;
}

impl Address for IpAddr {
    fn col() -> Col {
        KNOWN.ip
    }
    fn read(text: &str) -> Vec<Self> {
        text.trim().parse().into_iter().collect()
    }
    fn slot(all: &AddressIndexes) -> &Slot<Self> {
        &all.ips
    }
}

impl Address for MacAddr {
    fn col() -> Col {
        KNOWN.mac
    }
    fn read(text: &str) -> Vec<Self> {
        parse_mac_column(text).into_iter().map(|entry| entry.mac).collect()
    }
    fn slot(all: &AddressIndexes) -> &Slot<Self> {
        &all.macs
    }
}

impl Address for Guid {
    fn col() -> Col {
        KNOWN.mac
    }
    fn read(text: &str) -> Vec<Self> {
        parse_mac_column_as::<Guid>(text).into_iter().map(|entry| entry.mac).collect()
    }
    fn slot(all: &AddressIndexes) -> &Slot<Self> {
        &all.guids
    }
}

/// Whose addresses of one kind a change may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These nodes', maybe of no node at all.
    Nodes(BTreeSet<Text>),
    /// Everybody's.
    All,
}

/// The index of a kind of address in a snapshot.
fn index_of<K: Address>(snapshot: &Snapshot) -> Index<K> {
    let col = K::col();
    let Some(name) = col.table.info().node_col() else { return Index(None) };
    let shared = |row: &Row| match (row.get(col), row.get(name)) {
        (Some(text), Some(name)) => is_template(text) || snapshot.is_listed_group(name),
        _ => false,
    };
    if !snapshot.enabled_rows(col.table).any(shared) {
        return Index(None);
    }
    let entries = |node: &Text| {
        snapshot.addresses::<K>(node).into_iter().map(|key| ((key, node.clone()), ())).collect::<Vec<_>>()
    };
    Index(Some(ChunkMap::from_unsorted(snapshot.node_names().flat_map(entries).collect())))
}

/// The index after a change of these nodes alone.
fn followed<K: Address>(
    mut map: Map<K>,
    before: &Snapshot,
    after: &Snapshot,
    nodes: &BTreeSet<Text>,
) -> Map<K> {
    for node in nodes {
        for key in before.addresses::<K>(node) {
            map.remove(&(key, node.clone()));
        }
        if let Some(name) = after.node_name(node) {
            for key in after.addresses::<K>(&name) {
                map.insert((key, name.clone()), ());
            }
        }
    }
    map
}

/// The index of a kind of address after a change, as far as it follows from the one before it.
pub(crate) fn follow<K: Address>(before: &Snapshot, after: &Snapshot, effects: &[Effect]) -> Slot<K> {
    let slot = K::slot(&before.inherited);
    match touched::<K>(before, after, effects) {
        Touched::Nodes(nodes) if nodes.is_empty() => Arc::clone(slot),
        Touched::Nodes(nodes) if nodes.len() <= FOLLOWED_MAX => match slot.get() {
            Some(Index(None)) if !nodes.iter().any(|node| after.inherits::<K>(node)) => Arc::clone(slot),
            Some(Index(Some(map))) => {
                let map = followed::<K>(map.clone(), before, after, &nodes);
                Arc::new(OnceLock::from(Index(Some(map))))
            }
            _ => Slot::default(),
        },
        _ => Slot::default(),
    }
}

/// Whose addresses of a kind these effects may have changed.
pub(crate) fn touched<K: Address>(before: &Snapshot, after: &Snapshot, effects: &[Effect]) -> Touched {
    let mut nodes = BTreeSet::new();
    for effect in effects {
        let table = effect.table;
        let watched = if table == K::col().table {
            K::col()
        } else if table == KNOWN.nodelist {
            KNOWN.groups
        } else if effect.is_of_hierarchy() {
            return Touched::All;
        } else {
            continue;
        };
        let state = |row: Option<&Row>| {
            let row = row.filter(|row| row.enabled(table))?;
            Some((row.get(table.info().node_col()?)?.clone(), row.get(watched).cloned()))
        };
        let (old, new) = (state(effect.before.as_ref()), state(effect.after.as_ref()));
        if old == new {
            continue;
        }
        for name in [old, new].into_iter().flatten().map(|(name, _)| name) {
            if table != KNOWN.nodelist && (before.is_listed_group(&name) || after.is_listed_group(&name)) {
                return Touched::All;
            }
            nodes.insert(name);
        }
    }
    Touched::Nodes(nodes)
}

impl Snapshot {
    /// The index of a kind of address.
    pub(crate) fn index<K: Address>(&self) -> &Index<K> {
        K::slot(&self.inherited).get_or_init(|| index_of(self))
    }

    /// The node has an address of this kind that its own row does not hold as it is.
    fn inherits<K: Address>(&self, node: &str) -> bool {
        let own = |row: &Row| row.get(K::col()).is_some_and(|text| !is_template(text));
        !self.addresses::<K>(node).is_empty() && !self.own_rows(K::col().table, node).any(own)
    }

    /// The addresses of a node.
    pub(crate) fn addresses<K: Address>(&self, node: &str) -> Vec<K> {
        if !self.has_node(node) {
            return Vec::new();
        }
        self.attr(node, K::col()).map(|text| K::read(&text)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Edit;
    use proptest::prelude::*;

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let name = || prop::sample::select(vec!["n1", "n2", "n3", "g1", "g2"]);
        let ip = prop::sample::select(vec![
            "10.0.0.1",
            "10.0.1.2",
            "|10.0.1.($1)|",
            "|10.0.1.($1+4)|",
            "",
            "/n/10.0.0./",
        ]);
        let groups = prop::sample::select(vec!["g1", "g2", "g1,g2", "", "n2"]);
        let set = |table: &str, key: &str, col: &str, value: &str| {
            Edit::set(table, &[("node", key)], &[(col, value)]).unwrap()
        };
        let one = prop_oneof![
            (name(), ip).prop_map(move |(n, v)| set("hosts", n, "ip", v)),
            (name(), groups).prop_map(move |(n, v)| set("nodelist", n, "groups", v)),
            name().prop_map(|n| Edit::delete("nodelist", &[("node", n)]).unwrap()),
            name().prop_map(|n| Edit::delete("hosts", &[("node", n)]).unwrap()),
        ];
        prop::collection::vec(one, 1..4)
    }

    proptest! {
        /// However the state was reached, the index is the one that a fresh look gives.
        #[test]
        fn the_index_follows(changes in prop::collection::vec(edits(), 1..12)) {
            let mut now = Snapshot::empty();
            for edits in changes {
                let _ = now.index::<IpAddr>();
                let Ok(next) = now.with(&edits) else { continue };
                let fresh = index_of::<IpAddr>(&next);
                if let Some(followed) = next.inherited.ips.get() {
                    for (ip, node) in fresh.iter() {
                        let needed = followed.0.is_some() || next.inherits::<IpAddr>(node);
                        prop_assert!(!needed || followed.has(ip, node), "{ip} {node}");
                    }
                    let gone: Vec<_> =
                        followed.iter().filter(|(ip, node)| !next.addresses::<IpAddr>(node).contains(ip)).collect();
                    prop_assert!(gone.is_empty(), "{gone:?} are gone");
                }
                now = next;
            }
        }
    }
}
