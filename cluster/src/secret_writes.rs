//! What the log keeps of a secret that a user other than root writes: the row, whether or not the value was
//! there already.
//!
//! A change that changes nothing is not logged, and a row that stays as it is is not part of one. For a
//! secret that would be an answer: a caller who may write a password and look into the log, but not read the
//! password, would learn whether a guess is right.

use crate::edit::Edit;
use crate::effect::{RowChange, RowChangeKind, key_of};
use crate::row::Text;
use crate::schema::{Col, TableId};
use crate::secrets;
use crate::snapshot::{KNOWN, Snapshot};
use std::collections::HashMap;

/// Adds to the rows of a change the secrets that its edits write and that are there already; `next` is the
/// snapshot after it. Rows with secrets come last, in the order of the edits: their place reveals nothing
/// either.
pub(crate) fn add(rows: &mut Vec<RowChange>, edits: &[Edit], next: &Snapshot) {
    let mut places: HashMap<(TableId, Vec<Text>), usize> = HashMap::new();
    let mut written = Vec::new();
    for edit in edits {
        let (table, keys, cells) = match edit {
            Edit::Set { table, keys, values } => (*table, keys.clone(), values),
            Edit::Insert { table, cells } => (*table, key_cells(*table, cells), cells),
            Edit::Delete { .. } => continue,
        };
        let columns: Vec<Col> = cells.iter().map(|(col, _)| *col).filter(|c| is_secret(*c, &keys)).collect();
        if columns.is_empty() {
            continue;
        }
        if places.is_empty() {
            places = rows.iter().enumerate().map(|(at, row)| ((row.table, row.key.clone()), at)).collect();
        }
        for (_, row) in next.data(table).matching(&keys) {
            let key = key_of(table, &row);
            let at = *places.entry((table, key.clone())).or_insert_with(|| {
                rows.push(RowChange { table, key, cells: Vec::new(), kind: RowChangeKind::Updated });
                rows.len() - 1
            });
            if let Some(change) = rows.get_mut(at) {
                columns.iter().for_each(|col| add_cell(change, *col, row.cell(*col)));
                written.push(at);
            }
        }
    }
    if !written.is_empty() {
        *rows = with_last(std::mem::take(rows), &written);
    }
}

fn add_cell(change: &mut RowChange, col: Col, value: Option<&Text>) {
    if let Some(value) = value.cloned()
        && !change.cells.iter().any(|(known, ..)| *known == col)
    {
        change.cells.push((col, Some(value.clone()), Some(value)));
        change.cells.sort_by_key(|(col, ..)| col.index());
    }
}

/// The rows, those at `last` after the others; empty rows are left out.
fn with_last(rows: Vec<RowChange>, last: &[usize]) -> Vec<RowChange> {
    let mut rows: Vec<Option<RowChange>> = rows.into_iter().map(Some).collect();
    let moved: Vec<RowChange> = last.iter().filter_map(|at| rows.get_mut(*at)?.take()).collect();
    rows.into_iter().flatten().chain(moved).filter(|row| !row.cells.is_empty()).collect()
}

/// The whole key of a new row: what is not given is stored empty.
fn key_cells(table: TableId, cells: &[(Col, Option<Text>)]) -> Vec<(Col, Text)> {
    let text = |key: &Col| cells.iter().find(|(col, _)| col == key).and_then(|(_, text)| text.clone());
    let keys = table.info().cols().filter(|col| col.info().is_key);
    keys.map(|key| (key, text(&key).unwrap_or_default())).collect()
}

/// A value of `site` is a secret unless its key is declared open.
fn is_secret(col: Col, keys: &[(Col, Text)]) -> bool {
    if col != KNOWN.site_value {
        return secrets::is_secret(col);
    }
    let key = keys.iter().find(|(col, _)| *col == KNOWN.site_key);
    key.is_none_or(|(_, key)| secrets::of_site_key(key) != secrets::Sensitivity::Open)
}

#[cfg(test)]
mod tests {
    use crate::{Change, Edit, Model};

    /// What the log holds after a change by `who`, without the values.
    fn logged(who: &str, present: &str, edits: &[Edit]) -> String {
        let model = Model::in_memory().unwrap();
        let rows = [
            Edit::set("ipmi", &[("node", "n1")], &[("password", present), ("bmc", "b")]).unwrap(),
            Edit::set_site("mykey", present).unwrap(),
            Edit::set_site("domain", "x").unwrap(),
        ];
        model.apply(Change::new("root", "rows", rows.to_vec())).unwrap();
        model.apply(Change::new(who, "t", edits.to_vec())).unwrap();
        let log = model.log(9, None, |entry| entry.command == "t").unwrap();
        let row = |row: &crate::RowChange| {
            let cells: Vec<String> = row.cells.iter().map(|(col, ..)| col.to_string()).collect();
            format!("{:?} {} {}", row.kind, row.key.join(","), cells.join(" "))
        };
        log.iter().flat_map(|entry| entry.rows.iter().map(row)).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_log_does_not_say_whether_a_secret_was_there_already() {
        let ipmi = |cells: &[(&str, &str)]| Edit::set("ipmi", &[("node", "n1")], cells).unwrap();
        let restored = [
            Edit::delete("ipmi", &[]).unwrap(),
            Edit::Insert {
                table: crate::schema().find("ipmi").unwrap().id,
                cells: [("node", "n1"), ("bmc", "b"), ("password", "guess")]
                    .map(|(name, value)| {
                        (crate::schema().find("ipmi").unwrap().col(name).unwrap(), Some(value.into()))
                    })
                    .to_vec(),
            },
        ];
        for (edits, expect) in [
            (vec![ipmi(&[("password", "guess")])], "Updated n1 ipmi.password"),
            (vec![ipmi(&[("password", "guess"), ("bmc", "c")])], "Updated n1 ipmi.bmc ipmi.password"),
            (vec![Edit::set_site("mykey", "guess").unwrap()], "Updated mykey site.value"),
            (restored.to_vec(), "Updated n1 ipmi.password"),
        ] {
            for present in ["guess", "other"] {
                assert_eq!(logged("alice", present, &edits), expect, "{present}");
            }
            assert_ne!(logged("root", "guess", &edits), logged("root", "other", &edits));
        }
        // Values that are not secret are logged if they change.
        assert_eq!(logged("alice", "x", &[Edit::set_site("domain", "x").unwrap()]), "");
        assert_eq!(logged("alice", "x", &[ipmi(&[("bmc", "b")])]), "");
    }
}
