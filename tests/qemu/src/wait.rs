//! Waiting for something outside of this process, always with a deadline.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Time between two looks at the awaited thing.
pub const POLL_INTERVAL_MS: u64 = 500;

/// Calls `look` until it gives a value or `limit` has passed; `None` means the deadline came first.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = look()? {
            return Ok(Some(value));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        pause(Duration::from_millis(POLL_INTERVAL_MS));
    }
}

/// Sleeps. The harness is a shell around other processes; it has no engine whose clock could be injected.
#[expect(clippy::disallowed_methods, reason = "outside processes can only be polled")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
