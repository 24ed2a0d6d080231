//! All consoles: one task for each, and the way in for viewers.
//!
//! [`Hub::follow`] says which nodes have a console and where; unchanged consoles are left alone. A viewer is
//! a stream of bytes ([`super::frames`]) that its caller has admitted: who may look and who may write is
//! decided before [`Hub::attach`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::frames::{Decoder, Frame};
use super::node::{Node, Order, Viewer};
use super::place::Place;
use super::source::Source;
use super::view::{Heard, Mode, Shown};
use crate::hub::Links;
use crate::limits::{
    CONSOLE_FRAMES_WAITING_MAX, CONSOLE_OPENS_MAX, CONSOLE_ORDERS_WAITING_MAX, CONSOLE_READ_BYTES,
    CONSOLE_VIEWERS_MAX,
};

/// A console that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The node.
    pub node: String,
    /// Where it is.
    pub place: Place,
    /// Only while a viewer is attached.
    pub on_demand: bool,
}

/// Why a viewer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The tables give the node no console.
    #[error("{0} has no console: set nodehm.cons, or nodehm.mgt and nodehm.serialport")]
    NoConsole(String),
    /// Too many viewers.
    #[error("{CONSOLE_VIEWERS_MAX} viewers look at consoles already")]
    Full,
    /// Its console does not keep up.
    #[error("the console of {0} is busy")]
    Busy(String),
}

struct Entry {
    /// What it was given last.
    wanted: Option<Wanted>,
    orders: mpsc::Sender<Order>,
    shown: Arc<Mutex<Shown>>,
}

impl Entry {
    /// Gives the console its place. One whose queue is full gets it by the next call.
    fn place(self, wanted: Wanted, source: &impl Fn(&Place) -> Option<Arc<dyn Source>>) -> Self {
        let nowhere = match &wanted.place {
            Place::Nowhere(why) => why.clone(),
            _ => String::new(),
        };
        let (source, on_demand) = (source(&wanted.place), wanted.on_demand);
        let sent = self.orders.try_send(Order::Follow { source, nowhere, on_demand }).is_ok();
        Self { wanted: sent.then_some(wanted), ..self }
    }
}

#[derive(Default)]
struct Nodes {
    entries: HashMap<String, Entry>,
    runtime: Option<Handle>,
}

/// All consoles of a daemon.
pub struct Hub {
    nodes: Mutex<Nodes>,
    heard: Arc<dyn Heard>,
    links: Arc<Links>,
    directory: PathBuf,
    opens: Arc<Semaphore>,
    viewers: Arc<AtomicUsize>,
    next_viewer: AtomicU64,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without consoles; `directory` has key and known hosts of ssh.
    pub fn new(heard: Arc<dyn Heard>, directory: PathBuf) -> Self {
        Self::with_virsh(heard, directory, "virsh")
    }

    /// The same with a program of this name or path for virtual machines of libvirt.
    pub fn with_virsh(heard: Arc<dyn Heard>, directory: PathBuf, program: &str) -> Self {
        Self {
            nodes: Mutex::default(),
            heard,
            links: Arc::new(Links::new(program)),
            directory,
            opens: Arc::new(Semaphore::new(CONSOLE_OPENS_MAX)),
            viewers: Arc::default(),
            next_viewer: AtomicU64::new(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the consoles from now on. To be called inside of a runtime, where their tasks run.
    pub fn follow(&self, wanted: Vec<Wanted>) {
        let links = Arc::clone(&self.links);
        self.follow_with(wanted, |place| place.source(&links, &self.directory));
    }

    /// The same with other sources, for tests.
    pub fn follow_with(&self, wanted: Vec<Wanted>, source: impl Fn(&Place) -> Option<Arc<dyn Source>>) {
        let mut nodes = self.lock();
        nodes.runtime = Some(Handle::current());
        let mut before = std::mem::take(&mut nodes.entries);
        for wanted in wanted {
            let node = wanted.node.clone();
            let entry = match before.remove(&node) {
                Some(entry) if entry.wanted.as_ref() == Some(&wanted) => entry,
                Some(entry) => entry.place(wanted, &source),
                None => self.start(&node).place(wanted, &source),
            };
            nodes.entries.insert(node, entry);
        }
    }

    /// A console that does not know yet where it is.
    fn start(&self, node: &str) -> Entry {
        let (orders, receiver) = mpsc::channel(CONSOLE_ORDERS_WAITING_MAX);
        let shown = Arc::<Mutex<Shown>>::default();
        let (heard, opens) = (Arc::clone(&self.heard), Arc::clone(&self.opens));
        tokio::spawn(Node::new(node.into(), heard, opens, Arc::clone(&shown)).run(receiver));
        Entry { wanted: None, orders, shown }
    }

    /// The consoles end, and their viewers learn it.
    pub fn stop(&self) {
        self.lock().entries.clear();
    }

    /// The state of a node's console.
    pub fn shown(&self, node: &str) -> Option<Shown> {
        let nodes = self.lock();
        let shown = nodes.entries.get(node)?.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(shown)
    }

    /// Shows a console to a viewer until the stream ends.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach<S>(&self, node: &str, name: &str, mode: Mode, stream: S) -> Result<(), AttachError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let nodes = self.lock();
        let no_console = || AttachError::NoConsole(node.to_owned());
        let entry = nodes.entries.get(node).ok_or_else(no_console)?;
        let runtime = nodes.runtime.as_ref().ok_or_else(no_console)?;
        let place = Seat::take(&self.viewers).ok_or(AttachError::Full)?;
        let id = self.next_viewer.fetch_add(1, Ordering::Relaxed);
        let (output, frames) = mpsc::channel(CONSOLE_FRAMES_WAITING_MAX);
        let viewer =
            Viewer { id, name: name.to_owned(), may_write: mode != Mode::Watch, output, lost: false };
        let order = Order::Attach(viewer, mode);
        entry.orders.try_send(order).map_err(|_| AttachError::Busy(node.to_owned()))?;
        runtime.spawn(serve(stream, id, frames, entry.orders.downgrade(), place));
        Ok(())
    }
}

/// One of the viewers that there may be.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(viewers: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |count: usize| (count < CONSOLE_VIEWERS_MAX).then_some(count + 1);
        viewers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(viewers)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Carries frames between a viewer and the console until one of them ends.
async fn serve<S: AsyncRead + AsyncWrite>(
    stream: S,
    id: u64,
    mut frames: mpsc::Receiver<Frame>,
    orders: mpsc::WeakSender<Order>,
    _seat: Seat,
) {
    let (read, mut write) = tokio::io::split(stream);
    let shows = async {
        while let Some(frame) = frames.recv().await {
            if write.write_all(&frame.bytes()).await.is_err() {
                return;
            }
        }
        drop(write.shutdown().await);
    };
    tokio::select! {
        () = shows => {}
        () = listen(read, id, &orders) => {}
    }
    if let Some(orders) = orders.upgrade() {
        drop(orders.send(Order::Detach(id)).await);
    }
}

/// Hands a viewer's frames on until the stream ends or carries something else.
async fn listen<S: AsyncRead>(mut read: ReadHalf<S>, id: u64, orders: &mpsc::WeakSender<Order>) {
    let (mut decoder, mut chunk) = (Decoder::default(), vec![0; CONSOLE_READ_BYTES]);
    while let Ok(count @ 1..) = read.read(&mut chunk).await {
        decoder.push(chunk.get(..count).unwrap_or_default());
        while let Ok(frame) = decoder.next_frame() {
            let Some(frame) = frame else { break };
            let Some(orders) = orders.upgrade() else { return };
            if orders.send(Order::Frame(id, frame)).await.is_err() {
                return;
            }
        }
        if decoder.next_frame().is_err() {
            return;
        }
    }
}
