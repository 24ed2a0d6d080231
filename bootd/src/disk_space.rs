//! Free space of directories, for monitoring: read by threads that may wait for disks. Who asks gets what was
//! read before, and a disk that hangs costs one thread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dawn_serving::disks::{DiskPool, WAIT_TIME_MAX};

/// What is known of the file system of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Bytes that are free.
    Free(u64),
    /// It does not answer.
    Unresponsive,
}

/// The directories that were asked for, each with a name.
#[derive(Default)]
pub(crate) struct DiskSpace {
    disks: DiskPool,
    known: Arc<Mutex<BTreeMap<&'static str, Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    /// The directory, which may be another one later.
    path: PathBuf,
    free: Option<u64>,
    /// A thread looks at it, since then.
    asked: Option<Instant>,
}

impl DiskSpace {
    /// What is known of a directory, which is read again meanwhile. Never waits; nothing is known at first.
    pub(crate) fn of(&self, name: &'static str, path: PathBuf) -> Option<Space> {
        let mut known = lock(&self.known);
        let entry = known.entry(name).or_default();
        if entry.path != path {
            *entry = Known { path: path.clone(), ..Known::default() };
        }
        if let Some(since) = entry.asked {
            let is_late = since.elapsed() >= WAIT_TIME_MAX;
            return if is_late { Some(Space::Unresponsive) } else { entry.free.map(Space::Free) };
        }
        entry.asked = Some(Instant::now());
        let before = entry.free.map(Space::Free);
        drop(known);
        let (place, found) = (path.clone(), Arc::clone(&self.known));
        let read = move || put(&found, name, &place, free(&place));
        if self.disks.submit(&path, read).is_ok() {
            return before;
        }
        put(&self.known, name, &path, None);
        Some(Space::Unresponsive)
    }
}

/// Nobody looks at the directory any longer, and this is what was found.
fn put(known: &Mutex<BTreeMap<&'static str, Known>>, name: &'static str, path: &Path, free: Option<u64>) {
    let mut known = lock(known);
    if let Some(entry) = known.get_mut(name).filter(|entry| entry.path == path) {
        (entry.free, entry.asked) = (free, None);
    }
}

fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is gone has no value, and no thread waits for it.
    #[test]
    fn what_was_read_is_there_at_the_next_question() {
        let (space, dir) = (DiskSpace::default(), tempfile::tempdir().unwrap());
        let read = |name, path: &Path| {
            let first = space.of(name, path.to_owned());
            while lock(&space.known).get(name).is_some_and(|known| known.asked.is_some()) {
                std::thread::yield_now();
            }
            (first, space.of(name, path.to_owned()))
        };
        let (first, second) = read("data", dir.path());
        assert_eq!(first, None);
        assert!(matches!(second, Some(Space::Free(bytes)) if bytes > 0), "{second:?}");
        assert_eq!(read("gone", &dir.path().join("gone")), (None, None));
        // Another directory by the same name is not the one that was looked at.
        let (first, second) = read("gone", dir.path());
        assert!(first.is_none() && second.is_some(), "{first:?} {second:?}");
    }
}
