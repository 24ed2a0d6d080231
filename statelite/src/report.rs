//! The lines of `litefile`, `ilitefile`, `litetree` and `lslite`.
//!
//! Nodes read the first three, too, and cut them apart at blanks and at the first colon: the shape of a line is a
//! contract. A cell that cannot be used is an error line for the caller to print, never a line among the others.

use dawn_cluster::{Col, Snapshot};

use crate::entry::{LiteFile, files, files_of_image, image_of};
use crate::location::{LocationError, trees, trees_of_image};

/// Entries of `lslite` stand this far to the right.
const INDENT: &str = "        ";

/// `cn1: tmpfs         /etc/hosts`, sorted by path.
#[must_use]
pub fn litefile(snapshot: &Snapshot, node: &str) -> Vec<String> {
    named(node, &files(snapshot, node))
}

/// As [`litefile`], with the image's name in front.
#[must_use]
pub fn ilitefile(snapshot: &Snapshot, image: &str) -> Vec<String> {
    named(image, &files_of_image(snapshot, image))
}

fn named(name: &str, files: &[LiteFile]) -> Vec<String> {
    files.iter().map(|file| format!("{name}: {}", entry(file))).collect()
}

fn entry(file: &LiteFile) -> String {
    format!("{:<13} {}", &*file.text, file.path)
}

/// `cn1: 10.1.0.1:/install/state`, with ` :<options>` behind it, by priority.
///
/// # Errors
/// The first directory that cannot be used.
pub fn litetree(snapshot: &Snapshot, node: &str) -> Result<Vec<String>, LocationError> {
    let line = |tree: crate::Tree| match tree.options.is_empty() {
        true => format!("{node}: {}", tree.location),
        false => format!("{node}: {} :{}", tree.location, tree.options),
    };
    Ok(trees(snapshot, node)?.into_iter().map(line).collect())
}

/// All that is special for a node.
///
/// # Errors
/// The first directory that cannot be used.
pub fn lslite_node(snapshot: &Snapshot, node: &str) -> Result<Vec<String>, LocationError> {
    let mut lines = vec![format!(">>>Node: {node}"), String::new()];
    if let Some(image) = image_of(snapshot, node) {
        lines.extend([format!("Osimage: {image}"), String::new()]);
    }
    let store = crate::store(snapshot, node).transpose()?.map(|store| store.to_string());
    section(&mut lines, "Persistent directory (statelite table):", store);
    section(&mut lines, "Litefiles (litefile table):", files(snapshot, node).iter().map(entry));
    let trees = trees(snapshot, node)?.into_iter().map(|tree| format!("{}, {}", tree.label, tree.location));
    section(&mut lines, "Litetree path (litetree table):", trees);
    Ok(lines)
}

/// All that is special for an image; directories as they are written in the table.
#[must_use]
pub fn lslite_image(snapshot: &Snapshot, image: &str) -> Vec<String> {
    let mut lines = vec![format!("Osimage: {image}"), String::new()];
    let column = (Col::known("statelite.image"), Col::known("statelite.statemnt"));
    let stores = snapshot
        .enabled_rows(column.0.table)
        .filter(|row| row.get(column.0).is_some_and(|of| &**of == image))
        .filter_map(|row| row.get(column.1).map(ToString::to_string))
        .collect::<Vec<_>>();
    section(&mut lines, "Persistent directory (statelite table):", stores);
    section(&mut lines, "Litefiles (litefile table):", files_of_image(snapshot, image).iter().map(entry));
    let trees = trees_of_image(snapshot, image);
    section(
        &mut lines,
        "Litetree path (litetree table):",
        trees.into_iter().map(|(priority, directory)| format!("{priority}, {directory}")),
    );
    lines
}

fn section(lines: &mut Vec<String>, heading: &str, entries: impl IntoIterator<Item = String>) {
    lines.push(heading.to_owned());
    lines.extend(entries.into_iter().map(|entry| format!("{INDENT}{entry}")));
    lines.push(String::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
            ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
            ("litefile", &[("image", "img"), ("file", "/etc/hosts"), ("options", "tmpfs")]),
            ("litefile", &[("image", "img"), ("file", "/var/lib/app/"), ("options", "link,persistent")]),
            ("litetree", &[("priority", "1.0"), ("image", ""), ("directory", "10.1.0.1:/install/state")]),
            (
                "litetree",
                &[("priority", "2"), ("image", ""), ("directory", "10.1.0.1:/a/$node"), ("mntopts", "soft")],
            ),
            ("statelite", &[("node", "cn1"), ("statemnt", "10.1.0.1:/nodedata")]),
        ])
    }

    #[test]
    fn lines_of_the_small_commands() {
        let expected =
            ["tmpfs         /etc/hosts", "link          /etc/mtab", "link,persistent /var/lib/app/"];
        assert_eq!(litefile(&snapshot(), "cn1"), expected.map(|line| format!("cn1: {line}")));
        assert_eq!(ilitefile(&snapshot(), "img"), expected.map(|line| format!("img: {line}")));
        assert_eq!(
            litetree(&snapshot(), "cn1").unwrap(),
            ["cn1: 10.1.0.1:/install/state", "cn1: 10.1.0.1:/a/cn1 :soft"]
        );
    }

    #[test]
    fn lslite_shows_three_sections() {
        let node = lslite_node(&snapshot(), "cn1").unwrap().join("\n");
        assert_eq!(
            node,
            ">>>Node: cn1\n\nOsimage: img\n\nPersistent directory (statelite table):\n        10.1.0.1:/nodedata\n\n\
             Litefiles (litefile table):\n        tmpfs         /etc/hosts\n        link          /etc/mtab\n        \
             link,persistent /var/lib/app/\n\n\
             Litetree path (litetree table):\n        1.0, 10.1.0.1:/install/state\n        2, 10.1.0.1:/a/cn1\n"
        );
        let image = lslite_image(&snapshot(), "img");
        assert_eq!(image.first().map(String::as_str), Some("Osimage: img"));
        assert!(image.contains(&"        2, 10.1.0.1:/a/$node".to_owned()));
    }
}
