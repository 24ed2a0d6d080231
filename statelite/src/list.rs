//! The list that `/init` fetches: what is special for this node, one entry a line, fields separated by tabs.
//!
//! ```text
//! file        <option>       <path>           [served]
//! tree        <server:/dir>  [mount options]  [served]
//! persistent  <server:/dir/node>  [mount options]
//! note        <text>
//! ```
//! and, from elsewhere, the lines about the local disk. `/init` reads it
//! (`initrd-init/src/statelite/list.rs`).
//!
//!
//! `served` marks what the NFS server lays over the root by itself ([`Duties`]); it counts only on a root
//! that shows [`crate::live::MARK`]. A note is for the node's console.
//!
//! Trees come in order of priority. Control characters, tab and `%` of a field are percent-encoded, so a
//! table cell can never make a line of its own. `/etc/mtab` is left out: on systems of today it is a link to
//! `/proc` in the image already.

use crate::check::check;
use crate::entry::files;
use crate::live::Duties;
use crate::location::{LocationError, store, trees};
use dawn_cluster::Snapshot;
use std::fmt::Write as _;

/// Why a node gets no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The entries contradict each other.
    #[error("litefile:{0}. Correct the table, `dawn litefile <node>` shows the list")]
    Files(String),
    /// A directory cannot be used.
    #[error("litetree: {0}")]
    Tree(LocationError),
    /// The store cannot be used.
    #[error("statelite.statemnt: {0}")]
    Store(LocationError),
}

/// Renders the list of a node whose server has taken over `duties`.
///
/// # Errors
/// The first thing that cannot work, for the node's console.
pub fn node_list(snapshot: &Snapshot, node: &str, duties: Duties) -> Result<String, ListError> {
    let files = files(snapshot, node);
    if let Some(problem) = check(&files).first() {
        return Err(ListError::Files(problem.to_string()));
    }
    let mut list = String::new();
    for file in files.iter().filter(|file| &*file.path != "/etc/mtab") {
        let option = file.option.as_ref().map_or("tmpfs", |option| option.as_str());
        let served = file.option.as_ref().is_ok_and(|option| duties.include(*option));
        line(&mut list, &["file", option, &file.path, if served { "served" } else { "" }]);
    }
    let served = if duties.trees { "served" } else { "" };
    for tree in trees(snapshot, node).map_err(ListError::Tree)? {
        line(&mut list, &["tree", &tree.location.to_string(), &tree.options, served]);
    }
    if let Some(location) = store(snapshot, node) {
        let location = location.map_err(ListError::Store)?;
        let options = snapshot.attr(node, "statelite.mntopts").unwrap_or_else(|| "".into());
        line(
            &mut list,
            &["persistent", &format!("{}/{node}", location.to_string().trim_end_matches('/')), &options],
        );
    }
    Ok(list)
}

/// Adds what the node's console shall say.
pub fn add_notes<'a>(list: &mut String, notes: impl IntoIterator<Item = &'a str>) {
    notes.into_iter().for_each(|note| line(list, &["note", note]));
}

fn line(list: &mut String, fields: &[&str]) {
    let used = fields.iter().rposition(|field| !field.is_empty()).map_or(0, |last| last + 1);
    for (index, field) in fields.iter().take(used).enumerate() {
        if index > 0 {
            list.push('\t');
        }
        list.push_str(&encode(field));
    }
    list.push('\n');
}

/// A field as it may stand in the list: control characters and `%` become percent and two digits for each
/// byte.
#[must_use]
pub fn encode(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    for c in field.chars() {
        if c.is_control() || c == '%' {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(c);
        }
    }
    out
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
            node_list(&snapshot, "cn1", Duties::default()).unwrap(),
            "file\tpersistent\t/var/lib/app/\ntree\t10.1.0.1:/state/cn1\tsoft\npersistent\t10.1.0.1:/data/cn1\n"
        );
        let duties = Duties { trees: true, store: true };
        assert_eq!(
            node_list(&snapshot, "cn1", duties).unwrap(),
            "file\tpersistent\t/var/lib/app/\tserved\ntree\t10.1.0.1:/state/cn1\tsoft\tserved\n\
             persistent\t10.1.0.1:/data/cn1\n"
        );
    }

    #[test]
    fn a_cell_cannot_make_a_line() {
        assert!(matches!(
            node_list(&Snapshot::from_rows(NODE.iter().copied()), "cn1", Duties::default()),
            Err(ListError::Files(_))
        ));
        let mut list = String::new();
        line(&mut list, &["file", "ro", "/a\n\t%"]);
        assert_eq!(list, "file\tro\t/a%0A%09%25\n");
    }
}
