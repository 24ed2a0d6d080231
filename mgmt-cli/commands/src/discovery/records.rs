//! Rows of `discoverydata`, as the commands read them.

use dawn_bootd::output::Stop;
use dawn_cluster::{Row, Snapshot, col, schema};

/// Columns in the order in which `nodediscoverls -l` shows them.
pub(super) const COLUMNS: [&str; 20] = [
    "node",
    "method",
    "discoverytime",
    "arch",
    "cpucount",
    "cputype",
    "memory",
    "mtm",
    "serial",
    "nicdriver",
    "nicipv4",
    "nichwaddr",
    "nicpci",
    "nicloc",
    "niconboard",
    "nicfirm",
    "switchname",
    "switchaddr",
    "switchdesc",
    "switchport",
];

/// Words of `-t`, and the method that each means.
const TYPES: [(&str, &str); 11] = [
    ("seq", "sequential"),
    ("profile", "profile"),
    ("switch", "switch"),
    ("blade", "blade"),
    ("manual", "manual"),
    ("mtms", "mtms"),
    ("undef", "undef"),
    ("zvm", "zvm"),
    ("mac", "mac"),
    ("uuid", "uuid"),
    ("rule", "rule"),
];

/// The method of a word of `-t`; `None` for `all`.
pub(super) fn method_of(word: &str) -> Result<Option<&'static str>, Stop> {
    if word == "all" {
        return Ok(None);
    }
    let found = TYPES.iter().find(|(known, _)| *known == word).map(|(_, method)| Some(*method));
    found.ok_or_else(|| {
        let known: Vec<&str> = TYPES.iter().map(|(word, _)| *word).chain(["all"]).collect();
        Stop::usage(format!("Invalid type '{word}'. The types are {}.", known.join(", ")))
    })
}

/// All rows, by UUID.
pub(super) fn all(snapshot: &Snapshot) -> Vec<Row> {
    let key = col::discoverydata::UUID;
    let mut rows: Vec<Row> = snapshot.rows("discoverydata").cloned().collect();
    rows.sort_by(|one, other| one.get(key).cmp(&other.get(key)));
    rows
}

/// A cell, empty if it is not set.
pub(super) fn cell(row: &Row, column: &str) -> String {
    let col = schema().find("discoverydata").and_then(|table| table.col(column));
    col.and_then(|col| row.get(col)).map(ToString::to_string).unwrap_or_default()
}

/// The same, with a word for an empty one.
pub(super) fn cell_or(row: &Row, column: &str, other: &str) -> String {
    let text = cell(row, column);
    if text.is_empty() { other.to_owned() } else { text }
}
