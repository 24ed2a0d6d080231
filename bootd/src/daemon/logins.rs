//! Failed log-ins by password: logged, and limited to a few a minute from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords of one address within [`FAILURE_PERIOD`] after which it is not listened to.
const FAILURES_MAX: u32 = 10;
/// Time after which the wrong passwords of an address are forgotten.
const FAILURE_PERIOD: Duration = Duration::from_secs(60);
/// Addresses whose wrong passwords are remembered; the one that began first makes room.
const ADDRESSES_MAX: usize = 4096;
/// Characters of a user's name that the log shows.
const USER_SHOWN_MAX: usize = 64;

/// Wrong passwords by address.
#[derive(Debug, Default)]
pub(super) struct Logins {
    failures: Mutex<HashMap<Option<IpAddr>, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Logins {
    /// Carries `check` out unless the address has failed too often; a failure is remembered and reported in
    /// the log. `address` is `None` for a caller in this process.
    pub(super) fn attempt(
        &self,
        address: Option<IpAddr>,
        user: &str,
        now: Instant,
        check: impl FnOnce() -> bool,
    ) -> bool {
        let shown = address.map_or_else(|| "this process".to_owned(), |ip| ip.to_string());
        let user: String = user.chars().take(USER_SHOWN_MAX).collect();
        if self.recent(address, now).is_some_and(|failures| failures.count >= FAILURES_MAX) {
            tracing::warn!(target: "audit", "Authentication refused: user={user:?}, {shown} has failed {FAILURES_MAX} times");
            return false;
        }
        if check() {
            return true;
        }
        tracing::warn!(target: "audit", "Authentication failure: user={user:?} from {shown}");
        self.remember(address, now);
        false
    }

    fn recent(&self, address: Option<IpAddr>, now: Instant) -> Option<Failures> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&address).copied().filter(|f| now.saturating_duration_since(f.since) < FAILURE_PERIOD)
    }

    fn remember(&self, address: Option<IpAddr>, now: Instant) {
        let recent = self.recent(address, now);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&address) {
            let first = failures.iter().min_by_key(|(_, f)| f.since).map(|(address, _)| *address);
            first.and_then(|address| failures.remove(&address));
        }
        let since = recent.map_or(now, |f| f.since);
        let count = recent.map_or(0, |f| f.count).saturating_add(1);
        failures.insert(address, Failures { since, count });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slow() {
        let logins = Logins::default();
        let (guesser, other) = (Some(IpAddr::from([10, 0, 0, 9])), Some(IpAddr::from([10, 0, 0, 1])));
        let start = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(!logins.attempt(guesser, "root", start, || false));
        }
        assert!(!logins.attempt(guesser, "root", start, || panic!("further guesses are ignored")));
        assert!(logins.attempt(other, "root", start, || true), "others may log in");
        let later = start + FAILURE_PERIOD;
        assert!(logins.attempt(guesser, "root", later, || true), "a minute later it may try again");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logins = Logins::default();
        let start = Instant::now();
        for n in 0..2 * u32::try_from(ADDRESSES_MAX).expect("number") {
            logins.attempt(Some(IpAddr::from(n.to_be_bytes())), "root", start, || false);
        }
        assert_eq!(logins.failures.lock().expect("lock").len(), ADDRESSES_MAX);
    }
}
