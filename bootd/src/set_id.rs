//! Set-id programs in the trees of images, which local users of this machine can run.
//!
//! An image's `rootimg` holds the set-id programs of its packages with their bits: nodes need them. On the
//! server they are programs that any user can run as root, of another distribution's age, unless the file
//! system is mounted with `nosuid` or a directory on the way is closed. The install directory itself may be
//! closed: HTTP, TFTP and NFS look at what is below it.

use dawn_cluster::{Snapshot, col};
use dawn_wire::image::ROOT;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The trees of images that local users can reach, with set-id bits in force.
#[must_use]
pub(crate) fn reachable_trees(snapshot: &Snapshot) -> Vec<PathBuf> {
    let directory = |name: &dawn_cluster::Text| {
        let directory = snapshot.osimage(name)?.get(col::linuximage::ROOTIMGDIR)?.to_string();
        Some(PathBuf::from(directory).join(ROOT))
    };
    let trees = snapshot.osimage_names().filter_map(directory);
    let mut trees: Vec<PathBuf> = trees.filter(|tree| is_reachable(tree).unwrap_or(false)).collect();
    trees.sort();
    trees.dedup();
    trees
}

/// The warning for an administrator, if there are such trees.
pub(crate) fn warning(snapshot: &Snapshot) -> Option<String> {
    let trees = reachable_trees(snapshot);
    let (first, more) = (trees.first()?, trees.len() - 1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let installdir = snapshot.site("installdir").unwrap_or_else(|| "/install".into());
    Some(format!(
        "local users of this machine can run the set-id programs in {}{more}; close the install directory \
         (chmod 0700 {installdir}; nodes are served as before) or mount it with nosuid",
        first.display()
    ))
}

fn is_reachable(tree: &Path) -> std::io::Result<bool> {
    let real = tree.canonicalize()?;
    for directory in real.ancestors() {
        if directory.metadata()?.permissions().mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(!statvfs(&real)?.f_flag.contains(StatVfsMountFlags::NOSUID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_directory_on_the_way_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let mode = |name: &str, mode| {
            std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        std::fs::create_dir_all(at("install/one/rootimg")).unwrap();
        std::fs::create_dir_all(at("install/two/rootimg")).unwrap();
        mode("", 0o755);
        let snapshot = Snapshot::from_rows([
            ("site", &[("key", "installdir"), ("value", &at("install"))] as &[(&str, &str)]),
            ("osimage", &[("imagename", "one")]),
            ("linuximage", &[("imagename", "one"), ("rootimgdir", &at("install/one"))]),
            ("osimage", &[("imagename", "two")]),
            ("linuximage", &[("imagename", "two"), ("rootimgdir", &at("install/two"))]),
            ("osimage", &[("imagename", "none")]),
            ("linuximage", &[("imagename", "none"), ("rootimgdir", &at("install/none"))]),
        ]);
        let is_nosuid = statvfs(dir.path()).unwrap().f_flag.contains(StatVfsMountFlags::NOSUID);
        let open = if is_nosuid { 0 } else { 2 };
        assert_eq!(reachable_trees(&snapshot).len(), open);
        assert_eq!(warning(&snapshot).is_some(), !is_nosuid);
        mode("install/one", 0o700);
        assert_eq!(reachable_trees(&snapshot).len(), open / 2);
        mode("install/one", 0o755);
        mode("install", 0o700);
        assert_eq!(reachable_trees(&snapshot), Vec::<PathBuf>::new());
        assert_eq!(warning(&snapshot), None);
    }
}
