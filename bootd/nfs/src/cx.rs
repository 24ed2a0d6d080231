//! The context of a call: the state that all calls share, the session, the caller, and objects found by their
//! handles.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dawn_serving::DiskPool;
use rustix::io::Errno;

use crate::cred::{self, Identity};
use crate::drc::ReplyCache;
use crate::export::{Access, Export, ExportId, Exports, Question};
use crate::handle::{FileHandle, HandleKey, Kind, Opened};
use crate::known::KnownHandles;
use crate::layers::{Layer, Layers};
use crate::mount_list::MountList;
use crate::mounts::Mounts;
use crate::nfs3::{self, IO_BYTES_MAX, IO_BYTES_MAX_UDP, Status};
use crate::objects::{Object, Objects};
use crate::observe::{Event, Observer, client_ip};
use crate::region::Region;
use crate::rpc::{Credential, Refused};
use crate::sys::Stat;
use crate::tree::{Tree, Workshop};
use crate::xdr::XdrError;

/// Locks that make "attributes before, change, attributes after" one step; by hash of the object.
const CHANGE_LOCKS: usize = 512;
/// Exports a session remembers; a client that uses more asks for them again.
const SESSION_EXPORTS_MAX: usize = 16;
/// Most exports kept ready; beyond, all are opened again as they are asked for.
const TREES_MAX: usize = 50_000;
/// Highest port that only root can call from.
const PRIVILEGED_PORT_MAX: u16 = 1023;
/// Most bytes of one listing while memory for replies is short: several of the longest names fit.
const LIST_BYTES_SHORT_MAX: u32 = 8 << 10;

/// The engine's settings at its start.
pub struct EngineConfig {
    /// Who may mount what.
    pub exports: Arc<dyn Exports>,
    /// Receives the events.
    pub observer: Arc<dyn Observer>,
    /// Authenticates file handles; the same over restarts.
    pub key: HandleKey,
    /// Write verifier: different in every run, so that clients send lost unstable writes again.
    pub verifier: u64,
    /// Most objects kept open.
    pub open_objects_max: usize,
    /// Replies to calls that must not be carried out twice.
    pub replies: ReplyCache,
    /// Threads for file systems that may hang.
    pub disks: DiskPool,
    /// Directory with an empty directory `dir` and an empty file `file`, see [`Workshop`].
    pub stand_ins: PathBuf,
}

/// What all calls share.
pub(crate) struct State {
    pub exports: Arc<dyn Exports>,
    pub observer: Arc<dyn Observer>,
    pub key: HandleKey,
    pub verifier: std::sync::atomic::AtomicU64,
    pub objects: Objects,
    pub known: KnownHandles,
    pub mounts: MountList,
    pub replies: ReplyCache,
    shop: Workshop,
    trees: Mutex<HashMap<ExportId, Arc<Tree>>>,
    change_locks: Vec<Mutex<()>>,
}

impl State {
    /// A state in which no client has been served yet.
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self {
            exports: config.exports,
            observer: config.observer,
            key: config.key,
            verifier: config.verifier.into(),
            objects: Objects::new(config.open_objects_max, config.disks),
            known: KnownHandles::default(),
            mounts: MountList::default(),
            replies: config.replies,
            shop: Workshop { mounts: Mounts::default(), stand_ins: config.stand_ins },
            trees: Mutex::default(),
            change_locks: (0..CHANGE_LOCKS).map(|_| Mutex::default()).collect(),
        }
    }

    /// The export ready to serve; opened if it is not, or if its directory has been replaced.
    pub(crate) fn tree(&self, export: &Export) -> Result<Arc<Tree>, Status> {
        cred::as_server()?;
        let trees = || self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = trees().get(&export.id).cloned();
        if let Some(tree) = previous.as_ref().filter(|tree| tree.is_current(export)) {
            return Ok(tree.clone());
        }
        // Not under the lock: a tree on a hung file system must not hold the others.
        let tree = Arc::new(Tree::open(&self.shop, export, previous.as_deref())?);
        let mut trees = trees();
        // Another thread may have been faster; all sessions share one tree.
        let faster = trees.get(&export.id).filter(|t| previous.as_ref().is_none_or(|p| !Arc::ptr_eq(t, p)));
        if let Some(faster) = faster.filter(|t| t.is_current(export)) {
            return Ok(faster.clone());
        }
        if trees.len() >= TREES_MAX {
            trees.clear();
        }
        trees.insert(export.id, tree.clone());
        Ok(tree)
    }

    /// Holds off other changes of the same object through this server.
    pub(crate) fn change_lock(&self, stat: &Stat) -> Option<MutexGuard<'_, ()>> {
        let lock = self.change_locks.get(change_lock_index(stat))?;
        Some(lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same for two objects at once.
    pub(crate) fn change_locks(&self, a: &Stat, b: &Stat) -> [Option<MutexGuard<'_, ()>>; 2] {
        let (a_index, b_index) = (change_lock_index(a), change_lock_index(b));
        match a_index.cmp(&b_index) {
            std::cmp::Ordering::Less => [self.change_lock(a), self.change_lock(b)],
            std::cmp::Ordering::Equal => [self.change_lock(a), None],
            std::cmp::Ordering::Greater => [self.change_lock(b), self.change_lock(a)],
        }
    }
}

fn change_lock_index(stat: &Stat) -> usize {
    let mixed = (stat.ino ^ stat.dev.rotate_left(17)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed).unwrap_or(0) % CHANGE_LOCKS
}

/// The engine's state of one connection (or of one UDP client for one call).
pub struct Session {
    /// Where calls come from and replies go.
    pub client: SocketAddr,
    /// Whether replies must fit into a datagram.
    pub datagram: bool,
    /// Whether memory for replies is short, so that listings are to be cut small.
    pub short_of_memory: AtomicBool,
    known: Mutex<Vec<Known>>,
}

#[derive(Clone)]
pub(crate) struct Known {
    generation: u64,
    export: Arc<Export>,
    tree: Arc<Tree>,
}

/// Where a call is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// On a thread that serves everybody: it must not wait for a disk that may hang. Calls that could are not
    /// begun.
    Worker,
    /// On a thread that may wait. File data are copied into the reply, so that nothing is left to be read.
    Disk,
    /// On a thread that may wait and sends file data itself.
    Own,
    /// Nowhere: the disk does not answer, and the client is asked to try again (NFS3ERR_JUKEBOX).
    Late,
}

impl Session {
    /// A session that has seen nothing yet.
    pub fn new(client: SocketAddr, datagram: bool) -> Self {
        Self { client, datagram, short_of_memory: AtomicBool::new(false), known: Mutex::default() }
    }

    /// An export as of `generation`, if it has been asked for since.
    fn known(&self, id: ExportId, generation: u64) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|k| k.export.id == id && k.generation == generation).cloned()
    }

    /// Most bytes of one READ or WRITE.
    pub fn io_bytes_max(&self) -> u32 {
        if self.datagram { IO_BYTES_MAX_UDP } else { IO_BYTES_MAX }
    }

    /// Most bytes of one listing.
    pub(crate) fn list_bytes_max(&self) -> u32 {
        if self.short_of_memory.load(Ordering::Relaxed) { LIST_BYTES_SHORT_MAX } else { self.io_bytes_max() }
    }
}

/// Bytes of an open file that belong after the head of a reply.
#[derive(Debug, Clone)]
pub struct FileTail {
    /// The file, its reader open.
    pub object: Arc<Object>,
    /// First byte.
    pub offset: u64,
    /// Number of bytes. If the file has become shorter meanwhile, zeros take their place.
    pub len: u32,
}

/// One call while it is carried out.
pub(crate) struct Cx<'a> {
    pub state: &'a State,
    pub session: &'a Session,
    pub credential: Credential,
    /// The call was begun by a daemon that died, so it may have been carried out: an error which shows that
    /// counts as success.
    pub interrupted: bool,
    /// Set when the whole call must be refused at the RPC level.
    pub refused: Cell<Option<Refused>>,
    /// Set by READ when file data are to follow the reply.
    pub tail: Cell<Option<FileTail>>,
    /// Where this is carried out.
    pub seat: Seat,
    /// The first handle of the call, found while it was decided where to carry it out.
    pub first: Cell<Option<(FileHandle, Found)>>,
}

/// What is known of a handle without asking a disk.
pub(crate) struct Found {
    cached: Option<Arc<Object>>,
    known: Known,
}

/// An object, and how the caller may look at it.
#[derive(Clone)]
pub(crate) struct Target {
    pub object: Arc<Object>,
    pub tree: Arc<Tree>,
    pub identity: Identity,
}

/// Decoding the arguments fails as a whole (GARBAGE_ARGS); anything later is a status in the results.
pub(crate) type Decoded<T = ()> = Result<T, XdrError>;

impl Cx<'_> {
    /// Turns a handle into an open object that this caller may use.
    pub(crate) fn open(&self, handle: &FileHandle) -> Result<Target, Status> {
        if self.seat == Seat::Late {
            return Err(Status::Jukebox);
        }
        let Found { cached, known } = match self.first.take() {
            Some((first, found)) if first == *handle => found,
            _ => {
                let cached = self.state.objects.get(handle);
                let export_id = match &cached {
                    Some(object) => object.region.export,
                    None => self.prove(handle)?,
                };
                Found { cached, known: self.export(export_id)? }
            }
        };
        let identity = self.identity(&known.export)?;
        let object = match cached {
            Some(object) if self.is_valid(&object, &known.tree) => object,
            _ => self.open_anew(handle, &known.tree)?,
        };
        Ok(Target { object, tree: known.tree, identity })
    }

    /// A directory whose disk may hang and must be asked to open `handle`; none if no such disk is asked.
    pub(crate) fn far(&self, handle: &FileHandle) -> Option<PathBuf> {
        let cached = self.state.objects.get(handle);
        let id = match &cached {
            Some(object) => object.region.export,
            None => handle.open(&self.state.key)?.export,
        };
        let generation = self.state.exports.generation();
        let known = self.session.known(id, generation);
        let Some(known) = known else {
            return self.state.exports.disk(client_ip(self.session.client), Question::ById(id));
        };
        if known.tree.far.is_none() {
            self.first.set(Some((*handle, Found { cached, known })));
            return None;
        }
        known.tree.far.clone()
    }

    fn prove(&self, handle: &FileHandle) -> Result<ExportId, Status> {
        match handle.open(&self.state.key) {
            Some(opened) => Ok(opened.export),
            None => {
                self.event(Event::ForgedHandle);
                Err(Status::BadHandle)
            }
        }
    }

    /// Whether an open object is still the one of its handle.
    fn is_valid(&self, object: &Object, tree: &Tree) -> bool {
        let Some(layers) = tree.layers.as_ref().filter(|_| object.region.id != 0) else {
            return Arc::ptr_eq(&object.region, &tree.base);
        };
        match (object.synthetic, layers.of_region(object.region.id)) {
            (Some(id), _) => layers.of_id(id).is_some() && Arc::ptr_eq(&object.region, &layers.stand_ins),
            (None, Some(layer)) if object.region.root_stat.is_dir() => {
                layer.opened().is_some_and(|r| Arc::ptr_eq(&r, &object.region))
            }
            // A single file may have been replaced at its source.
            (None, Some(layer)) => {
                self.region_of(tree, layers, layer).is_ok_and(|r| Arc::ptr_eq(&r, &object.region))
            }
            (None, None) => false,
        }
    }

    fn open_anew(&self, handle: &FileHandle, tree: &Tree) -> Result<Arc<Object>, Status> {
        let opened = handle.open(&self.state.key).ok_or(Status::BadHandle)?;
        cred::as_server()?;
        let found = self.open_opened(handle, &opened, tree);
        if found.as_ref().err() == Some(&Status::Stale) {
            self.event(Event::Stale { export: opened.export });
        }
        Ok(self.adopt(found?))
    }

    fn open_opened(&self, handle: &FileHandle, opened: &Opened<'_>, tree: &Tree) -> Result<Object, Status> {
        if opened.kind == Kind::Synthetic {
            let id = opened.object.try_into().map(u64::from_be_bytes).map_err(|_| Status::BadHandle)?;
            let layers = tree.layers.as_ref().ok_or(Status::Stale)?;
            return open_stand_in(*handle, layers, layers.of_id(id).ok_or(Status::Stale)?);
        }
        let region = match (opened.region, &tree.layers) {
            (0, _) => tree.base.clone(),
            (id, Some(layers)) => {
                let layer = layers.of_region(id).ok_or(Status::Stale)?;
                self.region_of(tree, layers, layer).map_err(|errno| match Status::from(errno) {
                    Status::Jukebox => Status::Jukebox,
                    _ => Status::Stale,
                })?
            }
            (_, None) => return Err(Status::Stale),
        };
        let (fd, path) = region.open_object(&self.state.key, opened)?;
        let object = Object::new(*handle, region, path, None, fd);
        // The region of a single file is that file; its predecessor is gone even if it still exists.
        let region = &object.region;
        if !region.root_stat.is_dir() && !region.is_root(&object.stat()?) {
            return Err(Status::Stale);
        }
        Ok(object)
    }

    /// The region of an overlay entry, made if it is to be made on first use.
    pub(crate) fn region_of(
        &self,
        tree: &Tree,
        layers: &Layers,
        layer: &Layer,
    ) -> Result<Arc<Region>, Errno> {
        cred::as_server().map_err(|_| Errno::PERM)?;
        let export = tree.base.export;
        let make = |path: &std::path::Path| self.state.exports.materialise(export, path);
        layers.region(&self.state.shop.mounts, export, layer, make)
    }

    /// The export of that id as this client may use it, from the session's memory if nothing changed.
    fn export(&self, id: ExportId) -> Result<Known, Status> {
        let generation = self.state.exports.generation();
        if let Some(known) = self.session.known(id, generation) {
            return Ok(known);
        }
        let mut known = self.session.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|k| k.export.id != id);
        drop(known);
        let export = self.state.exports.by_id(client_ip(self.session.client), id).map_err(|why| {
            self.event(Event::HandleRefused { export: id, reason: why.reason().to_owned() });
            why.status()
        })?;
        self.remember(generation, export)
    }

    /// Opens an export for this session.
    pub(crate) fn admit(&self, export: Arc<Export>) -> Result<Arc<Tree>, Status> {
        let generation = self.state.exports.generation();
        Ok(self.remember(generation, export)?.tree)
    }

    fn remember(&self, generation: u64, export: Arc<Export>) -> Result<Known, Status> {
        let tree = self.state.tree(&export)?;
        let fresh = Known { generation, export, tree };
        let mut known = self.session.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|k| k.export.id != fresh.export.id);
        if known.len() >= SESSION_EXPORTS_MAX {
            known.remove(0);
        }
        known.push(fresh.clone());
        Ok(fresh)
    }

    /// Who the caller is in `export`, or a refusal of the credentials.
    pub(crate) fn identity(&self, export: &Export) -> Result<Identity, Status> {
        if export.require_privileged_port && self.session.client.port() > PRIVILEGED_PORT_MAX {
            self.event(Event::HandleRefused {
                export: export.id,
                reason: "called from an unprivileged port".to_owned(),
            });
            return Err(Status::Access);
        }
        if self.credential == Credential::None && !export.allow_auth_none {
            self.refused.set(Some(Refused::TooWeak));
            return Err(Status::Access);
        }
        Ok(Identity::of(&self.credential, export.squash))
    }

    /// `result`, unless it is the failure `sign` of a call that may have happened already; then success.
    pub(crate) fn unless_done(&self, result: Result<(), Errno>, sign: Errno) -> Result<(), Errno> {
        if self.interrupted && result == Err(sign) { Ok(()) } else { result }
    }

    /// Reports to the observer.
    pub(crate) fn event(&self, event: Event) {
        self.state.observer.event(self.session.client, event);
    }

    /// Keeps a newly found object open and returns its key.
    pub(crate) fn adopt(&self, object: Object) -> Arc<Object> {
        let object = Arc::new(object);
        self.state.objects.insert(object.clone());
        object
    }
}

impl Target {
    /// Lets the calling thread act as the caller from here on.
    pub(crate) fn act(&self) -> Result<(), Status> {
        self.identity.assume()
    }

    /// [`Target::act`] to list a directory or to look a name up in it.
    pub(crate) fn act_to_look(&self, stat: &Stat) -> Result<(), Status> {
        match self.tree.is_private_root(&self.object.region, stat) {
            true => cred::as_server(),
            false => self.act(),
        }
    }

    /// Attributes of the object now.
    pub(crate) fn attributes(&self) -> Result<nfs3::Attributes, Status> {
        let object = &self.object;
        Ok(self.tree.shown(&object.region, object.synthetic, object.stat()?))
    }

    /// The object as seen by the same caller in the same export.
    pub(crate) fn sibling(&self, object: Arc<Object>) -> Target {
        Target { object, ..self.clone() }
    }

    /// Refuses changes where the region is read-only.
    pub(crate) fn changeable(&self) -> Result<(), Status> {
        match self.object.region.access {
            Access::ReadOnly => Err(Status::RoFs),
            Access::ReadWrite => Ok(()),
        }
    }
}

/// Opens the stand-in for a layer.
pub(crate) fn open_stand_in(handle: FileHandle, layers: &Layers, layer: &Layer) -> Result<Object, Status> {
    cred::as_server()?;
    let name = if layer.is_dir() { "dir" } else { "file" };
    let fd = layers.stand_ins.open_relative(Path::new(name))?;
    Ok(Object::new(handle, layers.stand_ins.clone(), None, Some(layer.id), fd))
}
