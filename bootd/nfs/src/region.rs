//! A region: one real directory tree (or single file), and file handles into it.
//!
//! Every export has region 0, its own tree; overlay substitutes are further regions, and there may be many
//! thousands of them, so a region on a file system with kernel handles holds no descriptor: its root is a
//! handle like any other, opened through the shared mount (see [`crate::mounts`]).
//!
//! File handles are the kernel's where the file system has them. Where it has none (overlayfs, some FUSE)
//! they are paths, see [`crate::pathname`], with that module's limits.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::export::{Access, ExportId};
use crate::handle::{FileHandle, HandleKey, Kind, OBJECT_BYTES_MAX, Opened};
use crate::mounts::{Mount, Mounts, clone_or_plain};
use crate::nfs3::Status;
use crate::pathname::PathNames;
use crate::sys::{self, KernelHandle, Stat};

/// Most levels that `..` is followed upwards to prove that a directory is in its region.
const DEPTH_MAX: usize = 1024;

/// One real tree (or single file) that is being served.
#[derive(Debug)]
pub struct Region {
    /// The export it belongs to.
    pub export: ExportId,
    /// Number within the export; 0 is the export's own tree.
    pub id: u32,
    /// Whether it may be changed.
    pub access: Access,
    /// The real path it was opened by.
    pub path: PathBuf,
    /// What the root was when the region was opened.
    pub root_stat: Stat,
    /// Whether it is on a disk of this machine, so that calls may wait for it anywhere.
    pub is_local: bool,
    mount: Arc<Mount>,
    root: Root,
}

/// How the root is reached again.
#[derive(Debug)]
enum Root {
    Handle(KernelHandle),
    /// The file system has no file handles.
    Open(OwnedFd, PathNames),
}

impl Region {
    /// Opens the tree at `path`; links in `path` are an error unless `follow` is set.
    pub fn open(
        mounts: &Mounts,
        export: ExportId,
        id: u32,
        path: &Path,
        access: Access,
        follow: bool,
    ) -> Result<Self, Errno> {
        let fd = if follow { sys::open_path(path)? } else { sys::open_path_plain(path)? };
        let stat = sys::stat(fd.as_fd(), c"")?;
        let is_local = dawn_serving::mounts::is_local(&fd);
        let mount = mounts.of(path, &stat, access)?;
        let (root, root_stat) = match working_handle(fd.as_fd(), &mount) {
            Some(handle) => (Root::Handle(handle), Stat { mount: mount.id, ..stat }),
            None => {
                let opened = (stat.dev, stat.ino);
                let fd = clone_or_plain(path, access)?;
                let stat = sys::stat(fd.as_fd(), c"")?;
                // Found by its name a second time.
                if (stat.dev, stat.ino) != opened {
                    return Err(Errno::STALE);
                }
                (Root::Open(fd, PathNames::default()), stat)
            }
        };
        Ok(Self { export, id, access, path: path.to_owned(), root_stat, is_local, mount, root })
    }

    /// Opens the root, O_PATH.
    pub fn open_root(&self) -> Result<OwnedFd, Errno> {
        match &self.root {
            Root::Handle(handle) => {
                let handle_type = u8::try_from(handle.handle_type).map_err(|_| Errno::STALE)?;
                sys::open_handle(self.mount.fd(), handle_type, handle.bytes())
            }
            Root::Open(fd, _) => fd.try_clone().map_err(|_| Errno::MFILE),
        }
    }

    fn names(&self) -> Option<&PathNames> {
        match &self.root {
            Root::Handle(_) => None,
            Root::Open(_, names) => Some(names),
        }
    }

    /// Whether handles are paths, so that objects must remember theirs.
    pub fn uses_paths(&self) -> bool {
        self.names().is_some()
    }

    /// Whether this is the region's root.
    pub fn is_root(&self, stat: &Stat) -> bool {
        (stat.dev, stat.ino) == (self.root_stat.dev, self.root_stat.ino)
    }

    /// The handle of `name` below `dir`, or of `dir` itself when `name` is empty. `path` is the object's
    /// path in the region; it is looked at only where handles are paths. `stat` is the object's.
    pub fn handle(
        &self,
        key: &HandleKey,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: Option<&Path>,
        stat: &Stat,
    ) -> Result<FileHandle, Status> {
        if let Some(names) = self.names() {
            let object = names.name(key, path.ok_or(Status::ServerFault)?, stat.ino)?;
            return FileHandle::seal(key, self.export, self.id, Kind::Path, &object)
                .ok_or(Status::NameTooLong);
        }
        let kernel = sys::name_to_handle(dir, name)?;
        let handle_type = u8::try_from(kernel.handle_type).map_err(|_| Status::NotSupp)?;
        FileHandle::seal(key, self.export, self.id, Kind::Kernel(handle_type), kernel.bytes())
            .ok_or(Status::NotSupp)
    }

    /// Opens the object of a proven handle, O_PATH. The calling thread must act as the server.
    pub fn open_object(
        &self,
        key: &HandleKey,
        handle: &Opened<'_>,
    ) -> Result<(OwnedFd, Option<PathBuf>), Status> {
        match (handle.kind, self.names()) {
            (Kind::Kernel(handle_type), None) => {
                match sys::open_handle(self.mount.fd(), handle_type, handle.object) {
                    Ok(fd) => Ok((fd, None)),
                    // What file systems say for inode numbers that are out of range or reused.
                    Err(Errno::NOENT | Errno::INVAL) => Err(Status::Stale),
                    Err(other) => Err(other.into()),
                }
            }
            (Kind::Path, Some(names)) => {
                let path = names.find(key, self.open_root()?.as_fd(), handle.object)?;
                let fd = self.open_relative(&path).map_err(|_| Status::Stale)?;
                if sys::stat(fd.as_fd(), c"")?.ino != PathNames::inode(handle.object) {
                    return Err(Status::Stale);
                }
                Ok((fd, Some(path)))
            }
            // The tree has moved to a file system of the other sort.
            _ => Err(Status::Stale),
        }
    }

    /// Opens a path below the root without following links; empty is the root.
    pub fn open_relative(&self, path: &Path) -> Result<OwnedFd, Errno> {
        match path.as_os_str().is_empty() {
            true => self.open_root(),
            false => sys::open_beneath(self.open_root()?.as_fd(), path),
        }
    }

    /// The parent of directory `dir`. The root is its own parent, and a directory that is not below the
    /// root (moved away by hand) has none.
    pub fn parent(&self, dir: BorrowedFd<'_>, stat: &Stat) -> Result<OwnedFd, Status> {
        if self.is_root(stat) {
            return dir.try_clone_to_owned().map_err(|_| Status::Jukebox);
        }
        let up = |from: BorrowedFd<'_>| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            // The kernel refuses in its own way what is outside of the mount.
            rustix::fs::openat(from, c"..", flags, rustix::fs::Mode::empty()).map_err(|_| Status::Stale)
        };
        let parent = up(dir)?;
        let mut at = parent.try_clone().map_err(|_| Status::Jukebox)?;
        let mut below = (stat.dev, stat.ino);
        for _ in 0..DEPTH_MAX {
            let here = sys::stat(at.as_fd(), c"")?;
            if self.is_root(&here) {
                return Ok(parent);
            }
            if here.dev != stat.dev || (here.dev, here.ino) == below {
                break;
            }
            below = (here.dev, here.ino);
            at = up(at.as_fd())?;
        }
        Err(Status::Stale)
    }

    /// Updates path handles after an object has moved. Nothing to do for kernel handles.
    pub fn renamed(&self, key: &HandleKey, from: &Path, to: &Path) {
        if let Some(names) = self.names() {
            names.renamed(key, from, to);
        }
    }

    /// Free space and inodes.
    pub fn space(&self) -> Result<rustix::fs::StatVfs, Errno> {
        rustix::fs::fstatvfs(self.mount.fd())
    }
}

/// The handle of `root`, if it can be opened again: not every file system that makes handles does that,
/// and opening needs a capability.
fn working_handle(root: BorrowedFd<'_>, mount: &Mount) -> Option<KernelHandle> {
    let handle = sys::name_to_handle(root, c"").ok()?;
    let handle_type = u8::try_from(handle.handle_type).ok()?;
    let fits = handle.bytes().len() <= OBJECT_BYTES_MAX;
    let opens = sys::open_handle(mount.fd(), handle_type, handle.bytes()).is_ok();
    (fits && opens).then_some(handle)
}
