//! A prepared overlay: which directory of which region holds which entry.
//!
//! The entries of an [`OverlaySpec`] form a tree of names. A name on the way to an entry is normally a
//! directory of the export's own tree; it is recognised by region and inode number when a client looks
//! into it, so its file handle needs nothing special and stays good when entries come and go. Where the
//! tree lacks such a directory (or a placeholder) a synthetic one replaces it, known by the hash of its path.
//!
//! Substitutes are opened when they are first looked at, and looked at again when their source has been
//! replaced. A source that is missing shows what the tree has at that path, and an event.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::io::Errno;

use crate::export::{Access, ExportId};
use crate::mounts::Mounts;
use crate::nfs3::Time;
use crate::overlay::{OverlayKind, OverlaySpec};
use crate::region::Region;
use crate::sys::{self, Stat};

/// Most entries of one overlay.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Most symbolic links followed on the way to one entry.
const LINKS_MAX: usize = 40;
/// Region number of synthetic objects.
pub(crate) const SYNTHETIC_REGION: u32 = u32::MAX;

/// One name of the overlay.
#[derive(Debug)]
pub struct Layer {
    /// Path in the export, relative.
    pub path: PathBuf,
    /// Hash of the path: file id of substitutes and synthetic objects.
    pub id: u64,
    /// What is put there; nothing for a directory that only leads to entries below.
    pub what: Option<OverlayKind>,
    /// Number of the region, if `what` is one.
    pub region: u32,
    children: BTreeMap<OsString, usize>,
    open: Mutex<Option<Arc<Region>>>,
}

impl Layer {
    /// Whether it is a separate tree or file.
    pub fn is_region(&self) -> bool {
        matches!(self.what, Some(OverlayKind::Substitute { .. } | OverlayKind::OnFirstUse { .. }))
    }

    /// Whether the synthetic stand-in for it is a directory.
    pub fn is_dir(&self) -> bool {
        match &self.what {
            Some(OverlayKind::Placeholder { directory } | OverlayKind::OnFirstUse { directory, .. }) => {
                *directory
            }
            Some(OverlayKind::Substitute { .. }) => !self.children.is_empty(),
            None => true,
        }
    }

    fn access(&self) -> Access {
        match &self.what {
            Some(OverlayKind::Substitute { access, .. } | OverlayKind::OnFirstUse { access, .. }) => *access,
            _ => Access::ReadOnly,
        }
    }

    /// The region if it is open.
    pub fn opened(&self) -> Option<Arc<Region>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An overlay ready for look-ups.
#[derive(Debug)]
pub struct Layers {
    /// When this generation came to be.
    pub changed: Time,
    /// Which generation it is.
    pub generation: u64,
    /// Where synthetic objects come from: a directory with `dir/` and `file`.
    pub stand_ins: Arc<Region>,
    layers: Vec<Layer>,
    by_region: HashMap<u32, usize>,
    by_id: HashMap<u64, usize>,
    directories: RwLock<HashMap<(u32, u64), usize>>,
}

/// Stable hash of a path in an export.
fn path_id(path: &Path) -> u64 {
    ExportId::of(&["overlay", &path.to_string_lossy()]).0
}

impl Layers {
    /// Puts `spec` over `base`. Regions of `previous` that still fit are taken over.
    pub fn new(
        spec: &OverlaySpec,
        base: &Arc<Region>,
        stand_ins: Arc<Region>,
        previous: Option<&Self>,
    ) -> Self {
        let mut layers = vec![layer(PathBuf::new())];
        let root = base.open_root().ok();
        for entry in spec.entries.iter().take(ENTRIES_MAX) {
            let path = root.as_ref().and_then(|root| settle(root.as_fd(), &entry.path));
            let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else { continue };
            let at = insert(&mut layers, &path);
            if let Some(layer) = layers.get_mut(at) {
                layer.what = Some(entry.what.clone());
            }
        }
        let mut all = Self {
            changed: spec.changed,
            generation: spec.generation,
            stand_ins,
            by_region: number_regions(&mut layers),
            by_id: layers.iter().zip(0..).map(|(l, i)| (l.id, i)).collect(),
            layers,
            directories: RwLock::default(),
        };
        if let Some(previous) = previous {
            all.take_over(previous);
        }
        if let Some(root) = root {
            all.find_directories(0, base, root);
        }
        all
    }

    fn take_over(&mut self, previous: &Self) {
        for layer in &self.layers {
            let old = previous.by_region.get(&layer.region).and_then(|i| previous.layers.get(*i));
            if let Some(old) = old
                && old.path == layer.path
                && old.what == layer.what
            {
                *layer.open.lock().unwrap_or_else(PoisonError::into_inner) = old.opened();
            }
        }
    }

    /// Recognises the real directories that are on the way to entries, from layer `at`, found as `fd`, on.
    fn find_directories(&self, at: usize, region: &Arc<Region>, fd: OwnedFd) {
        let mut todo = vec![(at, fd)];
        while let Some((at, fd)) = todo.pop() {
            let (Some(layer), Ok(stat)) = (self.layers.get(at), sys::stat(fd.as_fd(), c"")) else { continue };
            if !stat.is_dir() || (layer.children.is_empty() && at != 0) {
                continue;
            }
            let mut directories = self.directories.write().unwrap_or_else(PoisonError::into_inner);
            directories.insert((region.id, stat.ino), at);
            drop(directories);
            for (name, child) in &layer.children {
                let is_way = self.layers.get(*child).is_some_and(|c| !c.is_region());
                if is_way && let Ok(fd) = sys::open_beneath(fd.as_fd(), name.as_os_str()) {
                    todo.push((*child, fd));
                }
            }
        }
    }

    /// The layer of a real directory.
    pub fn of_directory(&self, region: u32, stat: &Stat) -> Option<&Layer> {
        let directories = self.directories.read().unwrap_or_else(PoisonError::into_inner);
        let at = directories.get(&(region, stat.ino))?;
        self.layers.get(*at)
    }

    /// Remembers that a real directory, which may be newer than the overlay, is on the way to entries.
    pub fn note_directory(&self, region: u32, stat: &Stat, layer: &Layer) {
        if layer.children.is_empty() || self.of_directory(region, stat).is_some() {
            return;
        }
        if let Some(at) = self.by_id.get(&layer.id) {
            let mut directories = self.directories.write().unwrap_or_else(PoisonError::into_inner);
            directories.insert((region, stat.ino), *at);
        }
    }

    /// The layer of a synthetic object.
    pub fn of_id(&self, id: u64) -> Option<&Layer> {
        self.layers.get(*self.by_id.get(&id)?)
    }

    /// The layer of a region.
    pub fn of_region(&self, region: u32) -> Option<&Layer> {
        self.layers.get(*self.by_region.get(&region)?)
    }

    /// The layer called `name` below `parent`.
    pub fn child<'a>(&'a self, parent: &Layer, name: &[u8]) -> Option<&'a Layer> {
        self.layers.get(*parent.children.get(OsStr::from_bytes(name))?)
    }

    /// All layers directly below `parent`.
    pub fn children<'a>(&'a self, parent: &'a Layer) -> impl Iterator<Item = (&'a OsStr, &'a Layer)> {
        parent.children.iter().filter_map(|(name, at)| Some((name.as_os_str(), self.layers.get(*at)?)))
    }

    /// The region of `layer`, opened now if it is not, and opened again if its source was replaced.
    /// `first_use` makes what does not exist yet. The calling thread must act as the server.
    pub fn region(
        &self,
        mounts: &Mounts,
        export: ExportId,
        layer: &Layer,
        first_use: impl FnOnce(&Path) -> std::io::Result<PathBuf>,
    ) -> Result<Arc<Region>, Errno> {
        if let Some(region) = layer.opened().filter(|region| is_current(region)) {
            return Ok(region);
        }
        // Not under the lock: making an entry on first use may take a while, and others read the layers
        // meanwhile.
        let source = match &layer.what {
            Some(OverlayKind::Substitute { source, .. }) => source.clone(),
            Some(OverlayKind::OnFirstUse { .. }) => first_use(&layer.path).map_err(errno)?,
            _ => return Err(Errno::NOENT),
        };
        // What is made on first use is in a place where the node may have left links.
        let follow = !matches!(layer.what, Some(OverlayKind::OnFirstUse { .. }));
        let region = Region::open(mounts, export, layer.region, &source, layer.access(), follow)?;
        let mut open = layer.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster; all share one region.
        if let Some(faster) = open.as_ref().filter(|r| r.path == region.path && r.is_root(&region.root_stat))
        {
            return Ok(faster.clone());
        }
        let region = Arc::new(region);
        *open = Some(region.clone());
        drop(open);
        if let (Some(at), Ok(fd)) = (self.by_region.get(&layer.region), region.open_root()) {
            self.find_directories(*at, &region, fd);
        }
        Ok(region)
    }
}

fn errno(error: std::io::Error) -> Errno {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => Errno::AGAIN,
        _ => Errno::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// Whether the source still is the file or directory that was opened.
fn is_current(region: &Region) -> bool {
    let now = sys::open_path(&region.path).and_then(|fd| sys::stat(fd.as_fd(), c""));
    now.is_ok_and(|stat| region.is_root(&stat))
}

fn layer(path: PathBuf) -> Layer {
    let id = path_id(&path);
    Layer { path, id, what: None, region: 0, children: BTreeMap::new(), open: Mutex::default() }
}

/// The index of `path`'s layer, made with all layers above it if it is not there.
fn insert(layers: &mut Vec<Layer>, path: &Path) -> usize {
    let mut at = 0;
    let mut so_far = PathBuf::new();
    for name in path.iter() {
        so_far.push(name);
        let fresh = layers.len();
        let Some(parent) = layers.get_mut(at) else { return at };
        at = *parent.children.entry(name.to_owned()).or_insert(fresh);
        if at == fresh {
            layers.push(layer(so_far.clone()));
        }
    }
    at
}

/// Gives each region a number that depends on its path alone, as far as numbers do not collide.
fn number_regions(layers: &mut [Layer]) -> HashMap<u32, usize> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|at| layers.get(*at).map(|l| l.path.clone()));
    let mut taken = HashMap::new();
    for at in order {
        let Some(layer) = layers.get_mut(at).filter(|l| l.is_region()) else { continue };
        let mut number = u32::try_from(layer.id >> 32).unwrap_or(1);
        while number == 0 || number == SYNTHETIC_REGION || taken.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        layer.region = number;
        taken.insert(number, at);
    }
    taken
}

/// Where an entry really goes: links among the directories above it are followed inside the tree, as the
/// node would follow them. None for a path that climbs out or goes round in circles.
fn settle(root: BorrowedFd<'_>, path: &Path) -> Option<PathBuf> {
    let mut todo: Vec<OsString> = plain(path)?.into_iter().rev().collect();
    let mut done = PathBuf::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        let link = if todo.is_empty() { None } else { read_link(root, &next) };
        let Some(link) = link else {
            done = next;
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            return None;
        }
        if link.is_absolute() {
            done = PathBuf::new();
        }
        let parts = link.components().rev().filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
        todo.extend(parts);
    }
    Some(done)
}

fn read_link(root: BorrowedFd<'_>, path: &Path) -> Option<PathBuf> {
    let fd = sys::open_beneath(root, path).ok()?;
    let text = rustix::fs::readlinkat(&fd, c"", Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(text.as_bytes())))
}

fn plain(path: &Path) -> Option<Vec<OsString>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::RootDir | Component::CurDir => (),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(names)
}
