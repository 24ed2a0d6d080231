//! Open objects: files found by their handles, kept open for the next call.
//!
//! Most calls of a client go to files it has just looked up. Keeping an O_PATH descriptor (and for files
//! that are read or written, a data descriptor) saves opening by handle each time. Entries not used for
//! one to two rotation periods are closed, so removed files and file systems are not held for long. An
//! object whose link count has become zero is stale even if it is in the table. Closing a file of a server
//! that is gone may hang, so that is left to a thread for disks.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use dawn_serving::DiskPool;
use rustix::fs::OFlags;

use crate::cred;
use crate::export::Access;
use crate::handle::FileHandle;
use crate::nfs3::Status;
use crate::region::Region;
use crate::sys::{self, Stat};

const SHARDS: usize = 16;

/// One open file, directory, link or special file.
#[derive(Debug)]
pub struct Object {
    /// Its handle.
    pub handle: FileHandle,
    /// The region that it is in.
    pub region: Arc<Region>,
    /// Its path in the region, where handles are paths.
    pub path: Option<PathBuf>,
    /// The overlay node, if the object exists only in an overlay.
    pub synthetic: Option<u64>,
    fd: OwnedFd,
    reading: OnceLock<OwnedFd>,
    writing: OnceLock<OwnedFd>,
}

impl Object {
    /// An object behind an O_PATH descriptor.
    pub fn new(
        handle: FileHandle,
        region: Arc<Region>,
        path: Option<PathBuf>,
        synthetic: Option<u64>,
        fd: OwnedFd,
    ) -> Self {
        Self { handle, region, path, synthetic, fd, reading: OnceLock::new(), writing: OnceLock::new() }
    }

    /// The O_PATH descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Its attributes from the kernel, now. A removed object is stale.
    pub fn stat(&self) -> Result<Stat, Status> {
        let stat = sys::stat(self.fd(), c"")?;
        if stat.nlink == 0 { Err(Status::Stale) } else { Ok(stat) }
    }

    /// A descriptor to read the file's data from. The caller checks rights: the file is opened as the server.
    pub fn reader(&self) -> Result<BorrowedFd<'_>, Status> {
        if let Some(fd) = self.reading.get() {
            return Ok(fd.as_fd());
        }
        let fd = self.open_data(OFlags::RDONLY)?;
        Ok(self.reading.get_or_init(|| fd).as_fd())
    }

    /// A descriptor to write the file's data to, as [`Object::reader`].
    pub fn writer(&self) -> Result<BorrowedFd<'_>, Status> {
        if self.region.access == Access::ReadOnly {
            return Err(Status::RoFs);
        }
        if let Some(fd) = self.writing.get() {
            return Ok(fd.as_fd());
        }
        let fd = self.open_data(OFlags::RDWR)?;
        Ok(self.writing.get_or_init(|| fd).as_fd())
    }

    fn open_data(&self, flags: OFlags) -> Result<OwnedFd, Status> {
        cred::as_server()?;
        // Only ever open regular files: opening devices and FIFOs has side effects.
        if !self.stat()?.is_file() {
            return Err(Status::Inval);
        }
        Ok(sys::reopen(self.fd(), flags)?)
    }

    /// The path of `name` below this directory, where handles are paths.
    pub fn path_of(&self, name: &std::ffi::CStr) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(name.to_bytes());
        self.path.as_ref().map(|p| p.join(name))
    }
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<FileHandle, Arc<Object>>,
    old: HashMap<FileHandle, Arc<Object>>,
}

/// The table of open objects, bounded in number.
#[derive(Debug)]
pub struct Objects {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    per_shard_max: usize,
    disks: DiskPool,
}

impl Objects {
    /// A table of at most `max` objects (each up to three descriptors).
    pub fn new(max: usize, disks: DiskPool) -> Self {
        Self {
            disks,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            per_shard_max: (max / SHARDS / 2).max(4),
        }
    }

    fn shard(&self, handle: &FileHandle) -> Option<std::sync::MutexGuard<'_, Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(handle) >> 32).unwrap_or(0);
        Some(self.shards.get(hash % SHARDS)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The object of `handle`, if it is open.
    pub fn get(&self, handle: &FileHandle) -> Option<Arc<Object>> {
        let mut shard = self.shard(handle)?;
        if let Some(object) = shard.young.get(handle) {
            return Some(object.clone());
        }
        let object = shard.old.remove(handle)?;
        shard.young.insert(*handle, object.clone());
        Some(object)
    }

    /// Keeps `object` open.
    pub fn insert(&self, object: Arc<Object>) {
        let Some(mut shard) = self.shard(&object.handle) else { return };
        shard.young.insert(object.handle, object);
        if shard.young.len() >= self.per_shard_max {
            let dropped = rotate(&mut shard);
            drop(shard);
            self.close(dropped.into_values()); // Closing descriptors takes time; not under the lock.
        }
    }

    /// Closes `handle`'s object as soon as it is not in use.
    pub fn forget(&self, handle: &FileHandle) {
        if let Some(mut shard) = self.shard(handle) {
            let dropped = [shard.young.remove(handle), shard.old.remove(handle)];
            drop(shard);
            self.close(dropped.into_iter().flatten());
        }
    }

    fn close(&self, objects: impl Iterator<Item = Arc<Object>>) {
        for object in objects.filter(|object| !object.region.is_local) {
            let (place, handle) = (object.region.path.clone(), object.handle);
            // Held by the work alone, unless that is refused.
            let held = Arc::new(Mutex::new(Some(object)));
            let mine = Arc::clone(&held);
            let close = move || drop(mine.lock().unwrap_or_else(PoisonError::into_inner).take());
            if self.disks.submit(&place, close).is_err()
                && let Some(object) = held.lock().unwrap_or_else(PoisonError::into_inner).take()
                && let Some(mut shard) = self.shard(&handle)
            {
                // Its disk hangs, and so would the thread that closes it. The next rotation tries again.
                shard.old.insert(handle, object);
            }
        }
    }

    /// Closes what was not used since the last call.
    pub fn rotate(&self) {
        for shard in &self.shards {
            let dropped = rotate(&mut shard.lock().unwrap_or_else(PoisonError::into_inner));
            self.close(dropped.into_values());
        }
    }
}

fn rotate(shard: &mut Shard) -> HashMap<FileHandle, Arc<Object>> {
    let young = std::mem::take(&mut shard.young);
    std::mem::replace(&mut shard.old, young)
}
