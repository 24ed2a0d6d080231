//! A change: who, by which command, and a list of row edits. The only way to write.
//!
//! An [`Edit`] says what is to hold afterwards ("the row of n1 in nodehm has mgt ipmi"), not how the row
//! looks now. [`plan`] turns edits into [`Effect`]s on the rows of a snapshot: this row before, this row
//! after. The same effects go to the store, into the next snapshot, and (as [`RowChange`]s) into the change
//! log and to the screen of a dry run.
//!
//! Rules of an update or insert, as the table format has them: a row that matches all given key columns is
//! updated (every row, if several do); otherwise a row is inserted, unless all its non-key values are empty,
//! which does nothing. Primary key columns that are not given are stored empty. The four letters `NULL` clear
//! a cell of an existing row.

use crate::edit::{CELL_BYTES_MAX, EDITS_MAX, Edit, EditError};
use crate::effect::{Effect, RowChange, key_of};
use crate::row::{Interner, Row, Text};
use crate::rules;
use crate::schema::{Col, TableId};
use crate::snapshot::Snapshot;
use crate::table::{RowId, TableData};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows that a table which numbers its own rows (`auditlog`, `eventlog`) keeps at most; the oldest make room
/// for new ones.
pub const LOG_ROWS_MAX: usize = 100_000;
/// Rows that are removed at once to make room.
const LOG_ROWS_DROPPED: usize = LOG_ROWS_MAX / 100;

/// What is written, by whom and why.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The user, node or service that asked.
    pub who: String,
    /// The command line, secrets already redacted.
    pub command: String,
    /// Made by a machine (a node's status, an audit row): kept in the log, but not offered by `undo` or shown
    /// unless asked.
    pub quiet: bool,
    /// What is to be true afterwards.
    pub edits: Vec<Edit>,
    /// Its number is larger than this one, and larger than that of the last change: a restored database
    /// continues where the saved one ended, and no two changes share a number.
    pub numbered_after: u64,
}

impl Change {
    /// A change asked for by an administrator.
    pub fn new(who: impl Into<String>, command: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { who: who.into(), command: command.into(), edits, ..Self::default() }
    }

    /// A change made by a machine: a node's status, an audit row.
    pub fn quiet(who: impl Into<String>, command: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { quiet: true, ..Self::new(who, command, edits) }
    }
}

/// One effect for each row, unless the row's key changes on the way: then the order among rows matters.
fn folded(effects: Vec<Effect>) -> Vec<Effect> {
    let mut places: HashMap<(TableId, RowId), Option<usize>> = HashMap::with_capacity(effects.len());
    let mut list: Vec<Effect> = Vec::with_capacity(effects.len());
    for effect in effects {
        let key = |row: &Option<Row>| row.as_ref().map(|row| key_of(effect.table, row));
        let place = places.entry((effect.table, effect.row)).or_insert(Some(list.len()));
        let earlier = place.and_then(|at| list.get_mut(at));
        let keys_differ = |one: &Option<Row>, other: &Option<Row>| matches!((key(one), key(other)), (Some(one), Some(other)) if one != other);
        match earlier {
            None if place.is_some() => list.push(effect),
            Some(first)
                if !keys_differ(&effect.before, &effect.after)
                    && !keys_differ(&first.before, &effect.after) =>
            {
                first.after = effect.after;
            }
            _ => {
                *place = None;
                list.push(effect);
            }
        }
    }
    list.retain(|effect| effect.before != effect.after);
    list
}

/// The tables that a plan has touched so far, on top of a snapshot.
pub(crate) struct Draft<'a> {
    base: &'a Snapshot,
    touched: BTreeMap<TableId, TableData>,
    next_row: BTreeMap<TableId, RowId>,
    effects: Vec<Effect>,
    /// Rows that are gone and whose key no later row has taken: where their effect is.
    gone: HashMap<(TableId, Vec<Text>), usize>,
    interner: Interner,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(base: &'a Snapshot) -> Self {
        Self {
            base,
            touched: BTreeMap::new(),
            next_row: BTreeMap::new(),
            effects: Vec::new(),
            gone: HashMap::new(),
            interner: Interner::default(),
        }
    }

    pub(crate) fn data(&mut self, table: TableId) -> &mut TableData {
        self.touched.entry(table).or_insert_with(|| self.base.data(table).clone())
    }

    /// Beyond the rows that were there: one that is gone may come back, and to its own place.
    pub(crate) fn new_row_id(&mut self, table: TableId) -> RowId {
        let lowest = self.base.data(table).next_row_id().max(self.data(table).next_row_id());
        let next = self.next_row.entry(table).or_insert(lowest);
        *next = (*next).max(lowest) + 1;
        *next - 1
    }

    /// Notes an effect and makes it visible to the edits that follow. An edit that changes nothing has no
    /// effect.
    ///
    /// A row that is removed and made again under the same key is the same row: replacing a table or an
    /// object by what it already is changes nothing, and the log holds what differs.
    pub(crate) fn record(&mut self, mut effect: Effect) {
        if effect.before == effect.after {
            return;
        }
        let table = effect.table;
        if let Some(after) = &effect.after {
            let removed = self.gone.remove(&(table, key_of(table, after)));
            let slot = removed.filter(|_| effect.before.is_none()).and_then(|at| self.effects.get(at));
            effect.row = slot.map_or(effect.row, |removal| removal.row);
        } else if let Some(before) = &effect.before {
            self.gone.insert((table, key_of(table, before)), self.effects.len());
        }
        self.data(effect.table).replace(effect.row, effect.after.clone());
        self.effects.push(effect);
    }

    /// The effects and the snapshot after them.
    pub(crate) fn finish(mut self, seq: u64) -> (Vec<Effect>, Snapshot) {
        self.effects = folded(self.effects);
        let mut tables = self.base.tables.clone();
        for (id, data) in self.touched {
            if let Some(slot) = tables.get_mut(id.index()).filter(|old| old.version != data.version) {
                *slot = Arc::new(data);
            }
        }
        let next = self.base.successor(seq, tables, &self.effects);
        (self.effects, next)
    }

    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        check(edit)?;
        rules::check_values(edit)?;
        match edit {
            Edit::Set { table, keys, values } => self.set(*table, keys, values),
            Edit::Insert { table, cells } => self.insert(*table, cells),
            Edit::Delete { table, keys } => {
                for (row, before) in self.data(*table).matching(keys) {
                    self.record(Effect { table: *table, row, before: Some(before), after: None });
                }
                Ok(())
            }
        }
    }

    fn set(
        &mut self,
        table: TableId,
        keys: &[(Col, Text)],
        values: &[(Col, Option<Text>)],
    ) -> Result<(), EditError> {
        let found = self.data(table).matching(keys);
        if found.is_empty() {
            let is_key = |col: &Col| keys.iter().any(|(k, _)| k == col);
            if values.iter().all(|(c, v)| is_key(c) || v.as_deref().is_none_or(str::is_empty)) {
                return Ok(());
            }
            let keys = keys.iter().map(|(c, text)| (*c, Some(text.clone())));
            let cells: Vec<_> = keys.chain(values.iter().cloned()).collect();
            if let Some(col) = empty_key(table, &cells) {
                return Err(EditError::EmptyKey { col });
            }
            return self.insert(table, &cells);
        }
        for (row, before) in found {
            let mut cells = before.to_cells();
            for (col, value) in values {
                let value = value.as_deref().filter(|v| *v != "NULL");
                // A key can be empty, but never NULL: nothing would find the row again.
                let value = value.or_else(|| col.info().is_key.then_some(""));
                self.put(&mut cells, *col, value);
            }
            let after = Row::new(table, cells);
            self.admit(table, row, &after)?;
            self.record(Effect { table, row, before: Some(before), after: Some(after) });
        }
        Ok(())
    }

    fn put(&mut self, cells: &mut [Option<Text>], col: Col, value: Option<&str>) {
        if let Some(slot) = cells.get_mut(col.index())
            && slot.as_deref() != value
        {
            *slot = value.map(|v| self.interner.text(v));
        }
    }

    fn insert(&mut self, table: TableId, values: &[(Col, Option<Text>)]) -> Result<(), EditError> {
        let info = table.info();
        let mut cells = vec![None; info.columns.len()];
        for (col, value) in values {
            self.put(&mut cells, *col, value.as_deref());
        }
        for key in &info.keys {
            if let Some(slot) = cells.get_mut(*key).filter(|c| c.is_none()) {
                let number =
                    (Some(*key) == info.auto_increment).then(|| self.data(table).next_auto().to_string());
                *slot = Some(self.interner.text(number.as_deref().unwrap_or("")));
            }
        }
        if info.auto_increment.is_some() && self.data(table).len() >= LOG_ROWS_MAX {
            self.drop_oldest(table);
        }
        let after = Row::new(table, cells);
        let row = self.new_row_id(table);
        self.admit(table, row, &after)?;
        self.record(Effect { table, row, before: None, after: Some(after) });
        Ok(())
    }

    fn drop_oldest(&mut self, table: TableId) {
        let oldest: Vec<_> =
            self.data(table).rows().take(LOG_ROWS_DROPPED).map(|(n, row)| (n, row.clone())).collect();
        for (row, before) in oldest {
            self.record(Effect { table, row, before: Some(before), after: None });
        }
    }

    /// The row is allowed in the table: required cells are there, its key is its own.
    fn admit(&mut self, table: TableId, row: RowId, after: &Row) -> Result<(), EditError> {
        let missing = table.info().cols().find(|c| c.info().required && after.cell(*c).is_none());
        if let Some(col) = missing {
            return Err(EditError::Required { col });
        }
        match self.data(table).row_with_key_of(after) {
            Some((other, _)) if other != row => {
                let key: Vec<Text> = key_of(table, after);
                Err(EditError::DuplicateKey { table, key: key.join(",") })
            }
            _ => Ok(()),
        }
    }
}

/// The key column that says whose row it is, if it is empty in a row to be made. Further columns of a key may
/// be empty (`switch.port`), but not the path of `litefile`; a row of `policy` needs its rule only. Rows that
/// are restored from a dump are not asked.
pub fn empty_key(table: TableId, cells: &[(Col, Option<Text>)]) -> Option<Col> {
    let info = table.info();
    if info.auto_increment.is_some() || info.name == "policy" {
        return None;
    }
    let needed = if info.name == "litefile" { info.keys.len() } else { 1 };
    let given = |col: &Col| {
        cells
            .iter()
            .any(|(other, text)| other == col && text.as_deref().is_some_and(|t| !t.trim().is_empty()))
    };
    info.cols().filter(|col| info.keys.contains(&col.index())).take(needed).find(|col| !given(col))
}

fn check(edit: &Edit) -> Result<(), EditError> {
    let table = edit.table();
    let one = |col: Col, text: Option<&Text>| {
        let text = text.map_or("", |t| t);
        if col.table != table {
            return Err(EditError::WrongTable { table, col });
        }
        if text.len() > CELL_BYTES_MAX {
            return Err(EditError::TooLong { col, bytes: text.len() });
        }
        if text.contains('\0') { Err(EditError::NulByte { col }) } else { Ok(()) }
    };
    match edit {
        Edit::Set { keys, values, .. } => {
            if keys.is_empty() {
                return Err(EditError::NoKey { table });
            }
            keys.iter().try_for_each(|(c, t)| one(*c, Some(t)))?;
            values.iter().try_for_each(|(c, t)| one(*c, t.as_ref()))
        }
        Edit::Insert { cells, .. } => cells.iter().try_for_each(|(c, t)| one(*c, t.as_ref())),
        Edit::Delete { keys, .. } => keys.iter().try_for_each(|(c, t)| one(*c, Some(t))),
    }
}

/// The effects of edits on a snapshot, and the snapshot after them.
pub(crate) fn plan(base: &Snapshot, edits: &[Edit]) -> Result<(Vec<Effect>, Snapshot), EditError> {
    if edits.len() > EDITS_MAX {
        return Err(EditError::TooManyEdits(edits.len()));
    }
    let mut draft = Draft::new(base);
    for edit in edits {
        draft.apply(edit)?;
    }
    let (effects, next) = draft.finish(base.seq + 1);
    rules::check_effects(base, &next, &effects)?;
    Ok((effects, next))
}

impl Snapshot {
    /// What these edits would do, and the snapshot as it would be after them; nothing is stored.
    pub fn outcome(&self, edits: &[Edit]) -> Result<(Vec<RowChange>, Self), EditError> {
        let (effects, after) = plan(self, edits)?;
        Ok((effects.iter().map(Effect::to_row_change).collect(), after))
    }

    /// What these edits would do, without doing it.
    pub fn preview(&self, edits: &[Edit]) -> Result<Vec<RowChange>, EditError> {
        self.outcome(edits).map(|(rows, _)| rows)
    }

    /// The snapshot as it would be after these edits; nothing is stored. For tests, simulators and dry runs.
    pub fn with(&self, edits: &[Edit]) -> Result<Self, EditError> {
        plan(self, edits).map(|(_, after)| after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::schema;
    use proptest::prelude::*;

    fn site(snapshot: &Snapshot, edits: &[Edit]) -> String {
        match snapshot.with(edits) {
            Ok(after) => after
                .rows("site")
                .map(|row| {
                    let cell = |c: &Option<Text>| c.as_deref().map_or("-".into(), |t| format!("{t:?}"));
                    row.cells().iter().take(3).map(cell).collect::<Vec<_>>().join(",")
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn update_or_insert() {
        let empty = Snapshot::empty();
        let set = |key: &str, value: &str| Edit::set("site", &[("key", key)], &[("value", value)]).unwrap();
        let twice = |a: &str, b: &str| [set("k", a), set("k", b)];
        for (edits, expect) in [
            (vec![set("k", "")], ""),
            (vec![set("k", "v")], r#""k","v",-"#),
            (twice("v", "w").to_vec(), r#""k","w",-"#),
            (twice("v", "").to_vec(), r#""k","",-"#),
            (twice("v", "NULL").to_vec(), r#""k",-,-"#),
            (vec![set("k", "NULL")], r#""k","NULL",-"#),
            (vec![set("k", "v"), Edit::delete("site", &[]).unwrap()], ""),
            (vec![set("k", "a\0b")], "a value for site.value contains a NUL byte"),
        ] {
            assert_eq!(site(&empty, &edits), expect, "{edits:?}");
        }
    }

    #[test]
    fn every_matching_row_is_updated() {
        let port =
            |port| Edit::set("switch", &[("node", "n1"), ("switch", "s"), ("port", port)], &[("vlan", "1")]);
        let base = Snapshot::empty().with(&[port("1").unwrap(), port("2").unwrap()]).unwrap();
        let both = Edit::set("switch", &[("node", "n1")], &[("vlan", "9")]).unwrap();
        assert_eq!(base.preview(&[both]).unwrap().len(), 2);
        let clash = Edit::set("switch", &[("node", "n1")], &[("port", "7")]).unwrap();
        assert!(matches!(base.preview(&[clash]), Err(EditError::DuplicateKey { .. })));
    }

    proptest! {
        /// A table that is replaced has the rows of the new one, whatever rows came back and in whatever
        /// order; the stored changes record the same.
        #[test]
        fn a_replaced_table_has_the_new_rows(
            tables in prop::collection::vec(prop::collection::vec((0u8..12, 0u8..3), 0..14), 1..5),
            removed in 0u8..12,
        ) {
            let table = schema().find("nodelist").unwrap().id;
            let (mut snapshot, mut stored) = (Snapshot::empty(), BTreeMap::new());
            for rows in tables {
                // A file names a node once; one row may go and come again before the rest.
                let rows: BTreeMap<u8, u8> = rows.into_iter().collect();
                let mut order: Vec<_> = rows.iter().collect();
                order.sort_by_key(|(name, group)| (**group, u8::MAX - **name));
                let mut edits = vec![Edit::delete("nodelist", &[]).unwrap()];
                for (name, group) in &order {
                    let (name, group) = (format!("n{name}"), format!("g{group}"));
                    edits.push(Edit::set("nodelist", &[("node", &name)], &[("groups", &group)]).unwrap());
                }
                let name = format!("n{removed}");
                edits.push(Edit::delete("nodelist", &[("node", &name)]).unwrap());
                let (effects, after) = plan(&snapshot, &edits).unwrap();
                for effect in effects {
                    let change = effect.to_row_change();
                    match effect.after {
                        Some(row) => stored.insert(change.key.clone(), row),
                        None => stored.remove(&change.key),
                    };
                }
                let rows = |cells: &[Option<Text>]| cells.iter().take(2).flatten().map(ToString::to_string).collect::<Vec<_>>();
                let mut in_memory: Vec<_> = after.rows("nodelist").map(|row| rows(row.cells())).collect();
                in_memory.sort();
                let mut expected: Vec<_> = order.iter().filter(|(name, _)| **name != removed).map(|(name, group)| vec![format!("n{name}"), format!("g{group}")]).collect();
                expected.sort();
                prop_assert_eq!(&in_memory, &expected);
                let mut on_disk: Vec<_> = stored.values().map(|row| rows(&row.to_cells())).collect();
                on_disk.sort();
                prop_assert_eq!(&on_disk, &expected);
                prop_assert_eq!(after.data(table).len(), expected.len());
                snapshot = after;
            }
        }
    }

    #[test]
    fn a_key_is_never_null() {
        let base = Snapshot::empty().with(&[Edit::set_site("k", "v").unwrap()]).unwrap();
        let cleared = base.with(&[Edit::set("site", &[("key", "k")], &[("key", "NULL")]).unwrap()]).unwrap();
        assert_eq!(cleared.site("").as_deref(), Some("v"));
    }

    #[test]
    fn a_change_copies_only_what_it_touches() {
        let base = Snapshot::empty();
        let next = base.with(&[Edit::set_site("k", "v").unwrap()]).unwrap();
        let site = schema().find("site").unwrap().id;
        for table in schema().tables() {
            let shared = Arc::ptr_eq(&base.tables[table.id.index()], &next.tables[table.id.index()]);
            assert_eq!(shared, table.id != site, "{}", table.name);
        }
    }

    #[test]
    fn refusals() {
        let col = Col::known("nodehm.mgt");
        let base = Snapshot::empty();
        let edits: Vec<(Result<Edit, EditError>, &str)> = vec![
            (Edit::set("nosuch", &[], &[]), "No such table: nosuch"),
            (Edit::set("site", &[("key", "a")], &[("val", "b")]), "No column \"val\" in table \"site\""),
            (Edit::set("site", &[], &[("value", "b")]), "site: no key given"),
            (
                Edit::set("litetree", &[("priority", "1")], &[("image", "x")]),
                "litetree.directory may not be empty",
            ),
            (
                Ok(Edit::Delete { table: TableId(0), keys: vec![(col, "x".into())] }),
                "column nodehm.mgt does not belong to table auditlog",
            ),
        ];
        for (edit, expect) in edits {
            let error = edit.and_then(|e| base.preview(&[e]).map(|_| ())).unwrap_err();
            assert_eq!(error.to_string(), expect);
        }
    }

    #[test]
    fn records_are_numbered() {
        let line = |text| Edit::Insert {
            table: schema().find("eventlog").unwrap().id,
            cells: vec![(Col::known("eventlog.message"), Some(Text::from(text)))],
        };
        let after = Snapshot::empty().with(&[line("a"), line("b")]).unwrap();
        let ids: Vec<_> = after.rows("eventlog").map(|r| r.cells()[0].clone().unwrap()).collect();
        assert_eq!(ids, ["1".into(), "2".into()]);
    }

    #[test]
    fn logs_do_not_grow_for_ever() {
        let line = Edit::Insert {
            table: schema().find("eventlog").unwrap().id,
            cells: vec![(Col::known("eventlog.message"), Some(Text::from("x")))],
        };
        let full = Snapshot::empty().with(&vec![line.clone(); LOG_ROWS_MAX]).unwrap();
        assert_eq!(full.row_count("eventlog"), LOG_ROWS_MAX);
        let after = full.with(&[line]).unwrap();
        assert_eq!(after.row_count("eventlog"), LOG_ROWS_MAX - LOG_ROWS_DROPPED + 1);
        let last = after.rows("eventlog").last().unwrap().cells()[0].clone().unwrap();
        assert_eq!(&*last, (LOG_ROWS_MAX + 1).to_string());
    }

    #[test]
    fn an_inverse_undoes() {
        let set = Edit::set("site", &[("key", "k")], &[("value", "v")]).unwrap();
        let base = Snapshot::empty().with(&[set]).unwrap();
        let rename = Edit::set("site", &[("key", "k")], &[("key", "j"), ("value", "w")]).unwrap();
        let change = base.preview(std::slice::from_ref(&rename)).unwrap().remove(0);
        assert_eq!(change.inverse().key, ["j".into()]);
        assert_eq!(change.inverse().inverse(), change);
    }
}
