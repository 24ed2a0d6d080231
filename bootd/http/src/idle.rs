//! How long a connection has been idle.
//!
//! The time starts again at every request, but the timer is not moved each time, which would cost more than
//! the rest of the wait: when it goes off early, it is set to what is left.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A time after which an idle connection ends.
pub(crate) struct IdleTime {
    limit: Duration,
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl IdleTime {
    /// Starts it.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, end: Instant::now() + limit, timer: Box::pin(sleep(limit)) }
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.end = Instant::now() + self.limit;
    }

    /// Returns at its end.
    pub(crate) async fn over(&mut self) {
        loop {
            self.timer.as_mut().await;
            if self.timer.deadline() >= self.end {
                return;
            }
            self.timer.as_mut().reset(self.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_ends_a_limit_after_its_last_start() {
        let limit = Duration::from_millis(20);
        let (begin, mut idle) = (Instant::now(), IdleTime::new(limit));
        for _ in 0..3 {
            sleep(limit / 2).await;
            idle.restart();
        }
        idle.over().await;
        assert!(begin.elapsed() >= limit / 2 * 3 + limit);
    }
}
