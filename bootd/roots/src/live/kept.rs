//! What a running node has been shown, which stays until it boots again.
//!
//! Tables change at any time; programs of the node have files open. So a wish that was shown is kept: a path,
//! its option, the store and the trees stay. What a change adds at a path where the node has no file of its
//! own is shown at once, everything else at the next boot ([`deferred`] says what that is).
//!
//! One file a node in `<data>/roots` holds the wish with a checksum ([`dawn_serving::sealed`]), so that a
//! restart of the daemon changes nothing either. A damaged record is reported and ignored: the tables count.
//! One that cannot be written is a line in the log.

use super::wish::{self, Wish};
use super::{Generation, NO_TREE, id};
use dawn_cluster::Snapshot;
use dawn_plan::BootState;
use dawn_plan::LocalAddresses;
use dawn_serving::sealed;
use dawn_serving::whole;
use dawn_statelite::live::Duties;
use dawn_statelite::resolve::is_below;
use dawn_wire::LiteOption;
use dawn_wire::list::Entry;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Trees that are kept although no row names them any more; the rows of one boot have rarely more than a few.
const GONE_TREES_MAX: usize = 16;
/// Special paths of one node beyond which a running node is shown no new ones.
const ENTRIES_MAX: usize = 4096;
/// Bytes that the file of one node may have; a longer one is not read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The wish that a node is shown from now on: `held` was shown, `wanted` is what the tables say.
pub(super) fn merged(held: &Wish, wanted: Wish) -> Wish {
    let root = wanted.root.clone();
    // The rows of another image are not for this root; a tree elsewhere leaves the whole list to the node's
    // next boot.
    if wanted.image != held.image || held.duties.trees && !wanted.duties.trees {
        return Wish { root, ..held.clone() };
    }
    let in_the_way = |new: &Entry| {
        let meets = |old: &Entry| {
            new.path == old.path || is_below(&new.path, &old.path) || is_below(&old.path, &new.path)
        };
        held.entries.iter().any(meets)
    };
    let room = ENTRIES_MAX.saturating_sub(held.entries.len());
    let new = wanted.entries.iter().filter(|new| new.served && !in_the_way(new)).take(room).cloned();
    let entries = wish::sorted(held.entries.iter().cloned().chain(new).collect());
    // The last of the trees: files found there stay, but files of other trees are preferred.
    let gone = held.trees.iter().filter(|tree| !wanted.trees.contains(tree) && !tree.ends_with(NO_TREE));
    let trees = wanted.trees.iter().chain(gone.take(GONE_TREES_MAX)).cloned().collect();
    let keeps = held.entries.iter().any(|entry| entry.served && entry.option.is_persistent());
    let store = held.store.clone().filter(|_| keeps).or(wanted.store);
    Wish { root, entries, trees, store, ..wanted }
}

/// The parts of a change of the tables that a running `node` is shown only at its next boot: paths, trees,
/// the store.
#[must_use]
pub fn deferred(
    before: &Snapshot,
    after: &Snapshot,
    node: &str,
    addresses: &LocalAddresses,
) -> BTreeSet<String> {
    if !matches!(BootState::of(before, node), Some(BootState::Statelite(_))) {
        return BTreeSet::new();
    }
    let [held, wanted] = [before, after].map(|snapshot| Wish::of(snapshot, node, addresses, PathBuf::new()));
    if held.image != wanted.image {
        return BTreeSet::new();
    }
    let shown = merged(&held, wanted.clone());
    let of = |wish: &Wish| -> BTreeMap<String, (LiteOption, bool)> {
        wish.entries.iter().map(|entry| (entry.path.clone(), (entry.option, entry.served))).collect()
    };
    let (shown_entries, wanted_entries) = (of(&shown), of(&wanted));
    let paths = shown_entries.keys().chain(wanted_entries.keys());
    let mut later: BTreeSet<String> =
        paths.filter(|path| shown_entries.get(*path) != wanted_entries.get(*path)).cloned().collect();
    let [had, has] = [before, after].map(|snapshot| dawn_statelite::stores(snapshot, node));
    let far = |trees: &[dawn_statelite::Location]| !trees.is_empty() && !wanted.duties.trees;
    if shown.trees != wanted.trees || had.trees != has.trees && (far(&had.trees) || far(&has.trees)) {
        later.insert("the directories of litetree".to_owned());
    }
    if shown.store != wanted.store || had.persistent != has.persistent && !wanted.duties.store {
        later.insert("the store".to_owned());
    }
    later
}

/// A wish as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    image: Option<String>,
    trees: Vec<PathBuf>,
    store: Option<PathBuf>,
    serves_trees: bool,
    serves_store: bool,
    entries: Vec<RecordEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordEntry {
    path: String,
    is_dir: bool,
    option: String,
    served: bool,
}

impl Record {
    fn of(wish: &Wish) -> Self {
        let entry = |entry: &Entry| RecordEntry {
            path: entry.path.clone(),
            is_dir: entry.is_dir,
            option: entry.option.as_str().to_owned(),
            served: entry.served,
        };
        Self {
            image: wish.image.clone(),
            trees: wish.trees.clone(),
            store: wish.store.clone(),
            serves_trees: wish.duties.trees,
            serves_store: wish.duties.store,
            entries: wish.entries.iter().map(entry).collect(),
        }
    }

    /// `None` if an option or a path is none.
    fn into_wish(self, root: PathBuf) -> Option<Wish> {
        let read = |entry: RecordEntry| {
            let option = LiteOption::spelled(&entry.option)?;
            let slash = if entry.is_dir { "/" } else { "" };
            Entry::new(option, &format!("{}{slash}", entry.path), entry.served)
        };
        let entries: Option<Vec<Entry>> = self.entries.into_iter().map(read).collect();
        Some(Wish {
            root,
            image: self.image,
            entries: wish::sorted(entries?),
            trees: self.trees,
            store: self.store,
            duties: Duties { trees: self.serves_trees, store: self.serves_store },
        })
    }
}

/// What running nodes were shown, on disk.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
}

impl Kept {
    /// In `dir`, which is made when something is to be kept.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Nodes have no `@` in their names.
    fn file(&self, node: &str, tree: &Generation) -> Option<PathBuf> {
        let plain = !node.is_empty() && !node.starts_with('.') && !node.contains(['/', '@']);
        plain.then(|| self.dir.join(format!("{node}@{:016x}", id(node, tree).0)))
    }

    /// What `node` was shown of `tree`, which is at `root` now.
    pub(super) fn read(&self, node: &str, tree: &Generation, root: PathBuf) -> Option<Wish> {
        let path = self.file(node, tree)?;
        let file = fs::File::open(&path).ok()?;
        let mut bytes = Vec::new();
        let read = io::Read::read_to_end(&mut io::Read::take(file, FILE_BYTES_MAX), &mut bytes);
        let wish = read.ok().and_then(|_| parse(&bytes)).and_then(|record| record.into_wish(root));
        if wish.is_none() {
            let file = path.display();
            tracing::warn!(node, %file, "the saved view of a running node is damaged; the tables are used instead");
        }
        wish
    }

    /// Keeps what `node` is shown of `tree`. What it was shown of other trees before is forgotten if it
    /// `boots`.
    pub(super) fn write(&self, node: &str, tree: &Generation, wish: &Wish, boots: bool) {
        if let Err(error) = self.try_write(node, tree, wish, boots) {
            tracing::warn!(node, %error, "cannot write down what a running node is shown");
        }
    }

    fn try_write(&self, node: &str, tree: &Generation, wish: &Wish, boots: bool) -> io::Result<()> {
        let Some(path) = self.file(node, tree) else { return Ok(()) };
        // Workers of the NFS server, who come here, have no umask.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        if boots {
            self.remove(|owner| owner == node)?;
        }
        let text = sealed::seal(&serde_json::to_string(&Record::of(wish))?);
        whole::write_unsynced(&path, text.as_bytes(), 0o600)
    }

    /// Forgets nodes.
    pub(super) fn forget(&self, gone: impl Fn(&str) -> bool) {
        if let Err(error) = self.remove(gone)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot delete the saved views of removed nodes");
        }
    }

    fn remove(&self, gone: impl Fn(&str) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let node = name.to_str().and_then(|name| name.split_once('@')).map_or("", |(node, _)| node);
            if gone(node) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Of a file; one without a checksum is of an older version.
fn parse(bytes: &[u8]) -> Option<Record> {
    let text = match bytes.first() {
        Some(b'{') => std::str::from_utf8(bytes).ok()?,
        _ => sealed::read(bytes).text?,
    };
    serde_json::from_str(text).ok()
}

/// Feeds a file to the reader.
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(wish) = parse(bytes).and_then(|record| record.into_wish(PathBuf::from("/r"))) {
        let text = serde_json::to_string(&Record::of(&wish)).unwrap_or_default();
        let again = parse(sealed::seal(&text).as_bytes()).and_then(|record| record.into_wish("/r".into()));
        assert_eq!(again, Some(wish));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
