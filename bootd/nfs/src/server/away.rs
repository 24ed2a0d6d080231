//! Calls that wait for a disk that may hang: carried out by a thread of the [`dawn_serving::DiskPool`], while the
//! workers go on.
//!
//! A call whose disk has not answered after [`WAIT_TIME_MAX`] is answered with NFS3ERR_JUKEBOX, so that the client
//! asks again and its connection stays free for other exports. Two kinds get no answer instead: MOUNT, which has no
//! such word, and a call that must not happen twice and has begun, since nobody knows yet how it ends. Their
//! clients ask again by themselves.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::shares::Kind;

use super::conn::Conn;
use super::worker::Shared;
use crate::cred;
use crate::engine::{Answer, RECORD_MARK_BYTES, Reply, Seat, Session};
use crate::ops;
use crate::record::Record;
use crate::sys;

/// What has become of a call.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const ENDED: u8 = 2;

/// Where a call came from and its reply goes.
pub enum Origin {
    /// A connection.
    Connection(Arc<Conn>),
    /// A datagram; its session, and the token of its endpoint.
    Datagram(Session, u64),
}

impl Origin {
    fn session(&self) -> &Session {
        match self {
            Self::Connection(conn) => &conn.session,
            Self::Datagram(session, _) => session,
        }
    }
}

/// A call that was handed over.
struct Call {
    origin: Origin,
    record: Record,
    state: AtomicU8,
}

impl Call {
    fn step(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Calls that were handed over, oldest first.
#[derive(Default)]
pub struct Away {
    calls: Mutex<VecDeque<(Instant, Weak<Call>)>>,
}

impl Away {
    fn note(&self, call: &Arc<Call>) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        while calls.front().is_some_and(|(_, call)| call.strong_count() == 0) {
            calls.pop_front();
        }
        calls.push_back((Instant::now(), Arc::downgrade(call)));
    }

    /// Calls that have waited too long.
    fn late(&self) -> Vec<Arc<Call>> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let late = calls.iter().take_while(|(since, _)| since.elapsed() >= WAIT_TIME_MAX).count();
        calls.drain(..late).filter_map(|(_, call)| call.upgrade()).collect()
    }
}

impl Shared {
    /// Has a call carried out by a thread that may wait for the disk of `place`.
    pub fn hand_over(self: &Arc<Self>, origin: Origin, record: Record, place: &Path) {
        if let Origin::Connection(conn) = &origin {
            conn.calls_away.fetch_add(1, Ordering::AcqRel);
        }
        let call = Arc::new(Call { origin, record, state: AtomicU8::new(WAITING) });
        self.away.note(&call);
        let (shared, taken) = (Arc::downgrade(self), Arc::clone(&call));
        let job = move || {
            if let Some(shared) = shared.upgrade() {
                shared.carry_out_away(&taken);
            }
        };
        // Only those who may mount something get here.
        if self.disks.caller(Kind::Node).submit(place, job).is_err() {
            self.give_up(&call);
        }
    }

    /// Answers calls whose disk does not.
    pub fn give_up_late(&self) {
        self.away.late().iter().for_each(|call| self.give_up(call));
    }

    fn carry_out_away(&self, call: &Call) {
        if !call.step(WAITING, BEGUN) {
            return;
        }
        let reply = catch_unwind(AssertUnwindSafe(|| {
            let buffer = Vec::with_capacity(512);
            as_worker(|| self.engine.call(call.origin.session(), call.record.bytes(), buffer, Seat::Disk))
        }));
        match (reply, &call.origin) {
            (Ok(reply), _) if call.step(BEGUN, ENDED) => self.reply_away(call, reply),
            (Err(_), Origin::Connection(conn)) => {
                self.drop_connection(conn.token, "defect while carrying out a call");
            }
            _ => (),
        }
    }

    fn give_up(&self, call: &Call) {
        let mine = call.step(WAITING, ENDED)
            || (!ops::is_call_once_only(call.record.bytes()) && call.step(BEGUN, ENDED));
        if mine {
            let session = call.origin.session();
            let reply = self.engine.call(session, call.record.bytes(), Vec::new(), Seat::Late);
            self.reply_away(call, reply);
        }
    }

    fn reply_away(&self, call: &Call, answer: Answer) {
        let Answer::Reply(reply) = answer else { return self.came_back(call) };
        match &call.origin {
            Origin::Connection(conn) => {
                conn.queue(reply);
                if self.send(conn, false).is_err() {
                    self.forget(conn);
                }
            }
            Origin::Datagram(session, endpoint) => {
                if let Some(socket) = self.udp(*endpoint) {
                    send_datagram(socket, session, &reply);
                }
            }
        }
        self.came_back(call);
    }

    /// The connection has a place for another call.
    fn came_back(&self, call: &Call) {
        if let Origin::Connection(conn) = &call.origin {
            conn.calls_away.fetch_sub(1, Ordering::AcqRel);
            self.enlist(conn);
        }
    }
}

/// Sends a reply as a datagram. A lost answer is asked for again.
pub fn send_datagram(socket: &UdpSocket, session: &Session, reply: &Reply) {
    if let Some(bytes) = reply.head.get(RECORD_MARK_BYTES..) {
        let _ = socket.send_to(bytes, session.client);
    }
}

/// Does `work` as a worker would: with the umask of one, and as the server again when it ends.
fn as_worker<T>(work: impl FnOnce() -> T) -> T {
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
