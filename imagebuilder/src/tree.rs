//! The tree that goes into an image: names, owners, modes, links, devices and where the bytes are.
//!
//! All archive writers ([`crate::squashfs`], cpio, tar) read this one description, so excluding, adding and
//! replacing entries is done here and the directory on disk is never edited. Only metadata is in memory
//! (some 200 bytes an entry); file contents stay where they are until a writer asks for them.
//!
//! A scan does not leave the file system of its root (a mount point appears as an empty directory, as with
//! `find -xdev`) and never follows symbolic links. What cannot be read stops the scan with the path.
//! Entries are kept in byte order of their names: the same tree gives the same archive.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::exlist::Exlist;

/// Longest list of extended attribute names the kernel returns for one entry (bytes, `XATTR_LIST_MAX`).
const XATTR_LIST_BYTES_MAX: usize = 64 * 1024;
/// Longest value of an extended attribute (bytes, `XATTR_SIZE_MAX`).
const XATTR_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Largest file that [`Tree::read`] returns as a whole (bytes); configuration files are far smaller.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Symbolic links on the way to one entry (the kernel's own limit, path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What went wrong with a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file, directory or attribute of the tree could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The path on this machine.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path cannot be placed in the tree: a parent is missing or is not a directory.
    #[error("{0}: a parent is not a directory of the image")]
    NotADirectory(String),
    /// A file has another size than it had during the scan.
    #[error("{0}: the file changed while the image was packed")]
    Changed(PathBuf),
    /// [`Tree::read`] refused a huge file.
    #[error("{0}: file is larger than {READ_BYTES_MAX} bytes")]
    TooLarge(String),
}

/// Index of an inode in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(usize);

impl InodeId {
    /// Position in per-inode side tables of length [`Tree::inode_slots`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// Owner, mode, time and extended attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky (`07777`).
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`), sorted.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    /// Metadata of a made-up entry that belongs to root.
    pub fn root(mode: u16, mtime: i64) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
    }
}

/// Where the bytes of a regular file are.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file on this machine.
    Host(PathBuf),
    /// Bytes that were made up for the image.
    Bytes(Arc<[u8]>),
}

/// What an inode is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory with its entries in byte order.
    Dir(BTreeMap<Vec<u8>, InodeId>),
    /// A regular file of `size` bytes.
    File {
        /// Length in bytes.
        size: u64,
        /// Where the bytes are.
        content: Content,
    },
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    Char {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A local socket.
    Socket,
}

impl Kind {
    /// A regular file with the given bytes.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Kind::File { size: bytes.len() as u64, content: Content::Bytes(bytes) }
    }

    /// An empty directory.
    pub fn dir() -> Self {
        Kind::Dir(BTreeMap::new())
    }
}

/// One inode: several names of a tree may lead to it (hard links).
#[derive(Debug, Clone)]
pub struct Inode {
    /// Owner, mode, time.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// A name of the tree, as [`Tree::walk`] lists them.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Path without leading slash; empty for the root.
    pub path: Vec<u8>,
    /// The inode of this name.
    pub id: InodeId,
}

/// A whole image in names and metadata.
#[derive(Debug, Clone)]
pub struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    /// A tree with only a root directory.
    pub fn empty(root: Meta) -> Self {
        Self { inodes: vec![Inode { meta: root, kind: Kind::dir() }] }
    }

    /// Read the directory `root` without leaving its file system, leaving out what `exlist` says.
    pub fn scan(root: &Path, exlist: &Exlist) -> Result<Self, TreeError> {
        let top = stat(root)?;
        if !top.is_dir() {
            return Err(TreeError::NotADirectory(root.display().to_string()));
        }
        let mut tree = Self::empty(meta_of(root, &top)?);
        Scan { tree: &mut tree, exlist, device: top.dev(), links: HashMap::new() }.directory(
            root,
            Vec::new(),
            InodeId(0),
        )?;
        if !exlist.is_empty() {
            tree.prune(exlist);
        }
        Ok(tree)
    }

    /// Replace `path` of the image by a copy of the directory `source`.
    pub fn graft(&mut self, path: &str, source: &Path) -> Result<(), TreeError> {
        let top = stat(source)?;
        if !top.is_dir() {
            return Err(TreeError::NotADirectory(source.display().to_string()));
        }
        let id = self.put(path, meta_of(source, &top)?, Kind::dir())?;
        let everything = Exlist::default();
        Scan { tree: self, exlist: &everything, device: top.dev(), links: HashMap::new() }.directory(
            source,
            Vec::new(),
            id,
        )
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        InodeId(0)
    }

    /// The inode of an id that this tree handed out.
    #[allow(clippy::indexing_slicing, reason = "ids are made by this tree only and inodes are never removed")]
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.0]
    }

    #[allow(clippy::indexing_slicing, reason = "ids are made by this tree only and inodes are never removed")]
    fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.0]
    }

    /// Length a table indexed by [`InodeId::index`] must have.
    pub fn inode_slots(&self) -> usize {
        self.inodes.len()
    }

    /// The inode at `path` (with or without leading slash); symbolic links are not followed.
    pub fn get(&self, path: &str) -> Option<InodeId> {
        parts(path).try_fold(self.root(), |id, part| match &self.inode(id).kind {
            Kind::Dir(entries) => entries.get(part).copied(),
            _ => None,
        })
    }

    /// The path with links of the tree followed, the last name's only if `all`. Names that are not there
    /// stay. `None`: a loop of links.
    pub(crate) fn followed(&self, path: &str, all: bool) -> Option<String> {
        let names = |text: &str| -> Vec<String> { text.split('/').rev().map(str::to_owned).collect() };
        let (mut todo, mut done, mut links) = (names(path), Vec::<String>::new(), 0);
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => drop(done.pop()),
                _ => done.push(name),
            }
            let is_last = todo.iter().all(String::is_empty);
            let Some(id) = self.get(&done.join("/")).filter(|_| all || !is_last) else { continue };
            if let Kind::Symlink(target) = &self.inode(id).kind {
                links += 1;
                let target = std::str::from_utf8(target).ok().filter(|_| links <= LINKS_MAX)?;
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(names(target));
            }
        }
        Some(done.join("/"))
    }

    /// Put an entry at `path`, replacing what was there. Missing parents are made (root, 0755).
    pub fn put(&mut self, path: &str, meta: Meta, kind: Kind) -> Result<InodeId, TreeError> {
        let mut parts: Vec<&[u8]> = parts(path).collect();
        let Some(name) = parts.pop() else {
            return Err(TreeError::NotADirectory(path.to_owned()));
        };
        let mut dir = self.root();
        for part in parts {
            dir = self
                .child_dir(dir, part, meta.mtime)
                .ok_or_else(|| TreeError::NotADirectory(path.to_owned()))?;
        }
        let id = self.push(Inode { meta, kind });
        match &mut self.inode_mut(dir).kind {
            Kind::Dir(entries) => entries.insert(name.to_vec(), id),
            _ => return Err(TreeError::NotADirectory(path.to_owned())),
        };
        Ok(id)
    }

    /// Put a root-owned regular file with these bytes at `path`.
    pub fn put_file(
        &mut self,
        path: &str,
        mode: u16,
        mtime: i64,
        bytes: Vec<u8>,
    ) -> Result<InodeId, TreeError> {
        self.put(path, Meta::root(mode, mtime), Kind::bytes(bytes))
    }

    /// Replace the bytes of the regular file at `path`, keeping owner and mode; makes it (0644) if missing.
    /// Other names of a hard-linked file keep the old bytes.
    pub fn replace_bytes(&mut self, path: &str, mtime: i64, bytes: Vec<u8>) -> Result<InodeId, TreeError> {
        let mut meta = match self.get(path) {
            Some(id) if matches!(self.inode(id).kind, Kind::File { .. }) => self.inode(id).meta.clone(),
            _ => Meta::root(0o644, mtime),
        };
        meta.mtime = mtime;
        self.put(path, meta, Kind::bytes(bytes))
    }

    /// Take the name `path` (and everything below it) out of the image. `false`: it was not there.
    pub fn remove(&mut self, path: &str) -> bool {
        let trimmed = path.trim_end_matches('/');
        let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        let Some(dir) = self.get(parent) else { return false };
        match &mut self.inode_mut(dir).kind {
            Kind::Dir(entries) => entries.remove(name.as_bytes()).is_some(),
            _ => false,
        }
    }

    /// Move the entry `from` to `to`, replacing an existing entry. `false`: there is no `from`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<bool, TreeError> {
        let Some(id) = self.get(from) else { return Ok(false) };
        // The place is made with an entry of no account, which the moved one then replaces.
        self.put(to, Meta::root(0, 0), Kind::Fifo)?;
        self.remove(from);
        let (parent, name) = to.trim_end_matches('/').rsplit_once('/').unwrap_or(("", to));
        if let Some(dir) = self.get(parent)
            && let Kind::Dir(entries) = &mut self.inode_mut(dir).kind
        {
            entries.insert(name.as_bytes().to_vec(), id);
        }
        Ok(true)
    }

    /// The bytes of the regular file at `path`; `None` when there is no such regular file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        let Some(id) = self.get(path) else { return Ok(None) };
        match &self.inode(id).kind {
            Kind::File { size, .. } if *size > READ_BYTES_MAX => Err(TreeError::TooLarge(path.to_owned())),
            Kind::File { size, content } => {
                let mut reader = Reader::open(content, *size)?;
                let mut bytes = vec![0; usize::try_from(*size).unwrap_or(0)];
                reader.fill(&mut bytes)?;
                Ok(Some(bytes))
            }
            _ => Ok(None),
        }
    }

    /// Every name from the root down, parents before children, children in byte order.
    pub fn walk(&self) -> Vec<Entry> {
        let mut all = Vec::with_capacity(self.inodes.len());
        let mut todo = vec![Entry { path: Vec::new(), id: self.root() }];
        while let Some(entry) = todo.pop() {
            if let Kind::Dir(entries) = &self.inode(entry.id).kind {
                for (name, id) in entries.iter().rev() {
                    todo.push(Entry { path: join(&entry.path, name), id: *id });
                }
            }
            all.push(entry);
        }
        all
    }

    /// Number of names of every inode, indexed by [`InodeId::index`]; directories count like `stat` does.
    pub fn link_counts(&self) -> Vec<u32> {
        let mut counts = vec![0u32; self.inodes.len()];
        for entry in self.walk() {
            let mut add = 1;
            if let Kind::Dir(entries) = &self.inode(entry.id).kind {
                let dirs =
                    entries.values().filter(|id| matches!(self.inode(**id).kind, Kind::Dir(_))).count();
                add = u32::try_from(dirs).unwrap_or(u32::MAX).saturating_add(2);
            }
            if let Some(count) = counts.get_mut(entry.id.0) {
                *count = count.saturating_add(add);
            }
        }
        counts
    }

    /// The newest modification time of all entries: a time for the archive that needs no clock.
    pub fn newest_mtime(&self) -> i64 {
        self.walk().iter().map(|entry| self.inode(entry.id).meta.mtime).max().unwrap_or(0)
    }

    fn push(&mut self, inode: Inode) -> InodeId {
        self.inodes.push(inode);
        InodeId(self.inodes.len() - 1)
    }

    /// The directory `name` in `dir`, made when missing. `None`: something else has that name.
    fn child_dir(&mut self, dir: InodeId, name: &[u8], mtime: i64) -> Option<InodeId> {
        let Kind::Dir(entries) = &self.inode(dir).kind else { return None };
        if let Some(id) = entries.get(name).copied() {
            return matches!(self.inode(id).kind, Kind::Dir(_)).then_some(id);
        }
        let id = self.push(Inode { meta: Meta::root(0o755, mtime), kind: Kind::dir() });
        if let Kind::Dir(entries) = &mut self.inode_mut(dir).kind {
            entries.insert(name.to_vec(), id);
        }
        Some(id)
    }

    /// Drop excluded directories that hold nothing. An excluded directory with a wanted entry below it stays,
    /// as the archive needs somewhere to put that entry.
    fn prune(&mut self, exlist: &Exlist) {
        let dirs: Vec<Entry> =
            self.walk().into_iter().filter(|e| matches!(self.inode(e.id).kind, Kind::Dir(_))).collect();
        for entry in dirs.iter().rev().filter(|e| !e.path.is_empty()) {
            let empty = matches!(&self.inode(entry.id).kind, Kind::Dir(entries) if entries.is_empty());
            if empty && !exlist.keeps(&entry.path) {
                self.remove_bytes(&entry.path);
            }
        }
    }

    fn remove_bytes(&mut self, path: &[u8]) {
        let mut parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let name = parts.pop().unwrap_or_default();
        let parent = parts.iter().try_fold(self.root(), |id, part| match &self.inode(id).kind {
            Kind::Dir(entries) => entries.get(*part).copied(),
            _ => None,
        });
        if let Some(Kind::Dir(entries)) = parent.map(|id| &mut self.inode_mut(id).kind) {
            entries.remove(name);
        }
    }
}

/// One scan: where it puts entries and what it has seen of hard links.
struct Scan<'a> {
    tree: &'a mut Tree,
    exlist: &'a Exlist,
    device: u64,
    links: HashMap<(u64, u64), InodeId>,
}

impl Scan<'_> {
    /// Add everything below `host` to the directory `id`; `path` is its path in the image.
    fn directory(&mut self, host: &Path, path: Vec<u8>, id: InodeId) -> Result<(), TreeError> {
        let mut todo = vec![(host.to_owned(), path, id)];
        while let Some((host, path, id)) = todo.pop() {
            let mut entries = BTreeMap::new();
            for item in fs::read_dir(&host).map_err(|source| read_error(&host, source))? {
                let item = item.map_err(|source| read_error(&host, source))?;
                let (child_host, name) = (item.path(), item.file_name().into_vec());
                let child_path = join(&path, &name);
                let stat = stat(&child_host)?;
                if !stat.is_dir() && !self.exlist.keeps(&child_path) {
                    continue;
                }
                let child = self.entry(&child_host, &stat)?;
                entries.insert(name, child);
                if stat.is_dir() && stat.dev() == self.device {
                    todo.push((child_host, child_path, child));
                }
            }
            self.tree.inode_mut(id).kind = Kind::Dir(entries);
        }
        Ok(())
    }

    fn entry(&mut self, host: &Path, stat: &fs::Metadata) -> Result<InodeId, TreeError> {
        let linked = !stat.is_dir() && stat.nlink() > 1;
        let key = (stat.dev(), stat.ino());
        if let Some(id) = linked.then(|| self.links.get(&key)).flatten() {
            return Ok(*id);
        }
        let inode = Inode { meta: meta_of(host, stat)?, kind: kind_of(host, stat)? };
        let id = self.tree.push(inode);
        if linked {
            self.links.insert(key, id);
        }
        Ok(id)
    }
}

/// A reader that gives exactly the length the scan saw, or says that the file changed.
pub struct Reader<'a> {
    source: Source<'a>,
    path: &'a Path,
}

enum Source<'a> {
    File(File),
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    /// Open the content of a file of `size` bytes.
    pub fn open(content: &'a Content, size: u64) -> Result<Self, TreeError> {
        match content {
            Content::Bytes(bytes) => {
                Ok(Self { source: Source::Bytes(bytes), path: Path::new("made-up file") })
            }
            Content::Host(path) => {
                let file =
                    File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
                let file = file.map_err(|source| read_error(path, source))?;
                let stat = file.metadata().map_err(|source| read_error(path, source))?;
                if !stat.is_file() || stat.len() != size {
                    return Err(TreeError::Changed(path.clone()));
                }
                Ok(Self { source: Source::File(file), path })
            }
        }
    }

    /// Fill the whole buffer with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TreeError> {
        match self.read_exact(buffer) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(TreeError::Changed(self.path.to_owned()))
            }
            Err(source) => Err(read_error(self.path, source)),
        }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::File(file) => file.read(buffer),
            Source::Bytes(bytes) => bytes.read(buffer),
        }
    }
}

fn kind_of(host: &Path, stat: &fs::Metadata) -> Result<Kind, TreeError> {
    let kind = stat.file_type();
    let (major, minor) = (libc::major(stat.rdev()), libc::minor(stat.rdev()));
    Ok(if kind.is_dir() {
        Kind::dir()
    } else if kind.is_file() {
        Kind::File { size: stat.len(), content: Content::Host(host.to_owned()) }
    } else if kind.is_symlink() {
        let target = fs::read_link(host).map_err(|source| read_error(host, source))?;
        Kind::Symlink(target.into_os_string().into_vec())
    } else if kind.is_char_device() {
        Kind::Char { major, minor }
    } else if kind.is_block_device() {
        Kind::Block { major, minor }
    } else if kind.is_fifo() {
        Kind::Fifo
    } else {
        Kind::Socket
    })
}

fn meta_of(host: &Path, stat: &fs::Metadata) -> Result<Meta, TreeError> {
    let xattrs = xattrs_of(host).map_err(|source| read_error(host, source))?;
    let mode = u16::try_from(stat.mode() & 0o7777).unwrap_or(0);
    Ok(Meta { mode, uid: stat.uid(), gid: stat.gid(), mtime: stat.mtime(), xattrs })
}

/// The extended attributes of a path itself. File systems without them have none.
fn xattrs_of(host: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = [0u8; 1024];
    let list = match rustix::fs::llistxattr(host, &mut names) {
        Ok(0) => return Ok(Vec::new()),
        Ok(length) => names.get(..length).unwrap_or_default().to_vec(),
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(rustix::io::Errno::RANGE) => {
            let mut names = vec![0; XATTR_LIST_BYTES_MAX];
            let length = rustix::fs::llistxattr(host, &mut names)?;
            names.truncate(length);
            names
        }
        Err(e) => return Err(e.into()),
    };
    let mut all = Vec::new();
    for name in list.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; XATTR_VALUE_BYTES_MAX];
        match rustix::fs::lgetxattr(host, std::ffi::OsStr::from_bytes(name), &mut value) {
            Ok(length) => value.truncate(length),
            Err(rustix::io::Errno::NODATA) => continue,
            Err(e) => return Err(e.into()),
        }
        all.push((name.to_vec(), value));
    }
    all.sort();
    Ok(all)
}

fn stat(path: &Path) -> Result<fs::Metadata, TreeError> {
    fs::symlink_metadata(path).map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: io::Error) -> TreeError {
    TreeError::Read { path: path.to_owned(), source }
}

fn parts(path: &str) -> impl Iterator<Item = &[u8]> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::as_bytes)
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
