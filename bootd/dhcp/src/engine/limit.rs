//! Each client's share: a token bucket per link-layer address, so that one machine in a loop, or a
//! thousand of them, take nothing from the others.

use std::collections::HashMap;

use crate::hwaddr::HwAddr;
use crate::time::Time;

/// Clients remembered at most, in two generations of half each. Forgetting one gives it a full share again.
const CLIENTS_MAX: usize = 131_072;
/// Events about dropped packets each second; beyond that they are only counted.
const REPORTS_PER_SECOND: u32 = 10;

/// Tokens in thousandths, so that short intervals add something.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    millitokens: u64,
    filled: Time,
}

impl Bucket {
    fn take(&mut self, now: Time, burst: u32, per_second: u32) -> bool {
        let earned = now.millis_since(self.filled).saturating_mul(u64::from(per_second));
        self.millitokens = (self.millitokens.saturating_add(earned)).min(u64::from(burst) * 1000);
        self.filled = now;
        match self.millitokens.checked_sub(1000) {
            Some(rest) => self.millitokens = rest,
            None => return false,
        }
        true
    }
}

/// Shares of all clients.
#[derive(Debug)]
pub(super) struct Limiter {
    burst: u32,
    per_second: u32,
    young: HashMap<HwAddr, Bucket>,
    old: HashMap<HwAddr, Bucket>,
    reports: Bucket,
}

impl Limiter {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        let reports = Bucket { millitokens: 0, filled: Time::default() };
        Self { burst, per_second, young: HashMap::new(), old: HashMap::new(), reports }
    }

    /// Takes one packet from the client's share; false when nothing is left of it.
    pub(super) fn allow(&mut self, now: Time, hw: HwAddr) -> bool {
        if let Some(bucket) = self.young.get_mut(&hw) {
            return bucket.take(now, self.burst, self.per_second);
        }
        if self.young.len() >= CLIENTS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let full = Bucket { millitokens: u64::from(self.burst) * 1000, filled: now };
        let mut bucket = self.old.remove(&hw).unwrap_or(full);
        let allowed = bucket.take(now, self.burst, self.per_second);
        self.young.insert(hw, bucket);
        allowed
    }

    /// Whether another event about a dropped packet may be reported now.
    pub(super) fn allow_report(&mut self, now: Time) -> bool {
        self.reports.take(now, REPORTS_PER_SECOND, REPORTS_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_rationed_and_others_are_not() {
        let mut limiter = Limiter::new(4, 2);
        let noisy = HwAddr::ethernet([2, 0, 0, 0, 0, 1]);
        let quiet = HwAddr::ethernet([2, 0, 0, 0, 0, 2]);
        let start = Time::from_millis(1_000_000);
        let allowed = (0..1000).filter(|ms| limiter.allow(start + *ms, noisy)).count();
        assert_eq!(allowed, 5);
        assert!(limiter.allow(start + 1000, quiet));
        assert!(limiter.allow(start + 2000, noisy));
    }
}
