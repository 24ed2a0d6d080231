//! All transfers of one server thread: the table, admission, and the timers. No socket and no clock.
//!
//! A request becomes a transfer if there is a place; otherwise it waits in order and takes the next free
//! place, and the client's own repeats keep it in the queue. So any number of machines that start at one
//! moment make steady progress instead of failing together. With many transfers each is granted a smaller
//! window, so that all windows together stay within a fixed number of bytes.
//!
//! A part of the places is kept for nodes. A transfer that was never acknowledged, and may be for a forged
//! address, ends after [`UNHEARD_MAX`] when others wait. A request whose file is being looked for has a place
//! like a transfer.
//!
//! The request of a node is answered when it arrives. A stranger's request always waits first, and each
//! [`Server::on_timer`] admits [`Limits::strangers_per_turn`] of them: to note a request costs a hundredth of
//! what its answer costs, so the socket is emptied faster than forged requests fill it, and a node does not
//! wait in the kernel's queue behind them. What comes from one node's address beyond
//! [`Limits::per_node_per_turn`] between two turns counts as a stranger's: the address may be forged.
//!
//! A client is known by its address and port. It may begin again from the same port (boot ROMs do): the new
//! transfer then gets another port of ours, and packets of the old one no longer match.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::counts::Counts;
use crate::limits::{
    BLKSIZE_DEFAULT, HEADERS_BYTES, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_SHARE, LOSSY_CLIENTS_MAX, LOSSY_MEMORY,
    LOSSY_WINDOWS_MAX, Limits, READ_AHEAD_BYTES_MAX, READ_AHEAD_TOTAL_BYTES, REFUSALS_PERIOD,
    REQUEST_COPY_MAX, UNHEARD_MAX, WAITING_MAX, WINDOW_BYTES_MAX,
};
use crate::options::{Asked, Bounds};
use crate::outbox::{Outbox, PortId, Route};
use crate::packet::{ErrorCode, Packet, RawRequest, put_error, put_oack};
use crate::transfer::{Piece, ReadError, Step, Transfer};
use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::shares::{Callers, Kind, OnlyLocal};
use dawn_serving::{
    Answer, Content, Event, EventKind, Late, Observer, OwnedRequest, Request, RequestPath, Service, Source,
};

/// Smallest read-ahead of one transfer, bytes.
const READ_AHEAD_BYTES_MIN: usize = 4096;

/// Work for a thread for disks. The engine serves others meanwhile.
#[derive(Debug)]
pub enum Ask {
    /// Have the source resolve a request.
    Find {
        /// To be given back with the answer.
        ticket: Ticket,
        /// The client.
        kind: Kind,
        /// What is looked for.
        request: OwnedRequest,
    },
    /// Read a piece of content.
    Read {
        /// To be given back with the bytes.
        ticket: Ticket,
        /// The client.
        kind: Kind,
        /// What is read.
        content: Content,
        /// Which part.
        piece: Piece,
    },
}

/// Whose question it is.
#[derive(Clone, Debug)]
pub struct Ticket {
    peer: SocketAddrV4,
    wanted: Weak<()>,
}

impl Ticket {
    /// Whether the answer is still of use.
    pub fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }
}

/// A request for a file that is being answered.
struct Asking<'a> {
    caller: Caller,
    /// The request as it came.
    datagram: &'a [u8],
    /// Names and values of its options.
    options: &'a [(&'a [u8], &'a [u8])],
    path: RequestPath,
}

/// A datagram's ends, as the socket reports them.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// From whom, to which address and socket of ours.
    pub route: Route,
    /// MTU of the interface it came in by, bytes.
    pub mtu: usize,
}

/// A datagram's ends, and as whose it counts.
#[derive(Clone, Copy)]
struct Caller {
    route: Route,
    mtu: usize,
    kind: Kind,
}

impl Caller {
    fn address(&self) -> Ipv4Addr {
        *self.route.peer.ip()
    }
}

/// Plain counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that were not TFTP packets.
    pub malformed: u64,
    /// Acknowledgements and errors that belong to no transfer.
    pub strays: u64,
    /// Requests that had to wait for a place.
    pub waited: u64,
    /// Requests dropped because even the waiting room was full.
    pub dropped: u64,
}

/// The engine.
pub struct Server<'a> {
    limits: Limits,
    ports: Vec<PortId>,
    next_port: usize,
    source: &'a dyn Source,
    observer: &'a dyn Observer,
    callers: &'a dyn Callers,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    by_peer: HashMap<SocketAddrV4, usize>,
    /// Places of each address.
    per_address: Counts,
    /// Requests of each address that wait.
    waiting_per_address: Counts,
    /// Requests of each node's address since the last turn.
    per_turn: Counts,
    waiting: HashMap<SocketAddrV4, Waiting>,
    /// By [`Kind`], those that wait longest first.
    waiting_order: [VecDeque<SocketAddrV4>; Kind::ALL.len()],
    /// By [`Kind`], transfers that were not acknowledged when they were last looked at, oldest first: begun,
    /// slot, generation.
    unheard: [VecDeque<(Duration, usize, u64)>; Kind::ALL.len()],
    timers: BinaryHeap<Reverse<(Duration, usize, u64)>>,
    lossy: HashMap<Ipv4Addr, Duration>,
    /// Requests whose file is being looked for.
    looks: HashMap<SocketAddrV4, Look>,
    /// When each of them is given up, in order.
    looks_end: VecDeque<(Duration, SocketAddrV4)>,
    asks: VecDeque<Ask>,
    generation: u64,
    window_bytes: usize,
    counters: Counters,
    /// Until then no refusal of a stranger is reported.
    refusals_silent: Duration,
}

struct Slot {
    kind: Kind,
    transfer: Transfer,
    path: RequestPath,
    request_bytes: Vec<u8>,
    begun: Duration,
    generation: u64,
    /// Time of this slot's earliest entry in the heap.
    armed: Duration,
    tsize_asked: bool,
    /// Alive as long as the transfer is.
    wanted: Arc<()>,
}

/// A request whose file is being looked for on a disk that may hang.
struct Look {
    caller: Caller,
    datagram: Vec<u8>,
    path: RequestPath,
    ends: Duration,
    wanted: Arc<()>,
}

struct Waiting {
    caller: Caller,
    request: Vec<u8>,
    seen: Duration,
}

impl<'a> Server<'a> {
    /// An engine that sends transfers from `ports` in turn; without any, a transfer uses the port of its
    /// request.
    pub fn new(
        limits: Limits,
        ports: Vec<PortId>,
        source: &'a dyn Source,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            limits: limits.clamped(),
            ports,
            next_port: 0,
            source,
            observer,
            callers: &OnlyLocal,
            slots: Vec::new(),
            free: Vec::new(),
            by_peer: HashMap::new(),
            per_address: Counts::default(),
            waiting_per_address: Counts::default(),
            per_turn: Counts::default(),
            waiting: HashMap::new(),
            waiting_order: Default::default(),
            unheard: Default::default(),
            timers: BinaryHeap::new(),
            lossy: HashMap::new(),
            looks: HashMap::new(),
            looks_end: VecDeque::new(),
            asks: VecDeque::new(),
            generation: 0,
            window_bytes: 0,
            counters: Counters::default(),
            refusals_silent: Duration::ZERO,
        }
    }

    /// The same with `callers`, which tells nodes from strangers; without it, every other machine is a
    /// stranger.
    #[must_use]
    pub fn with_callers(self, callers: &'a dyn Callers) -> Self {
        Self { callers, ..self }
    }

    /// Takes one datagram.
    pub fn on_datagram(&mut self, now: Duration, incoming: Incoming, datagram: &[u8], out: &mut Outbox) {
        match Packet::parse(datagram) {
            Ok(Packet::Ack(block)) => self.on_ack(now, incoming.route, block, out),
            Ok(Packet::Error(_, text)) => self.on_client_error(now, incoming.route, text, out),
            Ok(Packet::Read(request)) => self.on_read(now, incoming, datagram, &request, out),
            Ok(Packet::Write(request)) => {
                let reason = "this server sends files and does not take any";
                let kind = self.caller(incoming).kind;
                if self.is_reported(now, kind) {
                    self.refuse(incoming.route, request.filename, ErrorCode::Access, reason, out);
                }
            }
            Ok(Packet::NotForServers) => self.counters.malformed += 1,
            Err(error) => {
                self.counters.malformed += 1;
                let kind = self.caller(incoming).kind;
                if self.is_reported(now, kind) {
                    self.tell(incoming.route, "", EventKind::Malformed { reason: &error.to_string() });
                }
            }
        }
    }

    /// Does everything that is due at `now`, and admits some of the strangers that wait.
    pub fn on_timer(&mut self, now: Duration, out: &mut Outbox) {
        self.per_turn.clear();
        self.give_up_looks(now, out);
        while let Some(Reverse((at, index, generation))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.on_slot_timer(now, index, generation, at, out);
        }
        self.admit_waiting(now, out);
        for _ in 0..self.limits.strangers_per_turn {
            if !self.admit_next(now, Kind::Stranger, out) {
                break;
            }
        }
    }

    /// When [`Server::on_timer`] has something to do; none when idle.
    pub fn deadline(&self) -> Option<Duration> {
        let at_once = self.is_waiting(Kind::Stranger) && self.has_place(Kind::Stranger);
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let look = self.looks_end.front().map(|(at, _)| *at);
        let waiting = Kind::ALL.into_iter().filter(|kind| self.is_waiting(*kind)).max();
        let unheard =
            waiting.and_then(|kind| self.oldest_unheard(kind)).map(|(begun, _)| begun + UNHEARD_MAX);
        at_once.then_some(Duration::ZERO).into_iter().chain(timer).chain(look).chain(unheard).min()
    }

    /// The next thing to be done on a thread for disks.
    pub fn take_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// Takes the answer to [`Ask::Find`].
    pub fn on_found(&mut self, now: Duration, ticket: &Ticket, answer: Answer, out: &mut Outbox) {
        let ours = |look: &Look| ticket.wanted.ptr_eq(&Arc::downgrade(&look.wanted));
        if !self.looks.get(&ticket.peer).is_some_and(ours) {
            return;
        }
        let Some(Look { caller, datagram, path, .. }) = self.take_look(ticket.peer) else { return };
        if let Answer::Unavailable(late) = answer {
            self.unavailable(caller.route, &path, late);
        } else if let Ok(Packet::Read(request)) = Packet::parse(&datagram) {
            let asking = Asking { caller, datagram: &datagram, options: &request.options, path };
            self.answer(now, asking, answer, out);
        }
        // A look that became no transfer has left its place.
        self.admit_waiting(now, out);
    }

    /// Takes the outcome of [`Ask::Read`].
    pub fn on_piece(
        &mut self,
        now: Duration,
        ticket: &Ticket,
        piece: Piece,
        read: Result<Vec<u8>, ReadError>,
        out: &mut Outbox,
    ) {
        let Some(index) = self.by_peer.get(&ticket.peer).copied() else { return };
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if ticket.wanted.ptr_eq(&Arc::downgrade(&slot.wanted)) {
            let step = slot.transfer.on_piece(now, piece, read, out);
            self.after(now, index, step, out);
        }
    }

    /// The client is not answered: it asks again, and then the disk may be back.
    fn unavailable(&self, route: Route, path: &RequestPath, late: Late) {
        self.tell(route, path.as_str(), EventKind::Failed { reason: &late.to_string(), bytes: 0 });
    }

    fn give_up_looks(&mut self, now: Duration, out: &mut Outbox) {
        while let Some((ends, peer)) = self.looks_end.front().copied().filter(|(ends, _)| *ends <= now) {
            self.looks_end.pop_front();
            // It may have been answered, and the client may have asked for something else since.
            if self.looks.get(&peer).is_some_and(|look| look.ends == ends)
                && let Some(look) = self.take_look(peer)
            {
                self.unavailable(look.caller.route, &look.path, Late::Slow(WAIT_TIME_MAX));
                self.admit_waiting(now, out);
            }
        }
    }

    /// Places taken: by transfers, and by requests whose file is being looked for.
    fn held(&self) -> usize {
        self.by_peer.len() + self.looks.len()
    }

    /// Transfers going on.
    pub fn active(&self) -> usize {
        self.by_peer.len()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn on_slot_timer(
        &mut self,
        now: Duration,
        index: usize,
        generation: u64,
        at: Duration,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if slot.generation != generation || slot.armed != at {
            return;
        }
        slot.armed = Duration::MAX;
        let step =
            if slot.transfer.deadline() <= now { slot.transfer.on_timer(now, out) } else { Step::Going };
        self.after(now, index, step, out);
    }

    fn on_ack(&mut self, now: Duration, route: Route, block: u16, out: &mut Outbox) {
        let Some((index, slot)) = self.slot_of(route) else {
            self.counters.strays += 1;
            return;
        };
        let step = slot.transfer.on_ack(now, block, out);
        self.after(now, index, step, out);
    }

    fn on_client_error(&mut self, now: Duration, route: Route, text: &[u8], out: &mut Outbox) {
        let Some((index, slot)) = self.slot_of(route) else {
            self.counters.strays += 1;
            return;
        };
        let probed = slot.tsize_asked && slot.transfer.is_opening();
        let reason = String::from_utf8_lossy(text).into_owned();
        let Some(slot) = self.remove(index) else { return };
        let bytes = slot.transfer.acked_bytes();
        let kind = if probed { EventKind::Probed } else { EventKind::Aborted { reason: &reason, bytes } };
        self.tell(route, slot.path.as_str(), kind);
        self.admit_waiting(now, out);
    }

    fn slot_of(&mut self, route: Route) -> Option<(usize, &mut Slot)> {
        let index = *self.by_peer.get(&route.peer)?;
        let slot = self.slots.get_mut(index)?.as_mut()?;
        (slot.transfer.route().port == route.port).then_some((index, slot))
    }

    /// Arms the timer, or ends the transfer and says how.
    fn after(&mut self, now: Duration, index: usize, step: Step, out: &mut Outbox) {
        if matches!(step, Step::Going) {
            self.arm(index);
            self.ask_for_piece(index);
            return;
        }
        let Some(slot) = self.remove(index) else { return };
        let transfer = &slot.transfer;
        let (route, duration, bytes) =
            (transfer.route(), now.saturating_sub(slot.begun), transfer.acked_bytes());
        match step {
            Step::Going => {}
            Step::Done => {
                let done = EventKind::Done { bytes: transfer.size(), duration, repeats: transfer.repeats() };
                self.tell(route, slot.path.as_str(), done);
            }
            Step::TimedOut => self.tell(route, slot.path.as_str(), EventKind::TimedOut { bytes, duration }),
            Step::Failed(error) => {
                let reason = error.to_string();
                out.packet(route, |packet| put_error(packet, ErrorCode::Undefined, &reason));
                self.tell(route, slot.path.as_str(), EventKind::Failed { reason: &reason, bytes });
            }
        }
        self.admit_waiting(now, out);
    }

    fn ask_for_piece(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        if let Some(piece) = slot.transfer.take_piece() {
            let peer = slot.transfer.route().peer;
            let ticket = Ticket { peer, wanted: Arc::downgrade(&slot.wanted) };
            let (kind, content) = (slot.kind, slot.transfer.content().clone());
            self.asks.push_back(Ask::Read { ticket, kind, content, piece });
        }
    }

    fn arm(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let deadline = slot.transfer.deadline();
        // A later deadline needs no new entry: when the earlier one passes, the deadline is checked again.
        if deadline < slot.armed {
            slot.armed = deadline;
            self.timers.push(Reverse((deadline, index, slot.generation)));
        }
    }

    fn remove(&mut self, index: usize) -> Option<Slot> {
        let slot = self.slots.get_mut(index)?.take()?;
        let route = slot.transfer.route();
        self.free.push(index);
        self.by_peer.remove(&route.peer);
        self.window_bytes = self.window_bytes.saturating_sub(slot.transfer.window_bytes());
        self.per_address.leave(*route.peer.ip());
        if slot.transfer.lossy_windows() >= LOSSY_WINDOWS_MAX {
            self.remember_lossy(*route.peer.ip(), slot.begun);
        }
        Some(slot)
    }

    /// Clients that never came back make room for others.
    fn remember_lossy(&mut self, address: Ipv4Addr, begun: Duration) {
        if self.lossy.len() >= LOSSY_CLIENTS_MAX {
            self.lossy.retain(|_, until| *until > begun);
        }
        if self.lossy.len() < LOSSY_CLIENTS_MAX {
            self.lossy.insert(address, begun + LOSSY_MEMORY);
        }
    }

    fn on_read(
        &mut self,
        now: Duration,
        incoming: Incoming,
        datagram: &[u8],
        request: &RawRequest<'_>,
        out: &mut Outbox,
    ) {
        if !incoming.route.port.is_listener() {
            self.counters.strays += 1;
            return;
        }
        if self.is_repeat(now, incoming, datagram) {
            return;
        }
        let caller = self.caller(incoming);
        match caller.kind {
            Kind::Stranger => self.wait(now, caller, datagram),
            kind if self.has_place(kind) => self.admit(now, caller, datagram, request, out),
            _ => {
                self.wait(now, caller, datagram);
                self.admit_waiting(now, out);
            }
        }
    }

    /// Whether a request is one we have at hand already. A client that begins again ends its old transfer.
    fn is_repeat(&mut self, now: Duration, incoming: Incoming, datagram: &[u8]) -> bool {
        let peer = incoming.route.peer;
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            waiting.seen = now;
            waiting.request.clear();
            waiting.request.extend_from_slice(datagram);
            return true;
        }
        if let Some(look) = self.looks.get(&peer) {
            if look.datagram == datagram {
                return true;
            }
            self.take_look(peer);
        }
        let Some(index) = self.by_peer.get(&peer).copied() else { return false };
        let Some(slot) = self.slots.get(index).and_then(Option::as_ref) else { return false };
        let young = slot.transfer.is_opening() || now.saturating_sub(slot.begun) < REQUEST_COPY_MAX;
        if young && slot.request_bytes == datagram {
            return true;
        }
        if let Some(slot) = self.remove(index) {
            let bytes = slot.transfer.acked_bytes();
            let kind = EventKind::Aborted { reason: "the client began again", bytes };
            self.tell(slot.transfer.route(), slot.path.as_str(), kind);
        }
        false
    }

    /// Whose request it is. The address of a node from which too many come in one turn may be forged.
    fn caller(&mut self, Incoming { route, mtu }: Incoming) -> Caller {
        let address = *route.peer.ip();
        let mut kind = self.callers.kind(IpAddr::V4(address));
        if kind == Kind::Node {
            self.per_turn.add(address);
            if self.per_turn.of(address) > self.limits.per_node_per_turn {
                kind = Kind::Stranger;
            }
        }
        Caller { route, mtu, kind }
    }

    fn wait(&mut self, now: Duration, caller: Caller, datagram: &[u8]) {
        let (peer, address) = (caller.route.peer, caller.address());
        let room = caller.kind.part_of(self.limits.waiting_max);
        let of_address = self.waiting_per_address.of(address);
        if self.waiting.len() >= room || of_address >= self.limits.transfers_per_address_max {
            self.counters.dropped += 1;
            self.tell_limit(now, caller.kind, caller.route, "", "too many requests wait already");
            return;
        }
        self.counters.waited += 1;
        if let Some(order) = self.waiting_order.get_mut(caller.kind as usize) {
            order.push_back(peer);
        }
        self.waiting_per_address.add(address);
        self.waiting.insert(peer, Waiting { caller, request: datagram.to_vec(), seen: now });
    }

    /// Those with most proof first, and each kind as far as its part goes. Strangers have their turn in
    /// [`Server::on_timer`].
    fn admit_waiting(&mut self, now: Duration, out: &mut Outbox) {
        for kind in [Kind::Local, Kind::Certificate, Kind::Node] {
            while self.admit_next(now, kind, out) {}
        }
    }

    /// Takes the oldest waiting request of a kind, if there is a place for it.
    fn admit_next(&mut self, now: Duration, kind: Kind, out: &mut Outbox) -> bool {
        if !self.is_waiting(kind) || !self.make_place(now, kind) {
            return false;
        }
        let peer = self.waiting_order.get_mut(kind as usize).and_then(VecDeque::pop_front);
        let Some(waiting) = peer.and_then(|peer| self.waiting.remove(&peer)) else { return true };
        self.waiting_per_address.leave(waiting.caller.address());
        if now.saturating_sub(waiting.seen) <= WAITING_MAX
            && let Ok(Packet::Read(request)) = Packet::parse(&waiting.request)
        {
            self.admit(now, waiting.caller, &waiting.request, &request, out);
        }
        true
    }

    fn is_waiting(&self, kind: Kind) -> bool {
        self.waiting_order.get(kind as usize).is_some_and(|order| !order.is_empty())
    }

    fn has_place(&self, kind: Kind) -> bool {
        self.held() < kind.part_of(self.limits.transfers_max)
    }

    /// Whether there is a place for a caller of this kind, after transfers of which nothing was ever
    /// acknowledged were ended for it: those of callers with no more proof, the oldest first.
    fn make_place(&mut self, now: Duration, kind: Kind) -> bool {
        while !self.has_place(kind)
            && let Some((begun, of)) = self.oldest_unheard(kind)
            && begun + UNHEARD_MAX <= now
        {
            let oldest = self.unheard.get_mut(of as usize).and_then(VecDeque::pop_front);
            let Some((_, index, generation)) = oldest else { break };
            let slot = self.slots.get(index).and_then(Option::as_ref);
            if slot.is_some_and(|slot| slot.generation == generation && slot.transfer.is_unheard())
                && let Some(slot) = self.remove(index)
            {
                let reason = "the client acknowledged nothing while others waited";
                self.tell_limit(now, slot.kind, slot.transfer.route(), slot.path.as_str(), reason);
            }
        }
        self.has_place(kind)
    }

    /// When the oldest transfer began that may have to leave for a caller of this kind, and whose it is.
    fn oldest_unheard(&self, kind: Kind) -> Option<(Duration, Kind)> {
        let kinds = Kind::ALL.into_iter().zip(&self.unheard).take_while(|(other, _)| *other <= kind);
        kinds.filter_map(|(of, list)| Some((list.front()?.0, of))).min()
    }

    fn admit(
        &mut self,
        now: Duration,
        caller: Caller,
        datagram: &[u8],
        request: &RawRequest<'_>,
        out: &mut Outbox,
    ) {
        let route = caller.route;
        let in_use = self.per_address.of(caller.address());
        if in_use >= self.limits.transfers_per_address_max {
            let reason =
                format!("{in_use} transfers to your address are going on already; wait for one to end");
            self.tell_limit(now, caller.kind, route, "", &reason);
            return out.packet(route, |packet| put_error(packet, ErrorCode::Undefined, &reason));
        }
        if !request.mode.eq_ignore_ascii_case(b"octet") {
            let reason = "only mode octet is served; netascii would change the file";
            return self.refuse(route, request.filename, ErrorCode::IllegalOperation, reason, out);
        }
        let path = match RequestPath::from_tftp(request.filename) {
            Ok(path) => path,
            Err(error) => {
                return self.refuse(route, request.filename, ErrorCode::Access, &error.to_string(), out);
            }
        };
        let asked = request_of(route, &path);
        match self.source.at_once(&asked) {
            Some(answer) => {
                let asking = Asking { caller, datagram, options: &request.options, path };
                self.answer(now, asking, answer, out);
            }
            None => self.look(now, caller, datagram, path),
        }
    }

    /// Has the file looked for on a thread for disks.
    fn look(&mut self, now: Duration, caller: Caller, datagram: &[u8], path: RequestPath) {
        // The list holds at most twice as many as there are places: those that were answered leave it.
        if self.looks_end.len() >= 2 * self.limits.transfers_max {
            let looks = &self.looks;
            self.looks_end.retain(|(ends, peer)| looks.get(peer).is_some_and(|look| look.ends == *ends));
        }
        let (peer, wanted, ends) = (caller.route.peer, Arc::new(()), now + WAIT_TIME_MAX);
        let ticket = Ticket { peer, wanted: Arc::downgrade(&wanted) };
        let (kind, request) = (caller.kind, request_of(caller.route, &path).owned());
        self.asks.push_back(Ask::Find { ticket, kind, request });
        self.looks.insert(peer, Look { caller, datagram: datagram.to_vec(), path, ends, wanted });
        self.looks_end.push_back((ends, peer));
        self.per_address.add(*peer.ip());
    }

    fn take_look(&mut self, peer: SocketAddrV4) -> Option<Look> {
        let look = self.looks.remove(&peer)?;
        self.per_address.leave(*peer.ip());
        Some(look)
    }

    fn answer(&mut self, now: Duration, asking: Asking<'_>, answer: Answer, out: &mut Outbox) {
        let (route, path) = (asking.caller.route, &asking.path);
        let hidden = if let Answer::Hidden(reason) = &answer { Some(reason.clone()) } else { None };
        match content_of(answer, path) {
            Ok(content) => self.begin(now, asking, content, out),
            Err((ErrorCode::NotFound, text)) => {
                let event =
                    hidden.as_deref().map_or(EventKind::NotFound, |reason| EventKind::Refused { reason });
                self.tell(route, path.as_str(), event);
                out.packet(route, |packet| put_error(packet, ErrorCode::NotFound, &text));
            }
            Err((code, text)) => self.refuse(route, path.as_str().as_bytes(), code, &text, out),
        }
    }

    fn begin(&mut self, now: Duration, asking: Asking<'_>, content: Content, out: &mut Outbox) {
        let Asking { caller, datagram, options, path } = asking;
        let size = content.size();
        let asked = Asked::from_request(options);
        let (terms, oack) = asked.grant(self.bounds(now, caller), size);
        let oack = (!oack.is_empty()).then(|| {
            let mut packet = Vec::new();
            put_oack(&mut packet, &oack);
            packet
        });
        let route = Route { port: self.take_port(caller.route.port), ..caller.route };
        let ahead = (READ_AHEAD_TOTAL_BYTES / (self.by_peer.len() + 1))
            .clamp(READ_AHEAD_BYTES_MIN, READ_AHEAD_BYTES_MAX);
        self.tell(route, path.as_str(), EventKind::Started { size });
        match Transfer::begin(now, route, content, terms, oack, ahead, out) {
            Ok(transfer) => {
                self.generation += 1;
                let slot = Slot {
                    kind: caller.kind,
                    transfer,
                    path,
                    request_bytes: datagram.to_vec(),
                    begun: now,
                    generation: self.generation,
                    armed: Duration::MAX,
                    tsize_asked: asked.tsize,
                    wanted: Arc::new(()),
                };
                self.insert(slot);
            }
            Err(error) => {
                let reason = error.to_string();
                out.packet(route, |packet| put_error(packet, ErrorCode::Undefined, &reason));
                self.tell(route, path.as_str(), EventKind::Failed { reason: &reason, bytes: 0 });
            }
        }
    }

    fn insert(&mut self, slot: Slot) {
        let peer = slot.transfer.route().peer;
        self.window_bytes += slot.transfer.window_bytes();
        self.per_address.add(*peer.ip());
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.note_unheard(&slot, index);
        if let Some(place) = self.slots.get_mut(index) {
            *place = Some(slot);
        }
        self.by_peer.insert(peer, index);
        self.arm(index);
        self.ask_for_piece(index);
    }

    /// A list holds at most twice as many as there are transfers: those that were acknowledged or have ended
    /// leave it.
    fn note_unheard(&mut self, slot: &Slot, index: usize) {
        let Some(unheard) = self.unheard.get_mut(slot.kind as usize) else { return };
        if unheard.len() >= 2 * self.limits.transfers_max {
            let slots = &self.slots;
            unheard.retain(|(_, index, generation)| {
                let slot = slots.get(*index).and_then(Option::as_ref);
                slot.is_some_and(|slot| slot.generation == *generation && slot.transfer.is_unheard())
            });
        }
        unheard.push_back((slot.begun, index, slot.generation));
    }

    fn bounds(&mut self, now: Duration, caller: Caller) -> Bounds {
        let by_mtu = caller.mtu.saturating_sub(HEADERS_BYTES).max(BLKSIZE_DEFAULT);
        let address = caller.route.peer.ip();
        if self.lossy.get(address).is_some_and(|until| *until <= now) {
            self.lossy.remove(address);
        }
        let room = IN_FLIGHT_BYTES_MAX.saturating_sub(self.window_bytes);
        let window_max = if self.lossy.contains_key(address) { 1 } else { self.limits.window_max };
        Bounds {
            blksize_max: by_mtu.min(self.limits.blksize_max),
            window_max,
            window_bytes_max: (room / IN_FLIGHT_SHARE).min(WINDOW_BYTES_MAX),
        }
    }

    fn take_port(&mut self, asked: PortId) -> PortId {
        self.next_port = (self.next_port + 1) % self.ports.len().max(1);
        self.ports.get(self.next_port).copied().unwrap_or(asked)
    }

    fn refuse(&self, route: Route, name: &[u8], code: ErrorCode, reason: &str, out: &mut Outbox) {
        self.tell(route, &String::from_utf8_lossy(name), EventKind::Refused { reason });
        out.packet(route, |packet| put_error(packet, code, reason));
    }

    /// Reports that a limit was met. Of strangers, whose number has no bound, one in each
    /// [`REFUSALS_PERIOD`]; [`Counters`] has all.
    fn tell_limit(&mut self, now: Duration, kind: Kind, route: Route, path: &str, reason: &str) {
        if self.is_reported(now, kind) {
            self.tell(route, path, EventKind::Limited { reason });
        }
    }

    fn is_reported(&mut self, now: Duration, kind: Kind) -> bool {
        if kind == Kind::Stranger {
            if now < self.refusals_silent {
                return false;
            }
            self.refusals_silent = now + REFUSALS_PERIOD;
        }
        true
    }

    fn tell(&self, route: Route, path: &str, kind: EventKind<'_>) {
        self.observer.event(&Event {
            service: Service::Tftp,
            peer: SocketAddr::V4(route.peer),
            local: IpAddr::V4(route.local),
            path,
            kind,
        });
    }
}

fn request_of(route: Route, path: &RequestPath) -> Request<'_> {
    Request {
        path,
        query: "",
        peer: SocketAddr::V4(route.peer),
        local: IpAddr::V4(route.local),
        service: Service::Tftp,
    }
}

fn content_of(answer: Answer, path: &RequestPath) -> Result<Content, (ErrorCode, String)> {
    match answer {
        Answer::File(file) => Ok(Content::File(file)),
        Answer::Bytes(rendered) => Ok(Content::Bytes(rendered.bytes)),
        Answer::Image(content, _) => Ok(content),
        Answer::Directory(_) => Err((ErrorCode::Access, "it is a directory, not a file".to_owned())),
        Answer::Refused(reason) | Answer::Explained { reason, .. } => Err((ErrorCode::Access, reason)),
        Answer::Unavailable(late) => Err((ErrorCode::Undefined, late.to_string())),
        Answer::NotFound | Answer::Hidden(_) | Answer::Elsewhere | Answer::Redirect(_) => {
            Err((ErrorCode::NotFound, format!("no file {path} here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_serving::Ignore;

    #[test]
    fn lossy_clients_of_long_ago_make_room() {
        let source = |_: &Request<'_>| Answer::NotFound;
        let mut server = Server::new(Limits::default(), Vec::new(), &source, &Ignore);
        let most = u32::try_from(LOSSY_CLIENTS_MAX).unwrap();
        for number in 0..=most {
            server.remember_lossy(number.into(), Duration::ZERO);
        }
        assert!(!server.lossy.contains_key(&most.into()), "bounded");
        server.remember_lossy(most.into(), LOSSY_MEMORY);
        assert!(server.lossy.contains_key(&most.into()));
        assert_eq!(server.lossy.len(), 1);
    }
}
