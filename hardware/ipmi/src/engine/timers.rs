//! One timer for each session, all in one ordered set: the shell sleeps until the first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Timers by key. Each key has one at most.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    order: BTreeSet<(Duration, K)>,
    of_key: HashMap<K, Duration>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), of_key: HashMap::new() }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Sets the timer of a key, or removes it.
    pub(super) fn set(&mut self, key: K, at: Option<Duration>) {
        let before = match at {
            Some(at) => self.of_key.insert(key, at),
            None => self.of_key.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    /// When the first one fires.
    pub(super) fn first(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first one out if its time has come.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<K> {
        let (at, key) = *self.order.first()?;
        (at <= now).then(|| {
            self.set(key, None);
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_of_time() {
        let mut timers = Timers::default();
        let at = |ms| Some(Duration::from_millis(ms));
        for (key, time) in [(1, at(30)), (2, at(10)), (3, at(20)), (2, at(40)), (3, None), (4, at(30))] {
            timers.set(key, time);
        }
        assert_eq!(timers.first(), at(30));
        assert_eq!(timers.take_due(Duration::from_millis(29)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(Duration::from_millis(35))).collect();
        assert_eq!(due, [1, 4]);
        assert_eq!(timers.first(), at(40));
    }
}
