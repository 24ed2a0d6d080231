//! Contradictions in the tables of a node although every single row is valid.
//!
//! For the command that makes the contradiction and for `explain`: none of this stops a boot; the warning
//! says what the node will do instead of what was probably meant.

use dawn_cluster::{Col, Snapshot, col};
use std::sync::LazyLock;

use crate::check::{Problem, below_files, check};
use crate::entry::{files, image_of};
use crate::location::{LocationError, store, trees};
use dawn_wire::LiteOption;

/// One contradiction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Entries that contradict each other.
    #[error("litefile: {}", sentence(.0))]
    Files(#[from] Problem),
    /// A file has entries below it.
    #[error(
        "litefile: {parent} is written as a file, and {child} is below it: a directory has a / at the end"
    )]
    BelowFile {
        /// The entry that would be a directory.
        parent: String,
        /// The entry below.
        child: String,
    },
    /// A directory of `litetree` cannot be used.
    #[error("litetree: {0}")]
    Tree(LocationError),
    /// `statelite.statemnt` cannot be used.
    #[error("statelite.statemnt: {0}")]
    Store(LocationError),
    /// A variable has no value for the node.
    #[error("{table}: {location} has a variable without a value for {node}")]
    Undefined {
        /// The table.
        table: &'static str,
        /// The directory with the word for the missing value.
        location: String,
        /// The node.
        node: String,
    },
    /// Several rows name a store.
    #[error("statelite: {node} has a store by {}; that of {first} counts", .all.join(" and by "), first = .all.first().map_or("", |name| name))]
    TwoStores {
        /// The node.
        node: String,
        /// Node and groups whose rows name one, the one that counts first.
        all: Vec<String>,
    },
    /// Files are to survive, but there is no place to keep them.
    #[error("{path} is persistent, but statelite.statemnt names no store for {node}")]
    NoStore {
        /// The entry.
        path: String,
        /// The node.
        node: String,
    },
    /// A file is to be on a disk that no layout sets up.
    #[error("{path} is on the local disk, but linuximage.partitionfile of {image} is not set")]
    NoDisk {
        /// The entry.
        path: String,
        /// The image.
        image: String,
    },
}

/// The text of a problem, with the entry where it names the directory above only.
fn sentence(problem: &Problem) -> String {
    let text = problem.to_string();
    match problem {
        Problem::ChildrenUnderReadOnly { child, .. } => {
            format!("{}, because {child} is below it", text.trim())
        }
        _ => text.trim().to_owned(),
    }
}

struct Columns {
    store: Col,
    partition: Col,
    image: Col,
}

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns {
    store: col::statelite::STATEMNT,
    partition: col::linuximage::PARTITIONFILE,
    image: col::linuximage::IMAGENAME,
});

/// Everything that contradicts itself for a node.
#[must_use]
pub fn conflicts(snapshot: &Snapshot, node: &str) -> Vec<Conflict> {
    let files = files(snapshot, node);
    let mut all: Vec<Conflict> = check(&files).into_iter().map(Conflict::Files).collect();
    all.extend(below_files(&files).map(|(parent, child)| Conflict::BelowFile {
        parent: parent.path.to_string(),
        child: child.path.to_string(),
    }));
    all.extend(directories(snapshot, node));
    all.extend(two_stores(snapshot, node));
    let has_store = store(snapshot, node).is_some();
    let disk = image_of(snapshot, node).filter(|image| !has_disk(snapshot, image));
    for file in files {
        let path = file.path.to_string();
        match (&file.option, &disk) {
            (Ok(option), _) if option.is_persistent() && !has_store => {
                all.push(Conflict::NoStore { path, node: node.to_owned() });
            }
            (Ok(LiteOption::Localdisk), Some(image)) => {
                all.push(Conflict::NoDisk { path, image: image.to_string() });
            }
            _ => {}
        }
    }
    all
}

fn directories(snapshot: &Snapshot, node: &str) -> Vec<Conflict> {
    let mut all = Vec::new();
    let mut undefined = |table, location: String| {
        if location.contains("UNDEFINED") {
            all.push(Conflict::Undefined { table, location, node: node.to_owned() });
        }
    };
    let trees = trees(snapshot, node);
    trees.iter().flatten().for_each(|tree| undefined("litetree", tree.location.to_string()));
    let store = store(snapshot, node).transpose();
    store.iter().flatten().for_each(|store| undefined("statelite", store.to_string()));
    all.extend(trees.err().map(Conflict::Tree));
    all.extend(store.err().map(Conflict::Store));
    all
}

fn two_stores(snapshot: &Snapshot, node: &str) -> Option<Conflict> {
    let names_one = |name: &str| {
        snapshot
            .own_rows(COLUMNS.store.table, name)
            .any(|row| row.get(COLUMNS.store).is_some_and(|cell| !cell.trim().is_empty()))
    };
    let groups = snapshot.groups_of(node);
    let all: Vec<String> = std::iter::once(node.to_owned())
        .chain(groups.iter().map(ToString::to_string))
        .filter(|name| names_one(name))
        .collect();
    (all.len() > 1).then(|| Conflict::TwoStores { node: node.to_owned(), all })
}

fn has_disk(snapshot: &Snapshot, image: &str) -> bool {
    let row = snapshot.find_row(&[(COLUMNS.image, image)]);
    row.is_some_and(|row| row.get(COLUMNS.partition).is_some_and(|cell| !cell.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

    fn found(rows: Rows<'_>) -> Vec<String> {
        let common: Rows<'_> = &[
            ("nodelist", &[("node", "cn1"), ("groups", "rack1,all")]),
            ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
            ("osimage", &[("imagename", "img")]),
        ];
        let snapshot = Snapshot::from_rows(common.iter().chain(rows).copied());
        conflicts(&snapshot, "cn1").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_contradiction_has_its_sentence() {
        let persistent: &[(&str, &str)] = &[("image", "img"), ("file", "/var/a"), ("options", "persistent")];
        let local: &[(&str, &str)] = &[("image", "img"), ("file", "/scratch/"), ("options", "localdisk")];
        let table: &[(Rows<'_>, &[&str])] = &[
            (&[], &[]),
            (
                &[
                    ("litefile", &[("image", "img"), ("file", "/opt"), ("options", "ro")]),
                    ("litefile", &[("image", "img"), ("file", "/opt/rel"), ("options", "tmpfs")]),
                    ("litefile", &[("image", "img"), ("file", "/optional"), ("options", "tmpfs")]),
                ],
                &[
                    "litefile: /opt is written as a file, and /opt/rel is below it: a directory has a / at the end",
                ],
            ),
            (
                &[("litefile", persistent)],
                &["/var/a is persistent, but statelite.statemnt names no store for cn1"],
            ),
            (&[("litefile", persistent), ("statelite", &[("node", "all"), ("statemnt", "s:/x")])], &[]),
            (
                &[
                    ("statelite", &[("node", "all"), ("statemnt", "s:/x")]),
                    ("statelite", &[("node", "rack1"), ("statemnt", "s:/y")]),
                ],
                &["statelite: cn1 has a store by rack1 and by all; that of rack1 counts"],
            ),
            (
                &[("litefile", local)],
                &["/scratch/ is on the local disk, but linuximage.partitionfile of img is not set"],
            ),
            (
                &[
                    ("litefile", local),
                    ("linuximage", &[("imagename", "img"), ("partitionfile", "/install/disk")]),
                ],
                &[],
            ),
            (
                &[("litetree", &[("priority", "1"), ("image", ""), ("directory", "$noderes.nfsserver:/a")])],
                &["litetree: UNDEFINED:/a has a variable without a value for cn1"],
            ),
            (
                &[("statelite", &[("node", "cn1"), ("statemnt", "#CMD=id#:/x")])],
                &[
                    "statelite.statemnt: '#CMD=id#:/x' contains #CMD=…#, which is not carried out: use $table.column instead",
                ],
            ),
        ];
        for (rows, expected) in table {
            assert_eq!(found(rows), *expected, "{rows:?}");
        }
    }
}
