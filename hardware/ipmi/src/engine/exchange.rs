//! One packet that is repeated until it is answered.

use std::time::Duration;

use crate::crypto::Random;
use crate::limits::Budget;

/// The state of a repeated packet.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    budget: Budget,
    started: Duration,
    /// How often the packet was sent.
    pub sends: u8,
    wait: Duration,
    next: Duration,
}

/// What is to be done, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing yet.
    Nothing,
    /// The packet is to be sent again.
    Repeat,
    /// The budget is used up.
    GiveUp,
}

impl Exchange {
    /// The packet is sent for the first time.
    pub(super) fn start(now: Duration, budget: Budget, random: &mut Random) -> Self {
        let budget = budget.clamped();
        let spread = budget.first_wait_max.saturating_sub(budget.first_wait_min);
        let spread_us = u32::try_from(spread.as_micros()).unwrap_or(u32::MAX);
        let wait = budget.first_wait_min + Duration::from_micros(random.below(spread_us).into());
        Self { budget, started: now, sends: 1, wait, next: now.saturating_add(wait) }
    }

    /// When something is to be done.
    pub(super) fn deadline(&self) -> Duration {
        self.next.min(self.started.saturating_add(self.budget.total_max))
    }

    /// How long the answer has been waited for.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        now.saturating_sub(self.started)
    }

    /// What is to be done; a repeat is counted.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        if self.waited(now) >= self.budget.total_max {
            return Due::GiveUp;
        }
        if now < self.next {
            return Due::Nothing;
        }
        if self.sends >= self.budget.sends_max {
            return Due::GiveUp;
        }
        self.sends += 1;
        self.wait = self.wait.saturating_add(self.budget.wait_step);
        self.next = now.saturating_add(self.wait);
        Due::Repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Seed;

    /// Times of all sends and of the end, in ms.
    fn schedule(budget: Budget, seed: u8) -> Vec<u128> {
        let mut exchange = Exchange::start(Duration::ZERO, budget, &mut Random::new(Seed([seed; 32])));
        let mut times = vec![0];
        loop {
            let now = exchange.deadline();
            assert!(
                now == Duration::ZERO || exchange.clone().due(now - Duration::from_nanos(1)) == Due::Nothing
            );
            times.push(now.as_millis());
            match exchange.due(now) {
                Due::GiveUp => return times,
                due => assert_eq!(due, Due::Repeat),
            }
        }
    }

    #[test]
    fn schedules() {
        for seed in 0..50 {
            let times = schedule(Budget::REFERENCE, seed);
            assert_eq!(times.len(), 6, "five sends and the end: {times:?}");
            assert!((500..=1000).contains(&times[1]) && (12_500..=15_000).contains(&times[5]), "{times:?}");
            let times = schedule(Budget::SHORT, seed);
            assert_eq!(times.len(), 4, "three sends and the end: {times:?}");
            assert!((4_500..5_000).contains(&times[3]), "{times:?}");
        }
    }
}
