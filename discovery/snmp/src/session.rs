//! One agent: a question at a time, sent again until it is answered, or until the agent counts as silent.
//!
//! With SNMPv3 a question first finds out the agent's engine (RFC 3414 §4), then its clock: the first
//! authenticated message has time 0, and the agent's authenticated report corrects it. Time in messages
//! that are not authenticated is not believed. An agent that starts again has another clock, or another
//! engine; both are learnt in the same way, [`REPORTS_MAX`] times for one question.
//!
//! Every attempt has a message number of its own and the same request number, so a late answer to an earlier
//! attempt is an answer.

use std::time::Duration;

use crate::credentials::Credentials;
use crate::engine::{self, Engine, Report};
use crate::failure::{Failure, Ignored};
use crate::limits::{NAMES_MAX, REPORTS_MAX, Settings};
use crate::message::{self, Message, Secured};
use crate::oid::Oid;
use crate::pdu::{Kind, Pdu};
use crate::value::VarBind;
use crate::walk::{Bounds, Progress, Walk};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The values of these names, [`NAMES_MAX`] at most.
    Get(Vec<Oid>),
    /// All rows below this name.
    Walk(Oid, Bounds),
}

/// What becomes of a question by one input.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing; it goes on.
    Wait,
    /// This is to be sent to the agent.
    Send(Vec<u8>),
    /// The answer.
    Done(Vec<VarBind>),
    /// There is none.
    Failed(Failure),
}

/// One agent.
#[derive(Debug)]
pub struct Session {
    credentials: Credentials,
    settings: Settings,
    numbers: Numbers,
    engine: Option<Engine>,
    question: Option<Question>,
}

#[derive(Debug)]
enum Work {
    Get(Pdu),
    Walk(Walk),
}

#[derive(Debug)]
struct Question {
    work: Work,
    /// When the whole question ends, whatever comes.
    until: Option<Duration>,
    request_id: i32,
    /// Numbers of the messages that may be answered.
    messages: Vec<i32>,
    attempts: u32,
    reports: u32,
    retry_at: Duration,
    ignored: Option<Ignored>,
}

/// What a datagram is.
enum Heard {
    Answer(Pdu),
    /// The question is to be sent again, since more is known of the agent.
    Again,
    Failed(Failure),
}

impl Session {
    /// A session that has asked nothing. `seed` makes the numbers of messages and the salt of encryption: it
    /// must be random, or an attacker can guess them and two sessions may use one salt twice.
    pub fn new(credentials: Credentials, settings: Settings, seed: u64) -> Self {
        let numbers = Numbers { state: seed, salt: mixed(seed) };
        Self { credentials, settings: settings.clamped(), numbers, engine: None, question: None }
    }

    /// Begins a question. One that is under way is dropped.
    pub fn start(&mut self, now: Duration, task: Task) -> Step {
        let (work, until) = match task {
            Task::Get(names) if names.len() > NAMES_MAX => {
                return Step::Failed(Failure::TooManyNames(NAMES_MAX));
            }
            Task::Get(names) => {
                let bindings = names.into_iter().map(VarBind::ask).collect();
                (Work::Get(Pdu { kind: Kind::Get, request_id: 0, status: 0, index: 0, bindings }), None)
            }
            Task::Walk(root, bounds) => {
                let rows = if self.credentials.has_bulk() { self.settings.repetitions } else { 0 };
                (Work::Walk(Walk::new(root, bounds, rows)), Some(now + bounds.time_max))
            }
        };
        self.question = Some(Question {
            work,
            until,
            request_id: self.numbers.next(),
            messages: Vec::new(),
            attempts: 0,
            reports: 0,
            retry_at: now,
            ignored: None,
        });
        self.send(now)
    }

    /// When [`Session::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        let question = self.question.as_ref()?;
        Some(question.until.map_or(question.retry_at, |until| until.min(question.retry_at)))
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Duration) -> Step {
        let Some(question) = &mut self.question else { return Step::Wait };
        if let Work::Walk(walk) = &question.work
            && question.until.is_some_and(|until| until <= now)
        {
            let time_max = walk.time_max();
            return self.fail(Failure::TooLong(time_max));
        }
        if now < question.retry_at {
            return Step::Wait;
        }
        if question.attempts >= self.settings.attempts {
            let (attempts, ignored) = (question.attempts, question.ignored);
            return self.fail(Failure::NoAnswer { attempts, ignored });
        }
        self.send(now)
    }

    /// Takes a datagram from the agent's address.
    pub fn on_datagram(&mut self, now: Duration, bytes: &[u8]) -> Step {
        if self.question.is_none() {
            return Step::Wait;
        }
        match self.hear(now, bytes) {
            Ok(Heard::Answer(pdu)) => self.answered(now, pdu),
            Ok(Heard::Again) => self.again(now),
            Ok(Heard::Failed(failure)) => self.fail(failure),
            Err(why) => {
                if let Some(question) = &mut self.question {
                    question.ignored = Some(why);
                }
                Step::Wait
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.question = None;
        Step::Failed(failure)
    }

    fn answered(&mut self, now: Duration, pdu: Pdu) -> Step {
        let request_id = self.numbers.next();
        let Some(question) = &mut self.question else { return Step::Wait };
        let progress = match &mut question.work {
            Work::Get(_) if pdu.status != 0 => {
                Progress::Failed(Failure::Refused { status: pdu.status, index: pdu.index })
            }
            Work::Get(_) => Progress::Done(pdu.bindings),
            Work::Walk(walk) => walk.take(pdu),
        };
        match progress {
            Progress::More => {
                question.request_id = request_id;
                question.messages.clear();
                (question.attempts, question.reports) = (0, 0);
                self.send(now)
            }
            Progress::Done(rows) => {
                self.question = None;
                Step::Done(rows)
            }
            Progress::Failed(failure) => self.fail(failure),
        }
    }

    /// Sends the question again because more is known of the agent: that is not an attempt.
    fn again(&mut self, now: Duration) -> Step {
        let Some(question) = &mut self.question else { return Step::Wait };
        question.reports += 1;
        if question.reports > REPORTS_MAX {
            return self.fail(Failure::Unsettled);
        }
        question.attempts = question.attempts.saturating_sub(1);
        self.send(now)
    }

    fn send(&mut self, now: Duration) -> Step {
        let msg_id = self.numbers.next();
        let Some(question) = &mut self.question else { return Step::Wait };
        question.attempts += 1;
        question.retry_at = now + self.settings.attempt_time;
        question.messages.push(msg_id);
        let mut pdu = match &question.work {
            Work::Get(pdu) => pdu.clone(),
            Work::Walk(walk) => walk.request(),
        };
        pdu.request_id = question.request_id;
        match &self.credentials {
            Credentials::Community(version, community) => {
                Step::Send(message::write_community(*version, community.reveal().as_bytes(), &pdu))
            }
            Credentials::User(user) => match &self.engine {
                None => Step::Send(engine::discovery(msg_id, question.request_id)),
                Some(engine) => {
                    let salt = self.numbers.next_salt();
                    engine.message(now, user, msg_id, salt, pdu).map_or(Step::Wait, Step::Send)
                }
            },
        }
    }

    fn hear(&mut self, now: Duration, bytes: &[u8]) -> Result<Heard, Ignored> {
        match (Message::read(bytes).map_err(|_| Ignored::Malformed)?, &self.credentials) {
            (Message::Community(version, pdu), Credentials::Community(ours, _)) if version == *ours => {
                self.checked(pdu).map(Heard::Answer)
            }
            (Message::V3(message), Credentials::User(_)) => self.hear_secured(now, bytes, *message),
            _ => Err(Ignored::Version),
        }
    }

    /// The answer, if it answers the question.
    fn checked(&self, pdu: Pdu) -> Result<Pdu, Ignored> {
        let question = self.question.as_ref().ok_or(Ignored::Stale)?;
        if pdu.kind != Kind::Response || pdu.request_id != question.request_id {
            return Err(Ignored::Stale);
        }
        if let Work::Get(asked) = &question.work
            && pdu.status == 0
            && !asked.bindings.iter().map(|bind| &bind.name).eq(pdu.bindings.iter().map(|bind| &bind.name))
        {
            return Err(Ignored::Names);
        }
        Ok(pdu)
    }

    fn hear_secured(&mut self, now: Duration, bytes: &[u8], message: Secured) -> Result<Heard, Ignored> {
        let Credentials::User(user) = &self.credentials else { return Err(Ignored::Version) };
        let question = self.question.as_ref().ok_or(Ignored::Stale)?;
        if !question.messages.contains(&message.msg_id) {
            return Err(Ignored::Stale);
        }
        let Some(engine) = &mut self.engine else {
            self.engine = Some(Engine::discovered(user, &message)?);
            return Ok(Heard::Again);
        };
        let is_sure = engine.is_authentic(user, bytes, &message)?;
        let scoped = engine.opened(&message)?;
        if scoped.pdu.kind != Kind::Report {
            engine.check(now, &message, is_sure)?;
            return self.checked(scoped.pdu).map(Heard::Answer);
        }
        Ok(match engine.report(now, &message, is_sure, &scoped.pdu)? {
            Report::Settled => Heard::Again,
            Report::OtherEngine => {
                self.engine = None;
                Heard::Again
            }
            Report::Failed(failure) => Heard::Failed(failure),
        })
    }
}

/// Numbers that look random to everybody without the seed (SplitMix64).
#[derive(Debug)]
struct Numbers {
    state: u64,
    salt: u64,
}

impl Numbers {
    /// A number from 0 to 2^31 - 1.
    fn next(&mut self) -> i32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        i32::try_from(mixed(self.state) >> 33).unwrap_or(0)
    }

    /// A number that is not used again.
    fn next_salt(&mut self) -> u64 {
        self.salt = self.salt.wrapping_add(1);
        self.salt
    }
}

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
