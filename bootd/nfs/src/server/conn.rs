//! One TCP connection: calls in, replies out, each at the pace of the slower side.
//!
//! Several workers may work for one connection: one reads and cuts records, any execute them, and at most
//! one at a time writes (others only queue their replies while it writes). Nothing here blocks on the
//! network. A client that does not take its replies stops being read from; its memory is bounded by
//! [`CALLS_MAX`], [`PENDING_BYTES_MAX`] and [`REPLY_BYTES_MAX`], and what slow clients make the server hold
//! is counted for all of them together. When that is short, a connection has one call and one small reply at
//! once, so that clients which read their replies are still served.
//!
//! A connection that is clogged has replies in its queue that a worker is sending, or that the poll set
//! wakes a worker for, or calls that wait for disks; who ends that has a worker read on. So no other code has
//! to remember clogged connections.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dawn_serving::shares::{HeldPart, Kind, Place};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::engine::{FileTail, RECORD_MARK_BYTES, Reply, Session};
use crate::record::{Record, RecordError, Records};

/// Most calls of one connection that are waiting, running or not yet answered on the wire.
pub const CALLS_MAX: usize = 64;
/// Most bytes of replies that wait for a slow client (file data not counted: they stay in the file).
pub const REPLY_BYTES_MAX: usize = 4 << 20;
/// Most bytes of calls of one connection that wait to be carried out, not counting the one that exceeds it.
pub const PENDING_BYTES_MAX: usize = 4 << 20;
/// Longest record of a client that may mount nothing: the longest call that is not a WRITE fits.
const STRANGER_RECORD_BYTES_MAX: usize = 16 << 10;
/// Most bytes taken from one connection before its calls are carried out.
const VISIT_BYTES_MAX: usize = 2 << 20;
/// Bytes of replies gathered before they are sent.
const GATHER_BYTES_MAX: usize = 1 << 20;
/// Most pieces given to the kernel in one write.
const PIECES_MAX: usize = 64;
const LAST_FRAGMENT: u32 = 0x8000_0000;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// NFS and MOUNT.
    Nfs,
    /// The port mapper.
    Portmap,
}

/// Calls received and not begun.
#[derive(Debug)]
struct Input {
    records: Records,
    /// Whole calls, oldest first.
    pending: VecDeque<Record>,
    pending_bytes: usize,
    /// Input that is left here between two visits counts towards the memory that all clients may use.
    held: HeldPart,
}

impl Input {
    fn is_full(&self) -> bool {
        let many = self.pending.len() >= CALLS_MAX || self.pending_bytes >= PENDING_BYTES_MAX;
        many || (!self.pending.is_empty() && !self.held.has_plenty())
    }
}

#[derive(Debug)]
struct Piece {
    head: Vec<u8>,
    sent: usize,
    tail: Option<Tail>,
}

/// File data after a head: so much from the file, then so many zeros.
#[derive(Debug)]
struct Tail {
    file: FileTail,
    zeros: u32,
}

#[derive(Debug)]
struct Output {
    queue: VecDeque<Piece>,
    bytes: usize,
    /// What replies of calls that other threads carry out may hold.
    bytes_away: usize,
    /// A worker is writing, or the socket is full and will wake one.
    busy: bool,
    /// Replies that the client does not read count towards the limit for all clients.
    held: HeldPart,
}

impl Output {
    /// Counts replies that wait for the socket, and those that may be added. Replies that are sent at once
    /// are never counted.
    fn account(&mut self) {
        self.held.set(self.bytes_away + if self.busy { self.bytes } else { 0 });
    }
}

#[derive(Debug, Default)]
struct Interest {
    readable: bool,
    writable: bool,
}

/// What reading found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// There may be calls, and nothing more to read for now.
    Drained,
    /// There may be calls, and perhaps more to read.
    More,
    /// The peer has closed or failed.
    Closed,
    /// The peer does not use RPC.
    Nonsense(RecordError),
}

/// One connection.
pub(super) struct Conn {
    /// Its name in the poll set.
    pub token: u64,
    /// What it is for.
    pub service: Service,
    /// What the engine remembers of it.
    pub session: Session,
    /// Calls not begun.
    input: Mutex<Input>,
    /// Set once; workers then leave it alone.
    pub closed: AtomicBool,
    /// Monitor ticks at the last progress in either direction.
    pub progress: AtomicU64,
    /// Calls that another thread carries out, see [`super::away`].
    calls_away: AtomicUsize,
    /// It is in the queue of connections whose calls any worker may take.
    pub enlisted: AtomicBool,
    stream: TcpStream,
    _place: Place,
    output: Mutex<Output>,
    interest: Mutex<Interest>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Conn {
    /// A connection that nothing was read from yet.
    pub(super) fn new(
        token: u64,
        service: Service,
        session: Session,
        stream: TcpStream,
        place: Place,
        (calls, replies): (HeldPart, HeldPart),
        tick: u64,
    ) -> Self {
        let known = replies.kind() != Kind::Stranger;
        let record_bytes_max = if known { usize::MAX } else { STRANGER_RECORD_BYTES_MAX };
        let records = Records::with_limit(record_bytes_max);
        let input = Input { records, pending: VecDeque::new(), pending_bytes: 0, held: calls };
        Self {
            token,
            service,
            session,
            stream,
            input: Mutex::new(input),
            output: Mutex::new(Output {
                queue: VecDeque::new(),
                bytes: 0,
                bytes_away: 0,
                busy: false,
                held: replies,
            }),
            _place: place,
            interest: Mutex::default(),
            closed: AtomicBool::new(false),
            progress: AtomicU64::new(tick),
            calls_away: AtomicUsize::new(0),
            enlisted: AtomicBool::new(false),
        }
    }

    /// The socket.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Receives the bytes that have arrived and cuts them into calls.
    pub(super) fn receive(&self) -> Received {
        let mut input = lock(&self.input);
        let mut visit_bytes = 0;
        loop {
            if input.is_full() || visit_bytes >= VISIT_BYTES_MAX {
                return Received::More;
            }
            let room = input.records.room();
            let asked = room.capacity() - room.len();
            let spare = rustix::buffer::spare_capacity(room);
            let got = match rustix::net::recv(&self.stream, spare, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Received::Closed,
                Ok((got, _)) => got,
                Err(Errno::AGAIN) => {
                    input.records.shrink();
                    return Received::Drained;
                }
                Err(Errno::INTR) => continue,
                Err(_) => return Received::Closed,
            };
            visit_bytes += got;
            loop {
                match input.records.next_record() {
                    Ok(Some(record)) => {
                        input.pending_bytes += record.bytes().len();
                        input.pending.push_back(record);
                    }
                    Ok(None) => break,
                    Err(why) => return Received::Nonsense(why),
                }
            }
            // A short answer means that the socket is empty; asking again would cost a call to learn it.
            if got < asked && !input.pending.is_empty() {
                return Received::Drained;
            }
        }
    }

    /// Whether a call has begun to arrive and the rest has not come.
    pub(super) fn is_mid_record(&self) -> bool {
        self.input.try_lock().is_ok_and(|input| input.records.in_the_middle())
    }

    /// The next call to carry out, and whether more wait; none while the client does not take replies.
    pub(super) fn next_call(&self) -> Option<(Record, bool)> {
        if self.is_clogged() {
            return None;
        }
        let mut input = lock(&self.input);
        let record = input.pending.pop_front()?;
        input.pending_bytes -= record.bytes().len();
        Some((record, !input.pending.is_empty()))
    }

    /// Whether so many replies wait that no more calls are begun: on this connection alone, or some on this
    /// one and too many on all. Or so many calls wait for disks.
    pub(super) fn is_clogged(&self) -> bool {
        if self.calls_away.load(Ordering::Acquire) >= CALLS_MAX {
            return true;
        }
        let output = lock(&self.output);
        output.bytes + output.bytes_away > REPLY_BYTES_MAX
            || output.queue.len() > CALLS_MAX
            || !output.held.has_room()
    }

    /// Most bytes of replies to gather before they are sent; none if memory for replies is short.
    pub(super) fn gather_bytes_max(&self) -> usize {
        if lock(&self.output).held.has_plenty() { GATHER_BYTES_MAX } else { 0 }
    }

    /// Another thread carries a call out, whose reply has so many bytes at most.
    pub(super) fn went_away(&self, reply_bytes_max: usize) {
        self.calls_away.fetch_add(1, Ordering::AcqRel);
        let mut output = lock(&self.output);
        output.bytes_away += reply_bytes_max;
        output.account();
    }

    /// Such a call has come back; its reply, if there is one, is queued.
    pub(super) fn came_back(&self, reply_bytes_max: usize) {
        self.calls_away.fetch_sub(1, Ordering::AcqRel);
        let mut output = lock(&self.output);
        output.bytes_away = output.bytes_away.saturating_sub(reply_bytes_max);
        output.account();
    }

    /// Bytes of replies that are not sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        lock(&self.output).bytes
    }

    /// Counts what is left of the input when a visit ends.
    pub(super) fn account_input(&self) {
        let mut input = lock(&self.input);
        let left = input.pending_bytes + input.records.unfinished_bytes();
        input.held.set(left);
    }

    /// Whether replies wait for the client.
    pub(super) fn is_unsent(&self) -> bool {
        !lock(&self.output).queue.is_empty()
    }

    /// Whether calls wait to be carried out.
    pub(super) fn has_calls(&self) -> bool {
        !lock(&self.input).pending.is_empty()
    }

    /// Queues a reply.
    pub(super) fn queue(&self, mut reply: Reply) {
        let tail = reply.tail.map(|file| Tail { zeros: file.len.wrapping_neg() & 3, file });
        let tail_len = tail.as_ref().map_or(0, |t| t.file.len + t.zeros);
        let body = reply.head.len().saturating_sub(RECORD_MARK_BYTES);
        let mark = (u32::try_from(body).unwrap_or(0) + tail_len) | LAST_FRAGMENT;
        if let Some(slot) = reply.head.first_chunk_mut::<RECORD_MARK_BYTES>() {
            *slot = mark.to_be_bytes();
        }
        let mut output = lock(&self.output);
        output.bytes += reply.head.len();
        output.queue.push_back(Piece { head: reply.head, sent: 0, tail });
        output.account();
    }

    /// Sends queued replies until all are gone (`Ok(true)`) or the socket is full (`Ok(false)`, and the
    /// poll set must say when it is not). Does nothing while another worker sends.
    pub(super) fn flush(&self, woken: bool) -> io::Result<bool> {
        {
            let mut output = lock(&self.output);
            if !woken && (output.busy || output.queue.is_empty()) {
                return Ok(true);
            }
            output.busy = true;
        }
        loop {
            let mut batch = {
                let mut output = lock(&self.output);
                if output.queue.is_empty() {
                    output.busy = false;
                    output.account();
                    return Ok(true);
                }
                std::mem::take(&mut output.queue)
            };
            let sent = self.send_batch(&mut batch);
            let mut output = lock(&self.output);
            while let Some(piece) = batch.pop_back() {
                output.queue.push_front(piece);
            }
            output.bytes = output.queue.iter().map(|p| p.head.len()).sum();
            match sent {
                Ok(true) => (),
                Ok(false) => {
                    // It stays busy: the poll set wakes the next sender.
                    output.account();
                    return Ok(false);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn send_batch(&self, batch: &mut VecDeque<Piece>) -> Result<bool, Errno> {
        while !batch.is_empty() {
            let sent = match batch.front_mut() {
                Some(Piece { head, sent, tail: Some(tail) }) if *sent >= head.len() => self.send_tail(tail),
                _ => self.send_heads(batch),
            };
            match sent {
                Ok(()) => (),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(other) => return Err(other),
            }
            while batch.front().is_some_and(Piece::is_done) {
                batch.pop_front();
            }
        }
        Ok(true)
    }

    /// Sends heads up to and including the first one with file data after it.
    fn send_heads(&self, batch: &mut VecDeque<Piece>) -> Result<(), Errno> {
        let mut pieces = Vec::with_capacity(batch.len().min(PIECES_MAX));
        let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        for piece in batch.iter().take(PIECES_MAX) {
            pieces.push(IoSlice::new(piece.head.get(piece.sent..).unwrap_or_default()));
            if piece.tail.is_some() {
                flags |= SendFlags::MORE;
                break;
            }
        }
        let mut none = SendAncillaryBuffer::default();
        let mut left = rustix::net::sendmsg(&self.stream, &pieces, &mut none, flags)?;
        drop(pieces);
        for piece in batch.iter_mut() {
            let now = left.min(piece.head.len() - piece.sent);
            piece.sent += now;
            left -= now;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Lets the kernel send file data; zeros where the file has become shorter, because the length of the
    /// record is already on the wire.
    fn send_tail(&self, tail: &mut Tail) -> Result<(), Errno> {
        const ZEROS: [u8; 4096] = [0; 4096];
        if tail.file.len > 0 {
            let reader = tail.file.object.reader().map_err(|_| Errno::IO)?;
            let wanted = usize::try_from(tail.file.len).unwrap_or(0);
            let mut offset = tail.file.offset;
            let sent = rustix::fs::sendfile(&self.stream, reader, Some(&mut offset), wanted)?;
            tail.file.offset = offset;
            match u32::try_from(sent).unwrap_or(0) {
                0 => tail.zeros += std::mem::take(&mut tail.file.len),
                sent => tail.file.len -= sent.min(tail.file.len),
            }
            return Ok(());
        }
        let zeros = usize::try_from(tail.zeros).unwrap_or(0).min(ZEROS.len());
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = rustix::net::send(&self.stream, ZEROS.get(..zeros).unwrap_or_default(), flags)?;
        tail.zeros -= u32::try_from(sent).unwrap_or(0).min(tail.zeros);
        Ok(())
    }

    /// Events that the poll set must wait for in addition. The registration fires once.
    pub(super) fn want(&self, readable: bool, writable: bool, poll: &super::poll::Poll) -> io::Result<()> {
        let mut interest = lock(&self.interest);
        let before = (interest.readable, interest.writable);
        interest.readable |= readable;
        interest.writable |= writable;
        match before == (interest.readable, interest.writable) {
            true => Ok(()),
            false => self.arm(&interest, poll),
        }
    }

    /// Takes note of what has fired and arms the rest again.
    pub(super) fn fired(&self, events: EventFlags, poll: &super::poll::Poll) -> io::Result<(bool, bool)> {
        let failed = events.intersects(EventFlags::ERR | EventFlags::HUP);
        let mut interest = lock(&self.interest);
        let readable = interest.readable && (failed || events.contains(EventFlags::IN));
        let writable = interest.writable && (failed || events.contains(EventFlags::OUT));
        interest.readable &= !readable;
        interest.writable &= !writable;
        if interest.readable || interest.writable {
            self.arm(&interest, poll)?;
        }
        Ok((readable, writable))
    }

    fn arm(&self, interest: &Interest, poll: &super::poll::Poll) -> io::Result<()> {
        let mut flags = EventFlags::ONESHOT;
        flags.set(EventFlags::IN, interest.readable);
        flags.set(EventFlags::OUT, interest.writable);
        poll.change(self.stream.as_fd(), self.token, flags)
    }

    /// Ends the connection in both directions; the descriptor closes when the last worker lets go.
    pub(super) fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::Relaxed);
        if first {
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
        }
        first
    }
}

impl Piece {
    fn is_done(&self) -> bool {
        self.sent >= self.head.len() && self.tail.as_ref().is_none_or(|t| t.file.len + t.zeros == 0)
    }
}
