//! Where files come from: `litetree.directory` and `statelite.statemnt`, `server:/path` with variables.
//!
//! `$node` is the node's name, `$table.column` that attribute of the node, `$site.key` a site value. What
//! cannot be resolved reads `UNDEFINED`, so that the place where it is used says what is missing. The same
//! holds for a secret: the directory is in lists that any process of the node may ask for.

use dawn_cluster::secrets::{Sensitivity, is_secret, of_site_key};
use dawn_cluster::{Col, Row, Snapshot, Text, col};
use dawn_wire::remote::squeeze;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

/// The text for a variable without a value.
const UNDEFINED: &str = "UNDEFINED";

/// A directory on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Name or address; empty for the server that the node boots from.
    pub server: String,
    /// Absolute path.
    pub path: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.is_empty() {
            f.write_str(&self.path)
        } else {
            write!(f, "{}:{}", self.server, self.path)
        }
    }
}

/// A directory that is searched for a node's files.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// `litetree.priority`; the lowest is searched first.
    pub priority: f64,
    /// The priority as it is written in the table.
    pub label: String,
    /// The directory.
    pub location: Location,
    /// `litetree.mntopts`, possibly empty.
    pub options: String,
}

/// Everything a node mounts besides its root.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stores {
    /// The node's own directory in its persistent store.
    pub persistent: Option<Location>,
    /// Its trees, in order of priority.
    pub trees: Vec<Location>,
}

/// Why a directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// `#CMD=…#` would run a program of a table's choice.
    #[error("'{0}' contains #CMD=…#, which is not carried out: use $table.column instead")]
    Command(String),
    /// No absolute path.
    #[error("'{0}' is not of the form server:/directory or /directory")]
    NoPath(String),
    /// The value of a variable is not a single name.
    #[error("'{0}': the value of {1} has a '/' or is '.', and a variable must be one name")]
    NoName(String, String),
    /// A blank or control character, or `..`.
    #[error("'{0}' contains a blank, a control character or '..'")]
    Unsafe(String),
}

/// Reads and expands a cell for a node.
///
/// # Errors
/// [`LocationError`].
pub(crate) fn expand(snapshot: &Snapshot, node: &str, cell: &str) -> Result<Location, LocationError> {
    if cell.contains("#CMD") {
        return Err(LocationError::Command(cell.to_owned()));
    }
    let (server, path) = match cell.split_once(':') {
        Some((server, path)) => (server, path),
        None => ("", cell),
    };
    let expand_parts = |text: &str| {
        let parts: Vec<String> = text.split('/').map(|part| variables(snapshot, node, part)).collect();
        parts.join("/")
    };
    let server = expand_parts(server);
    let path = expand_parts(path);
    if !path.starts_with('/') {
        return Err(LocationError::NoPath(cell.to_owned()));
    }
    let path = squeeze(&path);
    if let Some(part) = cell_parts(cell).find(|part| part.contains('$') && is_no_name(snapshot, node, part)) {
        return Err(LocationError::NoName(cell.to_owned(), part.to_owned()));
    }
    let unsafe_text = format!("{server}{path}").chars().any(|c| c.is_whitespace() || c.is_control());
    if unsafe_text || path.split('/').any(|part| part == "..") {
        return Err(LocationError::Unsafe(cell.to_owned()));
    }
    Ok(Location { server, path })
}

/// Expands the `$` words of one path component. Text before the first `$` stays; several words are
/// joined with a dot.
fn variables(snapshot: &Snapshot, node: &str, part: &str) -> String {
    let Some((before, text)) = part.split_once('$') else { return part.to_owned() };
    let values: Vec<String> = text.split('$').map(|word| variable(snapshot, node, word)).collect();
    format!("{before}{}", values.join("."))
}

fn cell_parts(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(['/', ':'])
}

/// A part with variables of the node leads to another directory than the one that the row names. Settings of
/// `site` are the administrators' own and may be paths.
fn is_no_name(snapshot: &Snapshot, node: &str, part: &str) -> bool {
    let of_node = part.split('$').skip(1).filter(|word| !word.starts_with("site."));
    let mut values = of_node.map(|word| variable(snapshot, node, word));
    values.any(|value| value.contains('/')) || variables(snapshot, node, part) == "."
}

fn variable(snapshot: &Snapshot, node: &str, word: &str) -> String {
    if word == "node" {
        return node.to_owned();
    }
    let value = match word.split_once('.') {
        Some(("site", key)) if of_site_key(key) == Sensitivity::Secret => None,
        Some(("site", key)) => snapshot.site(key),
        Some(_) => {
            let column = dawn_cluster::schema().find_col(word).filter(|column| !is_secret(*column));
            column.and_then(|column| snapshot.attr(node, column))
        }
        None => None,
    };
    value.filter(|value| !value.is_empty()).map_or_else(|| UNDEFINED.to_owned(), |value| value.to_string())
}

/// The keys of `site` that a cell's variables name.
pub fn site_keys_of(cell: &str) -> impl Iterator<Item = &str> {
    words_of(cell).filter_map(|word| word.strip_prefix("site."))
}

/// The columns (`table.column`) that a cell's variables name.
pub fn columns_of(cell: &str) -> impl Iterator<Item = &str> {
    words_of(cell).filter(|word| word.contains('.') && !word.starts_with("site."))
}

fn words_of(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(['/', ':']).flat_map(|part| part.split('$').skip(1))
}

/// The store that `statelite.statemnt` names for a node, as text for the kernel command line; `None` without
/// a usable row.
#[must_use]
pub fn persistent_store(snapshot: &Snapshot, node: &str) -> Option<String> {
    store(snapshot, node).and_then(Result::ok).map(|location| location.to_string())
}

/// The store that `statelite.statemnt` names for a node. The node's files are in a directory of its name
/// below.
///
/// # Errors
/// Inside the option: the cell cannot be used.
#[must_use]
pub fn store(snapshot: &Snapshot, node: &str) -> Option<Result<Location, LocationError>> {
    let cell = snapshot.attr(node, col::statelite::STATEMNT).filter(|cell| !cell.trim().is_empty())?;
    Some(expand(snapshot, node, cell.trim()))
}

/// The directories that `statelite.statemnt` names on any server, unexpanded: a component with a `$` matches
/// any name. Rows of a pattern (`|…|…|`) are left out, because their text is known for a node only.
#[must_use]
pub fn store_patterns(snapshot: &Snapshot) -> BTreeSet<String> {
    patterns(snapshot, col::statelite::STATEMNT)
}

/// The directories that `litetree.directory` names on any server, in the same form.
#[must_use]
pub fn tree_patterns(snapshot: &Snapshot) -> BTreeSet<String> {
    patterns(snapshot, COLUMNS.directory)
}

fn patterns(snapshot: &Snapshot, column: Col) -> BTreeSet<String> {
    let cells = snapshot.enabled_rows(column.table).filter_map(|row| row.get(column));
    let path = |cell: &str| squeeze(cell.split_once(':').map_or(cell, |(_, path)| path).trim());
    cells.filter(|cell| !cell.starts_with('|')).map(|cell| path(cell)).filter(|path| path != "/").collect()
}

struct Columns {
    priority: Col,
    image: Col,
    directory: Col,
    options: Col,
}

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns {
    priority: col::litetree::PRIORITY,
    image: col::litetree::IMAGE,
    directory: col::litetree::DIRECTORY,
    options: col::litetree::MNTOPTS,
});

/// The trees of a node, lowest priority number first. Rows apply by image as those of `litefile`; a later
/// row of the same priority replaces the earlier.
///
/// # Errors
/// The first cell that cannot be used.
pub fn trees(snapshot: &Snapshot, node: &str) -> Result<Vec<Tree>, LocationError> {
    each_tree(snapshot, node).into_iter().collect()
}

/// The trees of a node like [`trees`], each with its own error.
#[must_use]
pub fn each_tree(snapshot: &Snapshot, node: &str) -> Vec<Result<Tree, LocationError>> {
    let image = crate::image_of(snapshot, node).unwrap_or_else(|| "".into());
    rows_of_image(snapshot, &image)
        .into_iter()
        .filter_map(|(priority, row)| tree(snapshot, node, priority, row))
        .collect()
}

/// Priority and directory of the `litetree` rows of an image as they are written, in order of priority.
#[must_use]
pub fn trees_of_image(snapshot: &Snapshot, image: &str) -> Vec<(String, String)> {
    let cell = |row: &Row, column| row.get(column).map_or_else(String::new, Text::to_string);
    rows_of_image(snapshot, image)
        .into_iter()
        .map(|(_, row)| (cell(row, COLUMNS.priority), cell(row, COLUMNS.directory)))
        .filter(|(_, directory)| !directory.is_empty())
        .collect()
}

fn rows_of_image<'a>(snapshot: &'a Snapshot, image: &str) -> Vec<(f64, &'a Row)> {
    let group = snapshot.osimage(image).and_then(|image| image.get(col::osimage::GROUPS).cloned());
    let mut chosen: Vec<(f64, &Row)> = Vec::new();
    for wanted in [group.as_deref(), Some(""), Some("ALL"), Some(image)].into_iter().flatten() {
        for row in snapshot.enabled_rows(COLUMNS.image.table) {
            if row.get(COLUMNS.image).map_or("", |text| text) == wanted {
                let priority = priority_of(row);
                chosen.retain(|(other, _)| *other != priority);
                chosen.push((priority, row));
            }
        }
    }
    chosen.sort_by(|a, b| a.0.total_cmp(&b.0));
    chosen
}

fn priority_of(row: &Row) -> f64 {
    row.get(COLUMNS.priority).and_then(|text| text.trim().parse().ok()).unwrap_or(f64::MAX)
}

fn tree(snapshot: &Snapshot, node: &str, priority: f64, row: &Row) -> Option<Result<Tree, LocationError>> {
    let cell = row.get(COLUMNS.directory)?;
    let options = row.get(COLUMNS.options).map_or_else(String::new, Text::to_string);
    let label = row.get(COLUMNS.priority).map_or_else(String::new, Text::to_string);
    Some(expand(snapshot, node, cell.trim()).map(|location| Tree { priority, label, location, options }))
}

/// What a node mounts besides its root; cells that cannot be used are left out.
#[must_use]
pub fn stores(snapshot: &Snapshot, node: &str) -> Stores {
    let own =
        |base: Location| Location { path: format!("{}/{node}", base.path.trim_end_matches('/')), ..base };
    Stores {
        persistent: store(snapshot, node).and_then(Result::ok).map(own),
        trees: each_tree(snapshot, node).into_iter().flatten().map(|tree| tree.location).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", &[("node", "cn1"), ("groups", "all")] as &[(&str, &str)]),
            ("noderes", &[("node", "all"), ("nfsserver", "10.1.0.1")]),
            ("nodetype", &[("node", "all"), ("os", "rhels8"), ("arch", "x86_64"), ("provmethod", "img")]),
            ("ipmi", &[("node", "cn1"), ("bmc", "10.2.0.1"), ("password", "hush")]),
            ("site", &[("key", "master"), ("value", "mn1")]),
            ("site", &[("key", "dhcpomapikey"), ("value", "hush")]),
            ("litetree", &[("priority", "2.0"), ("image", ""), ("directory", "/state/all")]),
            (
                "litetree",
                &[("priority", "1"), ("image", "img"), ("directory", "$noderes.nfsserver:/state/$node")],
            ),
            ("litetree", &[("priority", "1"), ("image", ""), ("directory", "/replaced")]),
            ("statelite", &[("node", "all"), ("statemnt", "$noderes.nfsserver:/data//store/")]),
        ])
    }

    #[test]
    fn variables_are_expanded() {
        for (cell, expected) in [
            ("10.1.0.1:/state/$node", "10.1.0.1:/state/cn1"),
            ("$noderes.nfsserver:/a/$node/b", "10.1.0.1:/a/cn1/b"),
            ("$site.master:/a//b", "mn1:/a/b"),
            ("/a/$nodetype.os$nodetype.arch", "/a/rhels8.x86_64"),
            ("/a/x-$node", "/a/x-cn1"),
            ("/a/$noderes.monserver", "/a/UNDEFINED"),
            ("/a/$ipmi.bmc/$ipmi.password", "/a/10.2.0.1/UNDEFINED"),
            ("/a/$site.dhcpomapikey", "/a/UNDEFINED"),
            ("/a/$bogus.column/b", "/a/UNDEFINED/b"),
            ("/a/$", "/a/UNDEFINED"),
        ] {
            let location = expand(&snapshot(), "cn1", cell).unwrap();
            assert_eq!(location.to_string(), expected, "{cell}");
        }
    }

    /// `nodetype.profile` is the node's owner's: it is one directory below the one of the row.
    #[test]
    fn a_variable_is_one_name() {
        for (profile, expected) in [
            ("web", Some("/trees/web")),
            (".", None),
            ("..", None),
            ("a/b", None),
            ("/", None),
            ("", Some("/trees/UNDEFINED")),
        ] {
            let row = [("node", "n"), ("profile", profile)];
            let installdir = [("key", "installdir"), ("value", "/install")];
            let snapshot = Snapshot::from_rows([("nodetype", &row[..]), ("site", &installdir[..])]);
            let found = expand(&snapshot, "n", "/trees/$nodetype.profile").ok();
            assert_eq!(found.map(|found| found.path).as_deref(), expected, "{profile:?}");
            let path = expand(&snapshot, "n", "$site.installdir/x").map(|found| found.path);
            assert_eq!(path.as_deref(), Ok("/install/x"));
        }
    }

    #[test]
    fn dangerous_cells_are_refused() {
        for cell in
            ["srv:/a/#CMD=rm -rf /#", "relative", "srv:relative", "", "srv:/a/../b", "srv:/a b", "srv:/a\nb"]
        {
            assert!(expand(&snapshot(), "cn1", cell).is_err(), "{cell:?}");
        }
    }

    #[test]
    fn patterns_of_stores() {
        let row = |cell| ("statelite", vec![("node", "n"), ("statemnt", cell)]);
        for (cell, expected) in [
            ("srv:/install//store/", vec!["/install/store"]),
            ("$noderes.nfsserver:/a/$node", vec!["/a/$node"]),
            ("|n|/a/$1|", vec![]),
            ("", vec![]),
        ] {
            let (table, cells) = row(cell);
            let snapshot = Snapshot::from_rows([(table, cells.as_slice())]);
            assert_eq!(store_patterns(&snapshot).into_iter().collect::<Vec<_>>(), expected, "{cell}");
        }
    }

    #[test]
    fn trees_by_priority_and_the_nodes_own_store() {
        let stores = stores(&snapshot(), "cn1");
        let trees: Vec<String> = stores.trees.iter().map(ToString::to_string).collect();
        assert_eq!(trees, ["10.1.0.1:/state/cn1", "/state/all"]);
        assert_eq!(stores.persistent.unwrap().to_string(), "10.1.0.1:/data/store/cn1");
        assert_eq!(persistent_store(&snapshot(), "cn1").as_deref(), Some("10.1.0.1:/data/store"));
    }
}
