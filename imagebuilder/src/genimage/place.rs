//! Building next to the old image and putting the new one into its place.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dawn_serving::beneath::Beneath;
use dawn_serving::mounts::Mounts;
use dawn_serving::whole;
use dawn_wire::image::{INITRD_STATELESS, INITRD_STATELITE, KERNEL, ROOT, ROOT_PREFIX, is_root};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{UnmountFlags, unmount};

use super::{GenimageError, file_error};
use crate::image::PERMISSION_DEFAULT;

/// Where a build works, below the image directory.
const BUILDING: &str = ".building";
/// What a build leaves in the image directory besides the tree.
const PIECES: [&str; 5] = [KERNEL, INITRD_STATELESS, INITRD_STATELITE, ".initrd-fingerprint", ".fingerprint"];

/// Holds an image for one build or packing.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Unlocked by name and not by closing: a child process that is just being started has the file open,
    /// too.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Take the lock of an image, or report that it is taken.
pub(crate) fn lock(dir: &Path) -> Result<Lock, GenimageError> {
    let path = dir.join(".lock");
    let file = File::options().create(true).append(true).custom_flags(libc::O_NOFOLLOW).open(&path);
    let file = file.map_err(|source| file_error(&path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(fs::TryLockError::WouldBlock) => Err(GenimageError::Busy(dir.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(file_error(&path, source)),
    }
}

/// Where a build of the image in `dir` works.
pub(super) fn building(dir: &Path) -> PathBuf {
    dir.join(BUILDING)
}

/// An empty directory to build in; what an interrupted build left there is removed.
pub(super) fn fresh(dir: &Path) -> Result<PathBuf, GenimageError> {
    let building = building(dir);
    remove_tree(&building)?;
    fs::create_dir(&building).map_err(|source| file_error(&building, source))?;
    Ok(building)
}

/// Put a finished build into place: the tree by exchanging names, the pieces by renaming over the old ones.
pub(super) fn publish(building: &Path, dir: &Path, permission: Option<u32>) -> Result<(), GenimageError> {
    let (new, old) = (building.join(ROOT), dir.join(ROOT));
    let handle = File::open(building).map_err(|source| file_error(building, source))?;
    rustix::fs::syncfs(&handle).map_err(|error| file_error(building, error.into()))?;
    let mode = Permissions::from_mode(permission.unwrap_or(PERMISSION_DEFAULT) & 0o7777);
    fs::set_permissions(dir, mode).map_err(|source| file_error(dir, source))?;
    let (away, previous) = (building.join(format!("{ROOT_PREFIX}old")), set_aside(dir)?);
    let swapped = renameat_with(CWD, &new, CWD, &old, RenameFlags::EXCHANGE);
    match swapped {
        Ok(()) => fs::rename(&new, &away).map_err(|source| file_error(&away, source))?,
        Err(rustix::io::Errno::NOENT) => fs::rename(&new, &old).map_err(|source| file_error(&old, source))?,
        // A file system without exchange: a moment without a tree cannot be avoided.
        Err(_) => {
            fs::rename(&old, &away).map_err(|source| file_error(&old, source))?;
            fs::rename(&new, &old).map_err(|source| file_error(&old, source))?;
        }
    }
    for piece in PIECES.iter().filter(|piece| building.join(piece).exists()) {
        fs::rename(building.join(piece), dir.join(piece))
            .map_err(|source| file_error(&dir.join(piece), source))?;
    }
    if away.exists() {
        fs::rename(&away, &previous).map_err(|source| file_error(&previous, source))?;
    }
    remove_tree(building)
}

/// A free name for a tree that nodes may run from. The daemon removes it when none does any more.
///
/// # Errors
/// When the image directory cannot be read.
pub fn set_aside(dir: &Path) -> Result<PathBuf, GenimageError> {
    let entries = fs::read_dir(dir).map_err(|source| file_error(dir, source))?;
    let number =
        |name: &str| -> Option<u64> { name.strip_prefix(ROOT_PREFIX)?.split('.').next()?.parse().ok() };
    let last = entries.flatten().filter_map(|entry| number(&entry.file_name().to_string_lossy())).max();
    Ok(dir.join(format!("{ROOT_PREFIX}{}", last.unwrap_or(0).saturating_add(1))))
}

/// Copy a file of a tree to its place in one step. A link in the tree is followed as a node would follow it.
pub(super) fn install_file(tree: &Path, inside: &Path, to: &Path) -> Result<(), GenimageError> {
    let source = Beneath::open(tree).and_then(|tree| tree.open_file(inside));
    let mut source = source.map_err(|source| file_error(&tree.join(inside), source))?;
    whole::write_with(to, 0o644, |file| io::copy(&mut source, file).map(drop))
        .map_err(|source| file_error(to, source))
}

/// The files of an image in its directory: trees, packed roots, kernel, initramfs images, and what builds
/// and packings note or left half done. Sorted; the lock file is not among them.
pub fn pieces(dir: &Path) -> Vec<PathBuf> {
    let ours = |name: &str| {
        let hidden = name.strip_prefix('.').unwrap_or_default();
        is_root(name)
            || matches!(name, KERNEL | BUILDING | ".fingerprint" | ".initrd-fingerprint" | ".packed")
            || name.starts_with("rootimg-")
            || name.starts_with(INITRD_STATELESS)
            || name.starts_with(INITRD_STATELITE)
            || hidden.ends_with(".new")
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| ours(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Remove an image from its directory, and the directory if nothing else is in it. No command builds or packs
/// it meanwhile. A tree of which `users` names nodes that run from it only loses its name; the daemon removes
/// it when they have gone.
///
/// # Errors
/// [`GenimageError::Busy`] while another command works on the image, [`GenimageError::Mounted`] when
/// something in it cannot be unmounted.
pub fn remove_image(
    dir: &Path,
    users: &dyn Fn(&Path) -> Vec<String>,
    line: &mut dyn FnMut(&str),
) -> Result<(), GenimageError> {
    let _lock = lock(dir)?;
    for piece in pieces(dir) {
        let is_tree = piece.is_dir() && !piece.is_symlink();
        let names = if is_tree { users(&piece) } else { Vec::new() };
        if !names.is_empty() {
            let kept = keep(&piece, dir)?;
            let names = names.join(",");
            line(&format!("Keeping directory {} until {names} no longer use it", kept.display()));
        } else if is_tree {
            line(&format!("Removing directory {}", piece.display()));
            remove_tree(&piece)?;
        } else {
            line(&format!("Removing file {}", piece.display()));
            fs::remove_file(&piece).map_err(|source| file_error(&piece, source))?;
        }
    }
    let lock = dir.join(".lock");
    let alone = fs::read_dir(dir).is_ok_and(|entries| entries.flatten().all(|entry| entry.path() == lock));
    if alone {
        fs::remove_file(&lock).map_err(|source| file_error(&lock, source))?;
        fs::remove_dir(dir).map_err(|source| file_error(dir, source))?;
    }
    Ok(())
}

/// The new name of a tree that nodes still run from.
fn keep(tree: &Path, dir: &Path) -> Result<PathBuf, GenimageError> {
    if tree != dir.join(ROOT) {
        return Ok(tree.to_owned());
    }
    let kept = set_aside(dir)?;
    fs::rename(tree, &kept).map_err(|source| file_error(tree, source))?;
    Ok(kept)
}

/// Remove a tree, but never a file system mounted in it: mounts of a killed build are undone first, and if
/// that fails nothing is removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), GenimageError> {
    let stat = match fs::symlink_metadata(path) {
        Ok(stat) => stat,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(file_error(path, source)),
    };
    // The way to it may hold links of the administrator; a link in its place is only unlinked.
    if !stat.is_dir() {
        return fs::remove_file(path).map_err(|source| file_error(path, source));
    }
    let real = fs::canonicalize(path).map_err(|source| file_error(path, source))?;
    for mount in Mounts::now().below(&real).rev() {
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
    if Mounts::now().below(&real).next().is_some() {
        return Err(GenimageError::Mounted(real));
    }
    if fs::symlink_metadata(&real).map(|now| now.dev()).ok() != Some(stat.dev()) {
        return Err(GenimageError::Mounted(real));
    }
    fs::remove_dir_all(&real).map_err(|source| file_error(&real, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_replaces_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut before: Vec<&str> = Vec::new();
        for round in ["one", "two", "three"] {
            let building = fresh(dir.path()).unwrap();
            fs::create_dir(building.join("rootimg")).unwrap();
            fs::write(building.join("rootimg/f"), round).unwrap();
            fs::write(building.join("kernel"), round).unwrap();
            publish(&building, dir.path(), Some(0o711)).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("rootimg/f")).unwrap(), round);
            assert_eq!(fs::read_to_string(dir.path().join("kernel")).unwrap(), round);
            assert!(!building.exists());
            let old = |number: usize| fs::read_to_string(dir.path().join(format!("rootimg.{number}/f"))).ok();
            assert_eq!((1..4).filter_map(old).collect::<Vec<_>>(), before);
            before.push(round);
        }
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, 0o711);
    }

    #[test]
    fn an_image_goes_as_a_whole() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("image");
        for tree in ["rootimg", "rootimg.1", "rootimg.2", ".building/rootimg"] {
            fs::create_dir_all(dir.join(tree)).unwrap();
        }
        for file in ["kernel", "rootimg.sfs", ".rootimg.sfs.new", ".fingerprint", ".packed", "notes"] {
            fs::write(dir.join(file), "x").unwrap();
        }
        let nobody = |_: &Path| Vec::new();
        let held = lock(&dir).unwrap();
        assert!(matches!(remove_image(&dir, &nobody, &mut |_| ()), Err(GenimageError::Busy(_))));
        assert!(dir.join("kernel").exists());
        drop(held);
        let of_two = |tree: &Path| {
            if tree.ends_with("rootimg") || tree.ends_with("rootimg.1") {
                vec!["cn1".to_owned()]
            } else {
                Vec::new()
            }
        };
        remove_image(&dir, &of_two, &mut |_| ()).unwrap();
        let kept = |name: &str| dir.join(name).is_dir();
        assert_eq!(["rootimg", "rootimg.1", "rootimg.2", "rootimg.3"].map(kept), [false, true, false, true]);
        remove_image(&dir, &nobody, &mut |_| ()).unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.len() == 2 && left.contains(&"notes".into()), "{left:?}");
        fs::remove_file(dir.join("notes")).unwrap();
        remove_image(&dir, &nobody, &mut |_| ()).unwrap();
        assert!(!dir.exists());
    }

    /// Names that a build uses in the image directory, as links to something of the server.
    #[test]
    fn links_in_the_image_directory_are_replaced_and_not_followed() {
        let top = tempfile::tempdir().unwrap();
        let (dir, outside) = (top.path().join("image"), top.path().join("outside"));
        fs::create_dir_all(dir.join("rootimg/boot")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "the server's").unwrap();
        fs::write(dir.join("rootimg/boot/vmlinuz"), "kernel").unwrap();
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, dir.join(name)).unwrap();
        for name in ["kernel", ".kernel.new", ".part"] {
            link(name, &outside.join("file"));
        }
        link(BUILDING, &outside);
        link(".lock", &outside.join("new"));
        link("rootimg/boot/out", &outside.join("file"));
        let building = fresh(&dir).unwrap();
        assert!(fs::symlink_metadata(&building).unwrap().is_dir());
        install_file(&dir.join("rootimg"), Path::new("boot/vmlinuz"), &dir.join("kernel")).unwrap();
        assert!(fs::symlink_metadata(dir.join("kernel")).unwrap().is_file());
        assert!(install_file(&dir.join("rootimg"), Path::new("boot/out"), &dir.join("kernel")).is_err());
        crate::new_file::create_new(&dir.join(".part")).unwrap();
        assert!(lock(&dir).is_err());
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "the server's");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn one_build_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(GenimageError::Busy(_))));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
