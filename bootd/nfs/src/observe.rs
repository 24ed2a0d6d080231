//! What the engine reports to the rest of the appliance while it works.
//!
//! Events are facts for the timeline and the log, not control flow: an observer returns nothing and must
//! be quick (it runs on the worker thread that answers the node). Repeated refusals of one client are
//! reported each time; the reader has to thin them out.

use std::net::{IpAddr, SocketAddr};

use crate::export::ExportId;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client mounted `path`.
    Mounted {
        /// The mount path as asked for.
        path: String,
        /// The export it led to.
        export: ExportId,
    },
    /// A client unmounted `path`.
    Unmounted {
        /// The mount path as stated.
        path: String,
    },
    /// A MOUNT was refused.
    MountRefused {
        /// The mount path as asked for.
        path: String,
        /// Why, in words.
        reason: String,
    },
    /// A handle was refused: its export is not (or no longer) for this client.
    HandleRefused {
        /// The export the handle names.
        export: ExportId,
        /// Why, in words.
        reason: String,
    },
    /// A handle names a file that does not exist any more.
    Stale {
        /// The export the handle names.
        export: ExportId,
    },
    /// An overlay entry cannot be shown; the export's own file, if any, is shown instead, or an error in
    /// place of what the node keeps.
    OverlayProblem {
        /// The export.
        export: ExportId,
        /// The entry's path in the export.
        path: String,
        /// Why, in words.
        reason: String,
    },
    /// A handle that was not made by this server, or was damaged.
    ForgedHandle,
    /// A call with credentials that the export does not accept.
    CredentialRefused,
    /// The server closed a connection, or did not accept it.
    Dropped(Dropped),
}

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// All places of its kind of client, or those of this client, are taken.
    #[error("too many connections")]
    TooMany,
    /// The kernel refuses an option of the socket.
    #[error("socket option refused")]
    SocketOption,
    /// The kernel watches no further socket.
    #[error("poll set is full")]
    PollSet,
    /// A call made a worker panic.
    #[error("defect while carrying out a call")]
    Defect,
    /// What the client sends is not RPC over TCP (RFC 5531 section 11).
    #[error("not a sequence of RPC records")]
    NotRpc,
    /// The client neither sends nor takes anything.
    #[error("no progress for two minutes")]
    NoProgress,
}

/// Receives [`Event`]s.
pub trait Observer: Send + Sync + 'static {
    /// `client` is the address the call came from.
    fn event(&self, client: SocketAddr, event: Event);
}

/// Only writes events to the log.
#[derive(Debug, Default, Clone, Copy)]
pub struct LogObserver;

impl Observer for LogObserver {
    fn event(&self, client: SocketAddr, event: Event) {
        tracing::info!(%client, ?event, "nfs");
    }
}

/// The address events and exports go by: IPv4 clients of a dual-stack socket appear as IPv4.
pub fn client_ip(addr: SocketAddr) -> IpAddr {
    addr.ip().to_canonical()
}
