//! Calls that wait for a disk that may hang: carried out by a thread of the [`dawn_serving::DiskPool`], while
//! the workers serve other calls.
//!
//! A call whose disk has not answered after [`WAIT_TIME_MAX`] is answered with NFS3ERR_JUKEBOX, so that the
//! client asks again and its connection stays free for other exports. Two kinds get no answer instead: MOUNT,
//! which has no such status, and a call that must not run twice and has begun, because its result is not
//! known yet. Their clients ask again by themselves.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use dawn_serving::disks::WAIT_TIME_MAX;

use super::conn::Conn;
use crate::cred;
use crate::engine::{RECORD_MARK_BYTES, Reply, Session};
use crate::record::Record;
use crate::sys;

/// A call that no thread has begun.
pub(super) const WAITING: u8 = 0;
/// A call that a thread carries out.
pub(super) const BEGUN: u8 = 1;
/// A call that is answered, or will never be.
pub(super) const ENDED: u8 = 2;

/// Where a call came from and its reply goes.
pub(super) enum Origin {
    /// A connection.
    Connection(Arc<Conn>),
    /// A datagram; its session, and the token of its endpoint.
    Datagram(Session, u64),
}

impl Origin {
    /// What the engine remembers of the client.
    pub(super) fn session(&self) -> &Session {
        match self {
            Self::Connection(conn) => &conn.session,
            Self::Datagram(session, _) => session,
        }
    }
}

/// A call that was handed over.
pub(super) struct Call {
    /// Where it came from.
    pub origin: Origin,
    /// Its bytes.
    pub record: Record,
    state: AtomicU8,
}

impl Call {
    /// A call that waits for a thread.
    pub(super) fn new(origin: Origin, record: Record) -> Self {
        Self { origin, record, state: AtomicU8::new(WAITING) }
    }

    /// Goes from one state to the next, unless another thread was faster.
    pub(super) fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Calls that were handed over, oldest first.
#[derive(Default)]
pub(super) struct Away {
    calls: Mutex<VecDeque<(Instant, Weak<Call>)>>,
}

impl Away {
    /// Remembers a call for as long as it lives.
    pub(super) fn note(&self, call: &Arc<Call>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        while calls.front().is_some_and(|(_, call)| call.strong_count() == 0) {
            calls.pop_front();
        }
        calls.push_back((Instant::now(), Arc::downgrade(call)));
    }

    /// Calls that have waited too long.
    pub(super) fn late(&self) -> Vec<Arc<Call>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let late = calls.iter().take_while(|(since, _)| since.elapsed() >= WAIT_TIME_MAX).count();
        calls.drain(..late).filter_map(|(_, call)| call.upgrade()).collect()
    }
}

/// Sends a reply as a datagram. A lost answer is asked for again.
pub(super) fn send_datagram(socket: &UdpSocket, session: &Session, reply: &Reply) {
    if let Some(bytes) = reply.head.get(RECORD_MARK_BYTES..) {
        let _ = socket.send_to(bytes, session.client);
    }
}

/// Does `work` as a worker would: with the umask of one, and as the server again when it ends.
pub(super) fn as_worker<T>(work: impl FnOnce() -> T) -> T {
    struct Before(Option<rustix::fs::Mode>);
    impl Drop for Before {
        fn drop(&mut self) {
            if cred::as_server().is_err() {
                tracing::error!("a thread for disks goes on with the ids of an NFS client");
            }
            if let Some(umask) = self.0 {
                rustix::process::umask(umask);
            }
        }
    }
    // Without a umask of the thread's own, that of the process stays.
    let own = sys::own_umask();
    let _before = Before(own.ok());
    work()
}
