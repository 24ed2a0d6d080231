//! Makes seeds in such a way that a large one does not delay other nodes: the first copy of a persistent path
//! may be a few bytes or a directory of many gigabytes.
//!
//! Small ones are made by the caller. Others are made by a few separate threads, one seed at once for each
//! store; the caller waits a moment and is then asked to try again (NFS3ERR_JUKEBOX; a Linux client does so
//! every 5 s). A copy that has failed is not begun again at every call.

use super::seed::{self, Seed};
use dawn_events::now_ms;
use dawn_events::{Amount, Bus, Step, Subject};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most files and directories of a seed that is made at once.
const SMALL_ENTRIES_MAX: u64 = 200;
/// Most bytes of a seed that is made at once: 4 MiB.
const SMALL_BYTES_MAX: u64 = 4 << 20;
/// Most files and directories of any seed.
const ENTRIES_MAX: u64 = 2_000_000;
/// Most bytes of any seed: 64 GiB.
const BYTES_MAX: u64 = 64 << 30;
/// Threads that copy.
const THREADS_MAX: usize = 4;
/// Seeds that wait for a thread; beyond, the caller is asked to try again.
const QUEUE_MAX: usize = 10_000;
/// How long one call waits for a copy.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Calls that wait at the same time, each of which keeps a worker of the NFS server.
const WAITING_MAX: usize = 4;
/// How long the outcome of a copy is reported before it is tried again.
const OUTCOME_KEPT: Duration = Duration::from_secs(10);

/// One seed to be made.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// Whose it is.
    pub node: String,
    /// The node's directory in the store.
    pub store: PathBuf,
    /// What is to be there.
    pub seed: Seed,
    /// The tree that lends its looks to directories on the way.
    pub image: PathBuf,
}

/// Makes one seed, however long it takes.
type Plant = dyn Fn(&Work) -> io::Result<PathBuf> + Send + Sync;

/// The seeds that are being made.
#[derive(Clone)]
pub(super) struct Seeder {
    shared: Arc<Shared>,
}

struct Shared {
    bus: Arc<Bus>,
    plant: Box<Plant>,
    wait_max: Duration,
    jobs: Mutex<Jobs>,
    news: Condvar,
}

/// Store and path.
type Key = (PathBuf, String);

#[derive(Default)]
struct Jobs {
    all: HashMap<Key, Job>,
    queue: VecDeque<Work>,
    /// Stores that a thread is copying into.
    busy: HashSet<PathBuf>,
    threads: usize,
    waiting: usize,
}

enum Job {
    Begun,
    /// A part of it may be missing even if it was made.
    Ended(Instant, Result<PathBuf, Failure>),
}

/// An error that can be reported more than once.
#[derive(Clone)]
struct Failure(Option<i32>, String);

impl Seeder {
    /// None yet.
    pub(super) fn new(bus: Arc<Bus>) -> Self {
        let plant = |work: &Work| {
            measure(&work.seed, ENTRIES_MAX, BYTES_MAX)?;
            seed::plant(&work.store, &work.seed, &work.image)
        };
        Self::planting(bus, Box::new(plant), WAIT_MAX)
    }

    fn planting(bus: Arc<Bus>, plant: Box<Plant>, wait_max: Duration) -> Self {
        let shared = Shared { bus, plant, wait_max, jobs: Mutex::default(), news: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Where the seed is, made if it is not there. [`io::ErrorKind::WouldBlock`]: it is being made.
    pub(super) fn make(&self, work: Work) -> io::Result<PathBuf> {
        if let Some(path) = seed::present(&work.store, &work.seed) {
            return Ok(path);
        }
        let key = (work.store.clone(), work.seed.path.clone());
        let mut jobs = self.shared.lock();
        match jobs.all.get(&key) {
            Some(Job::Begun) => return self.wait(jobs, &key),
            Some(job @ Job::Ended(..)) if job.is_fresh() => return job.outcome(),
            _ => jobs.all.insert(key.clone(), Job::Begun),
        };
        // Not under the lock: measuring touches files.
        drop(jobs);
        if measure(&work.seed, SMALL_ENTRIES_MAX, SMALL_BYTES_MAX).is_ok() {
            let made = self.shared.run(&work);
            self.shared.end(&key, None);
            return made;
        }
        jobs = self.shared.lock();
        if jobs.queue.len() >= QUEUE_MAX {
            jobs.all.remove(&key);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        jobs.queue.push_back(work);
        self.wait(jobs, &key)
    }

    fn wait(&self, mut jobs: MutexGuard<'_, Jobs>, key: &Key) -> io::Result<PathBuf> {
        if !jobs.queue.is_empty() && jobs.threads < THREADS_MAX {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new().name("seeder".to_owned()).spawn(move || shared.work());
            jobs.threads += usize::from(started.is_ok());
        }
        if jobs.waiting >= WAITING_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        jobs.waiting += 1;
        let begun = |jobs: &mut Jobs| matches!(jobs.all.get(key), Some(Job::Begun));
        let waited = self.shared.news.wait_timeout_while(jobs, self.shared.wait_max, begun);
        let (mut jobs, _) = waited.unwrap_or_else(PoisonError::into_inner);
        jobs.waiting -= 1;
        // A small one leaves no outcome: the next call finds it, or why it failed.
        jobs.all.get(key).map_or_else(|| Err(io::ErrorKind::WouldBlock.into()), Job::outcome)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread: it ends when there is no work that it may do.
    fn work(&self) {
        loop {
            let mut jobs = self.lock();
            let next = jobs.queue.iter().position(|work| !jobs.busy.contains(&work.store));
            let Some(work) = next.and_then(|at| jobs.queue.remove(at)) else {
                // The remaining work is for busy stores; their threads come back for it.
                jobs.threads -= 1;
                return;
            };
            jobs.busy.insert(work.store.clone());
            drop(jobs);
            self.report(
                &work,
                format!("statelite: {} is being copied into the node's store", work.seed.path),
            );
            let since = Instant::now();
            let made = self.run(&work);
            self.lock().busy.remove(&work.store);
            let outcome = made.map_err(|error| Failure(error.raw_os_error(), error.to_string()));
            let how = match &outcome {
                Ok(_) => format!("was copied in {} s", since.elapsed().as_secs()),
                Err(Failure(_, why)) => format!("was not copied: {why}"),
            };
            self.report(&work, format!("statelite: {} {how}", work.seed.path));
            self.end(&(work.store, work.seed.path), Some(outcome));
        }
    }

    /// A defect must not leave waiting callers without an answer.
    fn run(&self, work: &Work) -> io::Result<PathBuf> {
        let made = catch_unwind(AssertUnwindSafe(|| (self.plant)(work)));
        made.unwrap_or_else(|_| Err(io::Error::other("a defect of the server")))
    }

    fn end(&self, key: &Key, outcome: Option<Result<PathBuf, Failure>>) {
        let mut jobs = self.lock();
        jobs.all.retain(|_, job| job.is_fresh());
        match outcome {
            Some(outcome) => jobs.all.insert(key.clone(), Job::Ended(Instant::now(), outcome)),
            None => jobs.all.remove(key),
        };
        self.news.notify_all();
    }

    fn report(&self, work: &Work, words: String) {
        self.bus.publish(Subject::Node(&work.node), Step::Status, now_ms(), Amount::default(), words);
    }
}

impl Job {
    fn is_fresh(&self) -> bool {
        match self {
            Self::Begun => true,
            Self::Ended(when, _) => when.elapsed() < OUTCOME_KEPT,
        }
    }

    fn outcome(&self) -> io::Result<PathBuf> {
        match self {
            Self::Begun => Err(io::ErrorKind::WouldBlock.into()),
            Self::Ended(_, outcome) => outcome.clone().map_err(|failure| failure.error()),
        }
    }
}

impl Failure {
    fn error(&self) -> io::Error {
        self.0.map_or_else(|| io::Error::other(self.1.clone()), io::Error::from_raw_os_error)
    }
}

/// Fails if the sources of a seed are more than these.
fn measure(seed: &Seed, entries_max: u64, bytes_max: u64) -> io::Result<()> {
    let (mut entries, mut bytes) = (0, 0);
    let mut todo: Vec<PathBuf> = seed.all_sources().cloned().collect();
    while let Some(path) = todo.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        entries += 1;
        bytes += if meta.is_file() { meta.len() } else { 0 };
        if entries > entries_max || bytes > bytes_max {
            let gib = bytes_max >> 30;
            return Err(io::Error::other(format!("it is more than {entries_max} files or {gib} GiB")));
        }
        if meta.is_dir() {
            todo.extend(below(&path));
        }
    }
    Ok(())
}

fn below(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::mpsc;

    /// A seeder whose copies into the store of `cn1` last until the test lets them continue, and two kinds of
    /// work.
    struct Bench {
        dir: tempfile::TempDir,
        bus: Arc<Bus>,
        seeder: Seeder,
        go: mpsc::Sender<io::Result<()>>,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for n in 0..=SMALL_ENTRIES_MAX {
                let path = dir.path().join(format!("large/{n}"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            fs::write(dir.path().join("small"), "small").unwrap();
            fs::create_dir(dir.path().join("store")).unwrap();
            let (go, wait) = mpsc::channel();
            let wait = Mutex::new(wait);
            let plant = move |work: &Work| {
                if work.node == "cn1" && work.seed.path.starts_with("/large") {
                    wait.lock().unwrap().recv().unwrap()?;
                }
                seed::plant(&work.store, &work.seed, &work.image)
            };
            let bus = Arc::<Bus>::default();
            let seeder = Seeder::planting(bus.clone(), Box::new(plant), Duration::ZERO);
            Self { dir, bus, seeder, go }
        }

        fn make(&self, node: &str, path: &str) -> Result<PathBuf, io::ErrorKind> {
            let source = if path.starts_with("/large") { "large" } else { "small" };
            let root = self.dir.path().canonicalize().unwrap();
            let seed = Seed { path: path.into(), sources: vec![root.join(source)], ..Seed::default() };
            let work = Work { node: node.into(), store: root.join("store").join(node), seed, image: root };
            self.seeder.make(work).map_err(|error| error.kind())
        }

        fn settled(&self, node: &str, path: &str) -> Result<PathBuf, io::ErrorKind> {
            loop {
                match self.make(node, path) {
                    Err(io::ErrorKind::WouldBlock) => std::thread::yield_now(),
                    other => return other,
                }
            }
        }
    }

    #[test]
    fn a_large_seed_holds_up_nobody() {
        let bench = Bench::new();
        let again = Err(io::ErrorKind::WouldBlock);
        assert_eq!(bench.make("cn1", "/large"), again);
        assert_eq!(bench.make("cn1", "/large"), again, "it goes on, once");
        assert_eq!(bench.make("cn1", "/large2"), again);
        // Small ones of the same node, and any of others.
        bench.make("cn1", "/small").unwrap();
        for n in 2..10 {
            bench.settled(&format!("cn{n}"), "/large").unwrap();
        }
        bench.go.send(Ok(())).unwrap();
        let made = bench.settled("cn1", "/large").unwrap();
        assert_eq!(below(&made).count() as u64, SMALL_ENTRIES_MAX + 1);
        assert_eq!(bench.make("cn1", "/large2"), again);
        bench.go.send(Ok(())).unwrap();
        bench.settled("cn1", "/large2").unwrap();
        let told: Vec<String> = bench.bus.of("cn1").iter().map(|event| event.detail.to_string()).collect();
        assert!(told.iter().any(|text| text.contains("/large is being copied")), "{told:?}");
    }

    #[test]
    fn a_failure_is_told_and_not_tried_at_every_call() {
        let bench = Bench::new();
        bench.go.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        let failed = bench.settled("cn1", "/large");
        assert!(failed.is_err());
        assert_eq!(bench.make("cn1", "/large"), failed, "another try would wait");
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let bench = Bench::new();
        let seed = Seed { sources: vec![bench.dir.path().join("large")], ..Seed::default() };
        assert!(measure(&seed, SMALL_ENTRIES_MAX + 2, 0).is_ok());
        assert!(measure(&seed, SMALL_ENTRIES_MAX + 1, 0).is_err());
        let parent = Seed { children: vec![seed], ..Seed::default() };
        assert!(measure(&parent, SMALL_ENTRIES_MAX + 1, 0).is_err());
    }
}
