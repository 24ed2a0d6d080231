//! Which kernel of a tree nodes boot.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use dawn_serving::beneath::Beneath;

use super::GenimageError;

/// A kernel image in a tree and its release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `6.1.0-40-cloud-amd64`.
    pub(super) release: String,
    /// The image file, relative to the tree.
    pub(super) file: PathBuf,
}

/// The kernel `wanted`, or the newest one that has its modules in the tree.
pub(super) fn find(rootimg: &Path, wanted: Option<&str>) -> Result<Kernel, GenimageError> {
    let names = Beneath::open(rootimg).and_then(|tree| tree.names(Path::new("boot"))).unwrap_or_default();
    let mut kernels: Vec<Kernel> = names
        .iter()
        .filter_map(|name| {
            let name = name.to_str()?;
            let release =
                ["vmlinuz-", "vmlinux-", "Image-"].iter().find_map(|start| name.strip_prefix(start))?;
            Some(Kernel { release: release.to_owned(), file: Path::new("boot").join(name) })
        })
        .filter(|kernel| modules(rootimg, &kernel.release).is_some())
        .collect();
    kernels.sort_by(|a, b| natural(&a.release, &b.release));
    match wanted {
        None => kernels.pop().ok_or_else(|| {
            GenimageError::Kernel(format!("{} has no kernel with modules in /boot", rootimg.display()))
        }),
        Some(wanted) => kernels.into_iter().find(|kernel| kernel.release == wanted).ok_or_else(|| {
            GenimageError::Kernel(format!("kernel {wanted} is not in {}", rootimg.join("boot").display()))
        }),
    }
}

/// The module directory of a kernel; the tree may have `/lib` as a link to `/usr/lib` or not.
fn modules(rootimg: &Path, release: &str) -> Option<PathBuf> {
    ["usr/lib/modules", "lib/modules"]
        .iter()
        .map(|dir| rootimg.join(dir).join(release))
        .find(|dir| dir.is_dir())
}

/// Compare so that numbers count as numbers: `6.1.0-9` is older than `6.1.0-40`.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b) = (pieces(a), pieces(b));
    a.cmp(&b)
}

fn pieces(text: &str) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (word, after) = after.split_at(letters);
        all.push((number.parse().unwrap_or(0), word.to_owned()));
        rest = after;
    }
    all
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
    }
}
