//! Live roots: what the NFS server puts over a node's image so that the node finds its own files there.
//!
//! A node mounts the path of its image. If it is a statelite node and the image was never prepared by
//! `liteimg`, it gets a separate export: the image with an overlay that follows from `litefile`,
//! `litetree` and `statelite` ([`wish`]) and from the files that are there ([`lay`]). Persistent paths are
//! made on first use ([`seed`]), large ones while the node is asked to try again ([`seeder`]).
//!
//! What a running node was shown stays until it boots again ([`kept`]); what is added, and the content of
//! sources, shows at once. A thread looks at tables and files again every [`SWEEP_PERIOD`]; what has changed
//! becomes a new generation of the overlay, which the engine shows at once and clients see when they next ask
//! for attributes of a directory. Worker threads of the engine read what the last sweep found; only a node's
//! first mount looks at files itself. Trees on network file systems are touched by neither ([`reach`]); a
//! node whose store is on one is served by threads that may hang ([`OverlaySpec::far`]).

mod copies;
pub(crate) mod fuzz;
mod kept;
mod lay;
mod origins;
mod reach;
mod seed;
mod seeder;
mod trees;
mod wish;

#[cfg(test)]
mod matrix;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::generations::{self, Generation};
use crate::reserved;
use dawn_cluster::{Model, Snapshot};
use dawn_events::now_ms;
use dawn_events::{Amount, Bus, Subject};
use dawn_nfs::nfs3::Time;
use dawn_nfs::{Export, ExportId, OverlayEntry, OverlayKind, OverlaySpec};
use dawn_plan::{BootState, local_path};
use dawn_plan::{CurrentAddresses, LocalAddresses};
use dawn_serving::DiskPool;
use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::mounts::CurrentMounts;
use dawn_statelite::ListError;
use dawn_statelite::live::Duties;
use dawn_wire::List;
use kept::Kept;
use lay::{Images, Laid, Note, lay};
use reach::Reach;
use seed::Seed;
use seeder::{Seeder, Work};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trees::TreeLook;
use wish::Wish;

pub use kept::deferred;
pub use origins::{Origin, origins};
pub use seed::{WORKSHOP, make_store};
pub use wish::{image_dir, is_here};

/// Time between two looks at the tables and source files of all live roots.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(2);

/// Represents a tree that nodes may not have; no file has this name.
const NO_TREE: &str = ".no-tree";

/// All live roots.
pub struct LiveRoots {
    model: Arc<Model>,
    addresses: Arc<CurrentAddresses>,
    bus: Arc<Bus>,
    /// The data directory, of which nodes get nothing.
    data: PathBuf,
    /// Copies from network file systems are made here.
    cache: PathBuf,
    reach: Reach,
    seeder: Seeder,
    kept: Kept,
    mounts: CurrentMounts,
    /// Disks that a sweep is looking at.
    looking: Mutex<HashSet<PathBuf>>,
    views: Mutex<HashMap<ExportId, Arc<View>>>,
    generation: AtomicU64,
    /// Remains of daemons that were killed.
    cleared: Once,
}

/// A look at a disk that is under way; dropped when it ends, however it ends.
struct Looking {
    roots: Arc<LiveRoots>,
    disk: PathBuf,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.roots.looking().remove(&self.disk);
    }
}

/// Files could not be looked at for a reason that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsure;

/// One node's root, as the last look found it.
struct View {
    node: String,
    tree: Generation,
    wish: WishAsOf,
    spec: Arc<OverlaySpec>,
    seeds: BTreeMap<PathBuf, Seed>,
    notes: Vec<Note>,
}

/// A wish, and what it follows from: the number of the last change of the tables, and the addresses of this
/// machine.
#[derive(Clone)]
struct WishAsOf {
    wish: Arc<Wish>,
    seq: u64,
    addresses: Arc<LocalAddresses>,
}

impl std::ops::Deref for WishAsOf {
    type Target = Wish;

    fn deref(&self) -> &Wish {
        &self.wish
    }
}

impl View {
    /// Every file and directory that is shown or may be copied yet.
    fn sources(&self) -> impl Iterator<Item = &Path> {
        let shown = self.spec.entries.iter().filter_map(|entry| match &entry.what {
            OverlayKind::Substitute { source, .. } => Some(source.as_path()),
            _ => None,
        });
        shown.chain(self.seeds.values().flat_map(Seed::all_sources).map(PathBuf::as_path))
    }
}

impl LiveRoots {
    /// No live root yet. Copies are kept below `data`.
    #[must_use]
    pub fn new(model: Arc<Model>, addresses: Arc<CurrentAddresses>, bus: Arc<Bus>, data: &Path) -> Self {
        let cache = data.join("live");
        let reach = Reach::new(&cache);
        let seeder = Seeder::new(Arc::clone(&bus));
        let kept = Kept::new(data.join("roots"));
        let nodes = model.snapshot();
        kept.forget(|node| !nodes.has_node(node));
        let generation = AtomicU64::new(1);
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        let (mounts, looking, views, cleared) =
            (Default::default(), Default::default(), Mutex::default(), Once::new());
        Self {
            model,
            addresses,
            bus,
            data,
            cache,
            reach,
            seeder,
            kept,
            mounts,
            looking,
            views,
            generation,
            cleared,
        }
    }

    fn views(&self) -> MutexGuard<'_, HashMap<ExportId, Arc<View>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever some overlay does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// What the server does itself for a node that boots now.
    pub fn duties(&self, snapshot: &Snapshot, node: &str) -> Option<Duties> {
        let statelite = matches!(BootState::of(snapshot, node), Some(BootState::Statelite(_)));
        let tree = generations::current(&image_dir(snapshot, node)?).filter(|_| statelite)?;
        let prepared = tree.root.join(dawn_statelite::liteimg::SAVE_FILE).exists();
        (!prepared).then(|| wish::duties(snapshot, node, &self.addresses.now()))
    }

    /// The list of a node, with the server's part marked.
    ///
    /// # Errors
    /// What makes the list unusable.
    pub fn list(&self, snapshot: &Snapshot, node: &str) -> Result<List, ListError> {
        let duties = self.duties(snapshot, node);
        let mut list = dawn_statelite::node_list(snapshot, node, duties.unwrap_or_default())?;
        let tree = image_dir(snapshot, node).and_then(|dir| generations::current(&dir));
        let view = tree.and_then(|tree| self.views().get(&id(node, &tree)).cloned());
        if let (Some(_), Some(view)) = (duties, view) {
            list.notes.extend(view.notes.iter().map(|(_, note)| note.clone()));
        }
        Ok(list)
    }

    /// The live root over `tree`, if the node is to have one. A node that mounts its root boots, and is shown
    /// what the tables say now, unless it has reported that its system is up: then the root is only mounted a
    /// second time.
    ///
    /// # Errors
    /// As [`LiveRoots::export`].
    pub fn mount(
        &self,
        snapshot: &Snapshot,
        node: &str,
        tree: &Generation,
    ) -> Result<Option<Arc<Export>>, Unsure> {
        if self.duties(snapshot, node).is_none() {
            return Ok(None);
        }
        if self.bus.is_up(node) {
            return self.export(snapshot, node, tree).map(Some);
        }
        let known = self.views().get(&id(node, tree)).cloned();
        let wish = self.wish(snapshot, node, tree.root.clone());
        self.kept.write(node, tree, &wish, true);
        let view = match known {
            Some(view) if view.wish.wish == wish.wish => view,
            // The root of the last boot does not matter for this one.
            known => {
                let laid = self.lay(&wish, &mut Images::now())?;
                self.publish(node, tree, wish, laid, known.as_ref())
            }
        };
        Ok(Some(shown(node, tree, &view)))
    }

    /// The live root over `tree`. A running node keeps it, no matter what it is to boot next.
    ///
    /// # Errors
    /// When files could not be looked at now, and there is no earlier result.
    pub fn export(&self, snapshot: &Snapshot, node: &str, tree: &Generation) -> Result<Arc<Export>, Unsure> {
        let known = self.views().get(&id(node, tree)).cloned();
        if let Some(view) = known {
            return Ok(shown(node, tree, &view));
        }
        let wish = match self.kept.read(node, tree, tree.root.clone()) {
            Some(held) => self.kept_wish(snapshot, node, tree, &held),
            None => self.wish(snapshot, node, tree.root.clone()),
        };
        let laid = self.lay(&wish, &mut Images::now())?;
        Ok(shown(node, tree, &self.publish(node, tree, wish, laid, None)))
    }

    /// Makes the file or directory of a persistent entry. [`io::ErrorKind::WouldBlock`]: it is being made.
    pub fn materialise(&self, export: ExportId, path: &Path) -> io::Result<PathBuf> {
        let view = self.views().get(&export).cloned().ok_or(io::ErrorKind::NotFound)?;
        let seed = view.seeds.get(path).ok_or(io::ErrorKind::NotFound)?;
        let store = view.wish.store.clone().ok_or(io::ErrorKind::NotFound)?;
        self.seeder.make(Work {
            node: view.node.clone(),
            store,
            seed: seed.clone(),
            image: view.wish.root.clone(),
        })
    }

    /// The node's store, if it is on a file system of this machine that may hang. Looks at local disks at
    /// most.
    pub fn far(&self, snapshot: &Snapshot, node: &str) -> Option<PathBuf> {
        let mounts = self.mounts.now();
        if !mounts.has_network() {
            return None;
        }
        let store = dawn_statelite::stores(snapshot, node).persistent?;
        let here = is_here(snapshot, &self.addresses.now(), &store.server);
        here.then(|| local_path(snapshot, &store.path)).filter(|store| mounts.network(store).is_some())
    }

    /// Removes what killed daemons were making in the stores of this machine.
    fn clear_workshops(&self, snapshot: &Snapshot) {
        let addresses = self.addresses.now();
        let here = |node: &str| {
            let store = dawn_statelite::stores(snapshot, node).persistent?;
            is_here(snapshot, &addresses, &store.server).then(|| local_path(snapshot, &store.path))
        };
        let stores = snapshot.node_names().filter_map(|node| here(node)).collect::<BTreeSet<_>>();
        let above = stores.iter().filter_map(|store| store.parent()).collect::<BTreeSet<_>>();
        let dirs = stores.iter().map(PathBuf::as_path).chain(above);
        for dir in dirs.filter(|dir| !self.is_reserved(snapshot, dir)) {
            let place = dir.to_owned();
            let cleared = DiskPool::default().call(dir, WAIT_TIME_MAX, move || seed::clear_workshop(&place));
            if let Err(error) = cleared.map_err(io::Error::other).flatten() {
                tracing::warn!(dir = %dir.display(), %error, "cannot remove the remains of an interrupted copy");
            }
        }
    }

    /// Looks at everything again. Nodes whose files are on one disk are looked at by one thread, which a disk
    /// that hangs keeps; the others do not wait for it for more than [`WAIT_TIME_MAX`], and once only.
    pub fn sweep(self: &Arc<Self>) {
        let snapshot = self.model.snapshot();
        self.cleared.call_once(|| self.clear_workshops(&snapshot));
        let mut disks: BTreeMap<PathBuf, Vec<Arc<View>>> = BTreeMap::new();
        for view in self.views().values() {
            let far = view.spec.far.as_ref().unwrap_or(&view.tree.image_dir);
            disks.entry(far.clone()).or_default().push(Arc::clone(view));
        }
        let (done, all_done) = mpsc::channel::<()>();
        for (disk, views) in disks {
            if !self.looking().insert(disk.clone()) {
                continue;
            }
            let looking = Looking { roots: Arc::clone(self), disk: disk.clone() };
            let (snapshot, done) = (Arc::clone(&snapshot), done.clone());
            // Refused work ends the look as well: it drops what notes that there is one.
            let _ = DiskPool::default().submit(&disk, move || {
                looking.roots.look_again(&snapshot, &views);
                drop((looking, done));
            });
        }
        drop(done);
        // Nothing is ever sent: the channel ends with the last look.
        let _ = all_done.recv_timeout(WAIT_TIME_MAX);
        let views: Vec<Arc<View>> = self.views().values().cloned().collect();
        let used: HashSet<&Path> = views
            .iter()
            .flat_map(|view| view.sources())
            .filter(|path| path.starts_with(&self.cache))
            .collect();
        copies::prune(&self.cache, |path| used.contains(path));
    }

    fn looking(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files of nodes again.
    fn look_again(&self, snapshot: &Snapshot, views: &[Arc<View>]) {
        let mut images = Images::for_all(views.iter().map(|view| &*view.wish));
        for view in views {
            if !snapshot.has_node(&view.node) {
                self.views().remove(&id(&view.node, &view.tree));
                self.kept.forget(|node| node == view.node);
                continue;
            }
            // A node that runs from another image than it is to boot next keeps what that image was shown
            // with.
            if image_dir(snapshot, &view.node).as_deref() == Some(&view.tree.image_dir)
                && let Some(root) = generations::find(&view.tree.image_dir, view.tree.identity)
            {
                let wish = match self.holds(snapshot, &view.wish, &root) {
                    true => view.wish.clone(),
                    false => self.kept_wish(
                        snapshot,
                        &view.node,
                        &Generation { root, ..view.tree.clone() },
                        &view.wish,
                    ),
                };
                match self.lay(&wish, &mut images) {
                    Ok(laid) => drop(self.publish(&view.node, &view.tree, wish, laid, Some(view))),
                    Err(Unsure) => tracing::warn!(
                        node = view.node,
                        "files could not be looked at for now; the node keeps what it was shown"
                    ),
                }
            }
        }
    }

    /// Whether a wish follows from the present tables.
    fn holds(&self, snapshot: &Snapshot, wish: &WishAsOf, root: &Path) -> bool {
        let addresses = self.addresses.now();
        wish.seq == snapshot.seq() && Arc::ptr_eq(&wish.addresses, &addresses) && wish.root == root
    }

    /// What the tables want.
    fn wish(&self, snapshot: &Snapshot, node: &str, root: PathBuf) -> WishAsOf {
        let addresses = self.addresses.now();
        self.without_reserved(snapshot, Wish::of(snapshot, node, &addresses, root), addresses)
    }

    /// What the tables want of it that does not disturb a node that was shown `held`.
    fn kept_wish(&self, snapshot: &Snapshot, node: &str, tree: &Generation, held: &Wish) -> WishAsOf {
        let addresses = self.addresses.now();
        let wanted = Wish::of(snapshot, node, &addresses, tree.root.clone());
        let merged = kept::merged(held, wanted);
        if (&merged.entries, &merged.trees, &merged.store) != (&held.entries, &held.trees, &held.store) {
            self.kept.write(node, tree, &merged, false);
        }
        self.without_reserved(snapshot, merged, addresses)
    }

    fn without_reserved(
        &self,
        snapshot: &Snapshot,
        mut wish: Wish,
        addresses: Arc<LocalAddresses>,
    ) -> WishAsOf {
        // One that is missing is treated as such; its priority stays.
        wish.trees.iter_mut().filter(|tree| self.is_reserved(snapshot, tree)).for_each(|tree| {
            *tree = self.data.join(NO_TREE);
        });
        wish.store = wish.store.filter(|store| !self.is_reserved(snapshot, store));
        WishAsOf { wish: Arc::new(wish), seq: snapshot.seq(), addresses }
    }

    /// Whether a directory of the tables is none that nodes get anything from.
    pub fn is_reserved(&self, snapshot: &Snapshot, path: &Path) -> bool {
        reserved::reason(snapshot, &self.data, path).is_some()
    }

    /// Looks at the files of one node.
    fn lay(&self, wish: &Wish, images: &mut Images) -> Result<Laid, Unsure> {
        let trees: Vec<Box<dyn TreeLook>> =
            wish.trees.iter().map(|tree| self.reach.tree(tree, &images.mounts)).collect();
        let laid = lay(wish, &trees, images);
        // The next priority's file would be shown in place of one that could not be looked at.
        let unsure = std::mem::take(&mut images.unsure) || trees.iter().any(|tree| tree.is_unsure());
        if unsure { Err(Unsure) } else { Ok(laid) }
    }

    /// Publishes what has changed.
    fn publish(
        &self,
        node: &str,
        tree: &Generation,
        wish: WishAsOf,
        laid: Laid,
        before: Option<&Arc<View>>,
    ) -> Arc<View> {
        let Laid { entries, seeds, notes } = laid;
        let old = before.map_or(&[][..], |view| &view.notes);
        for (step, note) in notes.iter().filter(|note| !old.contains(note)) {
            let subject = Subject::Node(node);
            self.bus.publish(subject, *step, now_ms(), Amount::default(), format!("statelite: {note}"));
        }
        let far = wish.store.clone().filter(|store| self.mounts.now().network(store).is_some());
        let same = before.filter(|view| (&view.spec.entries, &view.spec.far) == (&entries, &far));
        let spec = same.map_or_else(|| Arc::new(self.new_spec(entries, far)), |view| Arc::clone(&view.spec));
        let view = View { node: node.to_owned(), tree: tree.clone(), wish, spec, seeds, notes };
        let view = Arc::new(view);
        self.views().insert(id(node, tree), Arc::clone(&view));
        if same.is_none() {
            // Clients that looked up the old generation must revalidate.
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        view
    }

    fn new_spec(&self, entries: Vec<OverlayEntry>, far: Option<PathBuf>) -> OverlaySpec {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        OverlaySpec { generation, changed: now(), far, entries }
    }
}

fn shown(node: &str, tree: &Generation, view: &View) -> Arc<Export> {
    let export = Export { require_privileged_port: true, ..Export::read_only(id(node, tree), &tree.root) };
    Arc::new(Export { overlay: Some(Arc::clone(&view.spec)), ..export })
}

/// The export of a node's live root over `tree`.
#[must_use]
pub fn id(node: &str, tree: &Generation) -> ExportId {
    ExportId::of(&["live", node, &tree.image_dir.to_string_lossy(), &tree.identity.to_string()])
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { sec: u32::try_from(since.as_secs()).unwrap_or(u32::MAX), nsec: since.subsec_nanos() }
}
