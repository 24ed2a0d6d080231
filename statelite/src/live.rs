//! Which part of a node's list the NFS server does itself, by laying files over the root that the node
//! mounts.
//!
//! Entries whose content stays on servers (`ro`) or goes there (`persistent`) can be served; those in RAM
//! (`con` among them: a joined copy that the node may change) or on the node's disk are the node's own. A
//! tree decides about everything that is searched in trees, so one tree that is on another server leaves all
//! of them to the node: it alone can mount both.

use dawn_cluster::Snapshot;

use crate::location::{store, trees};
use dawn_wire::LiteOption;

/// What the server does for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Duties {
    /// Every tree of the node is a directory of the server.
    pub trees: bool,
    /// The node's store is a directory of the server.
    pub store: bool,
}

impl Duties {
    /// What can be done for a node; `is_here` says whether a server's name or address means this machine.
    /// Nothing, if a cell of the tables cannot be used.
    #[must_use]
    pub fn of(snapshot: &Snapshot, node: &str, is_here: &dyn Fn(&str) -> bool) -> Self {
        let Ok(trees) = trees(snapshot, node) else { return Self::default() };
        let trees = trees.iter().all(|tree| is_here(&tree.location.server));
        let store = store(snapshot, node).and_then(Result::ok);
        Self { trees, store: store.is_some_and(|store| is_here(&store.server)) }
    }

    /// Whether entries with this option are among them.
    #[must_use]
    pub fn include(self, option: LiteOption) -> bool {
        match option {
            LiteOption::Ro | LiteOption::LinkRo => self.trees,
            LiteOption::Persistent | LiteOption::LinkPersistent | LiteOption::ConPersistent => {
                self.trees && self.store
            }
            LiteOption::Tmpfs
            | LiteOption::Link
            | LiteOption::Con
            | LiteOption::LinkCon
            | LiteOption::Localdisk => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_elsewhere_is_the_nodes_business() {
        for (tree, statemnt, trees, store) in [
            (Some("here:/t"), Some("here:/s"), true, true),
            (Some("/t"), Some("/s"), true, true),
            (None, None, true, false),
            (Some("far:/t"), Some("here:/s"), false, true),
            (Some("here:/t"), Some("far:/s"), true, false),
            (Some("here:/#CMD=x#"), Some("here:/s"), false, false),
        ] {
            let tree =
                tree.map(|tree| ("litetree", vec![("priority", "1"), ("image", ""), ("directory", tree)]));
            let statemnt = statemnt.map(|cell| ("statelite", vec![("node", "cn1"), ("statemnt", cell)]));
            let rows = [Some(("nodelist", vec![("node", "cn1")])), tree, statemnt];
            let rows: Vec<_> = rows.into_iter().flatten().collect();
            let snapshot = Snapshot::from_rows(rows.iter().map(|(table, row)| (*table, row.as_slice())));
            let duties = Duties::of(&snapshot, "cn1", &|server| matches!(server, "" | "here"));
            assert_eq!(duties, Duties { trees, store }, "{rows:?}");
            assert_eq!(duties.include(LiteOption::Ro), trees);
            assert!(!duties.include(LiteOption::Con));
            assert_eq!(duties.include(LiteOption::LinkPersistent), trees && store);
            assert!(!duties.include(LiteOption::Tmpfs));
        }
    }
}
