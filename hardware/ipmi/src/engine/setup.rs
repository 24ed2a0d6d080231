//! How a session is set up: first contact, RMCP+ with one suite after the other, IPMI 1.5.
//!
//! The set-up requires:
//! - the algorithms in Open Session Response are exactly those proposed, otherwise the next suite is proposed
//!   (some BMCs answer suite 3 to a request for 17);
//! - a wrong password is found at RAKP 2, by us, and never tried twice: BMCs lock users out;
//! - a BMC's "no such user", "no free session" and similar answers end the set-up at once.
//!
//! Answers of the set-up carry the number or tag of their request. A packet that does not fit is ignored: it
//! is late, doubled, or another session's.

use std::time::Duration;

use super::error::{Phase, SessionError};
use super::key_exchange::KeyExchange;
use super::link::{Link, Side, Window};
use super::options::Fallback;
use super::output::{Output, Request};
use super::session::{Asker, Session, State};
use crate::crypto::Suite;
use crate::limits::{HANDSHAKES_MAX, PASSWORD_V15_BYTES_MAX, USER_NAME_BYTES_MAX};
use crate::secret::Secret;
use crate::wire::datagram::Datagram;
use crate::wire::message::{self, Code, Message};
use crate::wire::setup::{OpenRequest, OpenResponse, Privilege, Rakp1, Rakp2, Rakp34, Status};
use crate::wire::v15::{self, AuthType};
use crate::wire::v20::{self, Payload};
use crate::wire::{Malformed, Reader};

const GET_CAPABILITIES: Code = Code { netfn: 0x06, lun: 0, cmd: 0x38 };
const GET_CHALLENGE: Code = Code { netfn: 0x06, lun: 0, cmd: 0x39 };
const ACTIVATE_SESSION: Code = Code { netfn: 0x06, lun: 0, cmd: 0x3a };
const SET_PRIVILEGE: Code = Code { netfn: 0x06, lun: 0, cmd: 0x3b };
/// The channel that the request came in by.
const THIS_CHANNEL: u8 = 0x0e;
/// "I know IPMI 2.0" in Get Channel Authentication Capabilities.
const EXTENDED: u8 = 0x80;
/// "My extended capabilities follow" in its answer.
const HAS_EXTENDED: u8 = 0x80;
/// "Packets of the session are not authenticated" in its answer.
const NOT_EACH_MESSAGE: u8 = 0x10;
/// IPMI 2.0 among the extended capabilities.
const HAS_V20: u8 = 0x02;

impl Session {
    pub(super) fn ask_capabilities(&mut self, now: Duration, extended: bool, out: &mut Output) {
        self.state = State::Capabilities { extended };
        let channel = if extended { THIS_CHANNEL | EXTENDED } else { THIS_CHANNEL };
        let data = [channel, self.options.privilege.number()];
        let envelope =
            v15::Envelope { auth: AuthType::None, password: &Secret::new([]), session: 0, sequence: 0 };
        self.ask_v15(now, GET_CAPABILITIES, &data, &envelope, out);
    }

    fn ask_v15(
        &mut self,
        now: Duration,
        code: Code,
        data: &[u8],
        envelope: &v15::Envelope<'_>,
        out: &mut Output,
    ) {
        let sequence = self.take_sequence();
        let mut payload = Vec::new();
        message::put_request(&mut payload, code, sequence, data);
        let mut datagram = Vec::new();
        v15::put(&mut datagram, envelope, &payload);
        self.ask_plain(now, datagram, out);
    }

    /// Takes a datagram while there is no session yet. Whether it belongs to this session.
    pub(super) fn on_setup_datagram(
        &mut self,
        now: Duration,
        datagram: &Datagram<'_>,
        out: &mut Output,
    ) -> Result<bool, SessionError> {
        match datagram {
            Datagram::V15(packet) => self.on_v15(now, packet, out),
            Datagram::V20(packet) if packet.session == 0 && !packet.encrypted => {
                let taken = match packet.kind {
                    Payload::OpenResponse => self.on_open_response(now, packet.payload, out),
                    Payload::Rakp2 => self.on_rakp2(now, packet.payload, out),
                    Payload::Rakp4 => self.on_rakp4(now, packet.payload, out),
                    _ => return Ok(false),
                };
                // Anyone who sends a malformed packet here has proved nothing; the timers decide.
                taken.unwrap_or(Ok(false))
            }
            _ => Ok(false),
        }
    }

    fn on_v15(
        &mut self,
        now: Duration,
        packet: &v15::Packet<'_>,
        out: &mut Output,
    ) -> Result<bool, SessionError> {
        let Ok(message) = Message::parse(packet.payload) else { return Ok(false) };
        let Some((completion, data)) = message.data.split_first() else { return Ok(false) };
        if message.sequence != self.sequence() || message.code.netfn != GET_CAPABILITIES.netfn | 1 {
            return Ok(false);
        }
        let phase = self.phase();
        let malformed = |error: Malformed| SessionError::Malformed { phase, why: error.0 };
        match (&self.state, message.code.cmd, completion) {
            (State::Capabilities { extended }, 0x38, code) => match (code, extended) {
                (0, _) => self.on_capabilities(now, data, out).map_err(malformed)??,
                (_, true) => self.ask_capabilities(now, false, out),
                (code, false) => return Err(SessionError::Code { phase, code: *code }),
            },
            (State::Challenge { auth, each_message }, 0x39, 0) => {
                let (auth, each_message) = (*auth, *each_message);
                self.on_challenge(now, auth, each_message, data, out).map_err(malformed)?;
            }
            (State::Activate { .. }, 0x3a, 0) => {
                self.on_activated(now, data, out).map_err(malformed)??;
            }
            (State::Challenge { .. }, 0x39, code) | (State::Activate { .. }, 0x3a, code) => {
                return Err(SessionError::Code { phase, code: *code });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn on_capabilities(
        &mut self,
        now: Duration,
        data: &[u8],
        out: &mut Output,
    ) -> Result<Result<(), SessionError>, Malformed> {
        let mut reader = Reader::new(data);
        let [_channel, types, status] = reader.array()?;
        let extended = if types & HAS_EXTENDED != 0 { reader.u8()? } else { 0 };
        if extended & HAS_V20 != 0 && !self.options.suites.is_empty() {
            return Ok(self.open_session(now, out));
        }
        Ok(self.ask_challenge(now, types & !HAS_EXTENDED, status & NOT_EACH_MESSAGE == 0, out))
    }

    // RMCP+.

    fn suite(&self) -> Option<Suite> {
        self.options.suites.get(self.suite_index).copied()
    }

    pub(super) fn may_begin_again(&self) -> bool {
        self.handshakes < HANDSHAKES_MAX
    }

    /// Begins Open Session with the present suite.
    pub(super) fn open_session(&mut self, now: Duration, out: &mut Output) -> Result<(), SessionError> {
        let Some(suite) = self.suite() else { return Err(SessionError::NoWayIn { offered: 0 }) };
        self.handshakes += 1;
        self.tag = self.tag.wrapping_add(1);
        let console_session = self.random.nonzero();
        self.state = State::Open { console_session };
        let request = OpenRequest {
            tag: self.tag,
            privilege: self.privilege.number(),
            console_session,
            algorithms: suite.algorithms(),
        };
        let mut payload = Vec::new();
        request.put(&mut payload);
        self.ask_setup(now, Payload::OpenRequest, &payload, out);
        Ok(())
    }

    fn ask_setup(&mut self, now: Duration, kind: Payload, payload: &[u8], out: &mut Output) {
        let mut datagram = Vec::new();
        v20::put_setup(&mut datagram, kind, payload);
        self.ask_plain(now, datagram, out);
    }

    /// Proposes the next suite, or fails with this error if there is none.
    fn next_suite(
        &mut self,
        now: Duration,
        error: SessionError,
        out: &mut Output,
    ) -> Result<(), SessionError> {
        self.suite_index += 1;
        self.handshakes = 0;
        if self.suite().is_none() {
            return Err(error);
        }
        self.open_session(now, out)
    }

    fn was_repeated(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.exchange.sends > 1)
    }

    /// The consequence of a status other than 0.
    fn on_status(&mut self, now: Duration, status: Status, out: &mut Output) -> Result<(), SessionError> {
        let phase = self.phase();
        let refused = SessionError::Refused { phase, status };
        if status.is_about_algorithms() {
            return self.next_suite(now, refused, out);
        }
        if status == Status::ROLE && self.lower_privilege() {
            self.handshakes = 0;
            return self.open_session(now, out);
        }
        // A repeated RAKP 1 may have been answered with another random number than the one we used.
        let confused = phase == Phase::Rakp3 && (status == Status::INTEGRITY || self.was_repeated());
        if confused && self.may_begin_again() {
            return self.open_session(now, out);
        }
        Err(refused)
    }

    fn lower_privilege(&mut self) -> bool {
        let may = self.options.lower_privilege && self.privilege == Privilege::Administrator;
        if may {
            self.privilege = Privilege::Operator;
        }
        may
    }

    fn on_open_response(
        &mut self,
        now: Duration,
        payload: &[u8],
        out: &mut Output,
    ) -> Result<Result<bool, SessionError>, Malformed> {
        let State::Open { console_session } = self.state else { return Ok(Ok(false)) };
        let response = OpenResponse::parse(payload)?;
        // BMCs that refuse may leave our number out.
        let is_ours = response.console_session == console_session || response.result.is_err();
        let (true, Some(suite)) = (response.tag == self.tag && is_ours, self.suite()) else {
            return Ok(Ok(false));
        };
        let done = match response.result {
            Ok((bmc_session, algorithms)) if algorithms == suite.algorithms() => {
                self.send_rakp1(now, suite, console_session, bmc_session, out);
                Ok(())
            }
            Ok((_, answered)) => {
                self.next_suite(now, SessionError::Algorithms { proposed: suite, answered }, out)
            }
            Err(status) => self.on_status(now, status, out),
        };
        Ok(done.map(|()| true))
    }

    fn send_rakp1(
        &mut self,
        now: Duration,
        suite: Suite,
        console_session: u32,
        bmc_session: u32,
        out: &mut Output,
    ) {
        self.tag = self.tag.wrapping_add(1);
        let exchange = KeyExchange {
            suite,
            role: self.privilege.role(),
            console_session,
            bmc_session,
            console_random: self.random.block(),
            bmc_random: [0; 16],
            guid: [0; 16],
        };
        let mut payload = Vec::new();
        let (random, role) = (exchange.console_random, exchange.role);
        let user = self.credentials.user().as_bytes();
        Rakp1 { tag: self.tag, bmc_session, random, role, user }.put(&mut payload);
        self.state = State::Rakp1(Box::new(exchange));
        self.ask_setup(now, Payload::Rakp1, &payload, out);
    }

    fn on_rakp2(
        &mut self,
        now: Duration,
        payload: &[u8],
        out: &mut Output,
    ) -> Result<Result<bool, SessionError>, Malformed> {
        let State::Rakp1(exchange) = &self.state else { return Ok(Ok(false)) };
        let response = Rakp2::parse(payload)?;
        let is_ours = response.console_session == exchange.console_session || response.result.is_err();
        if response.tag != self.tag || !is_ours {
            return Ok(Ok(false));
        }
        let mut exchange = (**exchange).clone();
        let (bmc_random, guid, code) = match response.result {
            Ok(parts) => parts,
            Err(status) => return Ok(self.on_status(now, status, out).map(|()| true)),
        };
        (exchange.bmc_random, exchange.guid) = (bmc_random, guid);
        if !exchange.proves_password(&self.credentials, code) {
            // A BMC that cannot compute the suite sends zeros, or a code of another length.
            let cannot = code.len() != exchange.suite.code_bytes() || code.iter().all(|byte| *byte == 0);
            let result = if cannot {
                self.next_suite(now, SessionError::WrongPassword, out)
            } else {
                Err(SessionError::WrongPassword)
            };
            return Ok(result.map(|()| true));
        }
        self.tag = self.tag.wrapping_add(1);
        let mut payload = Vec::new();
        let code = exchange.rakp3_code(&self.credentials);
        Rakp34 { tag: self.tag, session: exchange.bmc_session, result: Ok(code.bytes()) }.put(&mut payload);
        let keys = exchange.keys(&self.credentials);
        self.state = State::Rakp3(Box::new((exchange, keys)));
        self.ask_setup(now, Payload::Rakp3, &payload, out);
        Ok(Ok(true))
    }

    fn on_rakp4(
        &mut self,
        now: Duration,
        payload: &[u8],
        out: &mut Output,
    ) -> Result<Result<bool, SessionError>, Malformed> {
        let State::Rakp3(state) = &self.state else { return Ok(Ok(false)) };
        let (exchange, keys) = &**state;
        let response = Rakp34::parse(payload)?;
        let is_ours = response.session == exchange.console_session || response.result.is_err();
        if response.tag != self.tag || !is_ours {
            return Ok(Ok(false));
        }
        let code = match response.result {
            Ok(code) => code,
            Err(status) => return Ok(self.on_status(now, status, out).map(|()| true)),
        };
        if !exchange.proves_keys(keys, code) {
            return Ok(Err(SessionError::WrongBmcKey));
        }
        let (console_session, bmc_session, suite) =
            (exchange.console_session, exchange.bmc_session, exchange.suite);
        let side = Side::V20 { console_session, bmc_session, suite, keys: keys.clone() };
        self.link = Some(Link { side, sequence: 1, window: Window::after(0) });
        self.ask_privilege(now, out);
        Ok(Ok(true))
    }

    // IPMI 1.5.

    fn ask_challenge(
        &mut self,
        now: Duration,
        offered: u8,
        each_message: bool,
        out: &mut Output,
    ) -> Result<(), SessionError> {
        let allowed: &[AuthType] = match self.options.fallback {
            Fallback::Never => &[],
            Fallback::Md5 => &[AuthType::Md5],
            Fallback::Unprotected => &[AuthType::Md5, AuthType::Password, AuthType::None],
        };
        let is_offered = |auth: &AuthType| offered & 1 << auth.number() != 0;
        let Some(auth) = allowed.iter().copied().find(is_offered) else {
            return Err(SessionError::NoWayIn { offered });
        };
        if self.credentials.password().reveal().len() > PASSWORD_V15_BYTES_MAX {
            return Err(SessionError::PasswordLengthV15);
        }
        self.state = State::Challenge { auth, each_message };
        let mut data = vec![auth.number()];
        data.extend_from_slice(self.credentials.user().as_bytes());
        data.resize(1 + USER_NAME_BYTES_MAX, 0);
        let envelope =
            v15::Envelope { auth: AuthType::None, password: &Secret::new([]), session: 0, sequence: 0 };
        self.ask_v15(now, GET_CHALLENGE, &data, &envelope, out);
        Ok(())
    }

    fn on_challenge(
        &mut self,
        now: Duration,
        auth: AuthType,
        each_message: bool,
        data: &[u8],
        out: &mut Output,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(data);
        let session = reader.u32()?;
        let challenge: [u8; 16] = reader.array()?;
        let first_sequence = self.random.nonzero();
        self.state = State::Activate { auth, each_message, first_sequence };
        let mut data = vec![auth.number(), self.privilege.number()];
        data.extend_from_slice(&challenge);
        data.extend_from_slice(&first_sequence.to_le_bytes());
        let password = self.credentials.password().clone();
        let envelope = v15::Envelope { auth, password: &password, session, sequence: 0 };
        self.ask_v15(now, ACTIVATE_SESSION, &data, &envelope, out);
        Ok(())
    }

    fn on_activated(
        &mut self,
        now: Duration,
        data: &[u8],
        out: &mut Output,
    ) -> Result<Result<(), SessionError>, Malformed> {
        let State::Activate { auth, each_message, first_sequence } = self.state else {
            return Ok(Ok(()));
        };
        let mut reader = Reader::new(data);
        let granted = AuthType::from_number(reader.u8()? & 0x0f);
        let session = reader.u32()?;
        let sequence = reader.u32()?;
        let auth = match granted {
            Some(granted) if granted == auth => auth,
            Some(AuthType::None) if !each_message => AuthType::None,
            _ => {
                let phase = Phase::Activate;
                let why = "it changes how packets are authenticated";
                return Ok(Err(SessionError::Malformed { phase, why }));
            }
        };
        let side = Side::V15 { session, auth };
        self.link = Some(Link { side, sequence, window: Window::after(first_sequence.wrapping_sub(1)) });
        self.ask_privilege(now, out);
        Ok(Ok(()))
    }

    // Both.

    fn ask_privilege(&mut self, now: Duration, out: &mut Output) {
        self.state = State::Privilege;
        let request = Request { code: SET_PRIVILEGE, data: vec![self.privilege.number()] };
        self.ask(now, request, Asker::SetUp, out);
    }

    /// The answer to Set Session Privilege Level.
    pub(super) fn on_privilege(
        &mut self,
        now: Duration,
        code: u8,
        data: &[u8],
        out: &mut Output,
    ) -> Result<(), SessionError> {
        let level = self.privilege;
        if code == 0 {
            let granted = data.first().and_then(|byte| Privilege::from_number(byte & 0x0f)).unwrap_or(level);
            self.activate(now, granted, out);
            return Ok(());
        }
        if self.lower_privilege() {
            self.ask_privilege(now, out);
            return Ok(());
        }
        Err(SessionError::PrivilegeRefused { level, code })
    }
}
