//! What became of each target, and of all together.

use std::fmt;
use std::time::Duration;

/// What became of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T, E> {
    /// The job succeeded.
    Done(T),
    /// The job failed.
    Failed(E),
    /// The job exceeded its time limit.
    TimedOut,
    /// The caller cancelled while the job ran.
    Cancelled,
    /// The caller cancelled before the job started.
    NotStarted,
    /// The job panicked: a defect. The text is the panic's message.
    Panicked(String),
}

impl<T, E> Outcome<T, E> {
    /// Whether the job succeeded.
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done(_))
    }
}

/// A target whose job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished<N, T, E> {
    /// The target.
    pub target: N,
    /// What became of it.
    pub outcome: Outcome<T, E>,
    /// Time from the start of the job to its end; zero for a job that was not started.
    pub took: Duration,
}

/// Counts of targets. The sum of `done`, `failed`, `running` and `waiting` is always `total`.
///
/// ```
/// # use dawn_fanout::Progress;
/// let progress = Progress { total: 1000, done: 412, failed: 3, running: 585, waiting: 0 };
/// assert_eq!(progress.to_string(), "412/1000 done, 3 failed, 585 running");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// All targets.
    pub total: usize,
    /// Jobs that succeeded.
    pub done: usize,
    /// Jobs that ended in any other way, those that were never started included.
    pub failed: usize,
    /// Jobs that run.
    pub running: usize,
    /// Targets whose job has not started.
    pub waiting: usize,
}

impl Progress {
    /// Exit code of a command that ended so: 0 if every job succeeded, otherwise 1.
    pub fn exit_code(&self) -> i32 {
        i32::from(self.done != self.total)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} done", self.done, self.total)?;
        for (count, word) in [(self.failed, "failed"), (self.running, "running"), (self.waiting, "waiting")] {
            if count > 0 {
                write!(f, ", {count} {word}")?;
            }
        }
        Ok(())
    }
}
