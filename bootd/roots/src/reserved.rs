//! Directories of this machine that tables may not give to nodes: those with the daemon's own keys and
//! tables.

use dawn_cluster::Snapshot;
use dawn_plan::local_path;
use dawn_serving::disks::within;
use std::path::{Path, PathBuf};

/// Why nodes get nothing from `path`: it contains the data directory `data`, or is inside of it. Directories
/// that are served anyway (`site.installdir` and `site.tftpdir`) may lie there. Looks at the paths only.
#[must_use]
pub fn reason(snapshot: &Snapshot, data: &Path, path: &Path) -> Option<String> {
    let roots = ["/install", "/tftpboot"].map(|root| local_path(snapshot, root));
    if data.starts_with(path) {
        return Some(format!("it holds the data directory {}", data.display()));
    }
    let served = roots.iter().any(|root| root.starts_with(data) && root != data && path.starts_with(root));
    (path.starts_with(data) && !served).then(|| format!("it is in the data directory {}", data.display()))
}

/// The same for a cell of `litetree.directory` or `statelite.statemnt`, whose variables may have any value;
/// links on the way are followed.
#[must_use]
pub fn reason_of_cell(snapshot: &Snapshot, data: &Path, cell: &str) -> Option<String> {
    let path = cell.split_once(':').map_or(cell, |(_, path)| path).trim();
    let fixed: PathBuf = local_path(snapshot, path)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains('$'))
        .collect();
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let real = match within(&fixed, |fixed| fixed.canonicalize().unwrap_or_else(|_| fixed.to_owned())) {
        Ok(real) => real,
        Err(late) => return Some(format!("where it leads cannot be found out: {late}")),
    };
    // What comes after a variable decides whether the data directory is in it.
    let mut named = [fixed, real].into_iter().filter(|path| !cell.contains('$') || path.starts_with(&data));
    named.find_map(|path| reason(snapshot, &data, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let data = top.join("data");
        std::fs::create_dir_all(data.join("ca")).unwrap();
        std::os::unix::fs::symlink(&data, top.join("link")).unwrap();
        let at = |name: &str| top.join(name).to_string_lossy().into_owned();
        let snapshot = Snapshot::from_rows([(
            "site",
            &[("key", "installdir"), ("value", &*at("data/install"))] as &[_],
        )]);
        for (cell, refused) in [
            (at("data"), true),
            (at("data/ca"), true),
            (at("link/ca"), true),
            (at("data/$node"), true),
            (at(""), true),
            ("srv:/".to_owned(), true),
            (at("$node"), false),
            (at("data/install/trees"), false),
            ("/install/trees/$node".to_owned(), false),
            (at("database"), false),
        ] {
            assert_eq!(reason_of_cell(&snapshot, &data, &cell).is_some(), refused, "{cell}");
        }
    }
}
