//! Workers: threads that wait for any socket, carry out what came, and answer.
//!
//! A worker that finds a call carries it out itself. One that may wait for a disk of this machine has the
//! rest of its connection offered to other workers first; one for a disk that may hang is handed over
//! ([`super::away`]). File operations block and act with the caller's ids, which the kernel keeps per thread:
//! that is why these are threads of our own and not tasks of an async runtime (which would add two hand-overs
//! to each call of a few microseconds).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dawn_serving::DiskPool;
use dawn_serving::shares::{Bytes, Kind, Limit, OnlyLocal, Places};
use rustix::event::epoll::EventFlags;

use super::ServerConfig;
use super::away::{Away, BEGUN, Call, ENDED, Origin, WAITING, as_worker, send_datagram};
use super::conn::{Conn, Received, Service};
use super::poll::{Poll, STOP, WAKE};
use crate::engine::{Answer, Engine, Reply, Seat, Session};
use crate::observe::{Dropped, Event, client_ip};
use crate::portmap::{self, Ports};
use crate::record::Record;
use crate::sys;

/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Most connections of one client address.
pub const CONNECTIONS_PER_CLIENT_MAX: usize = 64;
/// One part in so many of the connections is for one client address, at most.
const CONNECTIONS_PER_CLIENT_PART: usize = 4;
/// Most connections of one address that may mount nothing.
pub const CONNECTIONS_PER_STRANGER_MAX: usize = 4;
/// Replies gathered before they are sent.
const GATHER_MAX: usize = 16;
/// One part in so many of the bytes that slow clients may make the server hold is for one client.
const WAITING_PER_CLIENT_PART: usize = 16;
/// Rounds a worker stays with a connection that keeps sending.
const ROUNDS_MAX: usize = 16;
/// Largest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// First token of connections; below are the endpoints.
const FIRST_CONNECTION: u64 = 1 << 32;

/// A socket that strangers knock on.
#[derive(Debug)]
pub(super) enum Endpoint {
    /// Connections.
    Tcp(TcpListener, Service),
    /// Datagrams.
    Udp(UdpSocket, Service),
}

/// What all workers share.
pub(super) struct Shared {
    /// The protocol.
    pub engine: Engine,
    /// The poll set.
    pub poll: Poll,
    /// Sockets that are bound.
    pub endpoints: Vec<Endpoint>,
    /// What the port mapper says.
    pub ports: Ports,
    /// Threads for disks that may hang, and what they carry out.
    pub disks: DiskPool,
    /// What those threads carry out.
    pub away: Away,
    /// Workers that are carrying something out.
    pub busy: AtomicUsize,
    /// Monitor ticks since the start.
    pub tick: AtomicU64,
    /// Set when all is to end.
    pub stopping: AtomicBool,
    conns: Mutex<HashMap<u64, Arc<Conn>>>,
    /// Places of connections.
    places: Arc<Places>,
    /// Bytes of calls and replies of slow clients.
    pub waiting: Arc<Bytes>,
    next_token: AtomicU64,
    run_queue: Mutex<VecDeque<Arc<Conn>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Puts the endpoints into a poll set.
    pub(super) fn new(
        engine: Engine,
        endpoints: Vec<Endpoint>,
        ports: Ports,
        config: &ServerConfig,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let total = config.connections_max.clamp(1, CONNECTIONS_MAX);
        // Few addresses must not have all where descriptors are few.
        let per_source = CONNECTIONS_PER_CLIENT_MAX.min(total / CONNECTIONS_PER_CLIENT_PART).max(1);
        let per_stranger = CONNECTIONS_PER_STRANGER_MAX;
        let connections = Limit { total, per_stranger, per_source, local: per_source };
        let total = config.waiting_bytes_max;
        let per_source = (total / WAITING_PER_CLIENT_PART).max(1);
        let waiting = Limit { total, per_stranger: per_source, per_source, local: per_source };
        for (endpoint, token) in endpoints.iter().zip(0..) {
            poll.add(endpoint.as_fd(), token, EventFlags::IN | EventFlags::ONESHOT)?;
        }
        Ok(Self {
            engine,
            poll,
            endpoints,
            ports,
            disks: config.disks.clone(),
            away: Away::default(),
            busy: AtomicUsize::new(0),
            tick: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            conns: Mutex::default(),
            places: Places::new(connections, Arc::new(OnlyLocal)),
            waiting: Bytes::new(waiting, Arc::new(OnlyLocal)),
            next_token: AtomicU64::new(FIRST_CONNECTION),
            run_queue: Mutex::default(),
        })
    }

    /// The life of a worker thread.
    pub(super) fn work(self: &Arc<Self>) {
        if let Err(errno) = sys::own_umask() {
            tracing::warn!(%errno, "an NFS worker has no separate umask; new files may lack mode bits");
        }
        let mut datagram = Vec::new();
        while !self.stopping.load(Ordering::Relaxed) {
            let (token, events) = match self.poll.wait() {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(error) => return tracing::error!(%error, "NFS worker cannot wait for sockets"),
            };
            self.busy.fetch_add(1, Ordering::Relaxed);
            self.guarded(token, || self.handle(token, events, &mut datagram));
            // In the poll set the queue is one of many that are ready; here it gets its share.
            if let Some(conn) = self.take_enlisted() {
                self.guarded(conn.token, || self.carry_on(&conn));
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A defect in one call must not end the service for all other clients.
    fn guarded(&self, token: u64, work: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(work)).is_ok() {
            return;
        }
        match self.endpoint(token) {
            Some(endpoint) => self.rearm(token, endpoint),
            None => self.drop_connection(token, Dropped::Defect),
        }
    }

    fn endpoint(&self, token: u64) -> Option<&Endpoint> {
        usize::try_from(token).ok().and_then(|at| self.endpoints.get(at))
    }

    fn handle(self: &Arc<Self>, token: u64, events: EventFlags, datagram: &mut Vec<u8>) {
        match token {
            STOP => (),
            WAKE => {
                self.poll.take_wake();
            }
            FIRST_CONNECTION.. => {
                let conn = lock(&self.conns).get(&token).cloned();
                conn.iter().for_each(|conn| self.attend(conn, events));
            }
            _ => match self.endpoint(token) {
                Some(Endpoint::Tcp(listener, service)) => self.accept(token, listener, *service),
                Some(Endpoint::Udp(socket, service)) => self.datagram(token, socket, *service, datagram),
                None => (),
            },
        }
    }

    fn rearm(&self, token: u64, fd: impl AsFd) {
        if let Err(error) = self.poll.change(fd.as_fd(), token, EventFlags::IN | EventFlags::ONESHOT) {
            tracing::error!(%error, "an NFS socket cannot be waited on any more");
        }
    }

    fn accept(&self, token: u64, listener: &TcpListener, service: Service) {
        while let Ok((stream, peer)) = listener.accept() {
            if let Err(reason) = self.admit(stream, peer, service) {
                self.engine.event(peer, Event::Dropped(reason));
            }
        }
        self.rearm(token, listener);
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, service: Service) -> Result<(), Dropped> {
        let client = client_ip(peer);
        let known = self.engine.is_known(client);
        // A client that may mount an export is known better here than by its address alone.
        let kind = match known {
            true if client.is_loopback() => Kind::Local,
            true => Kind::Node,
            false => Kind::Stranger,
        };
        let place = self.places.enter_as(kind, client, || ()).ok_or(Dropped::TooMany)?;
        place.keep();
        let held = || self.waiting.part_as(kind, client);
        stream.set_nonblocking(true).map_err(|_| Dropped::SocketOption)?;
        stream.set_nodelay(true).map_err(|_| Dropped::SocketOption)?;
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let tick = self.tick.load(Ordering::Relaxed);
        let (session, held) = (Session::new(peer, false), (held(), held()));
        let conn = Arc::new(Conn::new(token, service, session, stream, place, held, tick));
        let added = self.poll.add(conn.stream().as_fd(), token, EventFlags::ONESHOT);
        added.map_err(|_| Dropped::PollSet)?;
        lock(&self.conns).insert(token, conn.clone());
        conn.want(true, false, &self.poll).map_err(|_| Dropped::PollSet)
    }

    /// All connections, for the monitor.
    pub(super) fn connections(&self) -> Vec<Arc<Conn>> {
        lock(&self.conns).values().cloned().collect()
    }

    /// Ends a connection of ours.
    pub(super) fn drop_connection(&self, token: u64, reason: Dropped) {
        let conn = lock(&self.conns).remove(&token);
        if let Some(conn) = conn
            && conn.close()
        {
            self.engine.event(conn.session.client, Event::Dropped(reason));
        }
    }

    pub(super) fn forget(&self, conn: &Conn) {
        conn.close();
        lock(&self.conns).remove(&conn.token);
    }

    /// Offers the waiting calls of a connection to another worker. The queue holds each connection once at
    /// most.
    pub(super) fn enlist(&self, conn: &Arc<Conn>) {
        if !conn.enlisted.swap(true, Ordering::AcqRel) {
            lock(&self.run_queue).push_back(conn.clone());
            self.poll.wake();
        }
    }

    /// The connection that has been offered longest.
    fn take_enlisted(&self) -> Option<Arc<Conn>> {
        let conn = lock(&self.run_queue).pop_front()?;
        // From here on it may be offered again: calls may come that this worker does not see.
        conn.enlisted.store(false, Ordering::Release);
        Some(conn)
    }

    fn attend(self: &Arc<Self>, conn: &Arc<Conn>, events: EventFlags) {
        conn.progress.store(self.tick.load(Ordering::Relaxed), Ordering::Relaxed);
        let Ok((readable, writable)) = conn.fired(events, &self.poll) else { return self.forget(conn) };
        if writable && self.send(conn, true).is_err() {
            return self.forget(conn);
        }
        let mut rounds = if readable { ROUNDS_MAX } else { 0 };
        while rounds > 0 {
            rounds -= 1;
            match conn.receive() {
                Received::Closed => return self.forget(conn),
                Received::Nonsense(_) => {
                    return self.drop_connection(conn.token, Dropped::NotRpc);
                }
                Received::Drained => rounds = 0,
                Received::More => (),
            }
            if self.carry_out(conn).is_err() {
                return self.forget(conn);
            }
            if conn.is_clogged() {
                return conn.account_input();
            }
        }
        self.carry_on(conn);
    }

    /// Carries out what waits and then reads on.
    fn carry_on(self: &Arc<Self>, conn: &Arc<Conn>) {
        let done = self.carry_out(conn);
        conn.account_input();
        if done.is_err() || (!conn.is_clogged() && conn.want(true, false, &self.poll).is_err()) {
            self.forget(conn);
        }
    }

    fn carry_out(self: &Arc<Self>, conn: &Arc<Conn>) -> io::Result<()> {
        let mut gathered = 0;
        while let Some((record, more)) = conn.next_call() {
            let slow = conn.service == Service::Nfs && crate::ops::may_wait(record.bytes());
            if slow {
                if gathered > 0 {
                    self.send(conn, false)?;
                    gathered = 0;
                }
                conn.want(true, false, &self.poll)?;
                if more {
                    self.enlist(conn);
                }
            }
            let bytes_max = conn.gather_bytes_max();
            conn.session.short_of_memory.store(bytes_max == 0, Ordering::Relaxed);
            match self.answer(conn.service, &conn.session, record.bytes()) {
                Answer::Reply(reply) => {
                    conn.queue(reply);
                    gathered += 1;
                }
                Answer::Silence => (),
                Answer::Disk(place) => {
                    self.hand_over(Origin::Connection(Arc::clone(conn)), record, &place);
                }
            }
            if gathered >= GATHER_MAX || slow || conn.unsent_bytes() >= bytes_max {
                self.send(conn, false)?;
                gathered = 0;
            }
        }
        if gathered > 0 { self.send(conn, false) } else { Ok(()) }
    }

    pub(super) fn send(&self, conn: &Conn, woken: bool) -> io::Result<()> {
        match conn.flush(woken)? {
            true => Ok(()),
            false => conn.want(false, true, &self.poll),
        }
    }

    fn answer(&self, service: Service, session: &Session, record: &[u8]) -> Answer {
        match service {
            Service::Portmap => portmap::answer(record, &self.ports)
                .map_or(Answer::Silence, |head| Answer::Reply(Reply { head, tail: None })),
            Service::Nfs => self.engine.call(session, record, Vec::with_capacity(512), Seat::Worker),
        }
    }

    /// The socket of an endpoint for datagrams.
    pub(super) fn udp(&self, endpoint: u64) -> Option<&UdpSocket> {
        match self.endpoint(endpoint) {
            Some(Endpoint::Udp(socket, _)) => Some(socket),
            _ => None,
        }
    }

    fn datagram(self: &Arc<Self>, token: u64, socket: &UdpSocket, service: Service, buffer: &mut Vec<u8>) {
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        let received = socket.recv_from(buffer);
        // The next datagram may be taken by another worker while this one is answered.
        self.rearm(token, socket);
        let Ok((len, peer)) = received else { return };
        let record = Record::whole(buffer.get(..len).unwrap_or_default().to_vec());
        let session = Session::new(peer, true);
        match self.answer(service, &session, record.bytes()) {
            Answer::Reply(reply) => send_datagram(socket, &session, &reply),
            Answer::Silence => (),
            Answer::Disk(place) => self.hand_over(Origin::Datagram(session, token), record, &place),
        }
    }
}

impl Shared {
    /// Has a call carried out by a thread that may wait for the disk of `place`.
    pub(super) fn hand_over(self: &Arc<Self>, origin: Origin, record: Record, place: &Path) {
        if let Origin::Connection(conn) = &origin {
            conn.went_away(crate::ops::reply_bytes_max(record.bytes()));
        }
        let call = Arc::new(Call::new(origin, record));
        self.away.note(&call);
        let (shared, taken) = (Arc::downgrade(self), Arc::clone(&call));
        let job = move || {
            if let Some(shared) = shared.upgrade() {
                shared.carry_out_away(&taken);
            }
        };
        // Only clients that may mount an export get here.
        if self.disks.caller(Kind::Node).submit(place, job).is_err() {
            self.give_up(&call);
        }
    }

    /// Answers calls whose disk does not.
    pub(super) fn give_up_late(&self) {
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
                self.drop_connection(conn.token, Dropped::Defect);
            }
            _ => (),
        }
    }

    fn give_up(&self, call: &Call) {
        let mine = call.step(WAITING, ENDED)
            || (!crate::ops::is_call_once_only(call.record.bytes()) && call.step(BEGUN, ENDED));
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
            conn.came_back(crate::ops::reply_bytes_max(call.record.bytes()));
            self.enlist(conn);
        }
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(listener, _) => listener.as_fd(),
            Self::Udp(socket, _) => socket.as_fd(),
        }
    }
}
