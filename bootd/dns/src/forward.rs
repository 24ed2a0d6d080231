//! Questions that wait for other servers.
//!
//! The same question of several clients is asked once. Each attempt has a new port and a new identifier, both
//! random, and only an answer that repeats question and identifier counts (RFC 5452 §9). If a server does not
//! answer, the next one is asked; one that failed to answer several times is not asked for a while, so that a
//! cluster without a connection to the outside answers at once.
//!
//! The engine holds no socket and no clock: [`Forwarder::ask`], [`Forwarder::received`] and
//! [`Forwarder::tick`] take the time and return what to do.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{Cache, Key, Stored, Unusable, question};
use crate::query::Query;

/// Questions that wait at one time, at most.
pub const WAITING_MAX: usize = 512;
/// Questions of one client that wait at one time.
pub const WAITING_OF_CLIENT_MAX: usize = 128;
/// Clients that wait for one question.
pub const CLIENTS_OF_QUESTION_MAX: usize = 64;
/// Attempts for one question, all servers together.
pub const ATTEMPTS_MAX: usize = 4;
/// Time that one server has before the next is asked.
pub const ATTEMPT_TIME: Duration = Duration::from_millis(900);
/// Longest time a client waits; resolvers give up after five seconds (resolv.conf(5)).
pub const TIME_MAX: Duration = Duration::from_millis(4000);
/// Attempts without an answer after which a server is left alone.
pub const SILENT_MAX: u32 = 4;
/// How long a server that did not answer is not asked.
pub const SILENT_TIME: Duration = Duration::from_secs(10);
/// Servers that are remembered.
const SERVERS_MAX: usize = 64;

/// An attempt; names the socket that it uses.
pub type Ticket = u64;

/// An action for the shell.
#[derive(Debug)]
pub enum Action<W> {
    /// Send the message to the server from a new socket, by TCP if demanded, and hand in the answer.
    Send {
        /// Names the socket.
        ticket: Ticket,
        /// Where to.
        server: SocketAddr,
        /// By TCP.
        tcp: bool,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close the attempt's socket.
    Close(Ticket),
    /// Answer a client.
    Answer(Box<Query>, W, Arc<Stored>),
}

#[derive(Debug)]
struct Attempt {
    ticket: Ticket,
    server: SocketAddr,
    id: u16,
}

#[derive(Debug)]
struct Waiting<W> {
    query: Box<Query>,
    clients: Vec<(IpAddr, Box<Query>, W)>,
    servers: Vec<SocketAddr>,
    attempts: Vec<Attempt>,
    made: usize,
    next: Duration,
    ends: Duration,
}

#[derive(Debug, Default, Clone, Copy)]
struct Health {
    silent: u32,
    until: Duration,
}

/// The questions that wait for other servers, and the cache of their answers. `W` is how the shell finds the
/// client again.
#[derive(Debug)]
pub struct Forwarder<W> {
    cache: Arc<Cache>,
    waiting_max: usize,
    waiting: HashMap<Key, Waiting<W>>,
    tickets: HashMap<Ticket, Key>,
    timers: BTreeSet<(Duration, Ticket)>,
    of_client: HashMap<IpAddr, usize>,
    servers: HashMap<SocketAddr, Health>,
    next_ticket: Ticket,
}

impl<W> Forwarder<W> {
    /// Nothing waits. Answers go into `cache`; at most `waiting_max` questions wait at one time.
    #[must_use]
    pub fn new(cache: Arc<Cache>, waiting_max: usize) -> Self {
        Self {
            cache,
            waiting_max,
            waiting: HashMap::new(),
            tickets: HashMap::new(),
            timers: BTreeSet::new(),
            of_client: HashMap::new(),
            servers: HashMap::new(),
            next_ticket: 0,
        }
    }

    /// Questions that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When [`tick`](Self::tick) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A client asks. `id` is a random number for the first attempt. Beyond a limit the answer is a failure
    /// at once.
    #[allow(clippy::too_many_arguments, reason = "the client, its question, and the surroundings")]
    pub fn ask(
        &mut self,
        now: Duration,
        id: u16,
        servers: &[SocketAddr],
        ip: IpAddr,
        query: Box<Query>,
        client: W,
        out: &mut Vec<Action<W>>,
    ) {
        let key = Key::of(&query);
        let of_client = self.of_client.get(&ip).copied().unwrap_or(0);
        let room = of_client < WAITING_OF_CLIENT_MAX;
        if let Some(waiting) = self
            .waiting
            .get_mut(&key)
            .filter(|waiting| room && waiting.clients.len() < CLIENTS_OF_QUESTION_MAX)
        {
            waiting.clients.push((ip, query, client));
            *self.of_client.entry(ip).or_default() += 1;
            return;
        }
        let servers = self.alive(now, servers);
        if !room
            || self.waiting.len() >= self.waiting_max
            || self.waiting.contains_key(&key)
            || servers.is_empty()
        {
            let failure = Arc::new(Stored::failure(now, &query));
            out.push(Action::Answer(query, client, failure));
            return;
        }
        *self.of_client.entry(ip).or_default() += 1;
        let waiting = Waiting {
            query: query.clone(),
            clients: vec![(ip, query, client)],
            servers,
            attempts: Vec::new(),
            made: 0,
            next: now,
            ends: now + TIME_MAX,
        };
        self.waiting.insert(key.clone(), waiting);
        self.attempt(now, id, &key, out);
    }

    /// A message has come for an attempt.
    pub fn received(
        &mut self,
        now: Duration,
        id: u16,
        ticket: Ticket,
        bytes: &[u8],
        out: &mut Vec<Action<W>>,
    ) {
        let Some(key) = self.tickets.get(&ticket).cloned() else { return };
        let Some(waiting) = self.waiting.get(&key) else { return };
        let Some(attempt) = waiting.attempts.iter().find(|attempt| attempt.ticket == ticket) else { return };
        let server = attempt.server;
        match Stored::read(now, &waiting.query, attempt.id, bytes) {
            Err(Unusable::NotOurs) => {}
            Err(Unusable::Truncated) => {
                self.servers.remove(&server);
                self.close(ticket, out);
                self.send(now, id, &key, server, true, out);
            }
            Err(Unusable::Refused) => {
                self.servers.remove(&server);
                self.close(ticket, out);
                self.go_on(now, id, &key, out);
            }
            Ok(stored) => {
                self.servers.remove(&server);
                self.end(now, &key, Arc::new(stored), out);
            }
        }
    }

    /// An attempt cannot succeed: nothing listens there, or no socket could be had.
    pub fn failed(&mut self, now: Duration, id: u16, ticket: Ticket, out: &mut Vec<Action<W>>) {
        let Some(key) = self.tickets.get(&ticket).cloned() else { return };
        let server = self.waiting.get(&key).and_then(|waiting| {
            waiting.attempts.iter().find(|attempt| attempt.ticket == ticket).map(|attempt| attempt.server)
        });
        if let Some(server) = server {
            self.note_silence(now, server);
        }
        self.close(ticket, out);
        self.go_on(now, id, &key, out);
    }

    /// Time has passed. `id` gives a random number each time it is called.
    pub fn tick(&mut self, now: Duration, mut id: impl FnMut() -> u16, out: &mut Vec<Action<W>>) {
        while let Some((at, ticket)) = self.timers.first().copied() {
            if at > now {
                return;
            }
            self.timers.remove(&(at, ticket));
            let Some(key) = self.tickets.get(&ticket).cloned() else { continue };
            let Some(waiting) = self.waiting.get(&key) else { continue };
            let silent = waiting.attempts.iter().find(|attempt| attempt.ticket == ticket);
            if let Some(server) = silent.map(|attempt| attempt.server) {
                self.note_silence(now, server);
            }
            self.go_on(now, id(), &key, out);
        }
    }

    /// The servers to try, in their order.
    fn alive(&self, now: Duration, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        let usable = |server: &&SocketAddr| {
            self.servers.get(*server).is_none_or(|health| health.silent < SILENT_MAX || health.until <= now)
        };
        servers.iter().filter(usable).copied().collect()
    }

    fn note_silence(&mut self, now: Duration, server: SocketAddr) {
        if self.servers.len() >= SERVERS_MAX {
            self.servers.clear();
        }
        let health = self.servers.entry(server).or_default();
        health.silent = health.silent.saturating_add(1);
        health.until = now + SILENT_TIME;
    }

    /// The next attempt, or the end if there is none. Earlier attempts may still be answered until the end.
    fn go_on(&mut self, now: Duration, id: u16, key: &Key, out: &mut Vec<Action<W>>) {
        let Some(waiting) = self.waiting.get(key) else { return };
        let more = waiting.made < ATTEMPTS_MAX && now < waiting.ends;
        let left = waiting.ends;
        if more {
            self.attempt(now, id, key, out);
        } else if now >= left || waiting.attempts.is_empty() {
            let failure = Arc::new(Stored::failure(now, &waiting.query));
            self.end(now, key, failure, out);
        } else if let Some(ticket) = waiting.attempts.last().map(|attempt| attempt.ticket) {
            self.timers.insert((left, ticket));
        }
    }

    fn attempt(&mut self, now: Duration, id: u16, key: &Key, out: &mut Vec<Action<W>>) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        let count = waiting.servers.len().max(1);
        let Some(server) = waiting.servers.get(waiting.made % count).copied() else { return };
        waiting.made += 1;
        self.send(now, id, key, server, false, out);
    }

    fn send(
        &mut self,
        now: Duration,
        id: u16,
        key: &Key,
        server: SocketAddr,
        tcp: bool,
        out: &mut Vec<Action<W>>,
    ) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        waiting.attempts.push(Attempt { ticket, server, id });
        waiting.next = (now + ATTEMPT_TIME).min(waiting.ends);
        self.timers.insert((waiting.next, ticket));
        self.tickets.insert(ticket, key.clone());
        out.push(Action::Send { ticket, server, tcp, bytes: question(&waiting.query, id) });
    }

    fn close(&mut self, ticket: Ticket, out: &mut Vec<Action<W>>) {
        if let Some(key) = self.tickets.remove(&ticket)
            && let Some(waiting) = self.waiting.get_mut(&key)
        {
            waiting.attempts.retain(|attempt| attempt.ticket != ticket);
        }
        self.timers.retain(|(_, other)| *other != ticket);
        out.push(Action::Close(ticket));
    }

    fn end(&mut self, now: Duration, key: &Key, stored: Arc<Stored>, out: &mut Vec<Action<W>>) {
        let Some(waiting) = self.waiting.remove(key) else { return };
        for attempt in &waiting.attempts {
            self.tickets.remove(&attempt.ticket);
            out.push(Action::Close(attempt.ticket));
        }
        let tickets = &self.tickets;
        self.timers.retain(|(_, ticket)| tickets.contains_key(ticket));
        self.cache.keep(now, &waiting.query, &stored);
        for (ip, query, client) in waiting.clients {
            if let Some(count) = self.of_client.get_mut(&ip) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_client.remove(&ip);
                }
            }
            out.push(Action::Answer(query, client, Arc::clone(&stored)));
        }
    }
}
