//! Every limit of the IPMI client, with its unit.

use std::time::Duration;

/// The port BMCs listen on (RMCP's primary port).
pub const PORT: u16 = 623;

/// Longest user name, bytes (IPMI 2.0, 22.29).
pub const USER_NAME_BYTES_MAX: usize = 16;
/// Longest password and longest BMC key (Kg), bytes (IPMI 2.0, 22.30).
pub const PASSWORD_BYTES_MAX: usize = 20;
/// Longest password of an IPMI 1.5 session, bytes.
pub const PASSWORD_V15_BYTES_MAX: usize = 16;

/// Largest datagram that is looked at, bytes. Nothing that BMCs send is longer than an Ethernet frame.
pub const DATAGRAM_BYTES_MAX: usize = 1_500;
/// Most data bytes of one request; the length field of IPMI 1.5 has one byte.
pub const REQUEST_BYTES_MAX: usize = 240;

/// Sessions of one engine at once.
pub const SESSIONS_MAX: usize = 20_000;
/// Sessions of one engine with one address at once. Small BMCs have places for four.
pub const SESSIONS_PER_ADDRESS_MAX: usize = 4;
/// Requests of one session that wait for their turn; a BMC gets one at a time.
pub const REQUESTS_QUEUED_MAX: usize = 64;
/// Presence pings of one engine at once.
pub const PINGS_MAX: usize = 20_000;

/// How often a set-up begins again from Open Session, because a lost packet left both sides with different
/// random numbers.
pub const HANDSHAKES_MAX: u8 = 4;
/// Time a whole set-up may take, however many steps and repeats it needs.
pub const SETUP_MAX: Duration = Duration::from_secs(30);

/// How far behind the newest session sequence number a packet may be (IPMI 2.0, 6.12.13).
pub const WINDOW_BEHIND: u32 = 16;

/// A session that must stay open sends a request when it has been idle this long. BMCs end sessions that are
/// idle for 60 s (IPMI 2.0, 6.12.15).
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(25);

/// Characters of one packet to a console at most; the BMC may want fewer.
pub const SOL_DATA_BYTES_MAX: usize = 200;
/// Characters typed on a console that wait for their turn.
pub const SOL_INPUT_BYTES_MAX: usize = 4096;
/// How long characters wait that the machine did not take.
pub const SOL_PAUSE: Duration = Duration::from_millis(500);
/// How often in a row they wait before they are lost: a machine that is switched off takes none.
pub const SOL_PAUSES_MAX: u8 = 20;
/// When a packet to a console is sent again, and when its BMC counts as unresponsive.
pub const SOL_BUDGET: Budget = Budget {
    first_wait_min: Duration::from_millis(200),
    first_wait_max: Duration::from_millis(300),
    wait_step: Duration::from_millis(200),
    sends_max: 10,
    total_max: Duration::from_secs(10),
};
/// Things that happened on a console and wait to be taken; further output is dropped, and reported as lost.
pub const SOL_EVENTS_WAITING_MAX: usize = 128;

/// How long a datagram may wait for room in a socket's send buffer before it is dropped; timers repeat it.
pub const SEND_WAIT_MAX: Duration = Duration::from_millis(100);
/// Receive buffer asked for, bytes: the answers of ten thousand BMCs at one moment.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Datagrams taken from a socket before what they cause is sent.
pub const RECEIVE_BATCH: usize = 64;

/// When a request is sent again, and when its BMC counts as unresponsive.
///
/// The waits grow by a second each: the first is random, so that thousands of BMCs are not asked again at
/// one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Shortest first wait, 100 ms at least.
    pub first_wait_min: Duration,
    /// Longest first wait.
    pub first_wait_max: Duration,
    /// How much longer each wait is than the one before.
    pub wait_step: Duration,
    /// How often a packet is sent, repeats included, 1 to 20.
    pub sends_max: u8,
    /// The time after which the request has failed, however often it was sent; 100 ms to 5 min.
    pub total_max: Duration,
}

impl Budget {
    /// What xCAT does: five sends within 12.5 to 15 s.
    pub const REFERENCE: Self = Self {
        first_wait_min: Duration::from_millis(500),
        first_wait_max: Duration::from_millis(1_000),
        wait_step: Duration::from_secs(1),
        sends_max: 5,
        total_max: Duration::from_secs(15),
    };

    /// Three sends within 5 s: enough to tell that a BMC is dead.
    pub const SHORT: Self = Self { sends_max: 3, total_max: Duration::from_millis(4_900), ..Self::REFERENCE };

    /// The same numbers, each forced into its range.
    #[must_use]
    pub fn clamped(self) -> Self {
        let first_wait_min = self.first_wait_min.max(Duration::from_millis(100));
        Self {
            first_wait_min,
            first_wait_max: self.first_wait_max.max(first_wait_min),
            wait_step: self.wait_step,
            sends_max: self.sends_max.clamp(1, 20),
            total_max: self.total_max.clamp(Duration::from_millis(100), Duration::from_secs(300)),
        }
    }
}
