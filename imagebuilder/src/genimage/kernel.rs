//! Which kernel of a tree nodes boot.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use dawn_cluster::natural_order;
use dawn_serving::beneath::{Beneath, Kind};

use super::{GenimageError, file_error};

/// A kernel image in a tree and its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// `6.1.0-40-cloud-amd64`.
    pub(crate) release: String,
    /// The image file, relative to the tree.
    pub(crate) file: PathBuf,
}

/// The kernel `wanted`, or the newest one that has its modules in the tree.
pub(crate) fn find(rootimg: &Path, wanted: Option<&str>) -> Result<Kernel, GenimageError> {
    let tree = match Beneath::open(rootimg) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none(rootimg)),
        opened => opened.map_err(|source| file_error(rootimg, source))?,
    };
    let mut kernels = in_boot(&tree);
    kernels.retain(|kernel| has_modules(&tree, &kernel.release));
    for kernel in beside_modules(&tree) {
        if kernels.iter().all(|known| known.release != kernel.release) {
            kernels.push(kernel);
        }
    }
    kernels.sort_by(|a, b| natural_order(&a.release, &b.release));
    match wanted {
        None => kernels.pop().ok_or_else(|| none(rootimg)),
        Some(wanted) => kernels.into_iter().find(|kernel| kernel.release == wanted).ok_or_else(|| {
            GenimageError::Kernel(format!(
                "kernel {wanted} is not in /boot or /lib/modules of {}",
                rootimg.display()
            ))
        }),
    }
}

fn none(rootimg: &Path) -> GenimageError {
    GenimageError::Kernel(format!(
        "{} has no kernel with modules in /boot or /lib/modules",
        rootimg.display()
    ))
}

/// `/boot/vmlinuz-<release>`.
fn in_boot(tree: &Beneath) -> Vec<Kernel> {
    let names = tree.names(Path::new("boot")).unwrap_or_default();
    let kernel = |name: &OsString| {
        let name = name.to_str()?;
        let release = ["vmlinuz-", "vmlinux-", "Image-"].iter().find_map(|start| name.strip_prefix(start))?;
        Some(Kernel { release: release.to_owned(), file: Path::new("boot").join(name) })
    };
    names.iter().filter_map(kernel).collect()
}

/// `/lib/modules/<release>/vmlinuz`: Enterprise Linux and Fedora have it there, and copy it to `/boot` when
/// a boot loader is set up.
fn beside_modules(tree: &Beneath) -> Vec<Kernel> {
    let dirs = MODULES.map(Path::new).into_iter().flat_map(|dir| {
        let names = tree.names(dir).unwrap_or_default();
        names.into_iter().map(move |name| dir.join(name))
    });
    let kernel = |dir: PathBuf| {
        let release = dir.file_name()?.to_str()?.to_owned();
        let is_file = |file: &PathBuf| matches!(tree.kind(file), Ok(Some(Kind::File)));
        let file = ["vmlinuz", "Image"].iter().map(|name| dir.join(name)).find(is_file)?;
        Some(Kernel { release, file })
    };
    dirs.filter_map(kernel).collect()
}

/// Where modules are; the tree may have `/lib` as a link to `/usr/lib` or not.
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Whether a kernel has modules.
fn has_modules(tree: &Beneath, release: &str) -> bool {
    MODULES.iter().any(|dir| tree.directory(&Path::new(dir).join(release)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_newest_with_modules_wins() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["6.1.0-9-amd64", "6.1.0-40-amd64", "6.12.3-amd64"] {
            fs::create_dir_all(dir.path().join("boot")).unwrap();
            fs::write(dir.path().join(format!("boot/vmlinuz-{release}")), "").unwrap();
            if !release.starts_with("6.12") {
                fs::create_dir_all(dir.path().join(format!("lib/modules/{release}"))).unwrap();
            }
        }
        let find = |wanted| find(dir.path(), wanted).map(|kernel| kernel.release);
        assert_eq!(find(None).unwrap(), "6.1.0-40-amd64");
        assert_eq!(find(Some("6.1.0-9-amd64")).unwrap(), "6.1.0-9-amd64");
        assert!(find(Some("6.12.3-amd64")).is_err());
        let el = dir.path().join("usr/lib/modules/6.12.0-55.el10.x86_64");
        fs::create_dir_all(&el).unwrap();
        fs::write(el.join("vmlinuz"), "").unwrap();
        assert_eq!(find(None).unwrap(), "6.12.0-55.el10.x86_64");
    }
}
