//! Trees on network file systems, which may hang: no thread that answers nodes touches them.
//!
//! One thread for each such mount looks for what is wanted and copies it here; overlays show the copies,
//! which are named by their content's state and never change. While a mount does not answer, files known from
//! it stay, others come from the next tree, and the tree has a problem to report.

use super::lay::is_passing;
use super::trees::{Hit, LocalTree, TreeLook, Whole};
use super::{SWEEP_PERIOD, copies};
use dawn_nfs::ExportId;
use dawn_serving::copy;
use dawn_serving::mounts::Mounts;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a look-up waits for a mount, and after which a mount that does not answer counts as away.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);
/// Most paths looked for on one mount.
const PATHS_MAX: usize = 100_000;
/// Most files and directories copied for one path.
const COPY_ENTRIES_MAX: usize = 10_000;
/// Most bytes copied for one path: 256 MiB.
const COPY_BYTES_MAX: u64 = 256 << 20;
/// Looks into a tree, however long it takes.
type Probe = dyn Fn(&Path, &str) -> Answer + Send + Sync;

/// What a look has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// That, or nothing.
    Found(Option<Hit>),
    /// The look failed for a reason that passes.
    Unsure,
}

/// The mounts that have been looked at.
pub(super) struct Reach {
    scouts: Mutex<HashMap<PathBuf, Arc<Scout>>>,
    probe: Arc<Probe>,
}

impl Reach {
    /// None yet; copies are kept in `cache`.
    pub(super) fn new(cache: &Path) -> Self {
        let cache = cache.to_owned();
        Self::probing(Arc::new(move |tree, path| look(&cache, &LocalTree::open(tree), path)))
    }

    /// The same with another way to look.
    pub(super) fn probing(probe: Arc<Probe>) -> Self {
        Self { scouts: Mutex::default(), probe }
    }

    /// The tree at `path`.
    pub(super) fn tree(&self, path: &Path, mounts: &Mounts) -> Box<dyn TreeLook> {
        let Some(mount) = mounts.network(path) else { return Box::new(LocalTree::open(path)) };
        let mut scouts = self.scouts.lock().unwrap_or_else(PoisonError::into_inner);
        let scout = scouts.entry(mount.to_owned()).or_insert_with(|| Scout::start(mount, self.probe.clone()));
        Box::new(FarTree { path: path.to_owned(), scout: scout.clone(), unsure: Cell::new(false) })
    }
}

/// The thread that looks at one mount.
struct Scout {
    known: Mutex<Known>,
    news: Condvar,
}

#[derive(Default)]
struct Known {
    /// Tree and path, and what was found there once it has been looked for.
    paths: BTreeMap<(PathBuf, String), Option<Answer>>,
    /// When the look began that is going on.
    since: Option<Instant>,
    /// There are paths that have not been looked for yet.
    fresh: bool,
}

impl Known {
    fn is_away(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= ANSWER_WAIT_MAX)
    }
}

impl Scout {
    fn start(mount: &Path, probe: Arc<Probe>) -> Arc<Self> {
        let scout = Arc::new(Self { known: Mutex::default(), news: Condvar::new() });
        let weak = Arc::downgrade(&scout);
        let rounds = move || {
            while let Some(scout) = weak.upgrade() {
                scout.round(&probe);
                let known = scout.lock();
                let more = scout.news.wait_timeout_while(known, SWEEP_PERIOD, |known| !known.fresh);
                drop(more);
            }
        };
        let started = std::thread::Builder::new().name("litetree".to_owned()).spawn(rounds);
        if let Err(error) = started {
            // Its tree counts as away.
            tracing::error!(mount = %mount.display(), %error, "no thread to look at trees");
            scout.lock().since = Some(Instant::now());
        }
        scout
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for everything once, new paths first.
    fn round(&self, probe: &Arc<Probe>) {
        let mut known = self.lock();
        known.fresh = false;
        let mut todo: Vec<(bool, (PathBuf, String))> =
            known.paths.iter().map(|(key, found)| (found.is_some(), key.clone())).collect();
        drop(known);
        todo.sort();
        for (_, key) in todo {
            self.lock().since = Some(Instant::now());
            let found = probe(&key.0, &key.1);
            let mut known = self.lock();
            known.since = None;
            // Known results stay until a look returns new ones.
            let is_known = matches!(known.paths.get(&key), Some(Some(Answer::Found(_))));
            if found != Answer::Unsure || !is_known {
                known.paths.insert(key, Some(found));
            }
            self.news.notify_all();
        }
    }

    /// What is at `path` of `tree`. Waits for a first answer, but not for a mount that is away.
    fn find(&self, tree: &Path, path: &str) -> Answer {
        let key = (tree.to_owned(), path.to_owned());
        let deadline = Instant::now() + ANSWER_WAIT_MAX;
        let mut known = self.lock();
        loop {
            if let Some(Some(found)) = known.paths.get(&key) {
                return found.clone();
            }
            if known.paths.len() < PATHS_MAX && !known.paths.contains_key(&key) {
                known.paths.insert(key.clone(), None);
                known.fresh = true;
                self.news.notify_all();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || known.is_away() || !known.paths.contains_key(&key) {
                return Answer::Found(None);
            }
            known = self.news.wait_timeout(known, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A tree that is looked at from afar.
struct FarTree {
    path: PathBuf,
    scout: Arc<Scout>,
    unsure: Cell<bool>,
}

impl TreeLook for FarTree {
    fn find(&self, path: &str) -> Option<Hit> {
        match self.scout.find(&self.path, path) {
            Answer::Found(found) => found,
            Answer::Unsure => {
                self.unsure.set(true);
                None
            }
        }
    }

    fn is_unsure(&self) -> bool {
        self.unsure.get()
    }

    /// Not looked for: that could hang.
    fn is_loose_link(&self, _: &str) -> bool {
        false
    }

    fn whole(&self) -> Whole {
        Whole::Far
    }

    fn problem(&self) -> Option<String> {
        let text = || {
            format!(
                "tree {} does not answer; what is not known of it comes from elsewhere",
                self.path.display()
            )
        };
        self.scout.lock().is_away().then(text)
    }
}

/// What a tree has at `path`, as a copy in `cache`.
fn look(cache: &Path, tree: &LocalTree, path: &str) -> Answer {
    let copy = tree.find(path).map(|hit| copy_here(cache, &hit));
    match copy {
        None if tree.is_unsure() => Answer::Unsure,
        None => Answer::Found(None),
        Some(Ok(copy)) => Answer::Found(Some(copy)),
        Some(Err(error)) => {
            tracing::warn!(path, %error, "cannot copy a file of a tree");
            if is_passing(&error) { Answer::Unsure } else { Answer::Found(None) }
        }
    }
}

/// A copy of `hit` in `cache`, made if there is none of this state.
fn copy_here(cache: &Path, hit: &Hit) -> io::Result<Hit> {
    let mut size = Size::default();
    let state = state_of(&hit.path, &mut size)?;
    let target = cache.join(format!("{}{:016x}", copies::PREFIX, ExportId::of(&[&state]).0));
    if !target.exists() {
        let part = cache.join(format!("new-{:?}", std::thread::current().id()));
        let _ = fs::remove_dir_all(&part).or_else(|_| fs::remove_file(&part));
        copies::make_directory(cache)?;
        copy::copy(&hit.path, &part)?;
        fs::rename(&part, &target)?;
    }
    Ok(Hit { is_empty: hit.is_empty, ..Hit::at(target)? })
}

#[derive(Default)]
struct Size {
    entries: usize,
    bytes: u64,
}

/// Everything that changes with the content at `path`, as text.
fn state_of(path: &Path, size: &mut Size) -> io::Result<String> {
    let hit = Hit::at(path.to_owned())?;
    let mut text = format!("{} {:?}\n", path.display(), hit.state);
    size.entries += 1;
    if !hit.is_dir {
        size.bytes = size.bytes.saturating_add(hit.state.1);
    }
    if size.entries > COPY_ENTRIES_MAX || size.bytes > COPY_BYTES_MAX {
        return Err(io::Error::other("too large to be copied from a network file system"));
    }
    if hit.is_dir {
        let mut names: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            text.push_str(&state_of(&name, size)?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    #[test]
    fn a_mount_that_hangs_is_left_out_and_comes_back() {
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let hit =
            Hit { path: "/copy".into(), is_dir: false, is_file: true, is_empty: false, state: (1, 2, 3, 4) };
        let found = hit.clone();
        let is_short = Arc::new(AtomicBool::new(true));
        let unsure = Arc::clone(&is_short);
        let probe = move |_: &Path, path: &str| {
            if path == "/hung" {
                let _ = held.lock().unwrap().recv();
            }
            match unsure.load(Ordering::Relaxed) && path == "/new" {
                true => Answer::Unsure,
                false => Answer::Found(Some(found.clone())),
            }
        };
        let reach = Reach::probing(Arc::new(probe));
        let mounts = Mounts::parse("1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /far rw - nfs4 s:/x rw");
        let tree = reach.tree(Path::new("/far/tree"), &mounts);
        assert_eq!(tree.find("/known"), Some(hit.clone()));
        assert!(!tree.is_unsure());
        // Its content is not known, so the next tree's file must not be shown in its place.
        assert_eq!(tree.find("/new"), None);
        assert!(tree.is_unsure());
        is_short.store(false, Ordering::Relaxed);
        assert_eq!((tree.find("/hung"), tree.find("/unknown")), (None, None));
        assert!(tree.problem().unwrap().contains("/far/tree does not answer"));
        assert_eq!(tree.find("/known"), Some(hit.clone()), "what is known stays");
        drop(hold);
        while tree.problem().is_some() {
            std::thread::yield_now();
        }
        assert_eq!((tree.find("/hung"), tree.find("/unknown")), (Some(hit.clone()), Some(hit)));
    }

    #[test]
    fn copies_are_whole_and_new_for_each_state() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, tree) = (dir.path().join("cache"), dir.path().join("tree"));
        fs::create_dir_all(tree.join("etc/dir/sub")).unwrap();
        fs::write(tree.join("etc/dir/sub/a"), "1").unwrap();
        let look = || copy_here(&cache, &LocalTree::open(&tree).find("/etc/dir").unwrap()).unwrap();
        let first = look();
        assert_eq!(look(), first);
        assert_eq!(fs::read_to_string(first.path.join("sub/a")).unwrap(), "1");
        fs::write(tree.join("etc/dir/sub/a"), "two").unwrap();
        let second = look();
        assert_ne!(second.path, first.path);
        assert_eq!(fs::read_to_string(second.path.join("sub/a")).unwrap(), "two");
        assert_eq!(fs::read_to_string(first.path.join("sub/a")).unwrap(), "1");
    }
}
