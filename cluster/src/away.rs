//! Whether the database is away: the one place that decides it.
//!
//! The model notes how each of its questions to the store has ended. A store that cannot be reached, does not
//! answer or rejects the login counts as away until it answers again. The follower of the model asks several
//! times a second, so that writers need not try: while a server does not answer, each question would take its
//! whole time limit, so writers get the follower's last error.

use crate::store::StoreError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A database that is away.
#[derive(Clone, Debug)]
pub struct Away {
    /// Since when it is not seen.
    pub since: Instant,
    /// Why, as it was first noticed.
    pub error: StoreError,
    /// When the tables that are served meanwhile were stored, milliseconds since 1970-01-01 UTC; `None` if
    /// they are those that the database had when it was last seen.
    pub saved_at_ms: Option<i64>,
}

/// The state of the database.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    away: Mutex<Option<Arc<Away>>>,
    /// The database has come back.
    back: Condvar,
    /// Threads that look whether it has come back.
    followers: AtomicUsize,
}

impl Presence {
    /// The database, if it is away.
    pub(crate) fn away(&self) -> Option<Arc<Away>> {
        self.lock().clone()
    }

    /// The database, if asking it would waste time: it did not answer, and a follower keeps asking.
    pub(crate) fn silent(&self) -> Option<Arc<Away>> {
        let is_followed = self.followers.load(Ordering::Relaxed) > 0;
        self.away().filter(|away| is_followed && matches!(away.error, StoreError::Silent))
    }

    /// The database is away from the start, and tables that were stored at this time are served.
    pub(crate) fn begin_away(&self, error: StoreError, at_ms: i64) {
        *self.lock() = Some(Arc::new(Away { since: Instant::now(), error, saved_at_ms: Some(at_ms) }));
    }

    /// Notes how a question has ended, and passes it on.
    pub(crate) fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut away = self.lock();
        match (&result, &*away) {
            (Err(error), None) if error.is_away() => {
                tracing::warn!(%error, "the database is away; nodes are served from memory");
                let (since, error) = (Instant::now(), error.clone());
                *away = Some(Arc::new(Away { since, error, saved_at_ms: None }));
            }
            (Err(error), Some(_)) if error.is_away() => {}
            (_, Some(gone)) => {
                tracing::info!(seconds = gone.since.elapsed().as_secs(), "the database is back");
                *away = None;
                self.back.notify_all();
            }
            (_, None) => {}
        }
        result
    }

    /// Waits until the database is back, at most for this time.
    pub(crate) fn wait(&self, time: Duration) {
        let away = self.lock();
        if away.is_some() {
            drop(self.back.wait_timeout(away, time));
        }
    }

    /// A follower begins (`true`) or ends.
    pub(crate) fn followed(&self, begins: bool) {
        match begins {
            true => self.followers.fetch_add(1, Ordering::Relaxed),
            false => self.followers.fetch_sub(1, Ordering::Relaxed),
        };
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Away>>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_away() {
        let presence = Presence::default();
        let lost = || StoreError::Lost("reset".into());
        for (result, away) in [
            (Err(StoreError::Busy), false),
            (Err(lost()), true),
            (Err(StoreError::Silent), true),
            (Err(StoreError::Busy), false),
            (Err(StoreError::Silent), true),
            (Ok(()), false),
        ] {
            let _ = presence.note(result.clone());
            assert_eq!(presence.away().is_some(), away, "{result:?}");
        }
        // The first reason stays: it says more than those that follow from it.
        let _ = presence.note::<()>(Err(lost()));
        let _ = presence.note::<()>(Err(StoreError::Silent));
        assert!(matches!(presence.away().unwrap().error, StoreError::Lost(_)));
        assert!(presence.silent().is_none());
    }

    #[test]
    fn a_silent_database_is_left_to_its_follower() {
        let presence = Presence::default();
        let _ = presence.note::<()>(Err(StoreError::Silent));
        assert!(presence.silent().is_none());
        presence.followed(true);
        assert!(presence.silent().is_some());
        presence.followed(false);
        assert!(presence.silent().is_none());
    }
}
