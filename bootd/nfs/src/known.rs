//! Handles made before, by what `statx` says of an object: saves asking the kernel for the same handle again.
//!
//! An inode number can be used again for another file, and only the time of birth tells the two apart. The
//! kernel's clock for it stands still for some milliseconds, so handles are kept only of files that were born
//! a while ago ([`SETTLED_SECONDS`]): the next file with that inode is younger. If a handle were still wrong,
//! it would be stale: what a handle leads to is decided by the kernel when it is opened.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::handle::FileHandle;
use crate::region::Region;
use crate::sys::Stat;

const SHARDS: usize = 32;
/// Handles of one shard before the older half goes; all shards together hold at most 65,536, 12 MB.
const PER_SHARD_MAX: usize = 1024;
/// Age in seconds from which a file's handle is kept.
const SETTLED_SECONDS: u32 = 2;

/// An object of a region, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    export: u64,
    region: u32,
    dev: u64,
    ino: u64,
    birth: (u32, u32),
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Seen, FileHandle>,
    old: HashMap<Seen, FileHandle>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct KnownHandles {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Files born before this second are settled.
    settled: AtomicU32,
}

impl Default for KnownHandles {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            settled: AtomicU32::new(0),
        }
    }
}

impl KnownHandles {
    /// Sets the time, in seconds since 1970 as the wire has them. Until it is set, nothing is kept.
    pub(crate) fn set_time(&self, now: u32) {
        self.settled.store(now.saturating_sub(SETTLED_SECONDS), Ordering::Relaxed);
    }

    /// The key of `stat`, if its handle may be kept at all.
    pub(crate) fn settled(&self, region: &Region, stat: &Stat) -> Option<Seen> {
        let birth = stat.birth;
        let known = birth.sec != 0 && birth.sec < self.settled.load(Ordering::Relaxed);
        (known && !region.uses_paths()).then_some(Seen {
            export: region.export.0,
            region: region.id,
            dev: stat.dev,
            ino: stat.ino,
            birth: (birth.sec, birth.nsec),
        })
    }

    /// The handle of what was seen.
    pub(crate) fn get(&self, seen: &Seen) -> Option<FileHandle> {
        let mut shard = self.shard(seen)?.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = shard.young.get(seen) {
            return Some(*handle);
        }
        let handle = shard.old.remove(seen)?;
        shard.young.insert(*seen, handle);
        Some(handle)
    }

    /// Keeps a handle. It and `seen` must come from one descriptor: a name may change its meaning in between.
    pub(crate) fn keep(&self, seen: Seen, handle: FileHandle) {
        let Some(shard) = self.shard(&seen) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.young.len() >= PER_SHARD_MAX {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(seen, handle);
    }

    fn shard(&self, seen: &Seen) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(seen.ino) >> 32).unwrap_or(0);
        self.shards.get(hash % SHARDS)
    }
}
