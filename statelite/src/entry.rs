//! The `litefile` table: which paths, in which way.

use dawn_cluster::{Col, OptionError, Snapshot, Text, col, lite_option};
use dawn_wire::LiteOption;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One special path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteFile {
    /// Absolute path; a directory ends with `/`.
    pub path: Text,
    /// The text of the table, as the commands print it; `tmpfs,rw` when it is empty.
    pub text: Text,
    /// What it means.
    pub option: Result<LiteOption, OptionError>,
}

impl LiteFile {
    fn new(path: &Text, options: Option<&Text>) -> Self {
        let text = options.cloned().unwrap_or_else(|| "tmpfs,rw".into());
        Self { path: path.clone(), option: lite_option(&text), text }
    }

    /// Whether the path is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.path.ends_with('/')
    }
}

struct Columns {
    image: Col,
    file: Col,
    options: Col,
}

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns {
    image: col::litefile::IMAGE,
    file: col::litefile::FILE,
    options: col::litefile::OPTIONS,
});

/// Name of the image whose rows count for a node: `nodetype.provmethod`, or the image name that the old
/// generic methods refer to.
#[must_use]
pub fn image_of(snapshot: &Snapshot, node: &str) -> Option<Text> {
    let method = snapshot.attr(node, col::nodetype::PROVMETHOD).filter(|method| !method.is_empty());
    match method.as_deref() {
        Some(generic @ ("install" | "netboot" | "statelite")) => generic_image(snapshot, node, generic),
        Some(_) => method,
        None => generic_image(snapshot, node, ""),
    }
}

fn generic_image(snapshot: &Snapshot, node: &str, _method: &str) -> Option<Text> {
    let [os, arch, profile] = [col::nodetype::OS, col::nodetype::ARCH, col::nodetype::PROFILE]
        .map(|column| snapshot.attr(node, column));
    Some(format!("{}-{}-statelite-{}", os?, arch?, profile?).into())
}

/// The special paths of a node's image, sorted by path.
#[must_use]
pub fn files(snapshot: &Snapshot, node: &str) -> Vec<LiteFile> {
    image_of(snapshot, node).map(|image| files_of_image(snapshot, &image)).unwrap_or_default()
}

/// The special paths of an image, sorted by path. Rows of the image's group come first, then those of every
/// image (empty), then `ALL`, then the image's own; a later row for the same path replaces the earlier.
#[must_use]
pub fn files_of_image(snapshot: &Snapshot, image: &str) -> Vec<LiteFile> {
    let group = snapshot.osimage(image).and_then(|image| image.get(col::osimage::GROUPS).cloned());
    let mut files: BTreeMap<Text, LiteFile> = BTreeMap::new();
    for wanted in [group.as_deref(), Some(""), Some("ALL"), Some(image)].into_iter().flatten() {
        for row in snapshot.enabled_rows(COLUMNS.image.table) {
            let of = row.get(COLUMNS.image).map_or("", |text| text);
            if let Some(path) = row.get(COLUMNS.file).filter(|_| of == wanted) {
                files.insert(path.clone(), LiteFile::new(path, row.get(COLUMNS.options)));
            }
        }
    }
    if !files.is_empty() {
        add_mtab(&mut files);
    }
    files.into_values().collect()
}

/// `/etc/mtab` belongs to every list: listed by hand it is a copy, else a link.
fn add_mtab(files: &mut BTreeMap<Text, LiteFile>) {
    let mtab: Text = "/etc/mtab".into();
    let options: Text = if files.contains_key(&mtab) { "tmpfs,rw" } else { "link" }.into();
    files.insert(mtab.clone(), LiteFile::new(&mtab, Some(&options)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rows_replace_earlier_ones() {
        let rows: [(&str, &[(&str, &str)]); 7] = [
            ("osimage", &[("imagename", "img"), ("groups", "lite")]),
            ("litefile", &[("image", "img"), ("file", "/etc/a"), ("options", "ro")]),
            ("litefile", &[("image", "ALL"), ("file", "/etc/a"), ("options", "persistent")]),
            ("litefile", &[("image", ""), ("file", "/etc/b")]),
            ("litefile", &[("image", "lite"), ("file", "/etc/b"), ("options", "con")]),
            ("litefile", &[("image", "other"), ("file", "/etc/c"), ("options", "con")]),
            ("litefile", &[("image", "ALL"), ("file", "/var/log/"), ("options", "tmpfs")]),
        ];
        let files = files_of_image(&Snapshot::from_rows(rows), "img");
        let lines: Vec<String> = files.iter().map(|file| format!("{} {}", file.path, file.text)).collect();
        assert_eq!(lines, ["/etc/a ro", "/etc/b tmpfs,rw", "/etc/mtab link", "/var/log/ tmpfs"]);
    }

    #[test]
    fn the_image_of_a_node() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
            ("nodelist", &[("node", "cn2")]),
            ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
            (
                "nodetype",
                &[
                    ("node", "cn2"),
                    ("provmethod", "statelite"),
                    ("os", "rh9"),
                    ("arch", "x86_64"),
                    ("profile", "c"),
                ],
            ),
        ]);
        assert_eq!(image_of(&snapshot, "cn1").as_deref(), Some("img"));
        assert_eq!(image_of(&snapshot, "cn2").as_deref(), Some("rh9-x86_64-statelite-c"));
        assert_eq!(image_of(&snapshot, "cn3"), None);
    }
}
