//! What comes out of the engine: datagrams to send, and what happened.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::error::{RequestError, SessionError, Unreachable};
use super::link::Protection;
use crate::wire::message::Code;
use crate::wire::setup::Privilege;

/// The name of a session inside of an engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// The name of a request inside of its session; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub code: Code,
    /// Its data, [`REQUEST_BYTES_MAX`](crate::limits::REQUEST_BYTES_MAX) at most.
    pub data: Vec<u8>,
}

/// The BMC's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The completion code, 0 for success.
    pub completion: u8,
    /// What follows it.
    pub data: Vec<u8>,
}

/// What is known of a session that was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// How its packets are protected.
    pub protection: Protection,
    /// What it may do.
    pub privilege: Privilege,
}

/// Something that happened on a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleEvent {
    /// The machine wrote this.
    Output(Vec<u8>),
    /// The machine wrote more than the BMC, or its client, could keep.
    OutputLost,
    /// The machine does not take characters; those that waited are dropped.
    InputLost,
    /// The machine sent a break.
    Break,
    /// The BMC ended the console: another session has it now, or the BMC was asked to end it.
    Deactivated,
    /// The BMC does not acknowledge our packets.
    Silent,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session is set up.
    Open(Handle, SessionInfo),
    /// A request has its answer, or never will.
    Answer(Handle, RequestId, Result<Answer, RequestError>),
    /// Something on a session's console. After [`ConsoleEvent::Deactivated`] and [`ConsoleEvent::Silent`]
    /// the session has none; it is kept.
    Console(Handle, ConsoleEvent),
    /// A session could not be set up or is lost; its handle means nothing from now on.
    Ended(Handle, SessionError),
    /// A machine answered a ping; says whether it supports IPMI.
    Pong(SocketAddr, bool),
    /// No machine did; with the reason if ICMP gave one.
    NoPong(SocketAddr, Option<Unreachable>),
}

/// Output of an engine that the shell has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    pub events: VecDeque<Event>,
}

impl Output {
    pub(super) fn send(&mut self, peer: SocketAddr, datagram: Vec<u8>) {
        self.datagrams.push_back((peer, datagram));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}
