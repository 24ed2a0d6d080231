//! The tree that grows while an archive is read.
//!
//! Paths come from a file off the network: they are taken relative to the root, and `..` is refused. Modes
//! and times of directories are set at the end, because filling a directory changes them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::invalid;

/// Type bits of a mode.
pub(super) const KIND_BITS: u32 = 0o170_000;
/// A regular file.
pub(super) const FILE: u32 = 0o100_000;
/// A directory.
pub(super) const DIRECTORY: u32 = 0o040_000;
/// A symbolic link.
pub(super) const LINK: u32 = 0o120_000;

/// What an archive says about one entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    /// Path as written in the archive.
    pub path: Vec<u8>,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Device number.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Takes what an archive holds, entry by entry.
pub(crate) trait Target {
    /// Anything but a regular file; `target` is that of a symbolic link.
    fn add(&mut self, meta: Meta, target: &[u8]) -> io::Result<()>;
    /// A regular file with `size` bytes from `source`; all of them must be read.
    fn file(&mut self, meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()>;
    /// A second name of the file `first`.
    fn hard_link(&mut self, meta: &Meta, first: &[u8]) -> io::Result<()>;
    /// The bytes of a file that is there already (the last name of a cpio hard link carries them).
    fn fill(&mut self, meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()>;
}

/// A root under construction.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    directories: Vec<(PathBuf, Meta)>,
    entries: u64,
}

impl Tree {
    /// Unpacks below `root`, which exists.
    pub(crate) fn new(root: &str) -> Self {
        Self { root: PathBuf::from(root), directories: Vec::new(), entries: 0 }
    }

    /// Path of an entry on disk.
    pub(crate) fn place(&self, path: &[u8]) -> io::Result<PathBuf> {
        let mut place = self.root.clone();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(invalid(format!("path `{}` leads out", String::from_utf8_lossy(path)))),
                _ => place.push(OsStr::from_bytes(part)),
            }
        }
        Ok(place)
    }

    /// Ends the tree; gives the number of entries.
    pub(crate) fn finish(self) -> io::Result<u64> {
        for (place, meta) in self.directories.iter().rev() {
            apply(place, meta)?;
        }
        Ok(self.entries)
    }

    /// Makes sure that the directory is there and the name is free.
    fn room(&mut self, meta: &Meta) -> io::Result<PathBuf> {
        self.entries += 1;
        let place = self.place(&meta.path)?;
        if place == self.root {
            return Ok(place);
        }
        match fs::symlink_metadata(&place) {
            Ok(there) if there.is_dir() => {}
            Ok(_) => fs::remove_file(&place)?,
            Err(_) => {
                if let Some(parent) = place.parent() {
                    fs::create_dir_all(parent)?;
                }
            }
        }
        Ok(place)
    }
}

impl Target for Tree {
    fn add(&mut self, meta: Meta, target: &[u8]) -> io::Result<()> {
        let place = self.room(&meta)?;
        match meta.mode & KIND_BITS {
            DIRECTORY => {
                if place != self.root {
                    fs::create_dir(&place)
                        .or_else(|cause| if place.is_dir() { Ok(()) } else { Err(cause) })?;
                }
                self.directories.push((place, meta));
                return Ok(());
            }
            LINK => std::os::unix::fs::symlink(OsStr::from_bytes(target), &place)?,
            kind => {
                let device = rustix::fs::makedev(meta.device.0, meta.device.1);
                rustix::fs::mknodat(
                    CWD,
                    &place,
                    FileType::from_raw_mode(kind),
                    Mode::from_raw_mode(0o600),
                    device,
                )?;
            }
        }
        apply(&place, &meta)
    }

    fn file(&mut self, meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()> {
        let place = self.room(meta)?;
        let mut file = File::create(&place)?;
        if io::copy(&mut source.take(size), &mut file)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        drop(file);
        apply(&place, meta)
    }

    fn hard_link(&mut self, meta: &Meta, first: &[u8]) -> io::Result<()> {
        let place = self.room(meta)?;
        fs::hard_link(self.place(first)?, place)
    }

    fn fill(&mut self, meta: &Meta, source: &mut dyn Read, size: u64) -> io::Result<()> {
        let place = self.place(&meta.path)?;
        io::copy(&mut source.take(size), &mut File::create(&place)?)?;
        apply(&place, meta)
    }
}

/// Owner before attributes and mode: a change of owner clears capabilities and the setuid bit.
fn apply(place: &Path, meta: &Meta) -> io::Result<()> {
    std::os::unix::fs::lchown(place, Some(meta.uid), Some(meta.gid))?;
    for (name, value) in &meta.xattrs {
        // A memory file system takes only some kinds of attributes.
        let _ = rustix::fs::lsetxattr(place, name.as_slice(), value, XattrFlags::empty());
    }
    if meta.mode & KIND_BITS != LINK {
        rustix::fs::chmod(place, Mode::from_raw_mode(meta.mode & 0o7777))?;
    }
    let time = Timespec { tv_sec: meta.mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
