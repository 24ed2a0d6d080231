//! Values of a dump that Dawn refuses: each is left out, and the report says which and why.
//!
//! Only the model decides which values are valid: rows are offered to it, first one by one, then all
//! together, and the values that its error names are removed. The first pass finds invalid cells, in time
//! proportional to the rows; the second finds contradictions between rows (two nodes with one address), which
//! are rare.

use super::dump::{Cells, Rows, edits, insert, key_of};
use super::points::{Group, Point};
use dawn_bootd::output::Stop;
use dawn_cluster::{Col, Edit, EditError, Snapshot, col, secrets};

/// Contradictions between rows that are resolved at most; each costs a check of all rows.
const CONTRADICTIONS_MAX: usize = 500;

/// The rows without the values that the model refuses.
pub(super) struct Adapted {
    /// A value that was removed.
    pub points: Vec<Point>,
    /// The edits that replace the tables.
    pub edits: Vec<Edit>,
    /// The tables after them.
    pub after: Snapshot,
}

/// Removes the values that the model refuses.
pub(super) fn adapt(base: &Snapshot, tables: &mut [Rows]) -> Result<Adapted, Stop> {
    let mut points = Vec::new();
    for rows in tables.iter_mut() {
        cells_alone(rows, &mut points);
    }
    for _ in 0..CONTRADICTIONS_MAX {
        let edits = edits(tables);
        let error = match base.with(&edits) {
            Ok(after) => return Ok(Adapted { points, edits, after }),
            Err(error) => error,
        };
        match take_out(tables, &error) {
            Some(what) => points.push(point(Group::Wrong, what, &error)),
            None => return Err(error.into()),
        }
    }
    Err(Stop::conflict(format!(
        "the dump has more than {CONTRADICTIONS_MAX} contradictions, such as nodes with one address. Correct them on \
         the xCAT server and dump again; the first is: {}",
        points.first().map(|point| point.why.as_str()).unwrap_or_default()
    )))
}

/// Each row by itself.
fn cells_alone(rows: &mut Rows, points: &mut Vec<Point>) {
    let empty = Snapshot::empty();
    let table = rows.table;
    let mut good = Vec::with_capacity(rows.rows.len());
    for mut cells in std::mem::take(&mut rows.rows) {
        let mut refused = false;
        while !cells.is_empty() && !refused {
            let Err(error) = empty.preview(&[insert(table, &cells)]) else { break };
            let (col, whole) = match &error {
                EditError::BadValue { col, .. }
                | EditError::TooLong { col, .. }
                | EditError::NulByte { col } => (*col, col.info().is_key),
                EditError::BadSiteValue { .. } => (col::site::VALUE, true),
                EditError::EmptyKey { col } | EditError::Required { col } => (*col, true),
                // What other rows are needed for is the second pass.
                _ => break,
            };
            points.push(point(Group::Changed, name_of(&cells, col, whole), &error));
            refused = whole;
            cells.retain(|(other, _)| *other != col);
        }
        if !refused && !cells.is_empty() {
            good.push(cells);
        }
    }
    rows.rows = good;
}

/// Removes the value that the error names from the rows; returns it.
fn take_out(tables: &mut [Rows], error: &EditError) -> Option<String> {
    match error {
        // Of two the later row loses the address.
        EditError::Taken { col, name, other, .. } => {
            cell(tables, *col, |cells| key_of(cells).is_some_and(|key| key == name || key == other))
        }
        EditError::InsideRange { name, .. } => {
            cell(tables, col::hosts::IP, |cells| key_of(cells) == Some(name))
        }
        EditError::BadValue { col, value, .. } => {
            let has = |cells: &Cells| cells.iter().any(|(other, text)| other == col && **text == **value);
            cell(tables, *col, has)
        }
        EditError::DuplicateKey { table, key } => {
            let rows = tables.iter_mut().find(|rows| rows.table.id == *table)?;
            let has_key = |cells: &Cells| {
                let keys = cells.iter().filter(|(col, _)| col.info().is_key).map(|(_, text)| &**text);
                keys.collect::<Vec<_>>().join(",") == *key
            };
            let at = rows.rows.iter().rposition(has_key)?;
            rows.rows.remove(at);
            Some(format!("the second row {key} of {}", rows.table.name))
        }
        _ => None,
    }
}

/// Takes the column out of the first row that is meant; the whole row if the column is its key.
fn cell(tables: &mut [Rows], col: Col, is_meant: impl Fn(&Cells) -> bool) -> Option<String> {
    let rows = tables.iter_mut().find(|rows| rows.table.id == col.table)?;
    let has = |cells: &Cells| cells.iter().any(|(other, _)| *other == col);
    let at = rows.rows.iter().rposition(|cells| has(cells) && is_meant(cells))?;
    let cells = rows.rows.get_mut(at)?;
    let name = name_of(cells, col, col.info().is_key);
    cells.retain(|(other, _)| *other != col);
    if col.info().is_key || cells.is_empty() {
        rows.rows.remove(at);
    }
    Some(name)
}

fn name_of(cells: &Cells, col: Col, whole: bool) -> String {
    let key = key_of(cells).map(|key| key.to_string()).unwrap_or_default();
    match whole {
        true => format!("row {key} of {}", col.table),
        false => format!("{col} of {key}"),
    }
}

fn point(group: Group, what: String, error: &EditError) -> Point {
    let why = match error {
        EditError::BadValue { col, reason, .. } if secrets::is_secret(*col) => reason.to_string(),
        EditError::BadSiteValue { reason, .. } => reason.to_string(),
        EditError::Taken { value, name, other, .. } => {
            let owner = if what.ends_with(&**name) { other } else { name };
            format!("{value} already belongs to {owner}")
        }
        other => other.to_string(),
    };
    Point { what: format!("{what} left out"), ..Point::new(group, why) }
}
