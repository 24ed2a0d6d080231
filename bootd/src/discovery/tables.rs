//! The directory of the tables, kept up to date.
//!
//! In a storm every machine that becomes a node changes the tables, so the directory follows changes and is
//! read again only where the announced ones do not explain the state: a reload of everything, or more changes
//! than the subscription holds.

use std::sync::Arc;
use std::time::Duration;

use dawn_cluster::{RowChange, Snapshot, Subscription};
use dawn_discovery::Directory;

/// A change is announced right after its snapshot is published; this is long enough for it.
const ANNOUNCED_TIME: Duration = Duration::from_millis(200);

/// The directory, and the subscription by which it follows the tables.
#[derive(Default)]
pub(super) struct Tables {
    /// `None`: nothing follows, and every change has everything read again.
    changes: Option<Subscription>,
    known: Option<Known>,
}

struct Known {
    directory: Arc<Directory>,
    /// The snapshot that it is of: its number, and the versions of the tables that are looked at.
    seq: u64,
    versions: Vec<u64>,
}

impl Tables {
    /// What is published from now on.
    pub(super) fn follow(&mut self, changes: Subscription) {
        self.changes = Some(changes);
    }

    /// The directory of this snapshot.
    pub(super) fn directory(&mut self, snapshot: &Snapshot) -> Arc<Directory> {
        let versions = versions(snapshot);
        let known = match self.known.take() {
            Some(known) if known.seq == snapshot.seq() && known.versions == versions => known,
            Some(mut known) => match self.changes_since(known.seq, snapshot.seq()) {
                Some(changes) => {
                    Arc::make_mut(&mut known.directory).follow(snapshot, &changes);
                    Known { seq: snapshot.seq(), versions, ..known }
                }
                None => {
                    Arc::make_mut(&mut known.directory).read_again(snapshot);
                    Known { seq: snapshot.seq(), versions, ..known }
                }
            },
            None => Known::of(snapshot, versions),
        };
        let directory = Arc::clone(&known.directory);
        self.known = Some(known);
        directory
    }

    /// For quiet times: takes announced changes out of the subscription, which holds a snapshot with each.
    pub(super) fn keep_up(&mut self, snapshot: &Snapshot) {
        if self.known.is_some() {
            self.directory(snapshot);
        } else if let Some(changes) = &self.changes {
            while changes.try_next().is_some() {}
        }
    }

    /// What changed after snapshot `seq` up to `last`; `None` if that is not known.
    fn changes_since(&self, mut seq: u64, last: u64) -> Option<Vec<RowChange>> {
        if seq >= last {
            // The tables differ, and no change says why: they were loaded again.
            return None;
        }
        let mut rows = Vec::new();
        while seq < last {
            let published = self.changes.as_ref()?.next(ANNOUNCED_TIME)?;
            let change = &published.change;
            if change.seq <= seq && !change.rows.is_empty() {
                continue;
            }
            if change.rows.is_empty() || change.is_damaged || change.seq != seq + 1 {
                return None;
            }
            rows.extend(change.rows.iter().cloned());
            seq = change.seq;
        }
        Some(rows)
    }
}

impl Known {
    fn of(snapshot: &Snapshot, versions: Vec<u64>) -> Self {
        Self { directory: Arc::new(Directory::of(snapshot)), seq: snapshot.seq(), versions }
    }
}

fn versions(snapshot: &Snapshot) -> Vec<u64> {
    let tables = ["switch", "switches", "vpd", "nodetype", "nodelist", "mac", "ipmi", "hosts", "site"];
    tables.map(|table| snapshot.version(table)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::{Change, Edit, Model};

    fn set(model: &Model, table: &str, node: &str, cells: &[(&str, &str)]) {
        let edit = Edit::set(table, &[("node", node)], cells).unwrap();
        model.apply(Change::new("root", "test", vec![edit])).unwrap();
    }

    /// Whether a directory that follows is the same as one that is read.
    fn is_right(tables: &mut Tables, model: &Model) -> bool {
        let snapshot = model.snapshot();
        *tables.directory(&snapshot) == Directory::of(&snapshot)
    }

    #[test]
    fn the_directory_follows_every_change() {
        let model = Model::in_memory().unwrap();
        let mut tables = Tables::default();
        tables.follow(model.subscribe());
        set(&model, "nodelist", "cn1", &[("groups", "rack1,all")]);
        set(&model, "nodelist", "cn2", &[("groups", "all")]);
        assert!(is_right(&mut tables, &model));
        let before = Arc::as_ptr(&tables.directory(&model.snapshot()));
        set(&model, "switch", "rack1", &[("switch", "sw1"), ("port", "|cn(\\d+)|swp($1)|")]);
        set(&model, "vpd", "cn2", &[("mtm", "8335"), ("serial", "S2"), ("uuid", "ABC")]);
        assert!(is_right(&mut tables, &model));
        assert_eq!(tables.directory(&model.snapshot()).ports("sw1").len(), 1);
        set(&model, "nodelist", "cn2", &[("groups", "rack1,all")]);
        assert!(is_right(&mut tables, &model));
        assert_eq!(tables.directory(&model.snapshot()).ports("SW1").len(), 2);
        let has_bmc = |tables: &mut Tables| {
            let directory = tables.directory(&model.snapshot());
            (directory.is_bmc([10, 2, 0, 2].into()), directory.losses())
        };
        let (_, losses) = has_bmc(&mut tables);
        set(&model, "ipmi", "rack1", &[("bmc", "|\\D+(\\d+)|10.2.0.($1)|")]);
        set(&model, "mac", "cn2", &[("mac", "02:00:00:00:00:02")]);
        assert!(is_right(&mut tables, &model));
        assert_eq!(has_bmc(&mut tables), (true, losses));
        // A row that is out of the tables for a while.
        set(&model, "ipmi", "rack1", &[("disable", "1")]);
        assert!(is_right(&mut tables, &model));
        let (is_bmc, after) = has_bmc(&mut tables);
        assert!(!is_bmc && after != losses);
        let gone = Edit::delete("nodelist", &[("node", "cn1")]).unwrap();
        model.apply(Change::new("root", "test", vec![gone])).unwrap();
        assert!(is_right(&mut tables, &model));
        // It was one directory all the time.
        assert_eq!(before, Arc::as_ptr(&tables.directory(&model.snapshot())));
    }

    #[test]
    fn changes_that_were_missed_have_it_read_again() {
        let model = Model::in_memory().unwrap();
        let mut tables = Tables::default();
        set(&model, "nodelist", "cn1", &[("groups", "all")]);
        assert!(is_right(&mut tables, &model));
        // Nothing follows yet; then a change is missed.
        set(&model, "nodelist", "cn2", &[("groups", "all")]);
        assert!(is_right(&mut tables, &model));
        tables.follow(model.subscribe());
        drop(tables.changes.as_ref().unwrap().try_next());
        set(&model, "nodelist", "cn3", &[("groups", "all")]);
        drop(tables.changes.as_ref().unwrap().wait());
        set(&model, "vpd", "cn3", &[("uuid", "ABC")]);
        assert!(is_right(&mut tables, &model));
    }

    #[test]
    fn nothing_piles_up_while_no_machine_comes() {
        let model = Model::in_memory().unwrap();
        let mut tables = Tables::default();
        tables.follow(model.subscribe());
        set(&model, "nodelist", "cn1", &[("groups", "all")]);
        tables.keep_up(&model.snapshot());
        assert!(tables.changes.as_ref().unwrap().try_next().is_none());
        assert!(is_right(&mut tables, &model));
        set(&model, "nodetype", "cn1", &[("arch", "x86_64")]);
        tables.keep_up(&model.snapshot());
        assert!(tables.changes.as_ref().unwrap().try_next().is_none());
        assert!(is_right(&mut tables, &model));
    }
}
