//! What commands do while the database is away: what they report to their callers, and how long those that
//! write wait.
//!
//! Nothing of the change has been computed or sent by then, so waiting has no effect but time. A command that
//! waits keeps its place among the commands that may run at once; some places are reserved for commands that
//! only read.

use crate::clock::local_time;
use crate::output::Out;
use dawn_cluster::{Advised, Away, Snapshot};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a command waits.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a command waits before it reports the wait.
const QUIET_MAX: Duration = Duration::from_secs(3);
/// Commands that may wait at once: half of those that may run at once.
const WAITING_MAX: usize = dawn_xcatd::limits::COMMANDS_DEFAULT / 2;

/// A database that is away: since when, why, and what is served meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwayState {
    /// For how long (s).
    pub seconds: u64,
    /// Why.
    pub reason: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The change that is served.
    pub change: u64,
    /// When it was stored on this machine, if it comes from there; local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
}

impl fmt::Display for AwayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, reason, change, .. } = self;
        let of = self.stored.as_ref().map(|at| format!(", stored {at}")).unwrap_or_default();
        write!(f, "the database is away for {seconds} s ({reason}); change {change}{of} is served")
    }
}

/// The state of a database that is away.
pub fn state(away: &Away, snapshot: &Snapshot) -> AwayState {
    AwayState {
        seconds: away.since.elapsed().as_secs(),
        reason: away.error.to_string(),
        hint: away.error.hint(),
        change: snapshot.seq(),
        stored: away.saved_at_ms.map(local_time),
    }
}

/// The commands of a daemon that wait.
#[derive(Debug, Default)]
pub struct Patience {
    waiting: AtomicUsize,
}

impl Patience {
    /// The wait of one command, which has not begun.
    pub fn of_command(&self) -> Wait<'_> {
        Wait { patience: self, since: None, has_said: false }
    }
}

/// The wait of one command.
#[derive(Debug)]
pub struct Wait<'p> {
    patience: &'p Patience,
    /// Since when the command waits.
    since: Option<Instant>,
    has_said: bool,
}

impl Wait<'_> {
    /// Whether the command keeps waiting: until its time is up or its caller has gone.
    pub fn goes_on(&mut self, away: &Away, out: &mut Out<'_>) -> bool {
        let since = match self.since {
            Some(since) => since,
            None if self.patience.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX => {
                self.patience.waiting.fetch_sub(1, Ordering::Relaxed);
                return false;
            }
            None => *self.since.insert(Instant::now()),
        };
        if since.elapsed() >= QUIET_MAX && !std::mem::replace(&mut self.has_said, true) {
            let (seconds, reason) = (WAIT_MAX.as_secs(), &away.error);
            let text = format!("waiting for the database, up to {seconds} s: {reason}");
            if out.warning(text).is_err() {
                return false;
            }
        }
        since.elapsed() < WAIT_MAX && out.wanted().is_ok()
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            self.patience.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::StoreError;
    use dawn_xcatd::Response;

    #[test]
    fn half_of_the_places_are_left_to_readers() {
        let (patience, mut sink) = (Patience::default(), Vec::<Response>::new());
        let away = Away { since: Instant::now(), error: StoreError::Silent, saved_at_ms: None };
        let mut out = Out::new(&mut sink);
        let mut waits: Vec<Wait<'_>> = (0..WAITING_MAX).map(|_| patience.of_command()).collect();
        assert!(waits.iter_mut().all(|wait| wait.goes_on(&away, &mut out)));
        assert!(!patience.of_command().goes_on(&away, &mut out));
        waits.pop();
        assert!(patience.of_command().goes_on(&away, &mut out));
    }
}
