//! Every limit of the TFTP service, with its unit, default and range.

use std::time::Duration;

/// Smallest block a client may ask for, bytes (RFC 2348).
pub const BLKSIZE_MIN: usize = 8;
/// Largest block of the protocol, bytes (RFC 2348).
pub const BLKSIZE_MAX: usize = 65_464;
/// Block size without the option, bytes (RFC 1350).
pub const BLKSIZE_DEFAULT: usize = 512;
/// Headers below a block, bytes: IPv4 20, UDP 8, TFTP 4. `blksize` plus this must fit the interface's MTU.
pub const HEADERS_BYTES: usize = 32;

/// Largest window granted, blocks (RFC 7440 allows 65535).
pub const WINDOW_MAX: u16 = 64;
/// Most bytes one window may hold, so that a burst fits the receive buffer of simple firmware and switches.
pub const WINDOW_BYTES_MAX: usize = 128 * 1024;
/// Bytes all windows together may hold; a window of one block is always granted.
pub const IN_FLIGHT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The part of what is left of it that one new transfer may take: one in so many.
pub const IN_FLIGHT_SHARE: usize = 8;

/// Wait before a packet is sent again when nothing is known about the round trip.
pub const RETRY_INITIAL: Duration = Duration::from_secs(1);
/// Shortest such wait, even if the measured round trip is shorter.
pub const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest such wait after backing off.
pub const RETRY_MAX: Duration = Duration::from_secs(8);
/// A transfer ends when its client has sent nothing for this long.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often the last block is repeated unasked for a client that has answered before and may be gone with
/// all it wanted. The transfer is then kept, silently, until [`SILENCE_MAX`].
pub const LAST_BLOCK_REPEATS_MAX: u32 = 3;
/// Smallest and largest value of the `timeout` option, seconds (RFC 2349).
pub const TIMEOUT_OPTION_S: std::ops::RangeInclusive<u64> = 1..=255;

/// Gap between blocks while a window recovers from loss.
pub const PACE_GAP: Duration = Duration::from_millis(1);
/// After this many lossy windows in one transfer the client is served without windows for [`LOSSY_MEMORY`].
pub const LOSSY_WINDOWS_MAX: u32 = 8;
/// How long a client's losses are remembered.
pub const LOSSY_MEMORY: Duration = Duration::from_secs(600);
/// How many lossy clients are remembered.
pub const LOSSY_CLIENTS_MAX: usize = 4096;

/// The same request from the same port within this time of the first is a copy, later it is a machine that
/// was reset.
pub const REQUEST_COPY_MAX: Duration = Duration::from_secs(2);

/// A transfer of which the client has acknowledged nothing this long ends when others wait for its place.
pub const UNHEARD_MAX: Duration = Duration::from_millis(1500);
/// Of the strangers that met a limit in this time one is reported.
pub const REFUSALS_PERIOD: Duration = Duration::from_millis(100);
/// A request that waits for a free place is forgotten when its client does not ask again within this time.
pub const WAITING_MAX: Duration = Duration::from_secs(30);

/// Most bytes read ahead for one transfer.
pub const READ_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes read ahead for all transfers together; many transfers get less each.
pub const READ_AHEAD_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// Numbers an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transfers at one time; parts of them, and of the waiting requests, are kept for nodes and for this
    /// machine ([`dawn_serving::shares`]). Default 16,384, 1 to 60,000.
    pub transfers_max: usize,
    /// Transfers at one time for one address, and its requests that wait. Default 4,096 (a whole rack may
    /// hide behind one), at least 1.
    pub transfers_per_address_max: usize,
    /// Requests that wait for a place when all are taken. Default 16,384, at least 0.
    pub waiting_max: usize,
    /// Requests of strangers admitted at one turn of the server's loop. Between two turns it looks at all
    /// that came in, so a node waits for so many answers at most. Default 32, at least 1.
    pub strangers_per_turn: usize,
    /// Requests that one node's address has answered between two such turns; more of them count as a
    /// stranger's. Default 4, at least 1.
    pub per_node_per_turn: usize,
    /// Largest block granted, bytes. Default [`BLKSIZE_MAX`] (the MTU decides), 512 to 65,464.
    pub blksize_max: usize,
    /// Largest window granted, blocks. Default [`WINDOW_MAX`], 1 to 512.
    pub window_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transfers_max: 16_384,
            transfers_per_address_max: 4096,
            waiting_max: 16_384,
            strangers_per_turn: 32,
            per_node_per_turn: 4,
            blksize_max: BLKSIZE_MAX,
            window_max: WINDOW_MAX,
        }
    }
}

impl Limits {
    /// The same numbers, each forced into its range.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self {
            transfers_max: self.transfers_max.clamp(1, 60_000),
            transfers_per_address_max: self.transfers_per_address_max.max(1),
            waiting_max: self.waiting_max,
            strangers_per_turn: self.strangers_per_turn.max(1),
            per_node_per_turn: self.per_node_per_turn.max(1),
            blksize_max: self.blksize_max.clamp(BLKSIZE_DEFAULT, BLKSIZE_MAX),
            window_max: self.window_max.clamp(1, 512),
        }
    }
}
