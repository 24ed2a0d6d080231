//! What a caller may write: the one decision about a change, by its caller and by the rows as they were and
//! as they will be.
//!
//! Each command and request that writes what its caller says passes through [`check`] when it commits, so
//! that it does not matter whether words, stanzas, lines of a table, elements or the log named the rows.
//!
//! * Root writes everything.
//! * Only root writes rows of which the daemon runs the content ([`ROOTS_OWN`]).
//! * A caller who is limited to some nodes writes rows of those, fills only the columns that
//!   [`crate::harmless`] lists, also by joining a group, empties no others, and changes neither for which
//!   nodes rules of the policy hold nor which directory of a server a node gets, and takes no name and no
//!   address that something else has ([`crate::claims`]).
//!
//! A column that is not listed is protected: a new one is, until someone has looked at who reads it.

use crate::claims::keep_to_free;
use crate::command::Ctx;
use crate::harmless::protected_columns;
use crate::node_edits::keep_to;
use crate::output::{Done, Stop};
use dawn_cluster::{Col, Edit, RowChange, RowChangeKind, Snapshot, Text, col};
use dawn_plan::destiny::has_step_of_server;
use dawn_statelite::columns_of;
use std::collections::BTreeSet;

/// Tables of which the daemon starts the content as programs, with root's rights.
const ROOTS_OWN: [&str; 1] = ["notification"];

/// Refuses a change that this caller may not make.
///
/// # Errors
/// The first row that is not the caller's to write.
pub fn check(ctx: &Ctx<'_>, snapshot: &Snapshot, edits: &[Edit]) -> Done {
    if ctx.view.is_root() {
        return Ok(());
    }
    let limits = ctx.view.limits();
    let names_programs = edits.iter().any(|edit| ROOTS_OWN.contains(&edit.table().name()));
    if limits.is_none() && !names_programs {
        return Ok(());
    }
    let (rows, next) = snapshot.outcome(edits)?;
    if let Some(row) = rows.iter().find(|row| ROOTS_OWN.contains(&row.table.name())) {
        let table = row.table.name();
        return Err(Stop::refused(format!(
            "Permission denied: only root may let the daemon start programs, which the table {table} names"
        )));
    }
    let Some(reach) = limits else { return Ok(()) };
    keep_to(snapshot, &next, &rows, reach.is_open(), |node| reach.covers(node))?;
    keep_inherited(snapshot, &next, &rows)?;
    keep_to_free(ctx, (snapshot, &next), &rows, &|node| reach.covers(node))?;
    keep_directories(snapshot, &next, &rows)?;
    keep_commands(&rows)?;
    if snapshot.policy_shifts(&next, ctx.call.peer_name.as_deref()) {
        return Err(Stop::refused(
            "Permission denied: the change would alter for which nodes rules of the policy hold",
        ));
    }
    keep_protected(&rows)
}

/// Refuses steps of a chain that the server carries out: their commands run with the rights of another
/// caller, who may not be limited.
fn keep_commands(rows: &[RowChange]) -> Done {
    let columns = [col::chain::CHAIN, col::chain::CURRCHAIN, col::chain::CURRSTATE];
    let mut cells = rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell)));
    let written = cells
        .find(|(_, (col, _, new))| columns.contains(col) && new.as_deref().is_some_and(has_step_of_server));
    match written {
        Some((row, (col, ..))) => Err(Stop::refused(format!(
            "Permission denied: {col} of {} would have a step ondiscover=, which is for callers who may change \
             every node",
            row.node().map(|node| &**node).unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

/// Refuses to empty what the caller may not fill, also by the removal of a node.
fn keep_protected(rows: &[RowChange]) -> Done {
    let protected: BTreeSet<Col> = protected_columns().collect();
    let is_set = |cell: &Option<Text>| cell.as_ref().is_some_and(|text| !text.is_empty());
    let mut cells = rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell)));
    let lost = cells.find(|(_, (col, old, new))| protected.contains(col) && is_set(old) && !is_set(new));
    match lost {
        Some((row, (col, ..))) => Err(Stop::refused(format!(
            "Permission denied: {col} of {} is set, and only callers who may change every node take it away",
            row.node().map(|node| &**node).unwrap_or_default()
        ))),
        None => Ok(()),
    }
}

/// Refuses to join groups whose rows give a node what its owner may not write: the BMC or the virtual machine
/// of another one.
fn keep_inherited(snapshot: &Snapshot, next: &Snapshot, rows: &[RowChange]) -> Done {
    let joins = |row: &&RowChange| row.cells.iter().any(|(col, ..)| *col == col::nodelist::GROUPS);
    for node in rows.iter().filter(joins).filter_map(RowChange::node) {
        let given = protected_columns().find(|col| {
            let after = next.attr(node, *col);
            after.is_some() && snapshot.has_node(node) && after != snapshot.attr(node, *col)
        });
        if let Some(col) = given {
            return Err(Stop::refused(format!(
                "Permission denied: {node} would get {col} from a group, which is for callers who may change every \
                 node"
            )));
        }
    }
    Ok(())
}

/// Refuses to change the value of a variable in a directory of `litetree` or `statelite`: a directory of
/// other nodes could be what comes of it. The values of an image belong to the administrators.
fn keep_directories(snapshot: &Snapshot, next: &Snapshot, rows: &[RowChange]) -> Done {
    let locations = [col::litetree::DIRECTORY, col::statelite::STATEMNT];
    let cells = locations
        .into_iter()
        .flat_map(|col| snapshot.enabled_rows(col.table).filter_map(move |row| row.get(col)));
    let columns: BTreeSet<String> = cells.flat_map(|cell| columns_of(cell)).map(str::to_owned).collect();
    for row in rows.iter().filter(|row| row.kind != RowChangeKind::Deleted) {
        for (col, _, new) in row.cells.iter().filter(|(col, ..)| columns.contains(&col.to_string())) {
            let node = row.node().map(|node| &**node).unwrap_or_default();
            if !is_of_image(next, node, *col, new.as_deref().unwrap_or_default()) {
                return Err(Stop::refused(format!(
                    "Permission denied: {col} is part of a directory in litetree or statelite"
                )));
            }
        }
    }
    Ok(())
}

/// Whether a value is that of the image that the node boots.
fn is_of_image(next: &Snapshot, node: &str, col: Col, value: &str) -> bool {
    let name = next.attr(node, col::nodetype::PROVMETHOD);
    let Some(image) = name.and_then(|name| next.osimage(&name)) else { return false };
    let column = match col {
        col::nodetype::PROVMETHOD => return true,
        col::nodetype::OS => col::osimage::OSVERS,
        col::nodetype::ARCH => col::osimage::OSARCH,
        col::nodetype::PROFILE => col::osimage::PROFILE,
        _ => return false,
    };
    image.get(column).is_some_and(|text| **text == *value)
}
