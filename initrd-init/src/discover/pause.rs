//! Pauses: growing, with some chance in them, and ended early by a word of the server.

use std::time::{Duration, Instant};

use super::ear::{Ear, Word};
use crate::chance;
use crate::sys;

/// How long one look for a word takes, in milliseconds.
const LOOK_MS: u64 = 200;

/// First pause before something is said again, in seconds.
const RETRY_SECONDS_MIN: u64 = 2;
/// Longest pause before something is said again, in seconds: a daemon that is back hears it soon.
const RETRY_SECONDS_MAX: u64 = 30;

/// Pauses that double up to a limit.
pub(super) struct Pauses {
    seconds: u64,
    seconds_max: u64,
}

impl Pauses {
    pub(super) fn new(seconds_min: u64, seconds_max: u64) -> Self {
        Self { seconds: seconds_min, seconds_max }
    }

    /// Between two tries to say something to a server that is away.
    pub(super) fn of_retries() -> Self {
        Self::new(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
    }

    /// The next pause: between three quarters and five quarters of its nominal length.
    pub(super) fn next(&mut self) -> Duration {
        let pause = spread(self.seconds, chance());
        self.seconds = (self.seconds * 2).min(self.seconds_max);
        pause
    }
}

/// `seconds`, less or more by up to a quarter: `chance` is 0 to 255.
fn spread(seconds: u64, chance: u8) -> Duration {
    let millis = seconds * 1000;
    Duration::from_millis(millis * 3 / 4 + millis / 2 * u64::from(chance) / 255)
}

fn chance() -> u8 {
    // Without randomness all machines pause equally long, which is no reason to stop.
    let [byte] = chance::bytes().unwrap_or([128]);
    byte
}

/// `seconds`, less or more.
pub(super) fn about(seconds: u64) -> Duration {
    spread(seconds, chance())
}

/// Waits about `seconds`.
pub(super) fn some(seconds: u64) {
    sys::pause(about(seconds));
}

/// Waits for a word of the server, at most `time`.
pub(super) fn for_word(ear: Option<&Ear>, time: Duration) -> Option<Word> {
    let end = Instant::now() + time;
    loop {
        if let Some(word) = ear.and_then(Ear::word) {
            return Some(word);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        sys::pause(left.min(Duration::from_millis(LOOK_MS)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_differ() {
        let mut pauses = Pauses::new(5, 20);
        for nominal in [5, 10, 20, 20] {
            let pause = pauses.next().as_millis();
            assert!(pause >= nominal * 750 && pause <= nominal * 1250, "{nominal} {pause}");
        }
        assert_eq!(spread(8, 0), Duration::from_secs(6));
        assert_eq!(spread(8, 255), Duration::from_secs(10));
    }
}
