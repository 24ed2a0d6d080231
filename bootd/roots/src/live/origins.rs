//! Where the content of each special path of a node comes from, for commands.
//!
//! It is what a root made now would show, found as for such a root ([`super::lay`]). Each tree, the store
//! and the image are looked at by the pool for disks, so one that hangs costs its own lines: they say which
//! disk did not answer. Trees on other servers are searched by the node and only named here.

use super::lay::{Content, Images, contents};
use super::seed::is_in;
use super::trees::{Hit, LocalTree, TreeLook, Whole};
use super::wish::{Wish, image_dir};
use crate::reserved;
use dawn_cluster::Snapshot;
use dawn_plan::LocalAddresses;
use dawn_serving::disks::{Late, within};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Where the content of a special path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the node's store, which has it already.
    Store,
    /// In these directories of `litetree`, by their place in the order of the node's priorities: the first
    /// one, or all of them, joined.
    Trees(Vec<usize>),
    /// In the image.
    Image,
    /// The node mounts its own file system there, which hides the entry.
    MountedOver,
    /// In no tree and not in the image.
    Nowhere,
    /// The directories of `litetree` are not all on this machine: the node searches them itself.
    Searched,
    /// A disk did not answer, or the image is not there.
    Unknown(String),
}

/// The special paths of a node, without a slash at the end, and where the content of each comes from; nothing
/// for a list that contradicts itself. Directories of the data directory `data` give nothing to nodes.
#[must_use]
pub fn origins(
    snapshot: &Snapshot,
    node: &str,
    addresses: &LocalAddresses,
    data: &Path,
) -> BTreeMap<String, Origin> {
    let Some(dir) = image_dir(snapshot, node) else { return BTreeMap::new() };
    let wish = Wish::of(snapshot, node, addresses, dir.join(crate::generations::TREE));
    let kept = kept(&wish);
    let is_reserved = |tree: &Path| reserved::reason(snapshot, data, tree).is_some();
    let trees: Vec<Looked> = wish
        .trees
        .iter()
        .map(|tree| if is_reserved(tree) { Looked::default() } else { Looked::at(tree, &wish) })
        .collect();
    let late = trees.iter().position(|tree| tree.late.is_some());
    let late = late.and_then(|number| Some((number, trees.get(number)?.late?)));
    let asked = wish.clone();
    let found = within(&wish.root, move |root| {
        let trees: Vec<Box<dyn TreeLook>> = trees.into_iter().map(|tree| Box::new(tree) as _).collect();
        root.is_dir().then(|| contents(&asked, &trees, &mut Images::default()))
    });
    let image = wish.root.display();
    let found = match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("{image} does not exist: the image is not built")),
        Err(late) => Err(format!("{image}: {late}")),
    };
    let origin = |(at, entry): (usize, &dawn_wire::list::Entry)| {
        let content = found.as_ref().map(|found| found.get(at));
        let origin = match content {
            _ if kept.as_ref().is_ok_and(|kept| kept.contains(&entry.path)) => Origin::Store,
            _ if !wish.duties.trees => Origin::Searched,
            Err(why) => Origin::Unknown(why.clone()),
            Ok(content) => origin_of(content, late.and_then(|(n, late)| Some((n, wish.trees.get(n)?, late)))),
        };
        let store = kept.as_ref().err().filter(|_| entry.served && entry.option.is_persistent());
        (entry.path.clone(), store.map_or(origin, |why| Origin::Unknown(why.to_string())))
    };
    wish.entries.iter().enumerate().map(origin).collect()
}

/// The answer of a look in which only the tree of that number and later ones may have failed to answer.
fn origin_of(content: Option<&Content>, late: Option<(usize, &PathBuf, Late)>) -> Origin {
    let before = |number: usize| match content {
        Some(Content::Trees(trees)) => trees.first().is_some_and(|first| *first < number),
        Some(Content::MountedOver) => true,
        _ => false,
    };
    match (late, content) {
        (Some((number, tree, late)), _) if !before(number) => {
            Origin::Unknown(format!("{}: {late}", tree.display()))
        }
        (_, Some(Content::Trees(trees))) => Origin::Trees(trees.clone()),
        (_, Some(Content::Image)) => Origin::Image,
        (_, Some(Content::MountedOver)) => Origin::MountedOver,
        (_, Some(Content::Nowhere) | None) => Origin::Nowhere,
    }
}

/// A disk that does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{}: {late}", place.display())]
struct Silent {
    place: PathBuf,
    late: Late,
}

/// Which of the paths the node's store has; none without a store of this machine.
fn kept(wish: &Wish) -> Result<BTreeSet<String>, Silent> {
    let Some(store) = &wish.store else { return Ok(BTreeSet::new()) };
    let served = wish.entries.iter().filter(|entry| entry.served && entry.option.is_persistent());
    let paths: Vec<String> = served.map(|entry| entry.path.clone()).collect();
    let look = move |store: &Path| paths.into_iter().filter(|path| is_in(store, path)).collect();
    within(store, look).map_err(|late| Silent { place: store.clone(), late })
}

/// What a tree had when it was looked at.
#[derive(Debug, Default)]
struct Looked {
    found: HashMap<String, Hit>,
    late: Option<Late>,
}

impl Looked {
    fn at(tree: &Path, wish: &Wish) -> Self {
        let paths: Vec<String> = wish.entries.iter().map(|entry| entry.path.clone()).collect();
        let look = move |tree: &Path| {
            let tree = LocalTree::open(tree);
            paths.into_iter().filter_map(|path| Some((path.clone(), tree.find(&path)?))).collect()
        };
        match within(tree, look) {
            Ok(found) => Self { found, late: None },
            Err(late) => Self { late: Some(late), ..Self::default() },
        }
    }
}

impl TreeLook for Looked {
    fn find(&self, path: &str) -> Option<Hit> {
        self.found.get(path).cloned()
    }

    fn is_loose_link(&self, _: &str) -> bool {
        false
    }

    fn whole(&self) -> Whole {
        Whole::Far
    }

    fn problem(&self) -> Option<String> {
        None
    }

    fn is_unsure(&self) -> bool {
        self.late.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_serving::disks::WAIT_TIME_MAX;

    #[test]
    fn a_silent_tree_hides_what_may_be_in_it() {
        let (tree, slow) = (PathBuf::from("/t"), Late::Slow(WAIT_TIME_MAX));
        let silent = |content: &Content, number| origin_of(Some(content), Some((number, &tree, slow)));
        let first = Content::Trees(vec![0, 2]);
        assert_eq!(silent(&first, 1), Origin::Trees(vec![0, 2]));
        assert_eq!(silent(&Content::MountedOver, 0), Origin::MountedOver);
        for content in [&Content::Trees(vec![1]), &Content::Image, &Content::Nowhere] {
            let Origin::Unknown(why) = silent(content, 0) else { panic!("{content:?}") };
            assert!(why.starts_with("/t: the disk did not answer"), "{why}");
        }
    }
}
