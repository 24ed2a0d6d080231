//! The list that `/init` fetches ([`dawn_wire::list`]): what is special for a node.
//!
//! `served` marks what the NFS server puts over the root itself ([`Duties`]); it counts only on a root
//! that shows [`dawn_wire::image::LIVE`].
//!
//! `/etc/mtab` is left out: on systems of today it is a link to `/proc` in the image already.

use crate::check::{Problem, check};
use crate::entry::{LiteFile, files};
use crate::live::Duties;
use crate::location::{Location, LocationError, store, trees};
use dawn_cluster::{Advised, Snapshot, col};
use dawn_wire::list::{Entry, Mount};
use dawn_wire::{List, Remote};

/// Why a node gets no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The entries contradict each other.
    #[error("litefile:{0}")]
    Files(Problem),
    /// A directory cannot be used.
    #[error("litetree: {0}")]
    Tree(LocationError),
    /// The store cannot be used.
    #[error("statelite.statemnt: {0}")]
    Store(LocationError),
}

impl Advised for ListError {
    fn hint(&self) -> Option<String> {
        let hint = "correct the table; `dawn litefile NODE` shows the list";
        matches!(self, Self::Files(_)).then(|| hint.to_owned())
    }
}

/// The list of a node whose server has taken over `duties`, without notes and local disk.
///
/// # Errors
/// The first thing that cannot work, for the node's console.
pub fn node_list(snapshot: &Snapshot, node: &str, duties: Duties) -> Result<List, ListError> {
    let files = files(snapshot, node);
    if let Some(problem) = check(&files).into_iter().next() {
        return Err(ListError::Files(problem));
    }
    let mut list = List { entries: entries(&files, duties), ..List::default() };
    for tree in trees(snapshot, node).map_err(ListError::Tree)? {
        list.trees.push(mount(tree.location, &tree.options, duties.trees));
    }
    if let Some(location) = store(snapshot, node) {
        let mut location = location.map_err(ListError::Store)?;
        location.path = format!("{}/{node}", location.path.trim_end_matches('/'));
        let options = snapshot.attr(node, col::statelite::MNTOPTS).unwrap_or_else(|| "".into());
        list.persistent = Some(mount(location, &options, false));
    }
    Ok(list)
}

/// The entries of a list without problems ([`check`]), with what is among `duties` marked as served.
#[must_use]
pub fn entries(files: &[LiteFile], duties: Duties) -> Vec<Entry> {
    let mut list = List::default();
    for file in files.iter().filter(|file| &*file.path != "/etc/mtab") {
        let entry = file
            .option
            .as_ref()
            .ok()
            .and_then(|option| Entry::new(*option, &file.path, duties.include(*option)));
        entry.into_iter().for_each(|entry| list.add(entry));
    }
    list.entries
}

fn mount(location: Location, options: &str, served: bool) -> Mount {
    let remote = Remote { host: location.server, dir: location.path };
    Mount { remote, options: options.to_owned(), served }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &[(&str, &[(&str, &str)])] = &[
        ("nodelist", &[("node", "cn1")]),
        ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
        ("litefile", &[("image", "img"), ("file", "/etc/100%\nfile\tx"), ("options", "")]),
        ("litefile", &[("image", "img"), ("file", "/var/lib/app/"), ("options", "persistent")]),
        (
            "litetree",
            &[("priority", "1"), ("image", ""), ("directory", "10.1.0.1:/state/$node"), ("mntopts", "soft")],
        ),
    ];

    #[test]
    fn the_list_of_a_node() {
        let store: &[(&str, &str)] = &[("node", "cn1"), ("statemnt", "10.1.0.1:/data")];
        let snapshot = Snapshot::from_rows(
            NODE.iter()
                .copied()
                .filter(|(_, row)| !row.iter().any(|(_, v)| v.contains('\n')))
                .chain([("statelite", store)]),
        );
        assert_eq!(
            node_list(&snapshot, "cn1", Duties::default()).unwrap().to_string(),
            "file\tpersistent\t/var/lib/app/\ntree\t10.1.0.1:/state/cn1\tsoft\npersistent\t10.1.0.1:/data/cn1\n"
        );
        let duties = Duties { trees: true, store: true };
        assert_eq!(
            node_list(&snapshot, "cn1", duties).unwrap().to_string(),
            "file\tpersistent\t/var/lib/app/\tserved\ntree\t10.1.0.1:/state/cn1\tsoft\tserved\n\
             persistent\t10.1.0.1:/data/cn1\n"
        );
    }

    #[test]
    fn a_list_with_a_contradiction_is_refused() {
        assert!(matches!(
            node_list(&Snapshot::from_rows(NODE.iter().copied()), "cn1", Duties::default()),
            Err(ListError::Files(_))
        ));
    }
}
