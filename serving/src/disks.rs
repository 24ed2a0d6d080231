//! Threads for file system calls that may hang.
//!
//! A file may be on a server that is gone; the call that looks at it then waits in the kernel and cannot be
//! stopped. So such calls are made by the threads of a [`DiskPool`], and who needs the answer waits for a
//! limited time. Work is accounted to the directory it is for and to the mount that directory is on: neither
//! gets more than its share of the threads, so a mount that hangs takes its share and the others keep theirs.
//! When a mount comes back, its threads continue; work without a caller is dropped.
//!
//! The same work is accounted to who asks for it ([`DiskPool::caller`]): of the places to wait in, a part is
//! kept for callers with better proof ([`crate::shares`]), and theirs is done first.
//!
//! A share follows from the text of a path. Where a symbolic link leads to another mount, the work counts for
//! the directory with the link, which is why directories have a share too.

use crate::mounts::CurrentMounts;
use crate::shares::Kind;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long a request waits for a disk before its client gets an error.
pub const WAIT_TIME_MAX: Duration = Duration::from_secs(5);
/// How deep below its mount point a directory has a separate share, in names.
const SHARE_DEPTH: usize = 2;

/// How much a pool may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads. Default 256, at least 1.
    pub threads_max: usize,
    /// Threads at work for one mount. Default 32, at least 1.
    pub threads_per_mount_max: usize,
    /// Threads at work for one directory of a mount. Default 8, at least 1.
    pub threads_per_directory_max: usize,
    /// Requests that wait for a thread, for one directory; each kind of caller has its part of them. Default
    /// 1,024.
    pub waiting_per_directory_max: usize,
    /// A directory whose threads have all been busy for this long, without one finishing, takes no more work.
    /// Default [`WAIT_TIME_MAX`].
    pub stuck_time: Duration,
    /// A thread without work ends after this time. Default 10 s.
    pub idle_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads_max: 256,
            threads_per_mount_max: 32,
            threads_per_directory_max: 8,
            waiting_per_directory_max: 1024,
            stuck_time: WAIT_TIME_MAX,
            idle_time_max: Duration::from_secs(10),
        }
    }
}

/// Why there is no answer from a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Late {
    /// The call was not finished in time.
    #[error("the disk did not answer within {} s; is it on a file server that is gone?", .0.as_secs())]
    Slow(Duration),
    /// Too many others wait for the same directory, or its calls have hung for some time.
    #[error("the disk does not answer: other requests for the same directory are waiting already")]
    Busy,
    /// A defect: the work ended in a panic.
    #[error("the server could not look at its disk; its log says why")]
    Defect,
}

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads, as one kind of caller may use it. Cloning gives the same pool.
#[derive(Clone)]
pub struct DiskPool {
    shared: Arc<Shared>,
    kind: Kind,
}

struct Shared {
    limits: Limits,
    mounts: CurrentMounts,
    state: Mutex<State>,
    work: Condvar,
    /// Takes this pool to have one more thread started.
    starter: Mutex<mpsc::Sender<Arc<Shared>>>,
}

#[derive(Default)]
struct State {
    directories: HashMap<Share, Directory>,
    /// Threads at work for each mount point.
    mounts: HashMap<PathBuf, usize>,
    /// Directories with waiting work, in turn.
    turns: VecDeque<Share>,
    threads: usize,
    idle: usize,
}

/// A mount point, and a directory below it.
type Share = (PathBuf, PathBuf);

struct Directory {
    /// By [`Kind`].
    waiting: [VecDeque<Job>; Kind::ALL.len()],
    running: usize,
    /// When work of it last began or ended.
    moved: Instant,
}

impl fmt::Debug for DiskPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskPool({} threads)", self.shared.lock().threads)
    }
}

impl Default for DiskPool {
    /// The pool of this process, which all services share.
    fn default() -> Self {
        static POOL: LazyLock<DiskPool> = LazyLock::new(|| DiskPool::new(Limits::default()));
        POOL.clone()
    }
}

impl DiskPool {
    /// A separate pool for work of the daemon itself, which has no threads yet. Its threads act with
    /// the ids and the umask that the calling thread has now, regardless of the ids of the threads that give
    /// them work.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (mounts, state, work) = Default::default();
        let (starter, wanted) = mpsc::channel::<Arc<Shared>>();
        let start = move || wanted.into_iter().for_each(|shared| shared.start_a_thread());
        if let Err(error) = thread("disk-starter", start) {
            tracing::error!(%error, "no thread for disks can be started");
        }
        let starter = Mutex::new(starter);
        Self { shared: Arc::new(Shared { limits, mounts, state, work, starter }), kind: Kind::Local }
    }

    /// The same threads for work that a caller of this kind asks for.
    #[must_use]
    pub fn caller(&self, kind: Kind) -> Self {
        Self { shared: Arc::clone(&self.shared), kind }
    }

    /// Has `job` done by a thread, for the share that `path` belongs to. Never waits.
    ///
    /// # Errors
    /// [`Late::Busy`]; the job is then dropped.
    pub fn submit(&self, path: &Path, job: impl FnOnce() + Send + 'static) -> Result<(), Late> {
        let shared = &self.shared;
        let share = shared.share_of(path);
        let mut state = shared.lock();
        let directory = state.directories.entry(share.clone()).or_insert_with(Directory::new);
        let stuck = directory.running >= shared.limits.threads_per_directory_max
            && directory.moved.elapsed() >= shared.limits.stuck_time;
        let waiting = directory.waiting();
        if stuck || waiting >= self.kind.part_of(shared.limits.waiting_per_directory_max) {
            return Err(Late::Busy);
        }
        if let Some(queue) = directory.waiting.get_mut(self.kind as usize) {
            queue.push_back(Box::new(job));
        }
        if waiting == 0 {
            state.turns.push_back(share);
        }
        shared.call_a_thread(state);
        Ok(())
    }

    /// Does `work` on a thread, and waits for it as long as `time_max` says. What takes longer is left to
    /// itself.
    ///
    /// # Errors
    /// [`Late`].
    pub fn call<T: Send + 'static>(
        &self,
        path: &Path,
        time_max: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let (sender, receiver) = mpsc::sync_channel(1);
        // Held by the waiting caller: once it is dropped, work that has not begun is not worth doing.
        let wanted = Arc::new(());
        let asked = Arc::downgrade(&wanted);
        self.submit(path, move || {
            if asked.strong_count() > 0 {
                let _ = sender.send(work());
            }
        })?;
        let answer = receiver.recv_timeout(time_max);
        drop(wanted);
        answer.map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => Late::Slow(time_max),
            mpsc::RecvTimeoutError::Disconnected => Late::Defect,
        })
    }
}

/// Looks at `path`, with `look`, on a thread of the pool of this process. For commands: they wait as long as
/// any client does.
///
/// # Errors
/// [`Late`].
pub fn within<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, Late> {
    let place = path.to_owned();
    DiskPool::default().call(path, WAIT_TIME_MAX, move || look(&place))
}

impl Directory {
    fn new() -> Self {
        Self { waiting: Default::default(), running: 0, moved: Instant::now() }
    }

    fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// The oldest work of the callers with most proof.
    fn next(&mut self) -> Option<Job> {
        self.waiting.iter_mut().rev().find_map(VecDeque::pop_front)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share_of(&self, path: &Path) -> Share {
        let mounts = self.mounts.now();
        let point = mounts.point(path);
        let below = path.strip_prefix(point).unwrap_or(path);
        (point.to_owned(), below.components().take(SHARE_DEPTH).collect())
    }

    /// Wakes a thread, or starts one. A thread that takes work calls another thread if there is more, so one
    /// call is enough.
    fn call_a_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if state.idle > 0 {
            self.work.notify_one();
            return;
        }
        if state.threads >= self.limits.threads_max {
            return;
        }
        state.threads += 1;
        drop(state);
        let starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        if starter.send(Arc::clone(self)).is_err() {
            drop(starter);
            self.lock().threads -= 1;
        }
    }

    fn start_a_thread(self: Arc<Self>) {
        let shared = Arc::clone(&self);
        if let Err(error) = thread("disk", move || shared.work()) {
            // The work waits for a thread that there is, or for the next request.
            self.lock().threads -= 1;
            tracing::warn!(%error, "no further thread for disks");
        }
    }

    /// The life of a thread.
    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some((share, job)) = self.next(&mut state) {
                if state.turns.iter().any(|share| self.has_room(&state, share)) {
                    self.call_a_thread(state);
                } else {
                    drop(state);
                }
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    tracing::error!("defect in work with files");
                }
                state = self.lock();
                self.ended(&mut state, &share);
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, self.limits.idle_time_max);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if timeout.timed_out() && state.turns.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Whether a directory and its mount may have one more thread.
    fn has_room(&self, state: &State, share: &Share) -> bool {
        let of_directory = state.directories.get(share).map_or(0, |directory| directory.running);
        let of_mount = state.mounts.get(&share.0).copied().unwrap_or(0);
        of_directory < self.limits.threads_per_directory_max && of_mount < self.limits.threads_per_mount_max
    }

    /// Work of the first directory in turn that has not used up its share, nor its mount.
    fn next(&self, state: &mut State) -> Option<(Share, Job)> {
        for _ in 0..state.turns.len() {
            let share = state.turns.pop_front()?;
            let room = self.has_room(state, &share);
            let Some(directory) = state.directories.get_mut(&share) else { continue };
            let job = if room { directory.next() } else { None };
            if job.is_some() {
                directory.running += 1;
                directory.moved = Instant::now();
            }
            if directory.waiting() > 0 {
                state.turns.push_back(share.clone());
            }
            if let Some(job) = job {
                *state.mounts.entry(share.0.clone()).or_default() += 1;
                return Some((share, job));
            }
        }
        None
    }

    fn ended(&self, state: &mut State, share: &Share) {
        if let Some(directory) = state.directories.get_mut(share) {
            directory.running -= 1;
            directory.moved = Instant::now();
            if directory.running == 0 && directory.waiting() == 0 {
                state.directories.remove(share);
            }
        }
        if let Some(count) = state.mounts.get_mut(&share.0) {
            *count -= 1;
            if *count == 0 {
                state.mounts.remove(&share.0);
            }
        }
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that hangs until the sender is dropped.
    fn hang() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
        let (release, held) = mpsc::channel::<()>();
        (release, move || {
            let _ = held.recv();
        })
    }

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_directory_that_hangs_takes_its_share_and_no_more() {
        let limits = Limits {
            threads_max: 8,
            threads_per_mount_max: 4,
            threads_per_directory_max: 2,
            waiting_per_directory_max: 3,
            ..Limits::default()
        };
        let pool = DiskPool::new(limits);
        let hung = Path::new("/x/hung/file");
        let (releases, jobs): (Vec<_>, Vec<_>) = (0..5).map(|_| hang()).unzip();
        for job in jobs {
            while pool
                .shared
                .lock()
                .directories
                .values()
                .any(|directory| directory.running < 2 && directory.waiting() > 0)
            {
                std::thread::yield_now();
            }
            pool.submit(hung, job).unwrap();
        }
        assert_eq!(pool.submit(hung, || ()), Err(Late::Busy), "the waiting room is full");
        assert_eq!(pool.call(Path::new("/x/hung/other"), LONG, || 1), Err(Late::Busy), "the same directory");
        assert_eq!(pool.call(Path::new("/x/well/file"), LONG, || 2), Ok(2), "another directory");
        drop(releases);
        while pool.call(hung, LONG, || 3) != Ok(3) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn strangers_leave_places_to_wait_in_and_nodes_come_first() {
        let limits =
            Limits { threads_per_directory_max: 1, waiting_per_directory_max: 4, ..Limits::default() };
        let pool = DiskPool::new(limits);
        let path = Path::new("/x/y/z");
        let (release, job) = hang();
        pool.submit(path, job).unwrap();
        while pool.shared.lock().directories.values().any(|directory| directory.waiting() > 0) {
            std::thread::yield_now();
        }
        let (done, order) = mpsc::channel();
        let submit = |kind, name| {
            let done = done.clone();
            pool.caller(kind).submit(path, move || {
                let _ = done.send(name);
            })
        };
        assert_eq!(submit(Kind::Stranger, "first stranger"), Ok(()));
        assert_eq!(submit(Kind::Stranger, "second stranger"), Ok(()));
        assert_eq!(submit(Kind::Stranger, "third stranger"), Err(Late::Busy));
        assert_eq!(submit(Kind::Node, "node"), Ok(()));
        assert_eq!(submit(Kind::Node, "other node"), Err(Late::Busy));
        assert_eq!(submit(Kind::Local, "this machine"), Ok(()));
        drop(release);
        let order: Vec<_> = order.iter().take(4).collect();
        assert_eq!(order, ["this machine", "node", "first stranger", "second stranger"]);
    }

    #[test]
    fn a_burst_finds_a_thread_for_each_request() {
        let pool = DiskPool::new(Limits::default());
        for round in 0..200 {
            // One thread is idle now; the first of these hangs, and the second must not wait for it.
            pool.call(Path::new("/x/a/f"), LONG, || ()).unwrap();
            let (release, job) = hang();
            pool.submit(Path::new("/x/a/f"), job).unwrap();
            assert_eq!(pool.call(Path::new("/x/b/f"), LONG, move || round), Ok(round));
            drop(release);
        }
    }

    #[test]
    fn a_mount_has_a_share_too() {
        let limits = Limits {
            threads_max: 8,
            threads_per_mount_max: 3,
            threads_per_directory_max: 2,
            ..Limits::default()
        };
        let pool = DiskPool::new(limits);
        let (releases, jobs): (Vec<_>, Vec<_>) = (0..3).map(|_| hang()).unzip();
        for (number, job) in (0..).zip(jobs) {
            pool.submit(Path::new(&format!("/x/{number}/file")), job).unwrap();
        }
        assert_eq!(pool.call(Path::new("/x/4/file"), SHORT, || ()), Err(Late::Slow(SHORT)));
        assert_eq!(pool.call(Path::new("/proc/self/stat"), LONG, || 1), Ok(1), "another mount");
        drop(releases);
        assert_eq!(pool.call(Path::new("/x/4/file"), LONG, || 2), Ok(2), "it comes back");
    }

    #[test]
    fn a_directory_that_hangs_for_some_time_is_refused_at_once() {
        let limits = Limits { threads_per_directory_max: 1, stuck_time: Duration::ZERO, ..Limits::default() };
        let pool = DiskPool::new(limits);
        let (release, job) = hang();
        pool.submit(Path::new("/x/y/z"), job).unwrap();
        while pool.call(Path::new("/x/y/z"), SHORT, || ()) != Err(Late::Busy) {}
        drop(release);
        while pool.call(Path::new("/x/y/z"), LONG, || ()) != Ok(()) {}
    }

    #[test]
    fn what_nobody_waits_for_is_not_done() {
        let pool = DiskPool::new(Limits { threads_per_directory_max: 1, ..Limits::default() });
        let path = Path::new("/x/y/z");
        let (release, job) = hang();
        pool.submit(path, job).unwrap();
        let (done, was_done) = mpsc::channel();
        assert_eq!(pool.call(path, SHORT, move || done.send(())), Err(Late::Slow(SHORT)));
        drop(release);
        assert_eq!(pool.call(path, LONG, || ()), Ok(()));
        assert!(was_done.try_recv().is_err());
    }

    #[test]
    fn a_panic_is_a_defect_of_one_request() {
        let pool = DiskPool::new(Limits { threads_max: 1, ..Limits::default() });
        #[expect(clippy::panic, reason = "a defect")]
        let defect = || -> () { panic!("as intended") };
        assert_eq!(pool.call(Path::new("/x"), LONG, defect), Err(Late::Defect));
        assert_eq!(pool.call(Path::new("/x"), LONG, || 1), Ok(1));
    }

    #[test]
    fn threads_without_work_end() {
        let pool = DiskPool::new(Limits { idle_time_max: SHORT, ..Limits::default() });
        pool.call(Path::new("/x"), LONG, || ()).unwrap();
        while pool.shared.lock().threads > 0 {
            std::thread::yield_now();
        }
        pool.call(Path::new("/x"), LONG, || ()).unwrap();
    }
}
