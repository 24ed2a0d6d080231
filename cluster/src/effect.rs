//! What a change does to rows: one row before and after. Store, next snapshot, change log and dry run read
//! the same.

use crate::row::{Row, Text};
use crate::schema::{Col, TableId};
use crate::snapshot::KNOWN;
use crate::table::RowId;

/// The key of `site` that names the columns which are joined from node and groups.
const HIERARCHY_KEY: &str = "hierarchicalattrs";

/// What a change does to one row.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) table: TableId,
    pub(crate) row: RowId,
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
}

/// What a change did, or would do, to one row; for the change log and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The table.
    pub table: TableId,
    /// The primary key's values: of the row as it was, or of the new row.
    pub key: Vec<Text>,
    /// Cells that differ: column, old value, new value. All set cells of a new or a removed row.
    pub cells: Vec<(Col, Option<Text>, Option<Text>)>,
    /// What happened to the row.
    pub kind: RowChangeKind,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowChangeKind {
    /// It is new.
    Inserted,
    /// Cells changed.
    Updated,
    /// It is gone.
    Deleted,
}

impl Effect {
    /// The row says how columns are inherited.
    pub(crate) fn is_of_hierarchy(&self) -> bool {
        let key = |row: &Row| row.get(KNOWN.site_key).is_some_and(|key| **key == *HIERARCHY_KEY);
        self.table == KNOWN.site && [&self.before, &self.after].into_iter().flatten().any(key)
    }

    pub(crate) fn to_row_change(&self) -> RowChange {
        let kind = match (&self.before, &self.after) {
            (None, _) => RowChangeKind::Inserted,
            (_, None) => RowChangeKind::Deleted,
            _ => RowChangeKind::Updated,
        };
        let old = |col: Col| self.before.as_ref().and_then(|r| r.cell(col)).cloned();
        let new = |col: Col| self.after.as_ref().and_then(|r| r.cell(col)).cloned();
        let cells =
            self.table.info().cols().map(|c| (c, old(c), new(c))).filter(|(_, o, n)| o != n).collect();
        let key = self
            .before
            .as_ref()
            .or(self.after.as_ref())
            .map(|row| key_of(self.table, row))
            .unwrap_or_default();
        RowChange { table: self.table, key, cells, kind }
    }
}

impl RowChange {
    /// The node (or group) whose row it is, for tables of nodes.
    pub fn node(&self) -> Option<&Text> {
        let table = self.table.info();
        let place = table.keys.iter().position(|k| Some(*k) == table.node_column)?;
        self.key.get(place)
    }

    /// The row says how columns are inherited.
    pub fn is_of_hierarchy(&self) -> bool {
        self.table == KNOWN.site && self.key.iter().any(|key| **key == *HIERARCHY_KEY)
    }

    /// The opposite: turns the new state into the old one.
    pub fn inverse(&self) -> Self {
        let cells: Vec<_> = self.cells.iter().map(|(c, old, new)| (*c, new.clone(), old.clone())).collect();
        let kind = match self.kind {
            RowChangeKind::Inserted => RowChangeKind::Deleted,
            RowChangeKind::Updated => RowChangeKind::Updated,
            RowChangeKind::Deleted => RowChangeKind::Inserted,
        };
        let table = self.table.info();
        let new_key = |(place, text): (usize, &Text)| {
            let changed = self.cells.iter().find(|(c, ..)| table.keys.get(place) == Some(&c.index()));
            changed.and_then(|(_, _, new)| new.clone()).unwrap_or_else(|| text.clone())
        };
        let key = match self.kind {
            RowChangeKind::Updated => self.key.iter().enumerate().map(new_key).collect(),
            _ => self.key.clone(),
        };
        Self { table: self.table, key, cells, kind }
    }
}

pub(crate) fn key_of(table: TableId, row: &Row) -> Vec<Text> {
    table.info().keys.iter().map(|k| row.at(*k).cloned().unwrap_or_default()).collect()
}
