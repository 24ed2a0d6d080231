//! A machine's event log.

use super::vitals::Value;

/// An event log.
#[derive(Clone, Debug, PartialEq)]
pub enum Log {
    /// Its entries, oldest first.
    Entries(Vec<LogEntry>),
    /// A log of another version.
    OtherVersion(u8),
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Seconds since 1970 by this machine's clock.
    Clock(i64),
    /// Seconds since the BMC started.
    Uptime(u32),
    /// Not recorded.
    Unknown,
}

/// An entry.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// When.
    pub time: Time,
    /// What.
    pub what: What,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An event of a sensor.
    Event {
        /// What the sensor measures.
        kind: String,
        /// What happened; empty if the kind says it all.
        event: String,
        /// The sensor's name.
        sensor: String,
        /// Reading and threshold, if the event has both.
        reading: Option<(Value, Value)>,
        /// The state ended.
        recovered: bool,
    },
    /// Something of the maker's own: kind of the record, and its bytes.
    Oem(u8, Vec<u8>),
}
