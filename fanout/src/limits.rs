//! How a fan-out is run: its width, time limits and pace.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Jobs at once, if the caller gives no number.
pub(crate) const WIDTH_DEFAULT: usize = 64;
/// Most jobs at once: each holds a socket and its buffers.
pub const WIDTH_MAX: usize = 4_096;
/// Longest time limit of a job: a day.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// Time a job has to clean up after it was asked to stop, if the caller gives none.
pub(crate) const GRACE_DEFAULT: Duration = Duration::from_secs(2);
/// Longest time a job may have to clean up.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(60);

/// A limit outside of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The width.
    #[error("{0} jobs at a time are not between 1 and {WIDTH_MAX}")]
    Width(usize),
    /// The time limit of a job.
    #[error("a time limit of {0:?} is not between 1 ms and {TIMEOUT_MAX:?}")]
    Timeout(Duration),
    /// The time to clean up.
    #[error("{0:?} for cleaning up is more than {GRACE_MAX:?}")]
    Grace(Duration),
}

/// Starts at most `burst` jobs, then waits for `interval` before the next burst, as xCAT's
/// `site.syspowermaxnodes` and `site.syspowerinterval` do for power commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Jobs that start together.
    pub burst: NonZeroUsize,
    /// Time between the starts of two bursts.
    pub interval: Duration,
}

/// How a job is run for many targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fanout {
    pub(crate) width: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) pace: Option<Pace>,
}

impl Default for Fanout {
    fn default() -> Self {
        Self { width: WIDTH_DEFAULT, timeout: None, grace: GRACE_DEFAULT, pace: None }
    }
}

impl Fanout {
    /// At most `width` jobs at once, 1 to [`WIDTH_MAX`].
    ///
    /// # Errors
    /// [`LimitError::Width`] outside of this range.
    pub fn width(self, width: usize) -> Result<Self, LimitError> {
        if !(1..=WIDTH_MAX).contains(&width) {
            return Err(LimitError::Width(width));
        }
        Ok(Self { width, ..self })
    }

    /// At most `timeout` for each job, 1 ms to [`TIMEOUT_MAX`], counted from the start of that job.
    ///
    /// # Errors
    /// [`LimitError::Timeout`] outside of this range.
    pub fn timeout(self, timeout: Duration) -> Result<Self, LimitError> {
        if !(Duration::from_millis(1)..=TIMEOUT_MAX).contains(&timeout) {
            return Err(LimitError::Timeout(timeout));
        }
        Ok(Self { timeout: Some(timeout), ..self })
    }

    /// Time for a job to clean up after it was asked to stop, up to [`GRACE_MAX`].
    ///
    /// # Errors
    /// [`LimitError::Grace`] for more.
    pub fn grace(self, grace: Duration) -> Result<Self, LimitError> {
        if grace > GRACE_MAX {
            return Err(LimitError::Grace(grace));
        }
        Ok(Self { grace, ..self })
    }

    /// Starts jobs in bursts.
    #[must_use]
    pub fn pace(self, pace: Pace) -> Self {
        Self { pace: Some(pace), ..self }
    }
}
