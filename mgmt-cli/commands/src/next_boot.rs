//! What running nodes get at their next boot only, reported by the command that makes the change.
//!
//! The NFS server never takes a path from a running node ([`dawn_roots::live::deferred`]), so a row may be
//! stored and have no effect yet. Nodes are looked at by kind, as for contradictions.

use crate::conflicts::{kinds, touched};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::{RowChange, Snapshot, col};

/// Kinds of nodes reported after one change at most.
const TOLD_MAX: usize = 5;
/// Paths named for one kind of nodes at most.
const PATHS_MAX: usize = 5;
/// `nodelist.status` of a node whose system is up.
const UP: &str = dawn_wire::status::BOOTED;

/// Says for which running nodes the change takes effect at their next boot.
pub fn warn(rows: &[RowChange], before: &Snapshot, after: &Snapshot, out: &mut Out<'_>) -> Done {
    let Some(touched) = touched(rows, after) else { return Ok(()) };
    // Without its addresses this machine serves nothing.
    let Ok(addresses) = dawn_bootd::address::of_this_machine() else { return Ok(()) };
    let is_up = |node: &str| after.attr(node, col::nodelist::STATUS).as_deref() == Some(UP);
    let later = kinds(after, touched, is_up).into_iter().filter_map(|(first, count)| {
        let what = dawn_roots::live::deferred(before, after, &first, &addresses);
        (!what.is_empty()).then(|| {
            let others = match count {
                1 => String::new(),
                _ => format!(" (and of {} more running nodes)", count - 1),
            };
            let named: Vec<&str> = what.iter().take(PATHS_MAX).map(String::as_str).collect();
            let more = match what.len().saturating_sub(PATHS_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("takes effect at the next boot of {first}{others}: {}{more}", named.join(", "))
        })
    });
    out.warnings(later, TOLD_MAX, |more| {
        format!("and at the next boot of {more} more kinds of running nodes").into()
    })
}
