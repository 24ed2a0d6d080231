//! Time as the engine gets it: milliseconds since the Unix epoch, passed in with every call.
//!
//! The shell derives it from a monotonic clock started at the wall clock's value, so that lease ends can be
//! stored on disk and a step of the wall clock does not end leases while the daemon runs.

use std::ops::Add;

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// A moment given in milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This moment plus whole seconds.
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(u64::from(seconds) * 1000))
    }

    /// Milliseconds from `earlier` to this moment; 0 when it is later.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole seconds left until this moment, at most what fits into 32 bits.
    pub fn seconds_from(self, now: Self) -> u32 {
        u32::try_from(self.millis_since(now) / 1000).unwrap_or(u32::MAX)
    }
}

impl Add<u64> for Time {
    type Output = Self;

    /// This moment plus milliseconds.
    fn add(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}
