//! Looking into the directories of `litetree`.

use dawn_serving::lookup::{self, Failure, failure};
use dawn_statelite::resolve::Found;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Content that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where it is, free of links.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory in which nothing was found.
    pub is_empty: bool,
    /// What distinguishes this state of a file from another: inode, size, time of change.
    pub state: (u64, u64, i64, i64),
}

impl Hit {
    /// What is at `path`, which holds no links.
    ///
    /// # Errors
    /// The system's.
    pub fn at(path: PathBuf) -> io::Result<Self> {
        let meta = fs::symlink_metadata(&path)?;
        let state = (meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec());
        Ok(Self { is_dir: meta.is_dir(), is_file: meta.is_file(), is_empty: false, path, state })
    }
}

impl From<Hit> for Found<PathBuf> {
    fn from(hit: Hit) -> Self {
        Self { at: hit.path, is_dir: hit.is_dir, is_file: hit.is_file, is_empty: hit.is_empty }
    }
}

/// One directory of `litetree`.
pub(super) trait TreeLook {
    /// The content for an absolute path.
    fn find(&self, path: &str) -> Option<Hit>;

    /// Whether a link is at `path` that leads to nothing in this directory.
    fn is_loose_link(&self, path: &str) -> bool;

    /// How the directory itself is shown to a node.
    fn whole(&self) -> Whole;

    /// What is wrong with it.
    fn problem(&self) -> Option<String>;

    /// Whether a look has failed for a temporary reason, so that a file that was not found may still exist.
    fn is_unsure(&self) -> bool;
}

/// How a tree itself is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whole {
    /// The directory at this path.
    Here(PathBuf),
    /// Only what is found in it.
    Far,
    /// There is none.
    Missing,
}

/// A directory on a file system of this machine.
#[derive(Debug)]
pub(super) struct LocalTree {
    path: PathBuf,
    fd: Option<OwnedFd>,
    unsure: Cell<bool>,
}

impl LocalTree {
    /// Opens it. One that is not there (trees by node often are not) has no content.
    pub(super) fn open(path: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = lookup::open(CWD, path, flags, Mode::empty(), ResolveFlags::empty());
        let unsure = Cell::new(opened.as_ref().is_err_and(|errno| failure(*errno) == Failure::Passing));
        Self { path: path.to_owned(), fd: opened.ok(), unsure }
    }

    /// What `path` leads to. Links of a tree stay in the tree: the person who fills it must not reach the
    /// rest of this machine.
    fn open_inside(&self, path: &str, flags: OFlags) -> Option<OwnedFd> {
        let path = path.trim_start_matches('/');
        self.sure(lookup::open(self.fd.as_ref()?, path, flags, Mode::empty(), ResolveFlags::IN_ROOT))
    }

    /// A result, with a failure that passes noted.
    fn sure<T>(&self, result: Result<T, Errno>) -> Option<T> {
        if result.as_ref().is_err_and(|errno| failure(*errno) == Failure::Passing) {
            self.unsure.set(true);
        }
        result.ok()
    }

    fn sure_io<T>(&self, result: io::Result<T>) -> Option<T> {
        self.sure(result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }
}

impl TreeLook for LocalTree {
    fn find(&self, path: &str) -> Option<Hit> {
        let found = self.open_inside(path, OFlags::PATH)?;
        let path = self.sure_io(fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())))?;
        let hit = self.sure_io(Hit::at(path))?;
        let is_empty = hit.is_dir && self.sure_io(fs::read_dir(&hit.path))?.next().is_none();
        Some(Hit { is_empty, ..hit })
    }

    fn is_loose_link(&self, path: &str) -> bool {
        let flags = OFlags::PATH;
        let is_link = |fd: OwnedFd| {
            rustix::fs::fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
        };
        self.open_inside(path, flags | OFlags::NOFOLLOW).is_some_and(is_link)
            && self.open_inside(path, flags).is_none()
    }

    fn whole(&self) -> Whole {
        self.fd.as_ref().map_or(Whole::Missing, |_| Whole::Here(self.path.clone()))
    }

    fn problem(&self) -> Option<String> {
        None
    }

    fn is_unsure(&self) -> bool {
        self.unsure.get()
    }
}
