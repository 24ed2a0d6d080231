//! One served directory. No path and no symbolic link can reach anything outside of it.
//!
//! Containment is the kernel's: `openat2` with `RESOLVE_BENEATH` (Linux 5.6). A file is first opened by name
//! only (`O_PATH`), examined, and then opened for reading through that handle, so that a FIFO cannot block us
//! and a device node of an image tree (a watchdog, say) is never opened at all.
//!
//! The daemon runs as root, but any machine can send a request: only what *everybody* may read on the server
//! is given out. An image's `/etc/shadow` or a directory with mode 0700 is refused with that reason.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::cache::FileCache;
use crate::lookup;
use crate::{OpenFile, RequestPath};

/// Most names one listing shows; the rest is cut off with a note.
pub const LISTING_ENTRIES_MAX: usize = 20_000;

/// A path never leads out of the tree, not even by symbolic links.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// A directory that is served.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
    cache: FileCache,
}

/// Why a path of a tree cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// No such name.
    #[error("no such file")]
    NotFound,
    /// A symbolic link led out of the tree, or begins at the root of the file system, which the kernel takes
    /// for the same.
    #[error(
        "a symbolic link is absolute or leads outside the served directory; links within it must be relative"
    )]
    Escapes,
    /// Symbolic links that lead to each other.
    #[error("symbolic links lead in a circle")]
    Circle,
    /// Not a file or directory.
    #[error("it is {0}, not a regular file")]
    Special(&'static str),
    /// The server's permission bits keep it from others.
    #[error("it is not readable for everybody on the server")]
    Private,
    /// The system said no.
    #[error("the server cannot read it: {0}")]
    Io(io::Error),
}

/// Files that a source names itself, by their place on the server: a kernel of an image, say. Like those of a
/// [`Tree`] they are opened once for all clients; the source decides who may have them.
#[derive(Debug, Default)]
pub struct NamedFiles {
    cache: FileCache,
}

impl NamedFiles {
    /// The file at `path`, if that can be said without asking a disk.
    pub fn open_at_once(&self, path: &Path) -> Option<OpenFile> {
        self.cache.find_at_once(fs::CWD, path.to_str()?, ResolveFlags::empty())
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// [`TreeError`]: missing, special, or the system's error.
    pub fn open(&self, path: &Path) -> Result<OpenFile, TreeError> {
        let name = path.to_str().ok_or(TreeError::NotFound)?;
        if let Some(file) = self.cache.find(fs::CWD, name) {
            return Ok(file);
        }
        let handle = fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(tree_error)?;
        let stat = fs::fstat(&handle).map_err(|e| TreeError::Io(e.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            other => return Err(TreeError::Special(kind_name(other))),
        }
        let file = reopen(&handle, OFlags::RDONLY)?;
        self.cache.keep(name, path, File::from(file)).map_err(TreeError::Io)
    }
}

/// What [`Tree::open`] found.
#[derive(Debug)]
pub enum Entry {
    /// A regular file, open for reading.
    File(OpenFile),
    /// A directory.
    Directory(OpenDir),
}

/// What a name in a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file with its size in bytes.
    File(u64),
    /// A directory.
    Directory,
}

/// A directory of a tree, to be listed.
#[derive(Debug)]
pub struct OpenDir {
    dir: OwnedFd,
}

impl Tree {
    /// Opens a directory to serve from.
    ///
    /// # Errors
    /// When it does not exist, is not a directory or cannot be opened.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(path, flags, Mode::empty())?;
        Ok(Self { root, path: path.to_owned(), cache: FileCache::default() })
    }

    /// The directory's path on the server.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file at `path`, if that can be said without asking a disk.
    pub fn open_at_once(&self, path: &RequestPath) -> Option<OpenFile> {
        self.cache.find_at_once(&self.root, path.as_str(), BENEATH)
    }

    /// Opens what `path` names. May wait for a disk.
    ///
    /// # Errors
    /// [`TreeError`]: missing, outside, special, private, or the system's error.
    pub fn open(&self, path: &RequestPath) -> Result<Entry, TreeError> {
        if let Some(file) = self.cache.find(&self.root, path.as_str()) {
            return Ok(Entry::File(file));
        }
        let handle = self.handle(path.as_str())?;
        let stat = fs::fstat(&handle).map_err(|e| TreeError::Io(e.into()))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                self.check_public(&handle, mode.contains(Mode::ROTH))?;
                let file = reopen(&handle, OFlags::RDONLY)?;
                self.cache
                    .keep(path.as_str(), &self.path.join(path.as_str()), File::from(file))
                    .map(Entry::File)
                    .map_err(TreeError::Io)
            }
            FileType::Directory => {
                self.check_public(&handle, mode.contains(Mode::ROTH | Mode::XOTH))?;
                let dir = reopen(&handle, OFlags::RDONLY | OFlags::DIRECTORY)?;
                Ok(Entry::Directory(OpenDir { dir }))
            }
            other => Err(TreeError::Special(kind_name(other))),
        }
    }

    /// Where on this machine `path` leads, links of the tree followed; nothing where it leads nowhere in the
    /// tree.
    ///
    /// # Errors
    /// [`TreeError::Io`]: a lack of descriptors, say, does not tell where it leads.
    pub fn real_path(&self, path: &RequestPath) -> Result<Option<PathBuf>, TreeError> {
        match self.handle(path.as_str()) {
            Ok(handle) => real_path(&handle).map(Some),
            Err(error @ TreeError::Io(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Where the directory itself is now. Asks no disk.
    pub fn real_root(&self) -> Option<PathBuf> {
        real_path(&self.root).ok()
    }

    /// [`Tree::real_path`], if that can be said without asking a disk.
    pub fn real_path_at_once(&self, path: &RequestPath) -> Option<PathBuf> {
        let name = if path.is_root() { "." } else { path.as_str() };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = BENEATH.union(ResolveFlags::CACHED);
        real_path(&fs::openat2(&self.root, name, flags, Mode::empty(), resolve).ok()?).ok()
    }

    fn handle(&self, path: &str) -> Result<OwnedFd, TreeError> {
        let name = if path.is_empty() { "." } else { path };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        lookup::open(&self.root, name, flags, Mode::empty(), BENEATH).map_err(tree_error)
    }

    /// Every directory on the way must be enterable by everybody, as if the server had no special rights.
    /// The way is the one to the file itself: a symbolic link must not lead around a directory that is
    /// closed.
    fn check_public(&self, handle: &OwnedFd, own: bool) -> Result<(), TreeError> {
        if !own {
            return Err(TreeError::Private);
        }
        let (root, real) = (real_path(&self.root)?, real_path(handle)?);
        // A file that was moved out while we looked at it is not ours to give.
        let inside = real.strip_prefix(&root).map_err(|_| TreeError::NotFound)?;
        for parent in inside.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            let stat = fs::statat(&self.root, parent, AtFlags::SYMLINK_NOFOLLOW).map_err(tree_error)?;
            if !Mode::from_raw_mode(stat.st_mode).contains(Mode::XOTH) {
                return Err(TreeError::Private);
            }
        }
        Ok(())
    }
}

/// Where the inode that `handle` names is now, without symbolic links.
fn real_path(handle: &OwnedFd) -> Result<PathBuf, TreeError> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).map_err(TreeError::Io)
}

/// Opens the very inode that `handle` names, by its entry in /proc: names may have changed meanwhile.
fn reopen(handle: &OwnedFd, flags: OFlags) -> Result<OwnedFd, TreeError> {
    use std::os::fd::AsRawFd;
    let name = format!("/proc/self/fd/{}", handle.as_raw_fd());
    fs::open(name, flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
        .map_err(|e| TreeError::Io(e.into()))
}

fn tree_error(errno: rustix::io::Errno) -> TreeError {
    use rustix::io::Errno;
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => TreeError::NotFound,
        Errno::XDEV => TreeError::Escapes,
        Errno::LOOP => TreeError::Circle,
        other => TreeError::Io(other.into()),
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Directory => "a directory",
        _ => "something special",
    }
}

impl OpenDir {
    /// Names in byte order, files with their size; what is neither file nor directory, hidden, or not
    /// readable for everybody is left out. The flag says whether [`LISTING_ENTRIES_MAX`] cut the list.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> io::Result<(Vec<(String, EntryKind)>, bool)> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.dir)? {
            let entry = entry?;
            if names.len() >= LISTING_ENTRIES_MAX {
                names.sort();
                return Ok((self.describe(names), true));
            }
            if !entry.file_name().to_bytes().starts_with(b".") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort();
        Ok((self.describe(names), false))
    }

    fn describe(&self, names: Vec<CString>) -> Vec<(String, EntryKind)> {
        names.into_iter().filter_map(|name| self.describe_one(name)).collect()
    }

    fn describe_one(&self, name: CString) -> Option<(String, EntryKind)> {
        let stat = fs::statat(&self.dir, &name, AtFlags::empty()).ok()?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if mode.contains(Mode::ROTH) => {
                EntryKind::File(u64::try_from(stat.st_size).unwrap_or(0))
            }
            FileType::Directory if mode.contains(Mode::ROTH | Mode::XOTH) => EntryKind::Directory,
            _ => return None,
        };
        Some((name.into_string().ok()?, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn path(text: &str) -> RequestPath {
        RequestPath::parse(text).unwrap()
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/kernel"), b"kernel").unwrap();
        let tree = Tree::open_root(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn opens_files_and_directories() {
        let (_dir, tree) = tree();
        assert!(matches!(tree.open(&path("sub/kernel")), Ok(Entry::File(f)) if f.size() == 6));
        assert!(matches!(tree.open(&path("sub")), Ok(Entry::Directory(_))));
        assert!(matches!(tree.open(&path("")), Ok(Entry::Directory(_))));
        assert!(matches!(tree.open(&path("sub/nothing")), Err(TreeError::NotFound)));
        assert!(matches!(tree.open(&path("sub/kernel/x")), Err(TreeError::NotFound)));
    }

    #[test]
    fn links_stay_inside() {
        let (dir, tree) = tree();
        symlink("sub/kernel", dir.path().join("inside")).unwrap();
        symlink("/etc/hostname", dir.path().join("absolute")).unwrap();
        symlink("../../../../../../etc/hostname", dir.path().join("sub/climbs")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        assert!(matches!(tree.open(&path("inside")), Ok(Entry::File(_))));
        assert!(matches!(tree.open(&path("absolute")), Err(TreeError::Escapes)));
        assert!(matches!(tree.open(&path("sub/climbs")), Err(TreeError::Escapes)));
        assert!(matches!(tree.open(&path("loop")), Err(TreeError::Circle)));
    }

    #[test]
    fn special_and_private_files_are_refused_with_the_reason() {
        let (dir, tree) = tree();
        fs::mknodat(fs::CWD, dir.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        std::fs::write(dir.path().join("shadow"), b"secret").unwrap();
        std::fs::set_permissions(dir.path().join("shadow"), PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(tree.open(&path("fifo")), Err(TreeError::Special("a FIFO"))));
        assert!(matches!(tree.open(&path("shadow")), Err(TreeError::Private)));
        std::fs::set_permissions(dir.path().join("sub"), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(matches!(tree.open(&path("sub/kernel")), Err(TreeError::Private)));
    }

    /// It is closed to local users of the server, but still served.
    #[test]
    fn the_top_itself_may_be_closed() {
        let (dir, tree) = tree();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(matches!(tree.open(&path("sub/kernel")), Ok(Entry::File(_))));
    }

    #[test]
    fn a_link_does_not_lead_around_a_closed_directory() {
        let (dir, tree) = tree();
        std::fs::create_dir(dir.path().join("sub/open")).unwrap();
        std::fs::write(dir.path().join("sub/open/key"), b"secret").unwrap();
        std::fs::set_permissions(dir.path().join("sub"), PermissionsExt::from_mode(0o700)).unwrap();
        symlink("sub/open/key", dir.path().join("file")).unwrap();
        symlink("sub/open", dir.path().join("folder")).unwrap();
        for name in ["file", "folder", "folder/key"] {
            assert!(matches!(tree.open(&path(name)), Err(TreeError::Private)), "{name}");
        }
    }

    #[test]
    fn an_open_file_keeps_its_content_when_the_name_gets_another() {
        let (dir, tree) = tree();
        let Ok(Entry::File(file)) = tree.open(&path("sub/kernel")) else { panic!("a file") };
        std::fs::write(dir.path().join("new"), b"NEWNEWNEW").unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join("sub/kernel")).unwrap();
        let mut buf = [0; 16];
        let content = crate::Content::File(file);
        assert_eq!(content.read_full_at(0, &mut buf).unwrap(), 6);
        assert_eq!(&buf[..6], b"kernel");
    }

    #[test]
    fn listings_are_sorted_and_show_no_private_names() {
        let (dir, tree) = tree();
        for (name, mode) in [("b", 0o644), ("a", 0o644), ("secret", 0o600), (".hidden", 0o644)] {
            std::fs::write(dir.path().join(name), name).unwrap();
            std::fs::set_permissions(dir.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let Ok(Entry::Directory(open)) = tree.open(&path("")) else { panic!("a directory") };
        let (names, cut) = open.list().unwrap();
        let names: Vec<_> = names.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        assert_eq!(
            names,
            [("a", EntryKind::File(1)), ("b", EntryKind::File(1)), ("sub", EntryKind::Directory)]
        );
        assert!(!cut);
    }
}
