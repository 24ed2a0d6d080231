//! The shell: an engine behind two sockets and the system's clock, as futures.
//!
//! A [`Client`] serves any number of BMCs from one task. [`Client::connect`] sets up a [`Session`]; a session
//! is a [`Transport`], so all commands run on it. Requests of one session are sent one after the other, also
//! when they are made at the same time. A session that is dropped is closed. [`Session::console`] makes a
//! [`Console`] of it.
//!
//! Callers and the task share the engine under a lock that is held for computations only, never over an
//! `await`; so there is no queue between them that could fill up.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

use crate::command::payload::{ActivateSol, DeactivateSol};
use crate::command::{CommandError, Completion, Transport};
use crate::crypto::Seed;
use crate::engine::error::{Full, RequestError, SessionError, Unreachable};
use crate::engine::{
    Answer, ConsoleEvent, Engine, Event, Handle, Request, RequestId, SessionInfo, SessionOptions,
};
use crate::limits::{Budget, SOL_EVENTS_WAITING_MAX};
use crate::net::{Incoming, Port};
use crate::secret::Credentials;

/// How long the task sleeps when no timer is set.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// Why a session could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No room for another one.
    #[error(transparent)]
    Full(#[from] Full),
    /// The BMC, the network or the credentials.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// This machine has no random bytes.
    #[error("this machine gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What became of a ping.
pub type PingResult = Result<bool, Option<Unreachable>>;

/// Who waits for what.
#[derive(Default)]
struct State {
    engine: Engine,
    opening: HashMap<Handle, oneshot::Sender<Result<SessionInfo, SessionError>>>,
    answers: HashMap<(Handle, RequestId), oneshot::Sender<Result<Answer, RequestError>>>,
    consoles: HashMap<Handle, Screen>,
    pings: HashMap<SocketAddr, Vec<oneshot::Sender<PingResult>>>,
    /// Why sessions ended whose owners still hold them.
    ended: HashMap<Handle, SessionError>,
}

/// Who reads a console.
struct Screen {
    events: mpsc::Sender<ConsoleEvent>,
    /// Some did not fit into the queue.
    lost: bool,
}

struct Shared {
    state: Mutex<State>,
    /// A packet must be sent, or a timer was set.
    wake: Notify,
    stop: AtomicBool,
    started: Instant,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Stops the task when the last client and session are gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }
}

/// A client for any number of BMCs. Clones share sockets and task.
#[derive(Clone)]
pub struct Client(Arc<Owner>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Binds sockets and starts the task on the current runtime of tokio.
    ///
    /// # Errors
    /// The system's, of the IPv4 socket. Without IPv6 such BMCs are unreachable.
    pub fn start() -> io::Result<Self> {
        let v4 = Port::bind(false)?;
        let v6 = Port::bind(true).ok();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Notify::new(),
            stop: AtomicBool::new(false),
            started: Instant::now(),
        });
        tokio::spawn(run(Arc::clone(&shared), v4, v6));
        Ok(Self(Arc::new(Owner(shared))))
    }

    /// Sets up a session.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        peer: SocketAddr,
        credentials: &Credentials,
        options: &SessionOptions,
    ) -> Result<Session, ConnectError> {
        let seed = seed().map_err(ConnectError::Random)?;
        let shared = self.shared();
        let (sender, receiver) = oneshot::channel();
        let handle = {
            let mut state = shared.lock();
            let now = shared.now();
            let handle = state.engine.open(now, peer, credentials.clone(), options.clone(), seed)?;
            state.opening.insert(handle, sender);
            handle
        };
        shared.wake.notify_one();
        // From here on dropping this future closes the session.
        let mut session = Session { client: self.clone(), handle, peer, info: None };
        session.info = Some(receiver.await.unwrap_or(Err(SessionError::Closed))?);
        Ok(session)
    }

    /// Asks an address by a presence ping (ASF) whether a BMC is there; returns whether it supports IPMI.
    /// BMCs need not answer pings, and firewalls often drop them, so a missing answer proves nothing.
    ///
    /// # Errors
    /// No answer, with the reason if ICMP gave one; or no room for another ping.
    pub async fn ping(&self, peer: SocketAddr, budget: Budget) -> PingResult {
        let Ok(seed) = seed() else { return Err(None) };
        let (sender, receiver) = oneshot::channel();
        {
            let shared = self.shared();
            let mut state = shared.lock();
            state.engine.ping(shared.now(), peer, budget, seed).map_err(|_| None)?;
            state.pings.entry(peer).or_default().push(sender);
            shared.wake.notify_one();
        }
        receiver.await.unwrap_or(Err(None))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

fn seed() -> Result<Seed, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Seed(seed))
}

/// A session with a BMC. Dropping it closes it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    handle: Handle,
    peer: SocketAddr,
    info: Option<SessionInfo>,
}

impl Session {
    /// The BMC.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How it is protected, and what it may do.
    pub fn info(&self) -> Option<SessionInfo> {
        self.info
    }

    fn begin(
        &self,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Answer, RequestError>>, RequestError> {
        let shared = self.client.shared();
        let mut state = shared.lock();
        if let Some(error) = state.ended.get(&self.handle) {
            return Err(error.clone().into());
        }
        let id = state.engine.request(shared.now(), self.handle, request)?;
        let (sender, receiver) = oneshot::channel();
        state.answers.insert((self.handle, id), sender);
        shared.wake.notify_one();
        Ok(receiver)
    }
}

impl Session {
    /// Activates serial over LAN. A BMC has one console; `takes_over` ends that of another session.
    ///
    /// # Errors
    /// The BMC's, [`CONSOLE_IN_USE`](crate::command::Completion::CONSOLE_IN_USE) for a console that another
    /// session has.
    pub async fn console(self, takes_over: bool) -> Result<Console, CommandError> {
        let (sender, events) = mpsc::channel(SOL_EVENTS_WAITING_MAX);
        let screen = Screen { events: sender, lost: false };
        self.client.shared().lock().consoles.insert(self.handle, screen);
        match self.run(ActivateSol).await {
            Err(error) if takes_over && error.completion() == Some(Completion::CONSOLE_IN_USE) => {
                self.run(DeactivateSol).await?;
                self.run(ActivateSol).await?;
            }
            result => drop(result?),
        }
        Ok(Console { session: self, events })
    }
}

/// The console of a machine. Dropping it ends it and its session.
#[derive(Debug)]
pub struct Console {
    session: Session,
    events: mpsc::Receiver<ConsoleEvent>,
}

impl Console {
    /// Waits for the next thing that happens; `None` at the end of the console. Cancel safe.
    pub async fn next(&mut self) -> Option<ConsoleEvent> {
        self.events.recv().await
    }

    /// The half that types; the other one reads.
    pub fn keyboard(&self) -> Keyboard {
        Keyboard { client: self.session.client.clone(), handle: self.session.handle }
    }

    /// Why its session ended, if it did.
    pub fn ended(&self) -> Option<SessionError> {
        self.session.client.shared().lock().ended.get(&self.session.handle).cloned()
    }
}

/// Types on a console.
#[derive(Clone, Debug)]
pub struct Keyboard {
    client: Client,
    handle: Handle,
}

impl Keyboard {
    /// Types characters; for how many of them there was room.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let shared = self.client.shared();
        let count = shared.lock().engine.console_send(shared.now(), self.handle, bytes);
        shared.wake.notify_one();
        count
    }

    /// Sends a break.
    pub fn send_break(&self) {
        let shared = self.client.shared();
        shared.lock().engine.console_break(shared.now(), self.handle);
        shared.wake.notify_one();
    }
}

impl Transport for Session {
    fn call(&self, request: Request) -> impl Future<Output = Result<Answer, RequestError>> + Send {
        let begun = self.begin(request);
        async move { begun?.await.unwrap_or(Err(SessionError::Closed.into())) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let shared = self.client.shared();
        let mut state = shared.lock();
        state.engine.close(self.handle);
        state.opening.remove(&self.handle);
        state.consoles.remove(&self.handle);
        state.ended.remove(&self.handle);
        shared.wake.notify_one();
    }
}

/// The task: sends, receives, fires timers, hands out events.
async fn run(shared: Arc<Shared>, v4: Port, v6: Option<Port>) {
    loop {
        let (datagrams, deadline) = work(&shared, Vec::new());
        send_all(&shared, &v4, v6.as_ref(), datagrams).await;
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let sleep = deadline.map_or(SLEEP_MAX, |at| at.saturating_sub(shared.now()));
        let incoming = tokio::select! {
            incoming = v4.receive() => incoming,
            incoming = receive_optional(v6.as_ref()) => incoming,
            () = shared.wake.notified() => Ok(Vec::new()),
            () = tokio::time::sleep(sleep) => Ok(Vec::new()),
        };
        match incoming {
            Ok(incoming) => {
                let (datagrams, _) = work(&shared, incoming);
                send_all(&shared, &v4, v6.as_ref(), datagrams).await;
            }
            Err(error) => {
                tracing::error!(%error, "the IPMI client has lost its socket");
                return;
            }
        }
    }
}

async fn receive_optional(port: Option<&Port>) -> io::Result<Vec<Incoming>> {
    match port {
        Some(port) => port.receive().await,
        None => std::future::pending().await,
    }
}

/// Feeds the engine and hands out its events; returns the packets to send, and when to come back.
fn work(shared: &Shared, incoming: Vec<Incoming>) -> (Vec<(SocketAddr, Vec<u8>)>, Option<Duration>) {
    let mut state = shared.lock();
    let now = shared.now();
    for item in incoming {
        match item {
            Incoming::Datagram(peer, bytes) => state.engine.on_datagram(now, peer, &bytes),
            Incoming::Unreachable(peer, why) => state.engine.on_unreachable(peer, why),
        }
    }
    state.engine.on_timer(now);
    while let Some(event) = state.engine.take_event() {
        dispatch(&mut state, event);
    }
    let datagrams = std::iter::from_fn(|| state.engine.take_datagram()).collect();
    (datagrams, state.engine.deadline())
}

fn dispatch(state: &mut State, event: Event) {
    match event {
        Event::Open(handle, info) => {
            if let Some(sender) = state.opening.remove(&handle) {
                let _gone = sender.send(Ok(info));
            }
        }
        Event::Answer(handle, id, result) => {
            if let Some(sender) = state.answers.remove(&(handle, id)) {
                let _gone = sender.send(result);
            }
        }
        Event::Console(handle, event) => show(state, handle, event),
        Event::Ended(handle, error) => {
            state.consoles.remove(&handle);
            match state.opening.remove(&handle) {
                Some(sender) => drop(sender.send(Err(error))),
                None => drop(state.ended.insert(handle, error)),
            }
        }
        Event::Pong(peer, ipmi) => answer_pings(state, peer, Ok(ipmi)),
        Event::NoPong(peer, why) => answer_pings(state, peer, Err(why)),
    }
}

/// Queues an event of a console. A slow reader loses output and gets a note about it; the end of the queue
/// shows how the console ended.
fn show(state: &mut State, handle: Handle, event: ConsoleEvent) {
    let ends = matches!(event, ConsoleEvent::Deactivated | ConsoleEvent::Silent);
    let Some(screen) = state.consoles.get_mut(&handle) else { return };
    if screen.lost && screen.events.try_send(ConsoleEvent::OutputLost).is_ok() {
        screen.lost = false;
    }
    screen.lost |= screen.lost || screen.events.try_send(event).is_err();
    if ends {
        state.consoles.remove(&handle);
    }
}

fn answer_pings(state: &mut State, peer: SocketAddr, result: PingResult) {
    for sender in state.pings.remove(&peer).unwrap_or_default() {
        let _gone = sender.send(result);
    }
}

async fn send_all(shared: &Shared, v4: &Port, v6: Option<&Port>, datagrams: Vec<(SocketAddr, Vec<u8>)>) {
    for (peer, bytes) in datagrams {
        let port = if peer.is_ipv4() { Some(v4) } else { v6 };
        let result = match port {
            Some(port) => port.send(peer, &bytes).await,
            None => Err(Unreachable::Host),
        };
        if let Err(why) = result {
            let mut state = shared.lock();
            state.engine.on_unreachable(peer, why);
            while let Some(event) = state.engine.take_event() {
                dispatch(&mut state, event);
            }
        }
    }
}
