//! One table inside a snapshot: rows in database order and the indexes that answer without a scan.
//!
//! Indexes hold hashes, not texts: 16 bytes an entry, and every hit is compared with the row itself. A copy
//! of a table shares everything with the original; only what a change touches is written again (see `chunk`).
//!
//! * node index: the node column, of tables that have one
//! * key index: the whole primary key, of the other tables and of composite keys
//! * alias index: what else a row is looked up by, a MAC in `mac.mac`, an address in `hosts.ip`, a UUID in
//!   `vpd.uuid`, a group in `nodelist.groups`, a switch in `switch.switch`

use crate::chunk::ChunkMap;
use crate::names::{Guid, parse_mac_column, parse_mac_column_as};
use crate::row::{Row, Text};
use crate::schema::{Col, Table, TableId};
use crate::subnet::AddressRange;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, OnceLock, RwLock};

/// A row's number inside its table: ascending in database order, never reused while the process runs.
pub(crate) type RowId = u64;

type Index = ChunkMap<(u64, RowId), ()>;

/// Remembered group lists of a table at most; a cluster has a handful of distinct `nodelist.groups` values.
const INHERIT_MEMO_MAX: usize = 4096;

/// The enabled rows of one group in one table.
#[derive(Debug)]
pub(crate) struct GroupRows {
    pub(crate) group: Text,
    pub(crate) rows: Vec<Row>,
}

/// What is computed from the rows on first use and dropped by the next change of this table.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    inherit: RwLock<HashMap<Text, Arc<[GroupRows]>>>,
    /// Of `site`: the columns of `hierarchicalattrs` with their delimiters.
    pub(crate) hierarchical: OnceLock<Vec<(String, String)>>,
    /// Of `networks`: the dynamic ranges, each with the name of its network.
    pub(crate) ranges: OnceLock<Vec<(AddressRange, Text)>>,
}

/// The rows of one table and their indexes.
#[derive(Debug)]
pub(crate) struct TableData {
    pub(crate) id: TableId,
    rows: ChunkMap<RowId, Row>,
    by_node: Index,
    by_key: Index,
    by_alias: Index,
    names: ChunkMap<Text, RowId>,
    /// Changes with every change of the table.
    pub(crate) version: u64,
    /// One more than the highest automatic number ever seen.
    auto_next: u64,
    pub(crate) derived: Derived,
}

impl Clone for TableData {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            rows: self.rows.clone(),
            by_node: self.by_node.clone(),
            by_key: self.by_key.clone(),
            by_alias: self.by_alias.clone(),
            names: self.names.clone(),
            version: self.version,
            auto_next: self.auto_next,
            derived: Derived::default(),
        }
    }
}

pub(crate) fn hash_text(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn hash_key(table: &Table, cell: impl Fn(usize) -> Option<Text>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for key in &table.keys {
        hasher.write(cell(*key).as_deref().unwrap_or("").as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// How a text is compared in the alias index of its table.
pub(crate) fn alias_form(text: &str) -> String {
    text.trim().to_ascii_lowercase()
}

/// What a row is found by besides node and key, as hashes of the [`alias_form`].
fn aliases(table: &Table, row: &Row) -> Vec<u64> {
    let cell = |name: &str| table.col(name).and_then(|c| row.get(c)).map_or("", |t| &**t);
    let mut found: Vec<u64> = match table.name {
        "mac" => {
            let ethernet = parse_mac_column(cell("mac"));
            let others = match ethernet.len() < cell("mac").split('|').count() {
                true => parse_mac_column_as::<Guid>(cell("mac")),
                false => Vec::new(),
            };
            let ethernet = ethernet.into_iter().map(|entry| entry.mac.to_string());
            let infiniband = others.into_iter().map(|entry| entry.mac.to_string());
            ethernet.chain(infiniband).map(|address| hash_text(&address)).collect()
        }
        "nodelist" => cell("groups").split(',').filter(|g| !g.is_empty()).map(hash_alias).collect(),
        "hosts" => Vec::from_iter(Some(cell("ip")).filter(|t| !t.is_empty()).map(hash_alias)),
        "vpd" => Vec::from_iter(Some(cell("uuid")).filter(|t| !t.is_empty()).map(hash_alias)),
        "switch" => Vec::from_iter(Some(cell("switch")).filter(|t| !t.is_empty()).map(hash_alias)),
        _ => Vec::new(),
    };
    found.sort_unstable();
    found.dedup();
    found
}

fn hash_alias(text: &str) -> u64 {
    hash_text(&alias_form(text))
}

impl TableData {
    pub(crate) fn empty(id: TableId) -> Self {
        Self {
            id,
            rows: ChunkMap::default(),
            by_node: Index::default(),
            by_key: Index::default(),
            by_alias: Index::default(),
            names: ChunkMap::default(),
            version: 0,
            auto_next: 0,
            derived: Derived::default(),
        }
    }

    /// From rows in database order.
    pub(crate) fn from_rows(id: TableId, rows: Vec<Row>) -> Self {
        let table = id.info();
        let numbered: Vec<(RowId, Row)> = (1..).zip(rows).collect();
        let index = |hashes: &dyn Fn(&Row) -> Vec<u64>| {
            let entries = numbered.iter().flat_map(|(n, row)| hashes(row).into_iter().map(|h| ((h, *n), ())));
            Index::from_unsorted(entries.collect())
        };
        let by_node = index(&|row| Vec::from_iter(node_hash(table, row)));
        let by_key = index(&|row| Vec::from_iter(key_hash(table, row)));
        let by_alias = index(&|row| aliases(table, row));
        let auto_next = numbered.iter().map(|(_, row)| auto_number(table, row) + 1).max().unwrap_or(0);
        let names = numbered.iter().filter_map(|(n, row)| Some((listed_name(table, row)?, *n))).collect();
        Self {
            id,
            by_node,
            by_key,
            by_alias,
            names: ChunkMap::from_unsorted(names),
            rows: ChunkMap::from_unsorted(numbered),
            version: 0,
            auto_next,
            derived: Derived::default(),
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = (RowId, &Row)> + Clone {
        self.rows.iter().map(|(n, row)| (*n, row))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn next_row_id(&self) -> RowId {
        self.rows.last().map_or(1, |(n, _)| n + 1)
    }

    fn hits<'a>(&'a self, index: &'a Index, hash: u64) -> impl Iterator<Item = (RowId, &'a Row)> + 'a {
        let entries = index.range_from(&(hash, 0)).take_while(move |((h, _), ())| *h == hash);
        entries.filter_map(|((_, n), ())| Some((*n, self.rows.get(n)?)))
    }

    /// Rows (also disabled ones) whose node column is `name`, in database order.
    pub(crate) fn rows_of_node<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (RowId, &'a Row)> + 'a {
        let node = self.id.info().node_column;
        self.hits(&self.by_node, hash_text(name))
            .filter(move |(_, row)| node.and_then(|n| row.at(n)).is_some_and(|t| **t == *name))
    }

    /// The row with the same primary key as `row`.
    pub(crate) fn row_with_key_of(&self, row: &Row) -> Option<(RowId, &Row)> {
        let table = self.id.info();
        let same = |found: &Row| {
            table.keys.iter().all(|k| found.at(*k).map_or("", |t| t) == row.at(*k).map_or("", |t| t))
        };
        let (index, hash) = match key_hash(table, row) {
            Some(hash) => (&self.by_key, hash),
            None => (&self.by_node, node_hash(table, row)?),
        };
        self.hits(index, hash).find(|(_, found)| same(found))
    }

    /// Rows that may be known by this alias, by its hash; the caller compares the cell itself.
    pub(crate) fn rows_by_alias<'a>(
        &'a self,
        alias: &str,
    ) -> impl Iterator<Item = (RowId, &'a Row)> + use<'a> {
        self.hits(&self.by_alias, hash_alias(alias))
    }

    /// Rows (also disabled ones) in which each of the columns holds the text, NULL counting as empty.
    pub(crate) fn matching(&self, wanted: &[(Col, Text)]) -> Vec<(RowId, Row)> {
        let table = self.id.info();
        let fits = |row: &Row| wanted.iter().all(|(c, text)| row.cell(*c).map_or("", |t| t) == &**text);
        let given = |position: usize| wanted.iter().find(|(c, _)| c.index() == position).map(|(_, t)| t);
        let candidates: Box<dyn Iterator<Item = (RowId, &Row)>> =
            if let Some(node) = table.node_column.and_then(given) {
                Box::new(self.rows_of_node(node))
            } else if table.keys.iter().all(|k| given(*k).is_some()) {
                Box::new(self.hits(&self.by_key, hash_key(table, |k| given(k).cloned())))
            } else {
                Box::new(self.rows())
            };
        candidates.filter(|(_, row)| fits(row)).map(|(n, row)| (n, row.clone())).collect()
    }

    /// Puts, replaces or removes one row and keeps every index true.
    pub(crate) fn replace(&mut self, id: RowId, after: Option<Row>) {
        let table = self.id.info();
        let before = match &after {
            Some(row) => self.rows.insert(id, row.clone()),
            None => self.rows.remove(&id),
        };
        self.reindex(table, id, before.as_ref(), after.as_ref());
        let number = after.as_ref().map_or(0, |row| auto_number(table, row) + 1);
        self.auto_next = self.auto_next.max(number);
        self.version += 1;
        self.derived = Derived::default();
    }

    /// Touches only the entries that differ: most changes leave every index as it is.
    fn reindex(&mut self, table: &Table, id: RowId, before: Option<&Row>, after: Option<&Row>) {
        let hashes = |row: Option<&Row>, of: fn(&Table, &Row) -> Option<u64>| row.and_then(|r| of(table, r));
        let update = |index: &mut Index, old: &[u64], new: &[u64]| {
            for hash in old.iter().filter(|h| !new.contains(h)) {
                index.remove(&(*hash, id));
            }
            for hash in new.iter().filter(|h| !old.contains(h)) {
                index.insert((*hash, id), ());
            }
        };
        update(&mut self.by_node, hashes(before, node_hash).as_slice(), hashes(after, node_hash).as_slice());
        update(&mut self.by_key, hashes(before, key_hash).as_slice(), hashes(after, key_hash).as_slice());
        let alias_hashes = |row: Option<&Row>| row.map(|r| aliases(table, r)).unwrap_or_default();
        update(&mut self.by_alias, &alias_hashes(before), &alias_hashes(after));
        let name = |row: Option<&Row>| row.and_then(|r| listed_name(table, r));
        let (old, new) = (name(before), name(after));
        if old != new {
            if let Some(old) = old.filter(|n| self.names.get(n) == Some(&id)) {
                self.names.remove(&old);
            }
            new.map(|name| self.names.insert(name, id));
        }
    }

    /// The number that the database would give the next row of a table that numbers its rows.
    pub(crate) fn next_auto(&self) -> u64 {
        self.auto_next.max(1)
    }

    /// Of `nodelist`: the node names, sorted as plain strings.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Text> + Clone {
        self.names.iter().map(|(name, _)| name)
    }

    pub(crate) fn names_len(&self) -> usize {
        self.names.len()
    }

    /// The enabled rows of each group of a `nodelist.groups` value, in that order; remembered.
    pub(crate) fn inherited(&self, groups: &Text) -> Arc<[GroupRows]> {
        if let Some(known) = self.derived.inherit.read().ok().and_then(|memo| memo.get(groups).cloned()) {
            return known;
        }
        let of_group = |group: &str| {
            let rows = self.rows_of_node(group).map(|(_, row)| row.clone()).filter(|r| r.enabled(self.id));
            GroupRows { group: group.into(), rows: rows.collect() }
        };
        let all = groups.split(',').filter(|g| !g.is_empty()).map(of_group).filter(|g| !g.rows.is_empty());
        let found: Arc<[GroupRows]> = all.collect();
        if let Ok(mut memo) = self.derived.inherit.write() {
            if memo.len() >= INHERIT_MEMO_MAX {
                memo.clear();
            }
            memo.insert(Arc::clone(groups), Arc::clone(&found));
        }
        found
    }
}

/// The automatic number in a row, 0 if the table has none.
fn auto_number(table: &Table, row: &Row) -> u64 {
    table.auto_increment.and_then(|a| row.at(a)).and_then(|t| t.parse::<u32>().ok()).map_or(0, u64::from)
}

fn node_hash(table: &Table, row: &Row) -> Option<u64> {
    row.at(table.node_column?).map(|t| hash_text(t))
}

/// `None` where the node index already is the key index.
fn key_hash(table: &Table, row: &Row) -> Option<u64> {
    let is_node_index = table.keys.as_slice() == table.node_column.as_slice();
    (!is_node_index).then(|| hash_key(table, |k| row.at(k).cloned()))
}

/// The name under which a row of `nodelist` defines a node. Disabled rows define none.
fn listed_name(table: &Table, row: &Row) -> Option<Text> {
    let node = table.node_column.filter(|_| table.name == "nodelist")?;
    row.at(node).filter(|t| !t.is_empty() && row.enabled(table.id)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::schema;
    use proptest::prelude::*;

    fn nodelist_row(name: &str, groups: &str) -> Row {
        let t = schema().find("nodelist").unwrap();
        Row::new(t.id, vec![Some(name.into()), Some(groups.into())])
    }

    fn by_alias(data: &TableData, group: &str) -> Vec<RowId> {
        data.rows_by_alias(group).map(|(n, _)| n).collect()
    }

    proptest! {
        /// However a table came to be, its indexes answer like those of a table built at once.
        #[test]
        fn indexes_stay_true(edits in prop::collection::vec((1u64..40, 0u8..20, 0u8..4, any::<bool>()), 0..200)) {
            let t = schema().find("nodelist").unwrap();
            let mut data = TableData::empty(t.id);
            for (id, name, group, keep) in edits {
                data.replace(id, keep.then(|| nodelist_row(&format!("n{name}"), &format!("g{group},all"))));
            }
            let mut fresh = TableData::empty(t.id);
            for (id, row) in data.rows() {
                fresh.replace(id, Some(row.clone()));
            }
            for group in ["g0", "g1", "g2", "g3", "all"] {
                prop_assert_eq!(by_alias(&data, group), by_alias(&fresh, group));
            }
            for name in 0..20 {
                let name = format!("n{name}");
                let nodes = |d: &TableData| d.rows_of_node(&name).map(|(n, _)| n).collect::<Vec<_>>();
                prop_assert_eq!(nodes(&data), nodes(&fresh));
            }
        }
    }
}
