//! A BMC that lives in memory: for conversations, simulations, fuzzers and benches.
//!
//! It implements the other side of the same protocol, checks what clients send more strictly than real BMCs
//! do, and can be made to behave as badly as some of them ([`Habits`]). Its reading of a datagram is a line
//! of text ([`Turn::saw`]), which conversation files compare.

mod machine;

use std::collections::HashMap;
use std::fmt::Write as _;

pub use machine::Machine;

use crate::crypto::{Keys, Random, Seed, Suite};
use crate::engine::key_exchange::KeyExchange;
use crate::secret::{Credentials, Secret};
use crate::wire::datagram::Datagram;
use crate::wire::message::{self, Message};
use crate::wire::rmcp;
use crate::wire::setup::{OpenRequest, OpenResponse, Rakp1, Rakp2, Rakp34, Status, suite_of};
use crate::wire::v15::{self, AuthType};
use crate::wire::v20::{self, Payload};

/// Sessions of one BMC at once, those being set up included; the oldest is dropped first.
const SESSIONS_MAX: usize = 8;
const GUID: [u8; 16] = *b"simulated-bmc-00";

/// The behaviour and the faults of a BMC.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Suites that it accepts.
    pub suites: Vec<Suite>,
    /// Answers every proposal with the algorithms of suite 3, as some do.
    pub always_answers_suite_3: bool,
    /// Has IPMI 1.5 only, with these authentication types.
    pub v15_only: Option<Vec<AuthType>>,
    /// Packets of IPMI 1.5 sessions are not authenticated.
    pub v15_bare_messages: bool,
    /// Refuses every RAKP 1 for the role administrator.
    pub no_administrators: bool,
    /// Makes a new random number for each copy of RAKP 1.
    pub forgets_rakp1: bool,
    /// Answers RAKP 3 once.
    pub answers_rakp3_once: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            suites: vec![Suite::Sha256, Suite::Sha1],
            always_answers_suite_3: false,
            v15_only: None,
            v15_bare_messages: false,
            no_administrators: false,
            forgets_rakp1: false,
            answers_rakp3_once: false,
        }
    }
}

/// A BMC's reading of a datagram, and its answers.
#[derive(Debug, Default)]
pub struct Turn {
    /// What it understood, as a line.
    pub saw: String,
    /// What it sends.
    pub answers: Vec<Vec<u8>>,
}

/// A session as the BMC has it.
struct Session {
    exchange: Option<KeyExchange>,
    keys: Option<Keys>,
    v15: Option<AuthType>,
    console_session: u32,
    suite: Suite,
    active: bool,
    sequence_out: u32,
    seen: Vec<u32>,
    rakp1: Option<Vec<u8>>,
}

/// A BMC.
pub struct Bmc {
    /// What it does.
    pub habits: Habits,
    /// What it controls.
    pub machine: Machine,
    credentials: Credentials,
    random: Random,
    sessions: HashMap<u32, Session>,
    order: Vec<u32>,
}

impl std::fmt::Debug for Bmc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bmc").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Bmc {
    /// A BMC with one user.
    pub fn new(credentials: Credentials, habits: Habits, seed: Seed) -> Self {
        Self {
            habits,
            machine: Machine::default(),
            credentials,
            random: Random::new(seed),
            sessions: HashMap::new(),
            order: Vec::new(),
        }
    }

    /// Sessions that are set up.
    pub fn active_sessions(&self) -> usize {
        self.sessions.values().filter(|session| session.active).count()
    }

    /// Forgets all sessions, as a reset does.
    pub fn reset(&mut self) {
        self.sessions.clear();
        self.order.clear();
    }

    /// A datagram came in.
    pub fn on_datagram(&mut self, bytes: &[u8]) -> Turn {
        match Datagram::parse(bytes) {
            Ok(Datagram::Ping { tag }) => {
                let mut pong = Vec::new();
                rmcp::put_pong(&mut pong, tag);
                Turn { saw: "ping".to_owned(), answers: vec![pong] }
            }
            Ok(Datagram::V15(packet)) => self.on_v15(&packet),
            Ok(Datagram::V20(packet)) if packet.session == 0 => self.on_setup(&packet),
            Ok(Datagram::V20(packet)) => self.on_v20(&packet),
            Ok(Datagram::Pong { .. }) => saw("pong"),
            Err(error) => saw(&format!("malformed: {error}")),
        }
    }

    fn add_session(&mut self, console_session: u32, suite: Suite) -> u32 {
        let id = self.random.nonzero();
        if self.order.len() >= SESSIONS_MAX {
            let oldest = self.order.remove(0);
            self.sessions.remove(&oldest);
        }
        self.order.push(id);
        let session = Session {
            exchange: None,
            keys: None,
            v15: None,
            console_session,
            suite,
            active: false,
            sequence_out: 1,
            seen: Vec::new(),
            rakp1: None,
        };
        self.sessions.insert(id, session);
        id
    }

    fn on_setup(&mut self, packet: &v20::Packet<'_>) -> Turn {
        let turn = match packet.kind {
            Payload::OpenRequest => OpenRequest::parse(packet.payload).map(|open| self.on_open(&open)),
            Payload::Rakp1 => Rakp1::parse(packet.payload).map(|rakp1| self.on_rakp1(&rakp1, packet.payload)),
            Payload::Rakp3 => Rakp34::parse(packet.payload).map(|rakp3| self.on_rakp3(&rakp3)),
            other => return saw(&format!("{other:?} outside of a session")),
        };
        turn.unwrap_or_else(|error| saw(&format!("malformed: {error}")))
    }

    fn on_open(&mut self, open: &OpenRequest) -> Turn {
        let mut algorithms = open.algorithms;
        let name = suite_of(algorithms).map_or_else(|| format!("{algorithms:?}"), |s| s.id().to_string());
        let text = format!("open-session suite={name} privilege={}", open.privilege);
        if self.habits.always_answers_suite_3 {
            algorithms = Suite::Sha1.algorithms();
        }
        let suite = suite_of(algorithms).filter(|suite| self.habits.suites.contains(suite));
        let result = match suite {
            Some(suite) => Ok((self.add_session(open.console_session, suite), algorithms)),
            None => Err(Status(0x11)),
        };
        let response = OpenResponse { tag: open.tag, console_session: open.console_session, result };
        answer_setup(text, Payload::OpenResponse, |out| response.put(out))
    }

    fn on_rakp1(&mut self, rakp1: &Rakp1<'_>, raw: &[u8]) -> Turn {
        let user = String::from_utf8_lossy(rakp1.user);
        let text = format!("rakp1 user={user} role={:02x}", rakp1.role);
        let tag = rakp1.tag;
        let refuse = |text: String, console_session: u32, status: Status| {
            let response = Rakp2 { tag, console_session, result: Err(status) };
            answer_setup(text, Payload::Rakp2, |out| response.put(out))
        };
        let Some(session) = self.sessions.get_mut(&rakp1.bmc_session) else {
            return refuse(text + " unknown session", 0, Status(0x02));
        };
        let console_session = session.console_session;
        if rakp1.user != self.credentials.user().as_bytes() {
            return refuse(text, console_session, Status::NAME);
        }
        if self.habits.no_administrators && rakp1.role & 0x0f == 4 {
            return refuse(text, console_session, Status::ROLE);
        }
        let is_copy = session.rakp1.as_deref() == Some(raw);
        if !is_copy || self.habits.forgets_rakp1 {
            session.exchange = Some(KeyExchange {
                suite: session.suite,
                role: rakp1.role,
                console_session,
                bmc_session: rakp1.bmc_session,
                console_random: rakp1.random,
                bmc_random: self.random.block(),
                guid: GUID,
            });
        }
        session.rakp1 = Some(raw.to_vec());
        let Some(exchange) = &session.exchange else { return saw(&text) };
        let code = exchange.rakp2_code(&self.credentials);
        let result = Ok((exchange.bmc_random, exchange.guid, code.bytes()));
        let response = Rakp2 { tag, console_session, result };
        answer_setup(text, Payload::Rakp2, |out| response.put(out))
    }

    fn on_rakp3(&mut self, rakp3: &Rakp34<'_>) -> Turn {
        let mut text = "rakp3".to_owned();
        let tag = rakp3.tag;
        let Some(session) = self.sessions.get_mut(&rakp3.session) else {
            let response = Rakp34 { tag, session: 0, result: Err(Status(0x02)) };
            return answer_setup(text + " unknown session", Payload::Rakp4, |out| response.put(out));
        };
        let console = session.console_session;
        let Some(exchange) = &session.exchange else { return saw("rakp3 too early") };
        if session.active && self.habits.answers_rakp3_once {
            return saw("rakp3 again");
        }
        let expected = exchange.rakp3_code(&self.credentials);
        if rakp3.result.ok() != Some(expected.bytes()) {
            text.push_str(" bad code");
            let response = Rakp34 { tag, session: console, result: Err(Status::INTEGRITY) };
            return answer_setup(text, Payload::Rakp4, |out| response.put(out));
        }
        let keys = exchange.keys(&self.credentials);
        let code = exchange.rakp4_code(&keys);
        let response = Rakp34 { tag, session: console, result: Ok(code.first(keys.trailer_bytes())) };
        let turn = answer_setup(text, Payload::Rakp4, |out| response.put(out));
        session.keys = Some(keys);
        session.active = true;
        turn
    }

    fn on_v20(&mut self, packet: &v20::Packet<'_>) -> Turn {
        let id = packet.session;
        let Some(session) = self.sessions.get_mut(&id) else { return saw("unknown session") };
        let Some(payload) = session.keys.as_ref().and_then(|keys| packet.open(keys)) else {
            return saw("not authentic");
        };
        if session.seen.contains(&packet.sequence) {
            return saw("sequence number used twice");
        }
        session.seen.push(packet.sequence);
        match packet.kind {
            Payload::Ipmi => self.on_session_message(id, &payload),
            Payload::Sol => {
                let (text, answers) = self.machine.on_sol(&payload);
                let answers = answers.iter().filter_map(|answer| self.seal(id, Payload::Sol, answer));
                Turn { saw: text, answers: answers.collect() }
            }
            other => saw(&format!("{other:?} inside of a session")),
        }
    }

    fn on_session_message(&mut self, id: u32, payload: &[u8]) -> Turn {
        let message = match Message::parse(payload) {
            Ok(message) => message,
            Err(error) => return saw(&format!("malformed: {error}")),
        };
        let text = describe(&message);
        let data = match (message.code.netfn, message.code.cmd) {
            (0x06, 0x3b) => vec![0, message.data.first().copied().unwrap_or(0)],
            (0x06, 0x3c) => vec![0],
            _ => self.machine.on_request(message.code, message.data),
        };
        let mut answer = Vec::new();
        message::put_response(&mut answer, message.code, message.sequence, &data);
        let sealed = self.seal(id, Payload::Ipmi, &answer);
        if (message.code.netfn, message.code.cmd) == (0x06, 0x3c) {
            self.sessions.remove(&id);
            self.order.retain(|other| *other != id);
        }
        Turn { saw: text, answers: sealed.into_iter().collect() }
    }

    /// A datagram to the client of the newest session with something that it did not ask for.
    pub fn send(&mut self, kind: Payload, payload: &[u8]) -> Option<Vec<u8>> {
        let id = *self.order.last()?;
        self.seal(id, kind, payload)
    }

    fn seal(&mut self, id: u32, kind: Payload, payload: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.get_mut(&id)?;
        let sequence = session.sequence_out;
        session.sequence_out = sequence.wrapping_add(1).max(1);
        let mut out = Vec::new();
        if let Some(auth) = session.v15 {
            let password = self.credentials.password();
            v15::put(&mut out, &v15::Envelope { auth, password, session: id, sequence }, payload);
        } else {
            let (keys, iv) = (session.keys.as_ref()?, self.random.block());
            let session = session.console_session;
            v20::put(&mut out, &v20::Envelope { kind, session, sequence, keys, iv }, payload);
        }
        Some(out)
    }

    // IPMI 1.5, and what comes before any session.

    fn on_v15(&mut self, packet: &v15::Packet<'_>) -> Turn {
        let message = match Message::parse(packet.payload) {
            Ok(message) => message,
            Err(error) => return saw(&format!("malformed: {error}")),
        };
        if !packet.is_authentic(self.credentials.password()) {
            return saw("not authentic");
        }
        let text = format!("{} auth={:?}", describe(&message), packet.auth);
        let command = (message.code.netfn, message.code.cmd);
        if packet.session == 0 {
            let data = match command {
                (0x06, 0x38) => self.capabilities(message.data),
                (0x06, 0x39) => self.challenge(message.data),
                _ => vec![0xd4],
            };
            return answer_bare(text, &message, &data);
        }
        let Some(session) = self.sessions.get_mut(&packet.session) else { return saw("unknown session") };
        if command == (0x06, 0x3a) {
            return self.activate(text, packet, &message);
        }
        if session.seen.contains(&packet.sequence) {
            return saw("sequence number used twice");
        }
        session.seen.push(packet.sequence);
        let turn = self.on_session_message(packet.session, packet.payload);
        Turn { saw: text, ..turn }
    }

    fn capabilities(&self, data: &[u8]) -> Vec<u8> {
        let asked_extended = data.first().is_some_and(|channel| channel & 0x80 != 0);
        let kinds = self.habits.v15_only.clone().unwrap_or_else(|| vec![AuthType::Md5]);
        let types = kinds.iter().fold(0, |types, kind| types | 1 << kind.number());
        let status = if self.habits.v15_bare_messages { 0x14 } else { 0x04 };
        match (&self.habits.v15_only, asked_extended) {
            (Some(_), true) => vec![0xcc],
            (Some(_), false) => vec![0, 1, types, status, 0, 0, 0, 0, 0],
            (None, _) => vec![0, 1, types | 0x80, status, 3, 0, 0, 0, 0],
        }
    }

    fn challenge(&mut self, data: &[u8]) -> Vec<u8> {
        let (auth, user) = data.split_first().unwrap_or((&0, &[]));
        let name = user.split(|byte| *byte == 0).next().unwrap_or_default();
        if name != self.credentials.user().as_bytes() {
            return vec![0x81];
        }
        let id = self.add_session(0, Suite::Sha1);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.v15 = AuthType::from_number(*auth);
        }
        let mut answer = vec![0];
        answer.extend_from_slice(&id.to_le_bytes());
        answer.extend_from_slice(&self.random.block());
        answer
    }

    fn activate(&mut self, text: String, packet: &v15::Packet<'_>, message: &Message<'_>) -> Turn {
        let Some(session) = self.sessions.get_mut(&packet.session) else { return saw(&text) };
        // A copy of the request gets a copy of the answer.
        if session.active {
            let granted = session.v15.unwrap_or(AuthType::None);
            return answer_bare(text, message, &activated(granted, packet.session));
        }
        let first = message.data.get(18..22).and_then(|bytes| bytes.try_into().ok());
        session.sequence_out = first.map_or(0, u32::from_le_bytes);
        session.active = true;
        let granted = if self.habits.v15_bare_messages { AuthType::None } else { packet.auth };
        session.v15 = Some(granted);
        answer_bare(text, message, &activated(granted, packet.session))
    }
}

/// The answer to Activate Session.
fn activated(granted: AuthType, session: u32) -> Vec<u8> {
    [&[0, granted.number()][..], &session.to_le_bytes(), &[9, 0, 0, 0, 4]].concat()
}

fn saw(text: &str) -> Turn {
    Turn { saw: text.to_owned(), answers: Vec::new() }
}

fn describe(message: &Message<'_>) -> String {
    let code = message.code;
    let mut text = format!("ipmi {:02x}/{:02x}", code.netfn, code.cmd);
    if code.lun != 0 {
        let _ = write!(text, " lun={}", code.lun);
    }
    // Session numbers and challenges are random.
    if matches!((code.netfn, code.cmd), (0x06, 0x39 | 0x3a | 0x3c)) {
        return text;
    }
    for byte in message.data {
        let _ = write!(text, " {byte:02x}");
    }
    text
}

fn answer_setup(saw: String, kind: Payload, put: impl FnOnce(&mut Vec<u8>)) -> Turn {
    let mut payload = Vec::new();
    put(&mut payload);
    let mut out = Vec::new();
    v20::put_setup(&mut out, kind, &payload);
    Turn { saw, answers: vec![out] }
}

/// An answer outside of a session.
fn answer_bare(saw: String, message: &Message<'_>, data: &[u8]) -> Turn {
    let mut payload = Vec::new();
    message::put_response(&mut payload, message.code, message.sequence, data);
    let mut out = Vec::new();
    let password = Secret::new([]);
    let envelope = v15::Envelope { auth: AuthType::None, password: &password, session: 0, sequence: 0 };
    v15::put(&mut out, &envelope, &payload);
    Turn { saw, answers: vec![out] }
}
