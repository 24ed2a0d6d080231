//! Every limit of the HTTP service, with its unit, default and range.

use std::time::Duration;

/// Longest request head, bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most header fields looked at.
pub const HEADER_FIELDS_MAX: usize = 64;
/// Bytes read at one time while a head arrives.
pub const READ_BYTES: usize = 4096;
/// Time for a whole head, from its first byte.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Time an idle connection is kept.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Time without one byte of progress before a transfer is given up.
pub const STALL_TIME_MAX: Duration = Duration::from_secs(60);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time that connections get to end when the service stops.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// After an error we read and drop what the client still sends, so that it can read our answer: bytes, and
/// time.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// See [`LINGER_BYTES_MAX`].
pub const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// Content up to this size leaves in one piece with its head, bytes.
pub const ONE_PIECE_BYTES_MAX: u64 = 64 * 1024;
/// Largest buffer for writing that a thread keeps for its next connection, bytes.
pub const SPARE_BYTES_MAX: usize = 128 * 1024;
/// Bytes per sendfile call.
pub const SENDFILE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes read and written at once where sendfile is not possible (TLS, computed images).
pub const COPY_BYTES: usize = 128 * 1024;
/// Connections at once that get an answer with the reason why they have no place; others are closed without
/// one.
pub const REFUSALS_MAX: usize = 64;
/// Connections of strangers that wait for the runtime after they were accepted, and so many of others.
pub const ARRIVALS_MAX: usize = 4096;
/// Pause after accept failed, for example for want of descriptors.
pub const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(50);

/// Numbers an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at one time. Default 20,000, at least 1.
    pub connections_max: usize,
    /// Connections at one time from one address. Default 1,024, at least 1.
    pub connections_per_address_max: usize,
    /// Connections the kernel may hold until they are accepted. Default 4,096 (the system's own limit,
    /// `net.core.somaxconn`), at least 1.
    pub backlog: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_max: 20_000, connections_per_address_max: 1024, backlog: 4096 }
    }
}
