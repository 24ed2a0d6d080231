//! Generations of image trees: a node keeps the tree it has booted even when its name changes.
//!
//! The tree of an image is `R/rootimg`. `genimage` puts a new tree into its place and leaves the old one next
//! to it as `R/rootimg.<number>`. A tree is known by what does not change when it is renamed: its inode
//! number and the time it was made. That identity is part of the export's id, and so of every file handle, so
//! a handle leads to the tree it was made for, under any name that the tree has in `R` now. MOUNT gives out
//! the tree that is `rootimg` at that moment: running nodes keep theirs, new boots get the new one.
//!
//! Which node uses which tree is learnt from its calls and kept in `<data>/generations/<node>`, one line with
//! a checksum a tree ([`dawn_serving::sealed`]), so that it outlives the daemon. Damaged lines are reported
//! and left out, and no tree is removed for [`UNUSED_SECONDS_MAX`] then: until that, a node that runs from
//! one has made a call. An old tree that `genimage` has set aside is removed when no node uses it any more:
//! every node that did has mounted another root since, or has not made a call for [`UNUSED_SECONDS_MAX`].
//! Trees under other names are an administrator's and never removed. Where the file system has no birth
//! times, the inode number alone is the identity; the kernel's own handles still tell a reused inode from the
//! old one.

use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::mounts::Mounts;
use dawn_serving::{DiskPool, sealed, whole};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A node that has made no call for so long does not run from a tree any more, in seconds. A running system
/// asks for attributes at least every few minutes.
pub const UNUSED_SECONDS_MAX: u64 = 24 * 3600;
/// A tree stays at least so long after its last use, although its nodes have mounted another, in seconds: a
/// root may be mounted a second time by a running node.
pub const GRACE_SECONDS: u64 = 1800;
/// How often use is noticed and old trees are looked for, in seconds; well below [`GRACE_SECONDS`].
pub const ROUND_SECONDS: u64 = 300;
/// A later use is written to disk when the written one is older than this, in seconds.
const WRITE_SECONDS: u64 = 3600;
/// Trees remembered for one node.
const TREES_PER_NODE_MAX: usize = 8;
/// The tree of an image, and the beginning of the names of its old ones.
pub(crate) const TREE: &str = dawn_wire::image::ROOT;

/// The identity of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    inode: u64,
    /// Birth time in nanoseconds since 1970, 0 where the file system has none.
    born_ns: i128,
}

impl Identity {
    /// Of the directory at `path`.
    fn of(path: &Path) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::TYPE;
        let stat = rustix::fs::statx(CWD, path, AtFlags::empty(), wanted)?;
        if u32::from(stat.stx_mode) & libc::S_IFMT != libc::S_IFDIR {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let born = &stat.stx_btime;
        Ok(Self {
            inode: stat.stx_ino,
            born_ns: i128::from(born.tv_sec) * 1_000_000_000 + i128::from(born.tv_nsec),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (inode, born) = text.split_once('.')?;
        Some(Self { inode: inode.parse().ok()?, born_ns: born.parse().ok()? })
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.inode, self.born_ns)
    }
}

/// A tree a node may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// `R` of its image.
    pub image_dir: PathBuf,
    /// Its identity.
    pub identity: Identity,
    /// Where it is now.
    pub root: PathBuf,
}

/// One use of a tree by a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Last call, in seconds since 1970, as far as noticed.
    last: u64,
    /// The same as it is on disk.
    written: u64,
    /// The node has mounted another root since, at this time.
    left: Option<u64>,
}

/// `R` and identity.
pub(crate) type Tree = (PathBuf, Identity);

/// All known uses.
#[derive(Debug)]
pub struct Generations {
    dir: PathBuf,
    uses: Mutex<BTreeMap<String, BTreeMap<Tree, Use>>>,
    round: AtomicU64,
    /// Lines and files that could not be read at the start.
    damaged: usize,
    /// The first round of this run, in seconds since 1970.
    first_round: OnceLock<u64>,
}

impl Generations {
    /// Reads the records in `dir`, which is made if it does not exist. Unreadable records are reported: a
    /// node's next call restores them.
    #[must_use]
    pub fn open(dir: PathBuf) -> Self {
        let (mut uses, mut damaged) = (BTreeMap::new(), 0);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        match fs::read_dir(&dir) {
            Err(source) => {
                let error = made.err().unwrap_or(source);
                tracing::error!(dir = %dir.display(), %error, "cannot write down which node uses which tree");
                damaged += 1;
            }
            Ok(entries) => {
                for entry in entries.flatten() {
                    let Ok(node) = entry.file_name().into_string() else { continue };
                    if node.starts_with('.') {
                        continue;
                    }
                    let (trees, lost) =
                        fs::read(entry.path()).map_or((BTreeMap::new(), 1), |text| parse(&text));
                    damaged += lost;
                    uses.insert(node, trees);
                }
            }
        }
        if damaged > 0 {
            tracing::warn!(
                dir = %dir.display(),
                damaged,
                "of the notes which node uses which tree, some cannot be read; no old tree is removed for a day"
            );
        }
        let (round, first_round) = (AtomicU64::new(0), OnceLock::new());
        Self { dir, uses: Mutex::new(uses), round, damaged, first_round }
    }

    /// Whether a tree may be in use by a node without a record.
    fn is_unsure(&self, now: u64) -> bool {
        let since = *self.first_round.get_or_init(|| now);
        self.damaged > 0 && now.saturating_sub(since) < UNUSED_SECONDS_MAX
    }

    fn uses(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Tree, Use>>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes when exports must be looked at again, because names may lead to other trees and uses must be
    /// noticed.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round.load(Ordering::Acquire)
    }

    /// Image directory and identity of each tree that `node` runs from. Looks at no disk.
    pub(crate) fn of_node_known(&self, node: &str) -> Vec<Tree> {
        self.uses().get(node).map(|trees| trees.keys().cloned().collect()).unwrap_or_default()
    }

    /// The image trees that `node` may use: the present tree of its own image directory, first, and those it
    /// runs from. Only directories that `wanted` says yes to are looked at.
    #[must_use]
    pub fn of_node(
        &self,
        node: &str,
        image_dir: Option<&Path>,
        wanted: impl Fn(&Path) -> bool,
    ) -> Vec<Generation> {
        let image_dir = image_dir.filter(|dir| wanted(dir));
        let mut all: Vec<Generation> = image_dir.and_then(current).into_iter().collect();
        for (image_dir, identity) in self.of_node_known(node).into_iter().filter(|(dir, _)| wanted(dir)) {
            if all.iter().any(|g| (&g.image_dir, g.identity) == (&image_dir, identity)) {
                continue;
            }
            all.push(located(image_dir, identity));
        }
        all
    }

    /// The tree of an image directory, under any name, that `wanted` accepts.
    #[must_use]
    pub fn among(&self, image_dir: &Path, wanted: impl Fn(&Generation) -> bool) -> Option<Generation> {
        let all = trees(image_dir);
        all.map(|(identity, root)| Generation { image_dir: image_dir.to_owned(), identity, root })
            .find(wanted)
    }

    /// A node has mounted a tree as its root at `now` (seconds since 1970).
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn mounted(&self, node: &str, tree: &Generation, now: u64) -> io::Result<()> {
        self.change(node, tree, now, |trees| {
            let this = (tree.image_dir.clone(), tree.identity);
            for (_, other) in trees.iter_mut().filter(|(other, _)| **other != this) {
                other.left.get_or_insert(now);
            }
            true
        })
    }

    /// A node has used a tree at `now`.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn used(&self, node: &str, tree: &Generation, now: u64) -> io::Result<()> {
        self.change(node, tree, now, |_| false)
    }

    fn change(
        &self,
        node: &str,
        tree: &Generation,
        now: u64,
        also: impl FnOnce(&mut BTreeMap<Tree, Use>) -> bool,
    ) -> io::Result<()> {
        let mut uses = self.uses();
        let trees = uses.entry(node.to_owned()).or_default();
        let key = (tree.image_dir.clone(), tree.identity);
        let mut write = also(trees) || !trees.contains_key(&key);
        let this = trees.entry(key).or_insert(Use { last: now, written: 0, left: None });
        this.last = this.last.max(now);
        // A node that still uses a tree that it seemed to have left has not left it.
        write |= this.left.take_if(|left| *left < now).is_some();
        write |= now.saturating_sub(this.written) >= WRITE_SECONDS;
        if !write {
            return Ok(());
        }
        while trees.len() > TREES_PER_NODE_MAX {
            let oldest = trees.iter().min_by_key(|(_, one)| one.last).map(|(tree, _)| tree.clone());
            oldest.and_then(|oldest| trees.remove(&oldest));
        }
        trees.values_mut().for_each(|one| one.written = one.last);
        let text = render(trees);
        // Under the lock, so that a later state is not replaced by an earlier one.
        self.write(node, &text)
    }

    fn write(&self, node: &str, text: &str) -> io::Result<()> {
        if node.is_empty() || node.contains('/') || node.starts_with('.') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("'{node}' cannot be a file name"),
            ));
        }
        let file = self.dir.join(node);
        if text.is_empty() {
            return fs::remove_file(&file).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
        }
        whole::write_unsynced(&file, text.as_bytes(), 0o600)
    }

    /// Nodes that run from the tree at `root`, a directory in an image directory.
    #[must_use]
    pub fn users(&self, root: &Path, now: u64) -> Vec<String> {
        match (root.parent(), Identity::of(root)) {
            (Some(dir), Ok(identity)) => self.users_of(&(dir.to_owned(), identity), now),
            _ => Vec::new(),
        }
    }

    fn users_of(&self, tree: &Tree, now: u64) -> Vec<String> {
        let uses = self.uses();
        let using = uses.iter().filter(|(_, trees)| trees.get(tree).is_some_and(|one| one.is_running(now)));
        using.map(|(node, _)| node.clone()).collect()
    }

    /// Begins a new round, forgets uses that ended, and removes old trees that no node uses. `image_dirs` are
    /// those of the tables. Gives the trees that were removed.
    pub fn tidy(&self, image_dirs: impl IntoIterator<Item = PathBuf>, now: u64) -> Vec<PathBuf> {
        self.round.fetch_add(1, Ordering::AcqRel);
        let mut dirs: BTreeSet<PathBuf> = image_dirs.into_iter().collect();
        dirs.extend(self.uses().values().flat_map(|trees| trees.keys().map(|(dir, _)| dir.clone())));
        let mut removed = Vec::new();
        let unsure = self.is_unsure(now);
        let mut waiting = BTreeMap::new();
        for dir in dirs {
            let place = dir.clone();
            // One that does not answer is left alone until the next round.
            let Ok(found) = DiskPool::default().call(&dir, WAIT_TIME_MAX, move || set_aside(&place)) else {
                continue;
            };
            let mut left = Vec::new();
            for old in found {
                let fresh = old.changed_at.is_none_or(|at| now.saturating_sub(at) < GRACE_SECONDS);
                let used = || !self.users_of(&(dir.clone(), old.identity), now).is_empty();
                if !unsure && !fresh && !used() {
                    match remove(&old.path) {
                        Ok(()) => {
                            removed.push(old.path);
                            continue;
                        }
                        Err(error) => {
                            tracing::warn!(path = %old.path.display(), %error, "an old tree cannot be removed");
                        }
                    }
                }
                left.push(old.identity);
            }
            waiting.insert(dir, left);
        }
        self.forget(now, &waiting);
        removed
    }

    /// What ended is forgotten, except where a tree waits for its removal, or may: its directory may be known
    /// from here only.
    fn forget(&self, now: u64, waiting: &BTreeMap<PathBuf, Vec<Identity>>) {
        let mut uses = self.uses();
        for (node, trees) in uses.iter_mut() {
            let before = trees.len();
            let waits = |(dir, identity): &Tree| waiting.get(dir).is_none_or(|left| left.contains(identity));
            trees.retain(|tree, one| one.is_running(now) || waits(tree));
            if trees.len() != before
                && let Err(error) = self.write(node, &render(trees))
            {
                tracing::warn!(node, %error, "cannot write which trees a node uses");
            }
        }
        uses.retain(|_, trees| !trees.is_empty());
    }
}

impl Use {
    fn is_running(&self, now: u64) -> bool {
        let silent = now.saturating_sub(self.last);
        match self.left {
            Some(_) => silent < GRACE_SECONDS,
            None => silent < UNUSED_SECONDS_MAX,
        }
    }
}

/// The tree that is `R/rootimg` now.
pub(crate) fn current(image_dir: &Path) -> Option<Generation> {
    let root = image_dir.join(TREE);
    let identity = Identity::of(&root).ok()?;
    Some(Generation { image_dir: image_dir.to_owned(), identity, root })
}

/// Every tree in an image directory: `rootimg` and what begins so.
fn trees(image_dir: &Path) -> impl Iterator<Item = (Identity, PathBuf)> {
    let entries = fs::read_dir(image_dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(TREE))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((Identity::of(&entry.path()).ok()?, entry.path())))
}

/// Where the tree of that identity is now.
pub(crate) fn find(image_dir: &Path, identity: Identity) -> Option<PathBuf> {
    trees(image_dir).find(|(found, _)| *found == identity).map(|(_, path)| path)
}

/// The tree of that identity. One that was moved out of the directory is served as long as it is held open
/// under its old name.
pub(crate) fn located(image_dir: PathBuf, identity: Identity) -> Generation {
    let root = find(&image_dir, identity).unwrap_or_else(|| image_dir.join(TREE));
    Generation { image_dir, identity, root }
}

/// A tree that `genimage` has set aside.
struct SetAside {
    identity: Identity,
    path: PathBuf,
    /// When it was last renamed or changed, in seconds since 1970.
    changed_at: Option<u64>,
}

/// Trees that `genimage` has set aside: `rootimg.<number>`, and what a removal that was interrupted left.
fn set_aside(image_dir: &Path) -> Vec<SetAside> {
    let is_old = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(TREE).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
        let number = number.strip_suffix(DOOMED).unwrap_or(number);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let old = trees(image_dir).filter(|(_, path)| is_old(path));
    old.map(|(identity, path)| SetAside { identity, changed_at: changed_at(&path), path }).collect()
}

/// End of the name of a tree that is being removed.
const DOOMED: &str = ".removing";

/// Renamed first: half a tree is not a generation.
fn remove(path: &Path) -> io::Result<()> {
    let mut doomed = path.as_os_str().to_owned();
    if !path.to_string_lossy().ends_with(DOOMED) {
        doomed.push(DOOMED);
        fs::rename(path, &doomed)?;
    }
    if Mounts::now().below(Path::new(&doomed)).next().is_some() {
        return Err(io::Error::other("something is mounted in it"));
    }
    fs::remove_dir_all(&doomed)
}

/// When a directory was last renamed or changed, in seconds since 1970.
fn changed_at(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    u64::try_from(fs::metadata(path).ok()?.ctime()).ok()
}

/// One line a tree: identity, last use, when it was left (0: not), `R`.
pub(crate) fn render(trees: &BTreeMap<Tree, Use>) -> String {
    let line = |((dir, identity), one): (&Tree, &Use)| {
        let (left, dir) = (one.left.unwrap_or(0), dir.display());
        sealed::seal(&format!("{identity}\t{}\t{left}\t{dir}", one.last))
    };
    trees.iter().map(line).collect()
}

/// The trees of a file, and how many lines are damaged.
pub(crate) fn parse(bytes: &[u8]) -> (BTreeMap<Tree, Use>, usize) {
    let line = |line: &str| {
        let mut fields = line.splitn(4, '\t');
        let identity = Identity::parse(fields.next()?)?;
        let last = fields.next()?.parse().ok()?;
        let left = fields.next()?.parse().ok().filter(|left| *left != 0);
        let dir = PathBuf::from(fields.next()?);
        dir.is_absolute().then_some(((dir, identity), Use { last, written: last, left }))
    };
    let (texts, mut damaged) = sealed::read_all(bytes);
    let mut trees = BTreeMap::new();
    for text in texts {
        match line(text) {
            Some((tree, one)) => drop(trees.insert(tree, one)),
            None => damaged += 1,
        }
    }
    (trees, damaged)
}

#[cfg(test)]
#[path = "generations_tests.rs"]
mod tests;
