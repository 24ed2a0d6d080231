//! Changes in the name of a node, and the check that edits stay with the nodes they are for.

use crate::harmless::keep_to_harmless;
use crate::node_names::{Limits, belongs_to_others};
use crate::output::{Done, Stop};
use dawn_cluster::{Change, Edit, MANAGEMENT_GROUP, Model, RowChange, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Writes what a node reports or asks for, without an entry in the log of changes. Rows of other nodes are
/// refused.
///
/// # Errors
/// The edits reach beyond the node, or cannot be stored.
pub fn for_node(
    model: &Model,
    node: &str,
    what: &str,
    compute: impl FnOnce(&Snapshot) -> Result<Vec<Edit>, Stop>,
) -> Result<Arc<Snapshot>, Stop> {
    let written = model.transact(Change::quiet(node, what, Vec::new()), |snapshot| {
        let edits = compute(snapshot)?;
        let (rows, next) = snapshot.outcome(&edits)?;
        keep_to(snapshot, &next, &rows, false, |name| name == node)?;
        Ok::<_, Stop>((edits, ()))
    });
    written.map(|(applied, ())| applied.snapshot)
}

/// Refuses rows of nodes that are not covered, and rows that are not a node's unless those are open. Rows of
/// covered nodes are refused when they claim what belongs to others.
pub(crate) fn keep_to(
    snapshot: &Snapshot,
    next: &Snapshot,
    rows: &[RowChange],
    open: bool,
    covers: impl Fn(&str) -> bool,
) -> Done {
    let mut renamed = BTreeSet::new();
    for change in rows {
        let table = change.table.info();
        let beyond = || Err(Stop::refused(format!("Permission denied: a row of the table {}", table.name)));
        let Some(node) = table.node_col() else {
            if open {
                continue;
            }
            return beyond();
        };
        let key = table.key_names().position(|name| name == node.name()).and_then(|at| change.key.get(at));
        let cells = change.cells.iter().filter(|(col, _, _)| *col == node);
        let mut named = key.into_iter().chain(cells.flat_map(|(_, old, new)| old.iter().chain(new)));
        if named.clone().next().is_none() || named.any(|node| !covers(node)) {
            return beyond();
        }
        keep_to_harmless(change)?;
        for (col, old, new) in &change.cells {
            let of = |text: &str| claimed(snapshot, table.name, col.name(), text, &covers);
            let before = old.as_deref().and_then(of);
            if let Some(what) = new.as_deref().and_then(of).filter(|what| before.as_ref() != Some(what)) {
                return Err(Stop::refused(format!("Permission denied: {col} may not name {what}")));
            }
        }
        if matches!(table.name, "hosts" | "nics") {
            renamed.extend(key.cloned());
        }
    }
    let limits = Limits::new(snapshot, &covers);
    // A row of a group names its members.
    let members =
        renamed.iter().filter(|name| snapshot.is_group(name)).flat_map(|g| snapshot.group_members(g));
    for node in members.chain(renamed.iter().cloned()) {
        if let Some((name, why)) = limits.refused(next, &node) {
            return Err(Stop::refused(format!("Permission denied: {node} may not be called {name}: {why}")));
        }
    }
    Ok(())
}

/// What a cell of a node claims that belongs to another node or to this machine: a name or address that
/// `makehosts` would write for the node, or the place of the management node.
fn claimed(
    snapshot: &Snapshot,
    table: &str,
    column: &str,
    text: &str,
    covers: impl Fn(&str) -> bool,
) -> Option<String> {
    // `name:address` has one colon more than the address, which may have its own.
    let words = || {
        let pieces = text.split(|c: char| ",;|!% \t".contains(c)).filter(|piece| !piece.is_empty());
        pieces.flat_map(|piece| {
            let address = piece.split_once(':').map(|(_, rest)| rest);
            std::iter::once(piece).chain(address).chain(piece.split(':'))
        })
    };
    if (table, column) == ("nodelist", "groups") {
        return words().find(|word| *word == MANAGEMENT_GROUP).map(str::to_owned);
    }
    if !matches!((table, column), ("hosts", "hostnames" | "otherinterfaces" | "ip") | ("nics", _)) {
        return None;
    }
    words().find(|word| belongs_to_others(snapshot, word, &covers)).map(str::to_owned)
}
