//! Changes in the name of a node, and the check that edits stay with the nodes they are for.

use crate::output::{Done, Stop};
use dawn_cluster::{Change, Edit, Model, Snapshot};
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
        keep_to(snapshot, &edits, false, |name| name == node)?;
        Ok::<_, Stop>((edits, ()))
    });
    written.map(|(applied, ())| applied.snapshot)
}

/// Refuses rows of nodes that are not covered, and rows that are not a node's unless those are open.
pub fn keep_to(snapshot: &Snapshot, edits: &[Edit], open: bool, covers: impl Fn(&str) -> bool) -> Done {
    for change in snapshot.preview(edits)? {
        let table = change.table.info();
        let beyond = || Err(Stop::message(format!("Permission denied: a row of the table {}", table.name)));
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
    }
    Ok(())
}
