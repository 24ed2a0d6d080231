//! What a transfer service reports to the rest of the appliance.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::Service;

/// One thing that happened to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// Which service.
    pub service: Service,
    /// Who asked.
    pub peer: SocketAddr,
    /// The address of ours that was asked.
    pub local: IpAddr,
    /// The path as cleaned, or as sent when it could not be.
    pub path: &'a str,
    /// What happened.
    pub kind: EventKind<'a>,
}

/// The kinds of events. `bytes` counts content, without repeats and headers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EventKind<'a> {
    /// Something was found and its transfer begins.
    Started {
        /// Size of the whole content, bytes.
        size: u64,
    },
    /// Everything arrived (TFTP: acknowledged; HTTP: handed to the kernel).
    Done {
        /// Bytes of content sent.
        bytes: u64,
        /// From request to end.
        duration: Duration,
        /// Packets that had to be sent again; always 0 for HTTP.
        repeats: u64,
    },
    /// The client asked only for the size, or has it already (HTTP 304, HEAD).
    Probed,
    /// There is no such file.
    NotFound,
    /// It is not for this peer, or not possible this way.
    Refused {
        /// Why. The peer may have been sent less detail.
        reason: &'a str,
    },
    /// The peer stopped answering.
    TimedOut {
        /// Bytes that had arrived.
        bytes: u64,
        /// From request to giving up.
        duration: Duration,
    },
    /// The peer ended it early.
    Aborted {
        /// Its words, if any.
        reason: &'a str,
        /// Bytes that had arrived.
        bytes: u64,
    },
    /// We could not continue: disk error, file cut short.
    Failed {
        /// The reason.
        reason: &'a str,
        /// Bytes that had arrived.
        bytes: u64,
    },
    /// A packet or request that makes no sense; it is only counted.
    Malformed {
        /// The reason.
        reason: &'a str,
    },
    /// A named limit was met and the request waits or was turned away.
    Limited {
        /// Which limit.
        reason: &'a str,
    },
}

/// Gets every event, on the serving thread: it must be quick and must not wait.
pub trait Observer: Send + Sync + 'static {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);
}

impl<F> Observer for F
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn event(&self, _: &Event<'_>) {}
}
