//! One session: its state, its timers, its requests. How it is set up is in [`super::setup`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::error::{Phase, RequestError, SessionError};
use super::exchange::{Due, Exchange};
use super::key_exchange::KeyExchange;
use super::link::Link;
use super::options::SessionOptions;
use super::output::{Answer, Event, Handle, Output, Request, RequestId, SessionInfo};
use super::sol::{Sol, Turn};
use crate::crypto::{Keys, Random, Seed};
use crate::limits::{KEEP_ALIVE_AFTER, REQUEST_BYTES_MAX, REQUESTS_QUEUED_MAX, SETUP_MAX};
use crate::secret::Credentials;
use crate::wire::datagram::Datagram;
use crate::wire::message::{self, Code, Message, SEQUENCES};
use crate::wire::setup::Privilege;
use crate::wire::sol;
use crate::wire::v15::AuthType;
use crate::wire::v20::Payload;

pub(super) const CLOSE_SESSION: Code = Code { netfn: 0x06, lun: 0, cmd: 0x3c };
const ACTIVATE_PAYLOAD: Code = Code { netfn: 0x06, lun: 0, cmd: 0x48 };
const DEACTIVATE_PAYLOAD: Code = Code { netfn: 0x06, lun: 0, cmd: 0x49 };
const GET_DEVICE_ID: Code = Code { netfn: 0x06, lun: 0, cmd: 0x01 };
/// "Node busy": the BMC wants to be asked again.
const COMPLETION_BUSY: u8 = 0xc0;

/// The state of a session.
pub(super) enum State {
    Capabilities { extended: bool },
    Open { console_session: u32 },
    Rakp1(Box<KeyExchange>),
    Rakp3(Box<(KeyExchange, Keys)>),
    Challenge { auth: AuthType, each_message: bool },
    Activate { auth: AuthType, each_message: bool, first_sequence: u32 },
    Privilege,
    Active,
}

/// What is repeated while an answer is missing.
pub(super) enum Sent {
    /// A datagram as it is.
    Datagram(Vec<u8>),
    /// A message of the session: every repeat gets a new session sequence number, since the BMC takes
    /// each once.
    Message { request: Request, sequence: u8 },
}

/// Who waits for the answer to a message of the session.
#[derive(Clone, Copy)]
pub(super) enum Asker {
    Caller(RequestId),
    SetUp,
    KeepAlive,
}

/// The packet that waits for its answer.
pub(super) struct Pending {
    pub exchange: Exchange,
    pub sent: Sent,
    pub asker: Asker,
    /// An answer said "busy".
    pub busy: bool,
}

/// A session.
pub(crate) struct Session {
    pub(super) handle: Handle,
    pub(super) peer: SocketAddr,
    pub(super) credentials: Credentials,
    pub(super) options: SessionOptions,
    pub(super) random: Random,
    pub(super) state: State,
    pub(super) link: Option<Link>,
    pub(super) pending: Option<Pending>,
    pub(super) privilege: Privilege,
    /// Which of the suites is proposed.
    pub(super) suite_index: usize,
    /// How often Open Session was begun with this suite.
    pub(super) handshakes: u8,
    /// The tag of the newest message of the set-up.
    pub(super) tag: u8,
    setup_until: Duration,
    sequence: u8,
    console: Option<Box<Sol>>,
    queue: VecDeque<(RequestId, Request)>,
    next_request: u64,
    idle_since: Duration,
}

impl Session {
    /// Begins to set up a session.
    pub(super) fn start(
        now: Duration,
        handle: Handle,
        peer: SocketAddr,
        credentials: Credentials,
        options: SessionOptions,
        seed: Seed,
        out: &mut Output,
    ) -> Self {
        let mut random = Random::new(seed);
        let sequence = u8::try_from(random.below(SEQUENCES.into())).unwrap_or(0);
        let mut session = Self {
            handle,
            peer,
            privilege: options.privilege,
            credentials,
            options,
            random,
            state: State::Capabilities { extended: true },
            link: None,
            pending: None,
            suite_index: 0,
            handshakes: 0,
            tag: 0,
            setup_until: now.saturating_add(SETUP_MAX),
            sequence,
            console: None,
            queue: VecDeque::new(),
            next_request: 0,
            idle_since: now,
        };
        session.ask_capabilities(now, true, out);
        session
    }

    /// The step the session is in.
    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Capabilities { .. } => Phase::Capabilities,
            State::Open { .. } => Phase::OpenSession,
            State::Rakp1(_) => Phase::Rakp1,
            State::Rakp3(_) => Phase::Rakp3,
            State::Challenge { .. } => Phase::Challenge,
            State::Activate { .. } => Phase::Activate,
            State::Privilege => Phase::Privilege,
            State::Active => Phase::Active,
        }
    }

    /// The BMC.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let setup = (!matches!(self.state, State::Active)).then_some(self.setup_until);
        let repeat = self.pending.as_ref().map(|pending| pending.exchange.deadline());
        let keep_alive = (self.pending.is_none() && self.options.keep_alive)
            .then(|| self.idle_since.saturating_add(KEEP_ALIVE_AFTER));
        let console = self.console.as_ref().and_then(|console| console.deadline());
        [setup, repeat, keep_alive, console].into_iter().flatten().min()
    }

    /// Queues a request; it is sent when those before it have their answers.
    pub(super) fn request(
        &mut self,
        now: Duration,
        request: Request,
        out: &mut Output,
    ) -> Result<RequestId, RequestError> {
        if request.data.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        if self.queue.len() >= REQUESTS_QUEUED_MAX {
            return Err(RequestError::Busy);
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.queue.push_back((id, request));
        self.send_next(now, out);
        Ok(id)
    }

    /// Ends the session: its console is deactivated, one Close Session to the BMC, no answer for requests.
    pub(super) fn end(&mut self, error: &SessionError, out: &mut Output) {
        if self.console.take().is_some() {
            let data = vec![sol::PAYLOAD_TYPE, sol::INSTANCE, 0, 0, 0, 0];
            let sequence = self.take_sequence();
            self.send_message(&Request { code: DEACTIVATE_PAYLOAD, data }, sequence, out);
        }
        if let Some(link) = &self.link {
            let data = link.bmc_session().to_le_bytes().to_vec();
            let sequence = self.take_sequence();
            self.send_message(&Request { code: CLOSE_SESSION, data }, sequence, out);
        }
        let current = self.pending.take().and_then(|pending| match pending.asker {
            Asker::Caller(id) => Some(id),
            Asker::SetUp | Asker::KeepAlive => None,
        });
        for id in current.into_iter().chain(self.queue.drain(..).map(|(id, _)| id)) {
            out.event(Event::Answer(self.handle, id, Err(RequestError::Session(error.clone()))));
        }
    }

    /// Takes a datagram from the BMC's address. Whether it belongs to this session.
    ///
    /// # Errors
    /// The session cannot continue.
    pub(super) fn on_datagram(
        &mut self,
        now: Duration,
        datagram: &Datagram<'_>,
        out: &mut Output,
    ) -> Result<bool, SessionError> {
        let Some(link) = &mut self.link else { return self.on_setup_datagram(now, datagram, out) };
        let Some((kind, payload)) = link.open(datagram, &self.credentials) else { return Ok(false) };
        if kind == Payload::Ipmi
            && let Ok(message) = Message::parse(&payload)
        {
            self.on_message(now, &message, out)?;
        }
        if kind == Payload::Sol
            && let Ok(packet) = sol::Packet::parse(&payload)
        {
            self.on_console(out, |console, random, turn| console.on_packet(now, &packet, random, turn));
        }
        Ok(true)
    }

    /// A timer fired.
    ///
    /// # Errors
    /// The session cannot continue.
    pub(super) fn on_timer(&mut self, now: Duration, out: &mut Output) -> Result<(), SessionError> {
        self.on_console(out, |console, random, turn| console.on_timer(now, random, turn));
        let Some(pending) = &mut self.pending else {
            if self.options.keep_alive && now >= self.idle_since.saturating_add(KEEP_ALIVE_AFTER) {
                self.ask(now, Request { code: GET_DEVICE_ID, data: Vec::new() }, Asker::KeepAlive, out);
            }
            return Ok(());
        };
        let setup_over = !matches!(self.state, State::Active) && now >= self.setup_until;
        let due = if setup_over { Due::GiveUp } else { pending.exchange.due(now) };
        match due {
            Due::Nothing => Ok(()),
            Due::Repeat => self.repeat(now, out),
            Due::GiveUp => self.give_up(now, out),
        }
    }

    fn repeat(&mut self, now: Duration, out: &mut Output) -> Result<(), SessionError> {
        if matches!(self.state, State::Rakp3(_)) && self.may_begin_again() {
            // The BMC may have taken RAKP 3 and sent a RAKP 4 that was lost; many do not answer it twice.
            return self.open_session(now, out);
        }
        match self.pending.as_ref().map(|pending| &pending.sent) {
            Some(Sent::Datagram(datagram)) => out.send(self.peer, datagram.clone()),
            Some(Sent::Message { request, sequence }) => {
                let (request, sequence) = (request.clone(), *sequence);
                self.send_message(&request, sequence, out);
            }
            None => {}
        }
        Ok(())
    }

    fn give_up(&mut self, now: Duration, out: &mut Output) -> Result<(), SessionError> {
        let phase = self.phase();
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let (sends, waited) = (pending.exchange.sends, pending.exchange.waited(now));
        let Asker::Caller(id) = pending.asker else {
            return Err(SessionError::Silent { phase, sends, waited });
        };
        let result = if pending.busy {
            Ok(Answer { completion: COMPLETION_BUSY, data: Vec::new() })
        } else {
            Err(RequestError::Silent { sends, waited })
        };
        out.event(Event::Answer(self.handle, id, result));
        self.idle_since = now;
        self.send_next(now, out);
        Ok(())
    }

    fn on_message(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        out: &mut Output,
    ) -> Result<(), SessionError> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let Sent::Message { request, sequence } = &pending.sent else { return Ok(()) };
        let expected = Code { netfn: request.code.netfn | 1, ..request.code };
        let Some((completion, data)) = message.data.split_first() else { return Ok(()) };
        if message.code != expected || message.sequence != *sequence {
            return Ok(());
        }
        if *completion == COMPLETION_BUSY {
            pending.busy = true;
            return Ok(());
        }
        let asker = pending.asker;
        if *completion == 0 {
            let console = match request.code {
                ACTIVATE_PAYLOAD => sol::Activated::parse(data).ok().map(|said| Box::new(Sol::new(said))),
                DEACTIVATE_PAYLOAD => None,
                _ => self.console.take(),
            };
            self.console = console;
        }
        self.pending = None;
        self.idle_since = now;
        match asker {
            Asker::Caller(id) => {
                let answer = Answer { completion: *completion, data: data.to_vec() };
                out.event(Event::Answer(self.handle, id, Ok(answer)));
            }
            Asker::SetUp => self.on_privilege(now, *completion, data, out)?,
            Asker::KeepAlive => {}
        }
        self.send_next(now, out);
        Ok(())
    }

    /// Lets the console do something; how it answers is sent and reported.
    fn on_console<T>(
        &mut self,
        out: &mut Output,
        act: impl FnOnce(&mut Sol, &mut Random, &mut Turn) -> T,
    ) -> Option<T> {
        let mut turn = Turn::default();
        let done = act(self.console.as_mut()?, &mut self.random, &mut turn);
        for payload in &turn.payloads {
            self.send_payload(Payload::Sol, payload, out);
        }
        for event in turn.events {
            out.event(Event::Console(self.handle, event));
        }
        if turn.ended {
            self.console = None;
        }
        Some(done)
    }

    /// Types on the console; how many characters there was room for.
    pub(super) fn console_send(&mut self, now: Duration, bytes: &[u8], out: &mut Output) -> usize {
        self.on_console(out, |console, random, turn| console.send(now, bytes, random, turn)).unwrap_or(0)
    }

    /// Sends a break.
    pub(super) fn console_break(&mut self, now: Duration, out: &mut Output) {
        self.on_console(out, |console, random, turn| console.send_break(now, random, turn));
    }

    /// The session is ready for requests.
    pub(super) fn activate(&mut self, now: Duration, granted: Privilege, out: &mut Output) {
        self.state = State::Active;
        self.privilege = granted;
        self.idle_since = now;
        if let Some(link) = &self.link {
            let info = SessionInfo { protection: link.protection(), privilege: granted };
            out.event(Event::Open(self.handle, info));
        }
    }

    fn send_next(&mut self, now: Duration, out: &mut Output) {
        if !matches!(self.state, State::Active) || self.pending.is_some() {
            return;
        }
        if let Some((id, request)) = self.queue.pop_front() {
            self.ask(now, request, Asker::Caller(id), out);
        }
    }

    /// Sends a message of the session and waits for its answer.
    pub(super) fn ask(&mut self, now: Duration, request: Request, asker: Asker, out: &mut Output) {
        let budget = match asker {
            Asker::SetUp => self.options.setup,
            Asker::Caller(_) | Asker::KeepAlive => self.options.command,
        };
        let sequence = self.take_sequence();
        self.send_message(&request, sequence, out);
        let exchange = Exchange::start(now, budget, &mut self.random);
        let sent = Sent::Message { request, sequence };
        self.pending = Some(Pending { exchange, sent, asker, busy: false });
    }

    /// Sends a datagram of the set-up and waits for its answer.
    pub(super) fn ask_plain(&mut self, now: Duration, datagram: Vec<u8>, out: &mut Output) {
        out.send(self.peer, datagram.clone());
        let exchange = Exchange::start(now, self.options.setup, &mut self.random);
        let sent = Sent::Datagram(datagram);
        self.pending = Some(Pending { exchange, sent, asker: Asker::SetUp, busy: false });
    }

    /// The sequence number of the next message.
    pub(super) fn take_sequence(&mut self) -> u8 {
        self.sequence = (self.sequence + 1) % SEQUENCES;
        self.sequence
    }

    /// The sequence number of the newest message.
    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    fn send_message(&mut self, request: &Request, sequence: u8, out: &mut Output) {
        let mut payload = Vec::with_capacity(request.data.len() + 8);
        message::put_request(&mut payload, request.code, sequence, &request.data);
        self.send_payload(Payload::Ipmi, &payload, out);
    }

    fn send_payload(&mut self, kind: Payload, payload: &[u8], out: &mut Output) {
        let Some(link) = &mut self.link else { return };
        if let Some(datagram) = link.seal(kind, payload, &self.credentials, &mut self.random) {
            out.send(self.peer, datagram);
        }
    }
}
