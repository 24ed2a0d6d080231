//! One connection of the command port: reads requests, runs them on blocking threads, writes answers.
//!
//! Answers pass through a short queue, so that a client that does not read makes its own command wait, not
//! the daemon. While a command waits for its turn or runs the connection is read on, for `abortcommand`, for
//! further requests, and to notice that the client has gone: then the command is stopped and its slot is
//! free. A connection whose sending side alone is closed still gets its answer.
//!
//! A command may leave a stream ([`Sink::join`]): after its answer the connection carries bytes between the
//! client and that stream, and no more requests. It keeps its place among the connections, and no slot.
//!
//! A request that cannot be read or is too large gets an error with the reason; after the latter the
//! connection ends. What is read ahead is kept as text and counts towards the size of one request, so that a
//! connection never holds more than that, and few connections hold much at once ([`LARGE_REQUESTS_MAX`]);
//! it is parsed when it is its turn, on the thread of its command.

use crate::dispatch::{Dispatcher, Gone, Peer, Sink, handle};
use crate::framing::{FrameError, Framer};
use crate::limits::*;
use crate::request::Request;
use crate::response::Response;
use dawn_serving::shares::{HeldPart, Place};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Requests read ahead on one connection while a command runs.
const READ_AHEAD_MAX: usize = 8;
/// Bytes read from one connection before it is the turn of others; a TLS record holds no more.
const READ_CHUNK_BYTES: usize = 16 << 10;
/// Bytes of a request that stops a command; larger ones are not looked at for that.
const ABORT_BYTES_MAX: usize = 1024;

/// Commands that may run at once.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    /// Part of them for peers without certificate: however many nodes ask, an administrator is served too.
    anonymous: Arc<Semaphore>,
    /// Large requests that may be held, arriving or running.
    large: Arc<Semaphore>,
}

/// The right to run one command.
struct Slot {
    _all: OwnedSemaphorePermit,
    _anonymous: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(commands: usize) -> Self {
        let anonymous = commands - commands / COMMANDS_RESERVED_PART;
        Self {
            all: Arc::new(Semaphore::new(commands)),
            anonymous: Arc::new(Semaphore::new(anonymous)),
            large: Arc::new(Semaphore::new(LARGE_REQUESTS_MAX)),
        }
    }

    async fn take(&self, anonymous: bool) -> Option<Slot> {
        let part = match anonymous {
            true => Some(Arc::clone(&self.anonymous).acquire_owned().await.ok()?),
            false => None,
        };
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Slot { _all: all, _anonymous: part })
    }
}

/// The stream that a command has left.
type Joined = Arc<Mutex<Option<DuplexStream>>>;

/// Set when the client asked to stop or has gone: the next word of its command ends it.
#[derive(Clone, Default)]
struct AbortFlag(Arc<AtomicBool>);

impl AbortFlag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How much a peer may ask for.
#[derive(Clone, Copy)]
struct Allowance {
    request_bytes: usize,
    request_time: Duration,
    elements: usize,
}

impl Allowance {
    fn of(peer: &Peer) -> Self {
        match peer.certificate_name {
            Some(_) => Self {
                request_bytes: REQUEST_BYTES_MAX,
                request_time: REQUEST_READ_MAX,
                elements: XML_ELEMENTS_MAX,
            },
            None => Self {
                request_bytes: REQUEST_ANONYMOUS_BYTES_MAX,
                request_time: REQUEST_ANONYMOUS_READ_MAX,
                elements: XML_ELEMENTS_ANONYMOUS_MAX,
            },
        }
    }
}

/// Why a session ends before its peer ends it.
enum End {
    /// The connection broke, or the peer uses another protocol or is too slow.
    Connection(io::Error),
    /// The peer gets the reason why it is not answered.
    Refused(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::NotOurs => Self::Connection(io::Error::other(error)),
            FrameError::TooLarge { .. } => Self::Refused(error.to_string()),
        }
    }
}

/// One connection, with the requests that wait on it.
pub(crate) struct Session<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    framer: Framer,
    /// Documents that wait for their turn.
    pending: VecDeque<String>,
    peer: Peer,
    allowance: Allowance,
    dispatcher: Arc<dyn Dispatcher>,
    /// All that may be held at once, and this connection's part of it.
    large_requests: Arc<Semaphore>,
    large: Option<OwnedSemaphorePermit>,
    /// Its place among the connections.
    place: Place,
    /// Its part of the memory for requests of peers without certificates.
    held: Option<HeldPart>,
    input_ended: bool,
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    /// A session on a connection whose handshake is over.
    pub(crate) fn new(
        stream: S,
        peer: Peer,
        dispatcher: Arc<dyn Dispatcher>,
        slots: &Slots,
        place: Place,
        held: Option<HeldPart>,
    ) -> Self {
        if peer.certificate_name.is_some() {
            place.keep();
        }
        let (reader, writer) = tokio::io::split(stream);
        let allowance = Allowance::of(&peer);
        let framer = Framer::new(allowance.request_bytes);
        Self {
            reader,
            writer,
            framer,
            pending: VecDeque::new(),
            peer,
            allowance,
            dispatcher,
            large_requests: Arc::clone(&slots.large),
            large: None,
            place,
            held,
            input_ended: false,
        }
    }

    /// Answers requests until there are none; closes the connection.
    pub(crate) async fn run(mut self, slots: &Slots) -> io::Result<()> {
        let ended = match self.serve(slots).await {
            Ok(()) => Ok(()),
            Err(End::Connection(error)) => Err(error),
            Err(End::Refused(reason)) => self.refuse(&reason).await,
        };
        let _ = timeout(WRITE_STALL_MAX, self.writer.shutdown()).await;
        ended
    }

    async fn serve(&mut self, slots: &Slots) -> Result<(), End> {
        while let Some(document) = self.next_document().await? {
            if stops(&document) {
                continue;
            }
            self.place.keep();
            self.answer(slots, document).await?;
            // Shell clients (`openssl s_client -quiet`) wait until we close.
            let more = !self.pending.is_empty() || !self.framer.is_empty();
            if self.is_anonymous() && !more {
                break;
            }
        }
        Ok(())
    }

    fn is_anonymous(&self) -> bool {
        self.peer.certificate_name.is_none()
    }

    async fn next_document(&mut self) -> Result<Option<String>, End> {
        self.take_documents();
        let idle = async {
            while self.pending.is_empty() && self.framer.is_empty() && !self.input_ended {
                self.read_some().await?;
            }
            Ok::<_, End>(())
        };
        match timeout(REQUEST_IDLE_MAX, idle).await {
            Ok(result) => result?,
            Err(_) => return Ok(None),
        }
        let time_max = self.allowance.request_time;
        let complete = async {
            while self.pending.is_empty() && !self.input_ended {
                self.read_some().await?;
            }
            Ok::<_, End>(())
        };
        timeout(time_max, complete).await.map_err(|_| too_slow())??;
        Ok(self.pending.pop_front())
    }

    /// Reads what has come and moves complete requests to `pending`. Cancel safe.
    async fn read_some(&mut self) -> Result<(), End> {
        if self.held() > REQUEST_SMALL_BYTES_MAX && self.large.is_none() {
            let turn = Arc::clone(&self.large_requests).acquire_owned();
            self.large = Some(turn.await.map_err(io::Error::other)?);
        }
        // A peer that sends without end is read chunk by chunk in turn with all others.
        tokio::task::yield_now().await;
        let mut chunk = [0; READ_CHUNK_BYTES];
        let count = self.reader.read(&mut chunk).await?;
        self.input_ended = count == 0;
        self.framer.push(chunk.get(..count).unwrap_or_default())?;
        self.take_documents();
        let bytes = self.held();
        if let Some(held) = &mut self.held {
            held.set(bytes);
            if !held.has_room() {
                return Err(End::Refused("too many requests arrive at this moment; try again".to_owned()));
            }
        }
        Ok(())
    }

    fn take_documents(&mut self) {
        while self.pending.len() < READ_AHEAD_MAX
            && let Some(document) = self.framer.next_document()
        {
            self.pending.push_back(document);
        }
    }

    /// Whether more may be read while a command waits or runs.
    fn has_room(&self) -> bool {
        !self.input_ended && self.pending.len() < READ_AHEAD_MAX && self.held() < self.allowance.request_bytes
    }

    /// Bytes of requests that were read and not begun.
    fn held(&self) -> usize {
        self.framer.held() + self.pending.iter().map(String::len).sum::<usize>()
    }

    async fn answer(&mut self, slots: &Slots, document: String) -> Result<(), End> {
        let Some(slot) = self.turn(slots).await? else { return Ok(()) };
        let (sender, mut chunks) = mpsc::channel(RESPONSE_QUEUE_MAX);
        let abort = AbortFlag::default();
        let joined = Joined::default();
        let job = Job {
            joined: Arc::clone(&joined),
            dispatcher: Arc::clone(&self.dispatcher),
            peer: self.peer.clone(),
            elements_max: self.allowance.elements,
            abort: abort.clone(),
            sender,
        };
        // What was read ahead meanwhile needs a separate permit.
        let large = self.large.take();
        tokio::task::spawn_blocking(move || {
            job.run(&document);
            drop((slot, large));
        });
        let result = self.pump(&mut chunks, &abort).await;
        if result.is_err() {
            abort.set();
        }
        result?;
        let stream = joined.lock().unwrap_or_else(PoisonError::into_inner).take();
        match stream {
            Some(stream) => self.carry(stream).await,
            None => Ok(()),
        }
    }

    /// Carries bytes between the client and a stream until one of them ends; then nothing follows.
    async fn carry(&mut self, stream: DuplexStream) -> Result<(), End> {
        let (mut from, mut to) = tokio::io::split(stream);
        let ended = tokio::select! {
            ended = tokio::io::copy(&mut self.reader, &mut to) => ended,
            ended = tokio::io::copy(&mut from, &mut self.writer) => ended,
        };
        self.input_ended = true;
        self.pending.clear();
        ended.map(drop).map_err(End::Connection)
    }

    /// Waits for a slot. `None`: the client does not want the answer any more.
    async fn turn(&mut self, slots: &Slots) -> Result<Option<Slot>, End> {
        let slot = slots.take(self.is_anonymous());
        tokio::pin!(slot);
        loop {
            tokio::select! {
                biased;
                slot = &mut slot => return Ok(slot),
                result = self.read_some(), if self.has_room() => {
                    result?;
                    if self.pending.iter().any(|document| stops(document)) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Moves the answer to the client while listening for an abort.
    async fn pump(&mut self, chunks: &mut mpsc::Receiver<String>, abort: &AbortFlag) -> Result<(), End> {
        loop {
            tokio::select! {
                biased;
                chunk = chunks.recv() => {
                    let Some(mut chunk) = chunk else { return Ok(()) };
                    while chunk.len() < RESPONSE_BATCH_BYTES
                        && let Ok(more) = chunks.try_recv()
                    {
                        chunk.push_str(&more);
                    }
                    self.send(chunk.as_bytes()).await?;
                }
                result = self.read_some(), if self.has_room() => {
                    result?;
                    if self.pending.iter().any(|document| stops(document)) {
                        abort.set();
                    }
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(RESPONSE_BATCH_BYTES) {
            timeout(WRITE_STALL_MAX, self.writer.write_all(part)).await.map_err(|_| too_slow())??;
        }
        timeout(WRITE_STALL_MAX, self.writer.flush()).await.map_err(|_| too_slow())?
    }

    /// Says why, and reads for a while what the peer still sends: closing at once would lose the reason.
    async fn refuse(&mut self, reason: &str) -> io::Result<()> {
        let mut text = String::new();
        error(self.dispatcher.as_ref(), reason).write(&mut text);
        Response::done().write(&mut text);
        self.send(text.as_bytes()).await?;
        timeout(WRITE_STALL_MAX, self.writer.shutdown()).await.map_err(|_| too_slow())??;
        let mut chunk = [0; READ_CHUNK_BYTES];
        let drain = async {
            while self.reader.read(&mut chunk).await.is_ok_and(|count| count > 0) {
                tokio::task::yield_now().await;
            }
        };
        let _ = timeout(REFUSED_DRAIN_MAX, drain).await;
        Ok(())
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer is too slow")
}

fn error(dispatcher: &dyn Dispatcher, reason: &str) -> Response {
    Response { source: Some(dispatcher.source()), ..Response::error(reason, Some(1)) }
}

/// Whether a document is `abortcommand`.
fn stops(document: &str) -> bool {
    document.len() <= ABORT_BYTES_MAX
        && document.contains("<abortcommand>")
        && Request::parse(document).is_ok_and(|request| request.abort)
}

/// The blocking side of one request; always ends with `serverdone`.
struct Job {
    joined: Joined,
    dispatcher: Arc<dyn Dispatcher>,
    peer: Peer,
    elements_max: usize,
    abort: AbortFlag,
    sender: mpsc::Sender<String>,
}

impl Job {
    fn run(self, document: &str) {
        let dispatcher = self.dispatcher.as_ref();
        let mut sink = QueueSink { sender: self.sender, abort: self.abort, joined: self.joined };
        match Request::parse_within(document, self.elements_max) {
            Err(reason) => {
                let _ = sink.send(error(dispatcher, &reason.to_string()));
            }
            Ok(request) => {
                let command = request.command.clone();
                let run = || handle(dispatcher, request, self.peer, &mut sink);
                if catch_unwind(AssertUnwindSafe(run)).is_err() {
                    tracing::error!(command, "a command panicked; its caller got an error");
                    let text = format!("internal error in {command}; see the daemon's log");
                    let _ = sink.send(Response::error(text, Some(1)));
                }
            }
        }
        // Anyone who stopped the command waits for its end.
        let has_stream = sink.joined.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let _ = sink.push(&if has_stream { Response::stream() } else { Response::done() });
    }
}

/// Into the queue of [`Session::pump`]; ends a command that was stopped.
struct QueueSink {
    joined: Joined,
    sender: mpsc::Sender<String>,
    abort: AbortFlag,
}

impl QueueSink {
    fn push(&mut self, response: &Response) -> Result<(), Gone> {
        let mut text = String::new();
        response.write(&mut text);
        self.sender.blocking_send(text).map_err(|_| {
            self.abort.set();
            Gone
        })
    }
}

impl Sink for QueueSink {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        if self.abort.is_set() { Err(Gone) } else { self.push(&response) }
    }

    fn is_gone(&self) -> bool {
        self.abort.is_set() || self.sender.is_closed()
    }

    fn join(&mut self, stream: DuplexStream) -> Result<(), Gone> {
        *self.joined.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::tests::Toy;
    use dawn_serving::shares::{Limit, OnlyLocal, Places};
    use std::net::Ipv4Addr;

    /// A session and the client's end of its connection.
    fn session(slots: &Arc<Slots>) -> DuplexStream {
        let (client, server) = tokio::io::duplex(16 << 10);
        let peer = Peer { certificate_name: Some("root".into()), ..Peer::default() };
        let limit = Limit { total: 1, per_stranger: 1, per_source: 1, local: 1 };
        let places = Places::new(limit, Arc::new(OnlyLocal));
        let place = places.enter(Ipv4Addr::LOCALHOST.into(), || ()).expect("the first place");
        let (session, slots) =
            (Session::new(server, peer, Arc::new(Toy), slots, place, None), Arc::clone(slots));
        tokio::spawn(async move { session.run(&slots).await });
        client
    }

    /// Sends the head of a large request; whether it was taken off within a second in which nothing else
    /// happens.
    async fn is_read(client: &mut DuplexStream) -> bool {
        let mut part = b"<xcatrequest>".to_vec();
        part.resize(2 * REQUEST_SMALL_BYTES_MAX, b' ');
        timeout(Duration::from_secs(1), client.write_all(&part)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn few_connections_hold_large_requests() {
        let slots = Arc::new(Slots::new(COMMANDS_DEFAULT));
        let mut holders: Vec<_> = (0..LARGE_REQUESTS_MAX).map(|_| session(&slots)).collect();
        for client in &mut holders {
            assert!(is_read(client).await);
        }
        let mut late = session(&slots);
        assert!(!is_read(&mut late).await, "too much would be held");
        let mut small = session(&slots);
        small.write_all(b"<xcatrequest><command>echo</command></xcatrequest>").await.expect("write");
        assert!(small.read(&mut [0; 10]).await.expect("an answer") > 0);
        holders.clear();
        assert!(is_read(&mut late).await, "their place is free again");
    }
}
