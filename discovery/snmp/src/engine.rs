//! What is known of an agent of SNMPv3: its engine, the user's keys there, and its clock (RFC 3414 §3).

use std::time::Duration;

use crate::ber::Reader;
use crate::credentials::User;
use crate::failure::{Failure, Ignored};
use crate::limits::{ENGINE_ID_BYTES, MESSAGE_SIZE, TIME_WINDOW_S};
use crate::message::{AUTHENTICATED, Body, ENCRYPTED, REPORTABLE, Scoped, Secured};
use crate::pdu::{Kind, Pdu};
use crate::usm::{Authentication, Key, Nonce, Privacy};
use dawn_wire::secret;

/// The statistics of the security model, which reports are made of (RFC 3414 §5).
const USM_STATS: [u32; 9] = [1, 3, 6, 1, 6, 3, 15, 1, 1];
/// The statistics of contexts (RFC 3413 §4.1.2).
const CONTEXT_STATS: [u32; 8] = [1, 3, 6, 1, 6, 3, 12, 1];
/// An engine that has started this often takes no authenticated message any more (RFC 3414 §2.2.3).
const BOOTS_MAX: u32 = i32::MAX.unsigned_abs();

/// The agent's engine.
#[derive(Debug)]
pub(crate) struct Engine {
    id: Vec<u8>,
    authentication: Option<(Authentication, Key)>,
    privacy: Option<(Privacy, Key)>,
    clock: Option<Clock>,
}

/// What is known of the agent's clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    boots: u32,
    time_s: u32,
    /// When it showed that, by our clock.
    at: Duration,
}

/// What a report leads to.
#[derive(Debug)]
pub(crate) enum Report {
    /// The clock is known now.
    Settled,
    /// The agent has another engine.
    OtherEngine,
    /// The question cannot be answered.
    Failed(Failure),
}

/// The message that finds out the agent's engine (RFC 3414 §4).
pub(crate) fn discovery(msg_id: i32, request_id: i32) -> Vec<u8> {
    let pdu = Pdu { kind: Kind::Get, request_id, status: 0, index: 0, bindings: Vec::new() };
    let scoped = Scoped { engine: Vec::new(), context: Vec::new(), pdu };
    let message = Secured { msg_id, flags: REPORTABLE, body: Body::Plain(scoped), ..Secured::blank() };
    message.write(MESSAGE_SIZE, 0).0
}

impl Engine {
    /// Takes the engine from the report that answers [`discovery`].
    ///
    /// # Errors
    /// [`Ignored::Engine`].
    pub(crate) fn discovered(user: &User, message: &Secured) -> Result<Self, Ignored> {
        let Body::Plain(scoped) = &message.body else { return Err(Ignored::Engine) };
        if scoped.pdu.kind != Kind::Report || !ENGINE_ID_BYTES.contains(&message.engine.len()) {
            return Err(Ignored::Engine);
        }
        let id = message.engine.clone();
        let authentication =
            user.authentication.as_ref().map(|(protocol, key)| (*protocol, protocol.localized(key, &id)));
        let privacy = user.privacy.as_ref().zip(user.authentication.as_ref());
        let privacy = privacy.map(|((privacy, key), (protocol, _))| (*privacy, protocol.localized(key, &id)));
        Ok(Self { id, authentication, privacy, clock: None })
    }

    /// The request as a message, authenticated and encrypted as the user wants it. `count` is not used again.
    pub(crate) fn message(
        &self,
        now: Duration,
        user: &User,
        msg_id: i32,
        count: u64,
        pdu: Pdu,
    ) -> Option<Vec<u8>> {
        let (boots, time_s) = self.clock.map_or((0, 0), |clock| (clock.boots, clock.time_s_at(now)));
        let scoped = Scoped { engine: self.id.clone(), context: user.context.clone().into_bytes(), pdu };
        let mut message = Secured {
            msg_id,
            flags: REPORTABLE,
            engine: self.id.clone(),
            boots,
            time_s,
            user: user.name.clone().into_bytes(),
            ..Secured::blank()
        };
        message.body = match &self.privacy {
            None => Body::Plain(scoped),
            Some((privacy, key)) => {
                let nonce = Nonce { boots, time_s, salt: privacy.salt(boots, count) };
                let mut plain = Vec::new();
                scoped.write(&mut plain);
                message.flags |= ENCRYPTED;
                message.salt = nonce.salt.to_vec();
                Body::Encrypted(privacy.encrypted(key, nonce, &plain)?)
            }
        };
        match &self.authentication {
            None => Some(message.write(MESSAGE_SIZE, 0).0),
            Some((protocol, key)) => message.signed(*protocol, key),
        }
    }

    /// Whether the message is authenticated.
    ///
    /// # Errors
    /// If it says so and is not, or is another user's or engine's.
    pub(crate) fn is_authentic(&self, user: &User, bytes: &[u8], message: &Secured) -> Result<bool, Ignored> {
        if message.flags & AUTHENTICATED == 0 {
            return Ok(false);
        }
        if message.engine != self.id || message.user != user.name.as_bytes() {
            return Err(Ignored::Engine);
        }
        let (protocol, key) = self.authentication.as_ref().ok_or(Ignored::Digest)?;
        if message.is_signed(bytes, *protocol, key) { Ok(true) } else { Err(Ignored::Digest) }
    }

    /// The scoped PDU, decrypted if need be.
    ///
    /// # Errors
    /// [`Ignored::Decryption`]; [`Ignored::TooWeak`] if it is encrypted but not authenticated, which does not
    /// exist (RFC 3412 §7.2).
    pub(crate) fn opened(&self, message: &Secured) -> Result<Scoped, Ignored> {
        let secret = match &message.body {
            Body::Plain(scoped) => return Ok(scoped.clone()),
            Body::Encrypted(secret) => secret,
        };
        if message.flags & AUTHENTICATED == 0 {
            return Err(Ignored::TooWeak);
        }
        let (privacy, key) = self.privacy.as_ref().ok_or(Ignored::Decryption)?;
        let salt: [u8; 8] = message.salt.as_slice().try_into().map_err(|_| Ignored::Decryption)?;
        let nonce = Nonce { boots: message.boots, time_s: message.time_s, salt };
        let plain = privacy.decrypted(key, nonce, secret).ok_or(Ignored::Decryption)?;
        Scoped::read(&mut Reader::new(&plain)).map_err(|_| Ignored::Decryption)
    }

    /// Whether a response may be believed: it is as secure as the request, and of now (RFC 3414 §3.2, 7b).
    ///
    /// # Errors
    /// The reason why not.
    pub(crate) fn check(&mut self, now: Duration, message: &Secured, is_sure: bool) -> Result<(), Ignored> {
        if message.engine != self.id {
            return Err(Ignored::Engine);
        }
        let is_weak = (self.authentication.is_some() && !is_sure)
            || (self.privacy.is_some() && message.flags & ENCRYPTED == 0);
        if is_weak {
            return Err(Ignored::TooWeak);
        }
        if !is_sure {
            return Ok(());
        }
        let clock = self.clock.ok_or(Ignored::Time)?;
        let is_late = message.boots == clock.boots
            && message.time_s.saturating_add(TIME_WINDOW_S) < clock.time_s_at(now);
        if message.boots < clock.boots || message.boots == BOOTS_MAX || is_late {
            return Err(Ignored::Time);
        }
        self.learn(now, message);
        Ok(())
    }

    /// Sets the clock forward, never back.
    fn learn(&mut self, now: Duration, message: &Secured) -> bool {
        let shown = (message.boots, message.time_s);
        let is_news = self.clock.is_none_or(|clock| shown > (clock.boots, clock.time_s));
        if is_news {
            self.clock = Some(Clock { boots: message.boots, time_s: message.time_s, at: now });
        }
        is_news
    }

    /// Treats a report. The agent cannot authenticate most of them, so somebody who sees the requests can
    /// forge one: that costs this question and nothing else.
    ///
    /// # Errors
    /// The reason why it does not count.
    pub(crate) fn report(
        &mut self,
        now: Duration,
        message: &Secured,
        is_sure: bool,
        pdu: &Pdu,
    ) -> Result<Report, Ignored> {
        let name = pdu.bindings.first().map(|bind| bind.name.parts()).unwrap_or_default();
        if name.starts_with(&CONTEXT_STATS) {
            return Ok(Report::Failed(Failure::UnknownContext));
        }
        let which = name.strip_prefix(&USM_STATS).and_then(|rest| rest.first());
        Ok(match which {
            Some(1) => Report::Failed(Failure::Level),
            Some(2) if self.authentication.is_some() && !is_sure => return Err(Ignored::TooWeak),
            Some(2) if self.learn(now, message) => Report::Settled,
            Some(2) => return Err(Ignored::Time),
            Some(3) => Report::Failed(Failure::UnknownUser),
            Some(4) if message.engine == self.id => return Err(Ignored::Engine),
            Some(4) => Report::OtherEngine,
            Some(5) => Report::Failed(Failure::WrongDigest),
            Some(6) => Report::Failed(Failure::Decryption),
            _ => Report::Failed(Failure::UnknownReport),
        })
    }
}

impl Clock {
    fn time_s_at(self, now: Duration) -> u32 {
        let passed = u32::try_from(now.saturating_sub(self.at).as_secs()).unwrap_or(u32::MAX);
        self.time_s.saturating_add(passed).min(i32::MAX.unsigned_abs())
    }
}

impl Secured {
    /// The message with its digest.
    pub fn signed(&self, protocol: Authentication, key: &Key) -> Option<Vec<u8>> {
        let message = Self { flags: self.flags | AUTHENTICATED, ..self.clone() };
        let (mut bytes, place) = message.write(MESSAGE_SIZE, protocol.digest_bytes());
        let digest = protocol.digest(key, &bytes);
        bytes.get_mut(place)?.copy_from_slice(&digest);
        Some(bytes)
    }

    /// Whether the digest in the message, which was read from `bytes`, is right.
    pub fn is_signed(&self, bytes: &[u8], protocol: Authentication, key: &Key) -> bool {
        let mut blanked = bytes.to_vec();
        let Some(field) = blanked.get_mut(self.digest_at.clone()) else { return false };
        let digest = field.to_vec();
        field.fill(0);
        secret::equal(&digest, &protocol.digest(key, &blanked))
    }

    /// A message without content, for all fields that are not named.
    pub fn blank() -> Self {
        let pdu = Pdu { kind: Kind::Report, request_id: 0, status: 0, index: 0, bindings: Vec::new() };
        Self {
            msg_id: 0,
            flags: 0,
            engine: Vec::new(),
            boots: 0,
            time_s: 0,
            user: Vec::new(),
            digest_at: 0..0,
            salt: Vec::new(),
            body: Body::Plain(Scoped { engine: Vec::new(), context: Vec::new(), pdu }),
        }
    }
}
