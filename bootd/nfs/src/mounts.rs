//! Private mounts: one for each file system and kind of access, shared by all regions on it.
//!
//! A private mount is a detached clone of the mount that has the tree (`open_tree`): nothing mounted below
//! shows in it, the read-only one is read-only to the kernel, device nodes cannot be opened through it and
//! access times stay. It costs one descriptor however many nodes have areas on the file system. Without
//! CAP_SYS_ADMIN the plain mount serves instead.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::OFlags;
use rustix::io::Errno;

use dawn_serving::mounts::Mounts as MountTable;

use crate::export::Access;
use crate::sys::{self, Stat};

/// A descriptor through which handles of one file system are opened.
#[derive(Debug)]
pub struct Mount {
    fd: OwnedFd,
    /// Id of the mount that objects opened through it show.
    pub id: u64,
}

impl Mount {
    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The mounts in use.
#[derive(Debug, Default)]
pub struct Mounts {
    known: Mutex<HashMap<(u64, Access), Weak<Mount>>>,
}

impl Mounts {
    /// The mount for the file system of `path`, whose attributes are `stat`.
    pub fn of(&self, path: &Path, stat: &Stat, access: Access) -> Result<Arc<Mount>, Errno> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = |known: &HashMap<_, Weak<Mount>>| known.get(&(stat.dev, access)).and_then(Weak::upgrade);
        if let Some(mount) = of_key(&known()) {
            return Ok(mount);
        }
        // Not under the lock: a file system that hangs must not hold the others.
        let mount = Arc::new(open(path, stat, access)?);
        let mut known = known();
        if let Some(faster) = of_key(&known) {
            return Ok(faster);
        }
        known.retain(|_, mount| mount.strong_count() > 0);
        known.insert((stat.dev, access), Arc::downgrade(&mount));
        Ok(mount)
    }
}

fn open(path: &Path, stat: &Stat, access: Access) -> Result<Mount, Errno> {
    let table = MountTable::now();
    let fd = table.of_id(stat.mount).and_then(|top| private(top, stat, access).ok());
    let fd = match fd {
        Some(fd) => fd,
        None => private(path, stat, access)?,
    };
    let id = sys::stat(fd.as_fd(), c"")?.mount;
    Ok(Mount { fd, id })
}

/// Opens `path` through a clone of its mount; the descriptor must be a real one, not O_PATH.
fn private(path: &Path, stat: &Stat, access: Access) -> Result<OwnedFd, Errno> {
    let root = clone_or_plain(path, access)?;
    let found = sys::stat(root.as_fd(), c"")?;
    // Another file system may be mounted over the place.
    if found.dev != stat.dev {
        return Err(Errno::XDEV);
    }
    match found.is_dir() {
        true => sys::reopen(root.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY),
        false if found.is_file() => sys::reopen(root.as_fd(), OFlags::RDONLY),
        false => Err(Errno::NOTDIR),
    }
}

/// A private clone of the tree at `path`, O_PATH, or the tree itself where that is not allowed.
pub fn clone_or_plain(path: &Path, access: Access) -> Result<OwnedFd, Errno> {
    match sys::clone_mount(path, access == Access::ReadOnly) {
        Err(Errno::PERM | Errno::NOSYS | Errno::INVAL | Errno::ACCESS) => sys::open_path(path),
        other => other,
    }
}
