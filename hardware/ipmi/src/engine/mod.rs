//! The engine: all sessions, bytes and a time in, bytes, a deadline and events out.
//!
//! It holds no socket, clock or source of random bytes: the caller says what time it is (since whenever it
//! likes, but never backwards) and hands a [`Seed`] to each session. After every call the caller sends what
//! [`Engine::take_datagram`] yields, looks at [`Engine::take_event`], and comes back at [`Engine::deadline`].

pub mod error;
mod exchange;
pub(crate) mod key_exchange;
mod link;
mod options;
mod output;
mod pings;
mod session;
mod setup;
mod sol;
mod timers;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use error::{Full, Phase, RequestError, SessionError, Unreachable};
pub use link::Protection;
pub use options::{Fallback, SessionOptions};
use output::Output;
pub use output::{Answer, ConsoleEvent, Event, Handle, Request, RequestId, SessionInfo};
use pings::Pings;
use session::Session;
use timers::Timers;

use crate::crypto::Seed;
use crate::limits::{Budget, DATAGRAM_BYTES_MAX, SESSIONS_MAX, SESSIONS_PER_ADDRESS_MAX};
use crate::secret::Credentials;
use crate::wire::datagram::Datagram;

/// All sessions of a shell.
#[derive(Default)]
pub struct Engine {
    sessions: HashMap<Handle, Session>,
    of_peer: HashMap<SocketAddr, Vec<Handle>>,
    timers: Timers<Handle>,
    pings: Pings,
    next: u64,
    out: Output,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("sessions", &self.sessions.len()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins to set up a session; [`Event::Open`] or [`Event::Ended`] says what came of it.
    ///
    /// # Errors
    /// [`Full`]: nothing was begun.
    pub fn open(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        credentials: Credentials,
        options: SessionOptions,
        seed: Seed,
    ) -> Result<Handle, Full> {
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Full::Engine);
        }
        let of_peer = self.of_peer.entry(peer).or_default();
        if of_peer.len() >= SESSIONS_PER_ADDRESS_MAX {
            return Err(Full::Address);
        }
        let handle = Handle(self.next);
        self.next += 1;
        of_peer.push(handle);
        let session = Session::start(now, handle, peer, credentials, options, seed, &mut self.out);
        self.timers.set(handle, session.deadline());
        self.sessions.insert(handle, session);
        Ok(handle)
    }

    /// Asks for something; [`Event::Answer`] is the answer. Requests of a session that is not set up yet
    /// wait.
    ///
    /// # Errors
    /// When the session is not there, or its queue is full, or the data too long.
    pub fn request(
        &mut self,
        now: Duration,
        handle: Handle,
        request: Request,
    ) -> Result<RequestId, RequestError> {
        let session = self.sessions.get_mut(&handle).ok_or(SessionError::Closed)?;
        let id = session.request(now, request, &mut self.out)?;
        self.timers.set(handle, session.deadline());
        Ok(id)
    }

    /// Types on the console of a session, which Activate Payload has given it; how many characters there was
    /// room for. A session without a console takes none.
    pub fn console_send(&mut self, now: Duration, handle: Handle, bytes: &[u8]) -> usize {
        let Some(session) = self.sessions.get_mut(&handle) else { return 0 };
        let count = session.console_send(now, bytes, &mut self.out);
        self.timers.set(handle, session.deadline());
        count
    }

    /// Sends a break on the console of a session. A session without a console sends none.
    pub fn console_break(&mut self, now: Duration, handle: Handle) {
        let Some(session) = self.sessions.get_mut(&handle) else { return };
        session.console_break(now, &mut self.out);
        self.timers.set(handle, session.deadline());
    }

    /// Ends a session: one Close Session, whose answer is not waited for. No event follows but the answers of
    /// requests that waited.
    pub fn close(&mut self, handle: Handle) {
        self.remove(handle, &SessionError::Closed);
    }

    /// Sends a presence ping (ASF); [`Event::Pong`] or [`Event::NoPong`] says what came of it.
    ///
    /// # Errors
    /// [`Full`]: nothing was sent.
    pub fn ping(&mut self, now: Duration, peer: SocketAddr, budget: Budget, seed: Seed) -> Result<(), Full> {
        self.pings.start(now, peer, budget, seed, &mut self.out)
    }

    /// A datagram came in. Packets of no session are dropped.
    pub fn on_datagram(&mut self, now: Duration, peer: SocketAddr, bytes: &[u8]) {
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        let Ok(datagram) = Datagram::parse(bytes) else { return };
        if let Datagram::Pong { tag, ipmi } = datagram {
            self.pings.on_pong(peer, tag, ipmi, &mut self.out);
            return;
        }
        let handles = self.of_peer.get(&peer).cloned().unwrap_or_default();
        for handle in handles {
            let Some(session) = self.sessions.get_mut(&handle) else { continue };
            let result = session.on_datagram(now, &datagram, &mut self.out);
            self.timers.set(handle, session.deadline());
            match result {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    self.fail(handle, error);
                    return;
                }
            }
        }
    }

    /// ICMP says that an address cannot be reached. A closed port ends all its sessions; the rest ends only
    /// those that have not been answered yet, since a route may come back.
    pub fn on_unreachable(&mut self, peer: SocketAddr, why: Unreachable) {
        self.pings.on_unreachable(peer, why, &mut self.out);
        for handle in self.of_peer.get(&peer).cloned().unwrap_or_default() {
            let phase = self.sessions.get(&handle).map(Session::phase);
            if why == Unreachable::Port || phase == Some(Phase::Capabilities) {
                self.fail(handle, SessionError::Unreachable(why));
            }
        }
    }

    /// Handles the timers that have expired.
    pub fn on_timer(&mut self, now: Duration) {
        self.pings.on_timer(now, &mut self.out);
        while let Some(handle) = self.timers.take_due(now) {
            let Some(session) = self.sessions.get_mut(&handle) else { continue };
            match session.on_timer(now, &mut self.out) {
                Ok(()) => {
                    // A timer that is still due would be handled again and again.
                    let soon = now.saturating_add(Duration::from_millis(1));
                    self.timers.set(handle, session.deadline().map(|at| at.max(soon)));
                }
                Err(error) => self.fail(handle, error),
            }
        }
    }

    /// When [`Engine::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        [self.timers.first(), self.pings.deadline()].into_iter().flatten().min()
    }

    /// The next datagram to be sent.
    pub fn take_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.datagrams.pop_front()
    }

    /// The next thing that happened.
    pub fn take_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// How many sessions there are, those being set up included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn fail(&mut self, handle: Handle, error: SessionError) {
        if self.remove(handle, &error) {
            self.out.event(Event::Ended(handle, error));
        }
    }

    fn remove(&mut self, handle: Handle, error: &SessionError) -> bool {
        let Some(mut session) = self.sessions.remove(&handle) else { return false };
        self.timers.set(handle, None);
        if let Some(handles) = self.of_peer.get_mut(&session.peer()) {
            handles.retain(|other| *other != handle);
            if handles.is_empty() {
                self.of_peer.remove(&session.peer());
            }
        }
        session.end(error, &mut self.out);
        true
    }
}
