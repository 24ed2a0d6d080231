//! Copying with everything that makes a file what it is: kind, mode, owner, times, extended attributes.
//!
//! Directories are merged into existing ones, other files replace existing ones. Hard links become separate
//! files and sockets are left out.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};

/// Depth of a copied tree.
const DEPTH_MAX: usize = 200;
/// Longest list of extended attribute names and longest value, in bytes.
const XATTR_BYTES_MAX: usize = 64 * 1024;
/// Opening does not wait for a writer.
const NONBLOCK: i32 = OFlags::NONBLOCK.bits() as i32;

/// Copies `from` to `to`, whose parent directory exists.
///
/// # Errors
/// The first thing that cannot be read or made; what was copied by then stays.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    node(from, to, 0)
}

/// Appends the content of one regular file to another.
///
/// # Errors
/// When one of them cannot be opened, read or written.
pub fn append(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = regular(from)?;
    let mut target = fs::OpenOptions::new().append(true).custom_flags(NONBLOCK).open(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

/// Opens only a regular file for reading: opening a FIFO waits for a writer, opening a device may have any
/// effect.
///
/// # Errors
/// When it cannot be opened or is not a regular file.
pub fn regular(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is not a regular file", path.display()))),
    }
}

/// Makes missing parent directories of `path` below `base`, looking like those below `model`.
///
/// # Errors
/// When one of them cannot be made.
pub fn parents(base: &str, path: &str, model: &str) -> io::Result<()> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut below = String::new();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        below = format!("{below}/{part}");
        let target = format!("{base}{below}");
        match fs::DirBuilder::new().mode(0o755).create(&target) {
            Ok(()) => {
                if let Ok(meta) = fs::metadata(format!("{model}{below}")) {
                    let _ = attributes(Path::new(&format!("{model}{below}")), Path::new(&target), &meta);
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

fn node(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("the tree is too deep"));
    }
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    if kind.is_dir() {
        return directory(from, to, &meta, depth);
    }
    clear(to)?;
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if kind.is_file() {
        // Private until it has its owner and mode, regardless of the umask.
        let target = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
        io::copy(&mut regular(from)?, &mut target?)?;
    } else {
        let made = FileType::from_raw_mode(meta.mode());
        rustix::fs::mknodat(CWD, to, made, Mode::from_raw_mode(meta.mode() & 0o7777), meta.rdev())?;
    }
    attributes(from, to, &meta)
}

fn directory(from: &Path, to: &Path, meta: &Metadata, depth: usize) -> io::Result<()> {
    if !fs::symlink_metadata(to).is_ok_and(|present| present.is_dir()) {
        clear(to)?;
        fs::DirBuilder::new().mode(0o700).create(to)?;
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        node(&from.join(&name), &to.join(&name), depth + 1)?;
    }
    attributes(from, to, meta)
}

/// Makes room for something that is not a directory, or for a directory where none is.
fn clear(to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(to),
        Ok(_) => fs::remove_file(to),
        Err(_) => Ok(()),
    }
}

/// Owner before mode: a change of owner clears the setuid bit.
fn attributes(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    std::os::unix::fs::lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    let _ = xattrs(from, to);
    if !meta.is_symlink() {
        rustix::fs::chmod(to, Mode::from_raw_mode(meta.mode() & 0o7777))?;
    }
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps {
        last_access: time(meta.atime(), meta.atime_nsec()),
        last_modification: time(meta.mtime(), meta.mtime_nsec()),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A file system without extended attributes is not a reason to fail.
fn xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0_u8; XATTR_BYTES_MAX];
    let length = rustix::fs::llistxattr(from, &mut names[..])?;
    let mut value = vec![0_u8; XATTR_BYTES_MAX];
    for name in
        names.get(..length).unwrap_or_default().split(|byte| *byte == 0).filter(|name| !name.is_empty())
    {
        if let Ok(size) = rustix::fs::lgetxattr(from, name, &mut value[..]) {
            let value = value.get(..size).unwrap_or_default();
            let _ = rustix::fs::lsetxattr(to, name, value, rustix::fs::XattrFlags::empty());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn copy(from: &str, to: &str) -> io::Result<()> {
        super::copy(from.as_ref(), to.as_ref())
    }

    fn append(from: &str, to: &str) -> io::Result<()> {
        super::append(from.as_ref(), to.as_ref())
    }

    #[test]
    fn trees_are_copied_and_merged() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        fs::create_dir_all(format!("{base}/a/sub")).unwrap();
        fs::write(format!("{base}/a/sub/file"), "new").unwrap();
        fs::set_permissions(format!("{base}/a/sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("sub/file", format!("{base}/a/link")).unwrap();
        fs::create_dir_all(format!("{base}/b/sub")).unwrap();
        fs::write(format!("{base}/b/sub/file"), "old").unwrap();
        fs::write(format!("{base}/b/kept"), "kept").unwrap();
        copy(&format!("{base}/a"), &format!("{base}/b")).unwrap();
        assert_eq!(fs::read_to_string(format!("{base}/b/link")).unwrap(), "new");
        assert_eq!(fs::metadata(format!("{base}/b/sub/file")).unwrap().mode() & 0o777, 0o640);
        assert!(fs::metadata(format!("{base}/b/kept")).is_ok());
        append(&format!("{base}/b/kept"), &format!("{base}/b/sub/file")).unwrap();
        assert_eq!(fs::read_to_string(format!("{base}/b/sub/file")).unwrap(), "newkept");
        assert!(copy(&format!("{base}/none"), &format!("{base}/x")).is_err());
    }

    #[test]
    fn parents_look_like_their_model() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        fs::create_dir_all(format!("{base}/model/etc/private")).unwrap();
        fs::create_dir(format!("{base}/out")).unwrap();
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(format!("{base}/model/etc/private"), mode).unwrap();
        parents(&format!("{base}/out"), "/etc/private/x/file", &format!("{base}/model")).unwrap();
        assert_eq!(fs::metadata(format!("{base}/out/etc/private")).unwrap().mode() & 0o777, 0o700);
        assert!(fs::metadata(format!("{base}/out/etc/private/x")).unwrap().is_dir());
    }
}
