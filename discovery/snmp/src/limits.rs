//! Every number that bounds something.

use std::time::Duration;

/// Largest datagram that is read, bytes: all that UDP over IPv4 can carry.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// What a v3 request says that this side can read (`msgMaxSize`), bytes.
pub const MESSAGE_SIZE: i32 = 65_507;
/// Parts of a name (RFC 2578 §3.5).
pub const OID_PARTS_MAX: usize = 128;
/// Variables of one message that are read.
pub const BINDINGS_MAX: usize = 2048;
/// Names that one GET may ask for.
pub const NAMES_MAX: usize = 64;
/// Bytes of an engine's name (RFC 3411, `SnmpEngineID`).
pub const ENGINE_ID_BYTES: std::ops::RangeInclusive<usize> = 5..=32;
/// Fewest bytes of a password (RFC 3414 §11.2).
pub const PASSWORD_BYTES_MIN: usize = 8;
/// How far the time in a message may lie before what is known of the agent's clock, seconds
/// (RFC 3414 §2.2.3).
pub const TIME_WINDOW_S: u32 = 150;
/// How often the agent may send one question back by a report (another engine, another time) before it fails.
pub const REPORTS_MAX: u32 = 4;

/// Rows of one walk: default. A switch of a large site knows some tens of thousands of addresses.
pub const WALK_ROWS: usize = 100_000;
/// Time of one walk: default.
pub const WALK_TIME: Duration = Duration::from_secs(30);

/// Numbers an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long one attempt waits for its answer. Default 1 s, 50 ms to 60 s.
    pub attempt_time: Duration,
    /// How often a question is sent before the agent counts as silent. Default 5, 1 to 20.
    pub attempts: u32,
    /// Rows that a GETBULK asks for. Default 25, 1 to 100: the answer should fit a frame.
    pub repetitions: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempt_time: Duration::from_secs(1), attempts: 5, repetitions: 25 }
    }
}

impl Settings {
    /// The same numbers, each forced into its range.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self {
            attempt_time: self.attempt_time.clamp(Duration::from_millis(50), Duration::from_secs(60)),
            attempts: self.attempts.clamp(1, 20),
            repetitions: self.repetitions.clamp(1, 100),
        }
    }
}
