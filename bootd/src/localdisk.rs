//! The file that `linuximage.partitionfile` names; [`dawn_plan::localdisk`] parses it.

use dawn_cluster::Snapshot;
use dawn_plan::localdisk::{self, FILE_BYTES_MAX, Layout, LayoutError};
use dawn_serving::bounded_read;
use dawn_wire::list::LocalDisk;
use std::path::Path;

/// Reads what a cell names.
///
/// # Errors
/// Why the file cannot be had, with its path.
pub fn read(cell: &str) -> Result<Layout, LayoutError> {
    let (is_script, path) = localdisk::file_of(cell);
    let text = bounded_read::read_text(Path::new(path), FILE_BYTES_MAX)
        .map_err(|error| LayoutError::Unreadable { path: path.to_owned(), reason: error.to_string() })?;
    Ok(Layout { is_script, text })
}

/// The local disk in the list of a node.
#[must_use]
pub fn of_node(snapshot: &Snapshot, node: &str) -> LocalDisk {
    localdisk::cell_of(snapshot, node).map_or(LocalDisk::Unknown, |cell| localdisk::of_layout(read(&cell)))
}

/// Why the layout of a node's image cannot be carried out; nothing where there is none.
#[must_use]
pub fn problem(snapshot: &Snapshot, node: &str) -> Option<LayoutError> {
    let cell = localdisk::cell_of(snapshot, node)?;
    localdisk::problem(snapshot, node, read(&cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::List;

    #[test]
    fn the_lines_of_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layout").display().to_string();
        let lines = |entry: &str| {
            let snapshot = Snapshot::from_rows([
                ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
                ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
                ("osimage", &[("imagename", "img")]),
                ("linuximage", &[("imagename", "img"), ("partitionfile", entry)]),
            ]);
            List { local_disk: of_node(&snapshot, "cn1"), ..List::default() }.to_string()
        };
        assert_eq!(lines(""), "");
        for (unreadable, why) in [(file.as_str(), "No such file"), ("/proc/kmsg", "interface of the kernel")]
        {
            let told = lines(unreadable);
            assert!(told.starts_with("localdisk\t-\t") && told.contains(why), "{told}");
        }
        std::fs::write(&file, "enable=yes\n[localspace]\ndev=/dev/vda\n").unwrap();
        assert_eq!(lines(&file), "localdisk\t/dev/vda\text4\n");
        assert_eq!(lines(&format!("s:{file}")), "script\tenable=yes%0A[localspace]%0Adev=/dev/vda%0A\n");
    }
}
