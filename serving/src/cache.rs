//! Files that many machines fetch at one time are opened once.
//!
//! Small files are kept in memory. Larger ones are kept open only while they are read, so that a
//! deleted image gives its disk space back; all readers share one descriptor, so that a storm of boots does
//! not run out of them.
//!
//! Nothing stale is ever given out: a cached file is used only if the name still leads to the same inode with
//! the same change time, which also covers its mode. Where the change time is too young to tell two versions
//! apart, the file is not cached.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};

use crate::file::{Content, FileBody, FileStamp, OpenFile};

/// Largest file kept in memory, bytes.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Bytes kept in memory per tree.
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Names remembered per tree.
const ENTRIES_MAX: usize = 4096;
/// After this time a name is looked up again: a directory on the way to it may have been closed since.
const BELIEVED: Duration = Duration::from_secs(2);
/// While one request does so, others believe it for so much longer.
const LOOK_TIME: Duration = Duration::from_millis(500);
/// See [`Proof`]: 10 ms.
const PROVEN_US_MAX: u64 = 10_000;
/// A change time younger than this may belong to two versions: kernels count it in ticks.
const SETTLED: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct FileCache {
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<String, Known>,
    memory_bytes: u64,
}

#[derive(Debug)]
struct Known {
    stamp: FileStamp,
    body: Body,
    checked: Instant,
    /// See [`OpenFile::far`].
    far: Option<Arc<Path>>,
    /// When the way to it was last found to touch no disk, in microseconds after `checked`.
    proven_us: Arc<AtomicU64>,
    /// A request is looking it up again.
    looked_up: AtomicBool,
}

/// When the way to a file was last found to touch no disk: `openat2` with `RESOLVE_CACHED` (Linux 5.12) then
/// found each name in the kernel's memory. That costs three system calls, so it holds for [`PROVEN_US_MAX`];
/// within that time one `stat` by name does. A worker could be caught only if, in that very time, the way is
/// led into a mount that hangs.
struct Proof {
    age_us: u64,
    proven_us: Arc<AtomicU64>,
}

impl Proof {
    fn is_fresh(&self) -> bool {
        let proven_us = self.proven_us.load(Ordering::Relaxed);
        proven_us != 0 && self.age_us.saturating_sub(proven_us) < PROVEN_US_MAX
    }

    fn renew(&self) {
        self.proven_us.store(self.age_us.max(1), Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Body {
    Memory(Arc<[u8]>),
    Disk(Weak<File>),
}

impl FileCache {
    fn known(&self, path: &str, time_max: Duration) -> Option<(OpenFile, Proof)> {
        let kept = self.kept.read().ok()?;
        let known = kept.files.get(path)?;
        let age = Some(known.checked.elapsed()).filter(|age| *age < time_max)?;
        // One request looks again; the others need not wait for it.
        if age >= BELIEVED && !known.looked_up.swap(true, Ordering::Relaxed) {
            return None;
        }
        let body = match &known.body {
            Body::Memory(bytes) => FileBody::Memory(Arc::clone(bytes)),
            Body::Disk(file) => FileBody::Disk(file.upgrade()?),
        };
        let proof = Proof {
            age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
            proven_us: Arc::clone(&known.proven_us),
        };
        Some((OpenFile::new(body, known.stamp).at(known.far.clone()), proof))
    }

    /// The file of that name if it is here, on a disk of this machine, and still the same. Asks only the
    /// kernel's own memory: a name that no longer exists, or needs a disk to look up, is left to
    /// [`FileCache::find`].
    pub(crate) fn find_at_once(
        &self,
        root: impl AsFd,
        path: &str,
        resolve: ResolveFlags,
    ) -> Option<OpenFile> {
        let (file, proof) =
            self.known(path, BELIEVED + LOOK_TIME).filter(|(file, _)| file.far().is_none())?;
        if proof.is_fresh() {
            let stat = fs::statat(root, path, AtFlags::empty()).ok()?;
            return (stamp_of(&stat) == file.stamp()).then_some(file);
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let handle = fs::openat2(root, path, flags, Mode::empty(), resolve | ResolveFlags::CACHED).ok()?;
        let ask = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = fs::statx(&handle, c"", ask, StatxFlags::BASIC_STATS).ok()?;
        if stamp_of_statx(&stat) != file.stamp() {
            return None;
        }
        proof.renew();
        Some(file)
    }

    /// The file of that name, if it is here and still the same.
    pub(crate) fn find(&self, root: impl AsFd, path: &str) -> Option<OpenFile> {
        let (file, _) = self.known(path, BELIEVED)?;
        let stat = fs::statat(root, path, AtFlags::empty()).ok()?;
        (stamp_of(&stat) == file.stamp()).then_some(file)
    }

    /// Takes a file that was just opened by that name, and remembers it. `place` is its path on this machine.
    pub(crate) fn keep(&self, name: &str, place: &Path, file: File) -> io::Result<OpenFile> {
        let open = OpenFile::from_disk(file, place)?;
        let stamp = open.stamp();
        if !is_settled(&stamp) {
            return Ok(open);
        }
        let small = if stamp.size <= SMALL_BYTES_MAX { read_whole(&open)? } else { None };
        let far = open.far().cloned();
        let (body, open) = match (small, open.body()) {
            (Some(bytes), _) => {
                let open = OpenFile::new(FileBody::Memory(Arc::clone(&bytes)), stamp).at(far.clone());
                (Body::Memory(bytes), open)
            }
            (None, FileBody::Disk(disk)) => (Body::Disk(Arc::downgrade(disk)), open.clone()),
            (None, FileBody::Memory(_)) => return Ok(open),
        };
        self.remember(name, stamp, body, far);
        Ok(open)
    }

    fn remember(&self, path: &str, stamp: FileStamp, body: Body, far: Option<Arc<Path>>) {
        let Ok(mut kept) = self.kept.write() else { return };
        let bytes = if matches!(body, Body::Memory(_)) { stamp.size } else { 0 };
        if kept.files.len() >= ENTRIES_MAX || kept.memory_bytes + bytes > MEMORY_BYTES_MAX {
            // This is rare, and files in use are cached again at once: simpler than keeping an order of use.
            *kept = Kept::default();
        }
        kept.memory_bytes += bytes;
        let known = Known {
            stamp,
            body,
            checked: Instant::now(),
            far,
            proven_us: Arc::default(),
            looked_up: false.into(),
        };
        if let Some(Known { stamp: old, body: Body::Memory(_), .. }) =
            kept.files.insert(path.to_owned(), known)
        {
            kept.memory_bytes = kept.memory_bytes.saturating_sub(old.size);
        }
    }
}

/// The bytes of a small file, or none if it changed while it was read.
fn read_whole(open: &OpenFile) -> io::Result<Option<Arc<[u8]>>> {
    let size = usize::try_from(open.size()).unwrap_or(0);
    let mut bytes = vec![0; size];
    let got = Content::File(open.clone()).read_full_at(0, &mut bytes)?;
    let FileBody::Disk(file) = open.body() else { return Ok(None) };
    let same = got == size && stamp_of(&fs::fstat(file)?) == open.stamp();
    Ok(same.then(|| Arc::from(bytes)))
}

fn is_settled(stamp: &FileStamp) -> bool {
    let seconds = u64::try_from(stamp.ctime_s).unwrap_or(0);
    let changed = UNIX_EPOCH + Duration::new(seconds, u32::try_from(stamp.ctime_ns).unwrap_or(0));
    SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
}

fn stamp_of_statx(stat: &fs::Statx) -> FileStamp {
    FileStamp {
        device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        size: stat.stx_size,
        mtime_s: stat.stx_mtime.tv_sec,
        mtime_ns: i64::from(stat.stx_mtime.tv_nsec),
        ctime_s: stat.stx_ctime.tv_sec,
        ctime_ns: i64::from(stat.stx_ctime.tv_nsec),
    }
}

fn stamp_of(stat: &fs::Stat) -> FileStamp {
    FileStamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_s: stat.st_mtime,
        mtime_ns: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ctime_s: stat.st_ctime,
        ctime_ns: i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, RequestPath, Tree};
    use std::os::unix::fs::PermissionsExt;

    #[expect(clippy::disallowed_methods, reason = "file times pass by themselves only")]
    fn pause(time: Duration) {
        std::thread::sleep(time);
    }

    fn open(tree: &Tree) -> OpenFile {
        match tree.open(&RequestPath::parse("file").unwrap()) {
            Ok(Entry::File(file)) => file,
            other => panic!("a file, not {other:?}"),
        }
    }

    #[test]
    fn files_are_shared_but_never_stale() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("file");
        let tree = Tree::open_root(dir.path()).unwrap();
        for size in [10_usize, 100_000] {
            for fill in [b'a', b'b', b'c'] {
                std::fs::write(&name, vec![fill; size]).unwrap();
                pause(SETTLED * 2);
                let (first, second) = (open(&tree), open(&tree));
                match (first.body(), second.body()) {
                    (FileBody::Memory(a), FileBody::Memory(b)) => assert!(Arc::ptr_eq(a, b) && size == 10),
                    (FileBody::Disk(a), FileBody::Disk(b)) => assert!(Arc::ptr_eq(a, b) && size > 10),
                    other => panic!("{other:?}"),
                }
                let mut byte = [0];
                Content::File(second).read_full_at(0, &mut byte).unwrap();
                assert_eq!(byte, [fill]);
            }
        }
        std::fs::set_permissions(&name, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(tree.open(&RequestPath::parse("file").unwrap()).is_err());
        std::fs::remove_file(&name).unwrap();
        assert!(tree.open(&RequestPath::parse("file").unwrap()).is_err());
    }
}
