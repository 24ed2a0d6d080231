//! A thread that accepts connections as fast as they come.
//!
//! The kernel's queue of new connections does not distinguish kinds of callers, and when it is full the next
//! handshake fails and is tried again after a second (tcp(7), `tcp_abort_on_overflow`). A task of the runtime
//! has its turn between all others, and connections that strangers open meanwhile fill that queue. The thread
//! does nothing else: it gives a connection its place, or the permit for the answer that there is none, or
//! closes it. Accepted connections wait in two queues of [`ARRIVALS_MAX`]; those of strangers are served
//! second. When a queue is full, the newcomer is closed.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::SockRef;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::limits::{ACCEPT_ERROR_PAUSE, ARRIVALS_MAX};
use dawn_serving::shares::{Callers, Kind, Place, Places};

/// Who may connect.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) places: Arc<Places>,
    /// Connections without a place that get an answer with that reason.
    pub(crate) refusals: Arc<Semaphore>,
}

/// A connection that was accepted; its socket does not block.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) admission: Admission,
}

pub(crate) enum Admission {
    /// It has a place, which it must leave when it is asked to.
    Placed(Place, Arc<Notify>),
    /// It gets the answer that there is no place.
    Refused(OwnedSemaphorePermit),
}

/// The running thread. It ends with this.
pub(crate) struct Acceptor {
    socket: Arc<TcpListener>,
    stopped: Arc<AtomicBool>,
    strangers: Receiver<Arrival>,
    others: Receiver<Arrival>,
}

/// Where the thread puts connections.
struct Queues {
    strangers: Sender<Arrival>,
    others: Sender<Arrival>,
}

impl Acceptor {
    /// Starts the thread for a listening socket that blocks.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(crate) fn start(socket: TcpListener, door: Door) -> io::Result<Self> {
        let ((to_strangers, strangers), (to_others, others)) = (channel(ARRIVALS_MAX), channel(ARRIVALS_MAX));
        let queues = Queues { strangers: to_strangers, others: to_others };
        let (socket, stopped) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let (listening, stop) = (Arc::clone(&socket), Arc::clone(&stopped));
        std::thread::Builder::new()
            .name("http-accept".to_owned())
            .spawn(move || door.accept_all(&listening, &stop, &queues))?;
        Ok(Self { socket, stopped, strangers, others })
    }

    /// The next connection; none when the thread has ended.
    pub(crate) async fn next(&mut self) -> Option<Arrival> {
        tokio::select! {
            biased;
            arrival = self.others.recv() => arrival,
            arrival = self.strangers.recv() => arrival,
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Ends the accept that the thread is in. An error means that the socket is no longer listening.
        let _ = SockRef::from(&*self.socket).shutdown(Shutdown::Both);
    }
}

impl Door {
    fn accept_all(&self, socket: &TcpListener, stopped: &AtomicBool, queues: &Queues) {
        loop {
            let accepted = socket.accept();
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            match accepted {
                Ok((stream, peer)) => {
                    let Some(arrival) = self.admit(stream, peer) else { continue };
                    let queue =
                        if arrival.kind == Kind::Stranger { &queues.strangers } else { &queues.others };
                    if let Err(TrySendError::Closed(_)) = queue.try_send(arrival) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the HTTP port failed");
                    pause();
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Arrival> {
        // An IPv4 peer of an IPv6 socket is an IPv4 peer.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let kind = self.callers.kind(peer.ip());
        let leave = Arc::new(Notify::new());
        let asked = Arc::clone(&leave);
        let admission = match self.places.enter_as(kind, peer.ip(), move || asked.notify_one()) {
            Some(place) => Admission::Placed(place, leave),
            None => Admission::Refused(Arc::clone(&self.refusals).try_acquire_owned().ok()?),
        };
        stream.set_nonblocking(true).ok()?;
        Some(Arrival { stream, peer, kind, admission })
    }
}

#[expect(clippy::disallowed_methods, reason = "a separate thread, for a named time")]
fn pause() {
    std::thread::sleep(ACCEPT_ERROR_PAUSE);
}
