//! Unpacking layers into a tree.
//!
//! A layer is a tar archive (image-spec, layer.md) whose `.wh.` entries remove what lower layers have. Paths
//! are resolved as a process would whose root is the tree (openat2(2), `RESOLVE_IN_ROOT`), because layers put
//! files below links of lower ones (`lib -> usr/lib`); so nothing outside is touched.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use dawn_serving::lookup;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use tar::EntryType;

use super::store::Content;
use super::{OciError, Reference, bad};

/// Most entries of all layers together.
const ENTRIES_MAX: u64 = 20_000_000;
/// What headers, long names and attributes of one entry may take (bytes).
const HEAD_BYTES_MAX: u64 = 1024 * 1024;
/// Longest path of an entry (bytes).
const PATH_BYTES_MAX: usize = 4096;
/// What `umoci insert` leaves out at the end of a layer: the padding of the last file, and two blocks of
/// zeros.
const END_BYTES: u64 = 511 + 1024;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
/// Attributes of entries in PAX records.
const XATTR: &str = "SCHILY.xattr.";

/// Why a layer could not be unpacked.
#[derive(Debug)]
pub(super) enum LayerError {
    /// An entry breaks a rule, with its path.
    Entry(PathBuf, String),
    /// The layer cannot be read.
    Read(io::Error),
    /// Its bytes are not those of its digest.
    Damaged,
    /// An entry could not be written.
    Write(PathBuf, io::Error),
}

impl LayerError {
    pub(super) fn of(self, image: &Reference, number: u32, root: &Path) -> OciError {
        match self {
            Self::Entry(path, why) => bad(image, format!("layer {number}: entry {}: {why}", path.display())),
            Self::Read(source) => bad(image, format!("layer {number} cannot be read: {source}")),
            Self::Damaged => bad(image, format!("layer {number} is damaged: its bytes have another digest")),
            Self::Write(path, source) => OciError::File { path: root.join(path), source },
        }
    }
}

/// A tree that grows layer by layer.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    entries: u64,
    devices: u64,
    /// Times of directories, set after the last file was put into them.
    times: HashMap<PathBuf, Timestamps>,
}

impl Tree {
    pub(super) fn make(root: &Path) -> Result<Self, OciError> {
        let error = |source| OciError::File { path: root.to_owned(), source };
        DirBuilder::new().mode(0o755).create(root).map_err(error)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = fs::open(root, flags, Mode::empty()).map_err(|errno| error(errno.into()))?;
        Ok(Self { root, entries: 0, devices: 0, times: HashMap::new() })
    }

    /// Device files that were left out.
    pub(super) fn devices(&self) -> u64 {
        self.devices
    }

    /// Unpacks a layer over the earlier ones.
    pub(super) fn add(&mut self, content: Content) -> Result<(), LayerError> {
        let allowed = Rc::new(Cell::new(0));
        let content = content.chain(io::repeat(0).take(END_BYTES));
        let mut archive = tar::Archive::new(Metered { inner: content, allowed: Rc::clone(&allowed) });
        let mut own = HashSet::new();
        let mut entries = archive.entries().map_err(LayerError::Read)?;
        loop {
            // The archive reads heads into memory, so they are metered; contents pass through.
            allowed.set(HEAD_BYTES_MAX);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(LayerError::Read)?;
            allowed.set(u64::MAX);
            self.entries = self.entries.saturating_add(1);
            let path = entry_path(&entry.path_bytes())?;
            if self.entries > ENTRIES_MAX {
                return Err(LayerError::Entry(path, format!("more than {ENTRIES_MAX} entries")));
            }
            self.entry(&path, &mut entry, &mut own)?;
            io::copy(&mut entry, &mut io::sink()).map_err(LayerError::Read)?;
        }
        allowed.set(u64::MAX);
        match archive.into_inner().inner.into_inner().0.verify() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LayerError::Damaged),
            Err(error) => Err(LayerError::Read(error)),
        }
    }

    /// Sets the times of directories.
    pub(super) fn finish(self) -> io::Result<()> {
        for (path, times) in &self.times {
            let opened = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
            match opened {
                Ok(dir) => fs::futimens(dir, times)?,
                // A higher layer has removed it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        path: &Path,
        entry: &mut tar::Entry<'_, impl Read>,
        own: &mut HashSet<PathBuf>,
    ) -> Result<(), LayerError> {
        let head = Head::of(path, entry)?;
        let (above, Some(name)) = (path.parent().unwrap_or(Path::new("")), path.file_name()) else {
            // The root itself.
            return self.attributes(path, &self.root, &head);
        };
        let write = |errno: Errno| LayerError::Write(path.to_owned(), errno.into());
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            return self.whiteout(path, above, OsStr::from_bytes(hidden), own);
        }
        if matches!(head.kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let dir = self.directory(above).map_err(write)?;
        own.insert(path.to_owned());
        match head.kind {
            EntryType::Directory => self.make_directory(path, &dir, name, &head),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.clear(path, &dir, name)?;
                self.file(path, &dir, name, &head, entry)
            }
            EntryType::Symlink => {
                self.clear(path, &dir, name)?;
                fs::symlinkat(OsStr::from_bytes(&head.target), &dir, name).map_err(write)?;
                self.attributes_of_name(path, &dir, name, &head)
            }
            EntryType::Link => {
                self.clear(path, &dir, name)?;
                self.hard_link(path, &dir, name, &head)
            }
            EntryType::Fifo => {
                self.clear(path, &dir, name)?;
                fs::mknodat(&dir, name, FileType::Fifo, head.mode, 0).map_err(write)?;
                self.attributes_of_name(path, &dir, name, &head)
            }
            EntryType::Char | EntryType::Block => {
                self.devices = self.devices.saturating_add(1);
                Ok(())
            }
            other => Err(LayerError::Entry(path.to_owned(), format!("unknown kind {:?}", other.as_byte()))),
        }
    }

    /// Removes what lower layers have under a name, or all that they have in a directory.
    fn whiteout(
        &self,
        path: &Path,
        above: &Path,
        hidden: &OsStr,
        own: &HashSet<PathBuf>,
    ) -> Result<(), LayerError> {
        let write = |errno: Errno| LayerError::Write(path.to_owned(), errno.into());
        if hidden.is_empty() || hidden == "." || hidden == ".." {
            return Err(LayerError::Entry(path.to_owned(), "a whiteout of nothing".to_owned()));
        }
        let dir = match self.open(above, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            // There is nothing to hide.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(write(errno)),
        };
        if path.file_name() == Some(OsStr::new(OPAQUE)) {
            return empty(&dir, above, own).map_err(write);
        }
        if own.contains(&above.join(hidden)) {
            return Ok(());
        }
        remove(&dir, hidden, &above.join(hidden), &HashSet::new()).map_err(write)
    }

    /// Opens a directory of the tree; those that are missing are made.
    fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open(path, flags) {
            Err(Errno::NOENT) => {}
            opened => return opened,
        }
        let mut at = PathBuf::new();
        for part in path.components() {
            let dir = self.open(&at, flags)?;
            at.push(part);
            match fs::mkdirat(&dir, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.open(path, flags)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        lookup::open(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// Removes what a lower layer has under a name.
    fn clear(&mut self, path: &Path, dir: &OwnedFd, name: &OsStr) -> Result<(), LayerError> {
        self.times.remove(path);
        remove(dir, name, path, &HashSet::new())
            .map_err(|errno| LayerError::Write(path.to_owned(), errno.into()))
    }

    fn make_directory(
        &mut self,
        path: &Path,
        dir: &OwnedFd,
        name: &OsStr,
        head: &Head,
    ) -> Result<(), LayerError> {
        let write = |errno: Errno| LayerError::Write(path.to_owned(), errno.into());
        let is_there = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if !is_there {
            self.clear(path, dir, name)?;
            fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)).map_err(write)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(dir, name, flags, Mode::empty()).map_err(write)?;
        self.attributes(path, &made, head)?;
        self.times.insert(path.to_owned(), head.times.clone());
        Ok(())
    }

    fn file(
        &self,
        path: &Path,
        dir: &OwnedFd,
        name: &OsStr,
        head: &Head,
        content: &mut impl Read,
    ) -> Result<(), LayerError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(dir, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(made.map_err(|errno| LayerError::Write(path.to_owned(), errno.into()))?);
        let length =
            io::copy(content, &mut file).map_err(|source| LayerError::Write(path.to_owned(), source))?;
        if length != head.size {
            return Err(LayerError::Entry(path.to_owned(), "the layer ends in it".to_owned()));
        }
        self.attributes(path, &file, head)
    }

    /// A hard link to a file of the tree; a link at the target is not followed.
    fn hard_link(&self, path: &Path, dir: &OwnedFd, name: &OsStr, head: &Head) -> Result<(), LayerError> {
        let target = entry_path(&head.target)?;
        let (above, Some(of)) = (target.parent().unwrap_or(Path::new("")), target.file_name()) else {
            return Err(LayerError::Entry(path.to_owned(), "a hard link to the root".to_owned()));
        };
        let linked = self
            .open(above, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|from| fs::linkat(&from, of, dir, name, AtFlags::empty()));
        linked.map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::PERM => {
                let why = format!("a hard link to {}, which is not a file", target.display());
                LayerError::Entry(path.to_owned(), why)
            }
            other => LayerError::Write(path.to_owned(), other.into()),
        })
    }

    /// Owner, mode, extended attributes and times of an open file or directory.
    fn attributes(&self, path: &Path, file: impl AsFd, head: &Head) -> Result<(), LayerError> {
        let set = || -> Result<(), Errno> {
            // The root is open as a path only.
            let at = fs::openat(&file, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
            let file = at.as_ref().map_or(file.as_fd(), AsFd::as_fd);
            fs::fchown(file, Some(head.owner), Some(head.group))?;
            fs::fchmod(file, head.mode)?;
            for (name, value) in &head.xattrs {
                fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
            }
            fs::futimens(file, &head.times)
        };
        set().map_err(|errno| LayerError::Write(path.to_owned(), errno.into()))
    }

    /// Owner, mode and times of a link or FIFO.
    fn attributes_of_name(
        &self,
        path: &Path,
        dir: &OwnedFd,
        name: &OsStr,
        head: &Head,
    ) -> Result<(), LayerError> {
        let set = || -> Result<(), Errno> {
            fs::chownat(dir, name, Some(head.owner), Some(head.group), AtFlags::SYMLINK_NOFOLLOW)?;
            if head.kind == EntryType::Fifo {
                fs::chmodat(dir, name, head.mode, AtFlags::empty())?;
            }
            fs::utimensat(dir, name, &head.times, AtFlags::SYMLINK_NOFOLLOW)
        };
        set().map_err(|errno| LayerError::Write(path.to_owned(), errno.into()))
    }
}

/// What an entry's headers say.
struct Head {
    kind: EntryType,
    mode: Mode,
    owner: Uid,
    group: Gid,
    times: Timestamps,
    /// Of files (bytes).
    size: u64,
    /// Of links.
    target: Vec<u8>,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn of(path: &Path, entry: &mut tar::Entry<'_, impl Read>) -> Result<Self, LayerError> {
        let wrong = |error: io::Error| LayerError::Entry(path.to_owned(), error.to_string());
        let mut xattrs = Vec::new();
        for record in entry.pax_extensions().map_err(wrong)?.into_iter().flatten() {
            let record = record.map_err(wrong)?;
            let name = record.key().ok().and_then(|key| key.strip_prefix(XATTR));
            if let Some(name) = name.filter(|name| is_kept(name)) {
                xattrs.push((name.to_owned(), record.value_bytes().to_vec()));
            }
        }
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let size = entry.size();
        let header = entry.header();
        let id = |id: io::Result<u64>| {
            let id = id.map_err(wrong)?;
            // The highest number means "no change" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or_else(|| LayerError::Entry(path.to_owned(), format!("{id} is not a user or group")))
        };
        let seconds = i64::try_from(header.mtime().map_err(wrong)?).unwrap_or(0);
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        Ok(Self {
            kind: header.entry_type(),
            mode: Mode::from_raw_mode(header.mode().map_err(wrong)? & 0o7777),
            owner: Uid::from_raw(id(header.uid())?),
            group: Gid::from_raw(id(header.gid())?),
            times: Timestamps { last_access: time, last_modification: time },
            size,
            target,
            xattrs,
        })
    }
}

/// Attributes that mean the same on a node: capabilities, access lists, users' own. Labels of a security
/// module and notes of overlay file systems belong to the machine that made the image.
fn is_kept(xattr: &str) -> bool {
    xattr == "security.capability" || xattr.starts_with("user.") || xattr.starts_with("system.posix_acl_")
}

/// The path of an entry below the root: no `..`, no NUL.
fn entry_path(bytes: &[u8]) -> Result<PathBuf, LayerError> {
    let given = Path::new(OsStr::from_bytes(bytes));
    let refused = |why: &str| Err(LayerError::Entry(given.to_owned(), why.to_owned()));
    if bytes.len() > PATH_BYTES_MAX {
        return refused("a path that is too long");
    }
    if bytes.contains(&0) {
        return refused("a path with a NUL byte");
    }
    let mut path = PathBuf::new();
    for part in given.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return refused("a path with .."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(path)
}

/// Removes all in a directory but what is in `kept`.
fn empty(dir: &OwnedFd, path: &Path, kept: &HashSet<PathBuf>) -> Result<(), Errno> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    for name in names {
        let name = OsStr::from_bytes(&name);
        let below = path.join(name);
        if !kept.contains(&below) {
            remove(dir, name, &below, kept)?;
        }
    }
    Ok(())
}

/// Removes a file, link or directory with all in it but what is in `kept`. A link is not followed.
fn remove(dir: &OwnedFd, name: &OsStr, path: &Path, kept: &HashSet<PathBuf>) -> Result<(), Errno> {
    match fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = fs::openat(dir, name, flags, Mode::empty())?;
    empty(&inner, path, kept)?;
    match fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        // Something of this layer is in it.
        Err(Errno::NOTEMPTY) if !kept.is_empty() => Ok(()),
        removed => removed,
    }
}

/// A reader that returns at most the allowed number of bytes.
struct Metered<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let used = u64::try_from(length).unwrap_or(u64::MAX);
        match self.allowed.get().checked_sub(used) {
            Some(left) => self.allowed.set(left),
            None => return Err(io::Error::other("an entry's head is too long")),
        }
        Ok(length)
    }
}
