//! Names that lead nowhere, reported by the command that writes them: the row is stored and has no effect.
//!
//! Images that statelite rows are for, keys of `site`, files that building an image reads. The named object
//! may be made later, so none of this is refused.

use crate::run::postscripts::SCRIPTS;
use crate::synclists;
use dawn_bootd::output::{Done, Out};
use dawn_cluster::{Col, RowChange, RowChangeKind, Snapshot, Text, col, nearest_of, site_key, site_keys};
use dawn_plan::local_path;
use dawn_serving::disks::within;
use std::collections::BTreeSet;
use std::path::Path;

/// Names reported after one change at most.
const TOLD_MAX: usize = 10;
/// Tables whose rows are for one image, a group of images (`litefile`), or all.
const OF_IMAGES: [&str; 3] = ["litefile", "litetree", "statelite"];
/// Columns that hold comma lists of files on this machine. The words after the first blank of a script are
/// its arguments.
const FILES: [(&str, &str); 11] = [
    ("linuximage", "pkglist"),
    ("linuximage", "otherpkglist"),
    ("linuximage", "exlist"),
    ("linuximage", "template"),
    ("linuximage", "postinstall"),
    ("linuximage", "partitionfile"),
    ("linuximage", "pkgdir"),
    ("linuximage", "otherpkgdir"),
    ("linuximage", "kerneldir"),
    ("linuximage", "driverupdatesrc"),
    ("litetree", "directory"),
];

/// What `nodetype.provmethod` held before it named images.
const METHODS: [&str; 4] = ["install", "netboot", "statelite", "sysclone"];

/// Warns of names in the changed cells that lead nowhere.
pub fn warn(rows: &[RowChange], after: &Snapshot, out: &mut Out<'_>) -> Done {
    let mut texts = BTreeSet::new();
    for row in rows.iter().filter(|row| row.kind != RowChangeKind::Deleted) {
        if row.table.name() == "site" && row.kind == RowChangeKind::Inserted {
            texts.extend(row.key.first().and_then(|key| unknown_key(key)));
        }
        for (col, _, value) in &row.cells {
            let Some(value) = value else { continue };
            texts.extend(unknown_image(row.table.name(), col.name(), value, after));
            texts.extend(missing_files(row.table.name(), col.name(), value));
            texts.extend(unknown_provmethod(*col, value, after));
            texts.extend(missing_scripts(*col, value, after));
            texts.extend(unusable_lists(row.table.name(), col.name(), value));
        }
    }
    out.warnings(texts, TOLD_MAX, |more| format!("and {more} more names that lead nowhere").into())
}

fn meant(near: Option<&str>) -> String {
    near.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn unknown_key(key: &str) -> Option<String> {
    if site_key(key).is_some() {
        return None;
    }
    let near = nearest_of(key, site_keys().iter().map(|known| known.name));
    Some(format!(
        "site: nothing here reads the key {key} (`tabdump -d site` lists the known ones){}",
        meant(near)
    ))
}

fn unknown_image(table: &str, column: &str, value: &str, after: &Snapshot) -> Option<String> {
    if !OF_IMAGES.contains(&table) || column != "image" || matches!(value, "" | "ALL") {
        return None;
    }
    let names: Vec<Text> = after.osimage_names().cloned().collect();
    let is_group = |name: &Text| {
        let groups = after.osimage(name).and_then(|image| image.get(col::osimage::GROUPS).cloned());
        table == "litefile" && groups.as_deref() == Some(value)
    };
    if names.iter().any(|name| **name == *value || is_group(name)) {
        return None;
    }
    let near = nearest_of(value, names.iter().map(|name| &**name));
    Some(format!("{table}: the row has no effect, as there is no image {value}{}", meant(near)))
}

/// Synclists are read: nodes would be refused their files later.
fn unusable_lists(table: &str, column: &str, value: &str) -> Vec<String> {
    if (table, column) != ("osimage", "synclists") {
        return Vec::new();
    }
    let lists = value.split(',').map(str::trim).filter(|list| list.starts_with('/'));
    lists
        .filter_map(|list| Some(format!("osimage.synclists: {}", synclists::problem(Path::new(list))?)))
        .collect()
}

/// The image that a node is to boot; the old words for a method name none.
fn unknown_provmethod(col: Col, value: &str, after: &Snapshot) -> Option<String> {
    let is_name = !value.is_empty() && !value.starts_with('|') && !METHODS.contains(&value);
    if col != col::nodetype::PROVMETHOD || !is_name || after.osimage(value).is_some() {
        return None;
    }
    let near = nearest_of(value, after.osimage_names().map(|name| &**name));
    Some(format!("nodetype.provmethod: there is no image {value}{}", meant(near)))
}

/// Scripts that no node would find.
fn missing_scripts(col: Col, value: &str, after: &Snapshot) -> Vec<String> {
    if ![col::postscripts::POSTSCRIPTS, col::postscripts::POSTBOOTSCRIPTS].contains(&col) {
        return Vec::new();
    }
    let (directory, column) = (local_path(after, SCRIPTS), col.name());
    let missing = absent_scripts(&directory, value);
    missing.iter().map(|name| format!("postscripts.{column}: there is no script {SCRIPTS}/{name}")).collect()
}

/// The scripts of a list that the directory does not have. A directory that does not exist, or whose disk
/// does not answer, gives no information.
fn absent_scripts(directory: &Path, list: &str) -> Vec<String> {
    let names = list.split(',').filter_map(|script| script.split_whitespace().next());
    let names: Vec<String> = names.filter(|name| is_plain(name)).map(str::to_owned).collect();
    let absent = move |directory: &Path| match directory.is_dir() {
        true => names.into_iter().filter(|name| !directory.join(name).exists()).collect(),
        false => Vec::new(),
    };
    within(directory, absent).unwrap_or_default()
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn missing_files(table: &str, column: &str, value: &str) -> Vec<String> {
    if !FILES.contains(&(table, column)) {
        return Vec::new();
    }
    let files = value.split(',').filter_map(|file| file.split_whitespace().next());
    // A variable is a different path on each node.
    let files = files.filter(|file| !file.contains('$'));
    let problem = |file: &str| match within(Path::new(file), Path::exists) {
        Ok(true) => None,
        Ok(false) => Some(format!("{table}.{column}: {file} does not exist on this machine")),
        Err(late) => Some(format!("{table}.{column}: {file}: {late}")),
    };
    files.filter(|file| file.starts_with('/')).filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::absent_scripts;

    #[test]
    fn scripts_that_no_node_would_find() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("syslog"), "").unwrap();
        assert_eq!(absent_scripts(dir.path(), "syslog -v,setup x, mytool"), ["setup", "mytool"]);
        assert!(absent_scripts(dir.path(), "syslog,|x|y|").is_empty());
        assert!(absent_scripts(&dir.path().join("none"), "setup").is_empty());
    }
}
