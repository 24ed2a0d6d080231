//! A fan-out that runs: starts jobs as places become free, and yields results in order of completion.

use crate::{Fanout, Finished, Outcome, Progress};
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

type Job<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type StartJob<N, T, E> = Box<dyn FnMut(&N, CancellationToken) -> Job<T, E> + Send>;
type Ended<T, E> = (Outcome<T, E>, Duration);

/// A fan-out that runs. Dropping it drops all its jobs.
pub struct Running<N, T, E> {
    fanout: Fanout,
    waiting: VecDeque<N>,
    running: HashMap<Id, N>,
    jobs: JoinSet<Ended<T, E>>,
    start: StartJob<N, T, E>,
    cancel: CancellationToken,
    burst: Option<Burst>,
    progress: Progress,
}

/// How many jobs may still start in this interval, and when the next one begins.
struct Burst {
    left: usize,
    next_at: Instant,
}

impl Fanout {
    /// Runs `job` for each target. The job gets its target and a token; when the token is cancelled (time
    /// limit, or `cancel`) the job should end soon, and is dropped after the grace period if it does not.
    ///
    /// Jobs start while [`Running::next`] is awaited.
    pub fn start<N, T, E, F>(
        self,
        targets: impl IntoIterator<Item = N>,
        cancel: CancellationToken,
        mut job: impl FnMut(&N, CancellationToken) -> F + Send + 'static,
    ) -> Running<N, T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let waiting: VecDeque<N> = targets.into_iter().collect();
        let progress = Progress { total: waiting.len(), waiting: waiting.len(), ..Progress::default() };
        Running {
            fanout: self,
            waiting,
            running: HashMap::new(),
            jobs: JoinSet::new(),
            start: Box::new(move |target, token| Box::pin(job(target, token))),
            cancel,
            burst: None,
            progress,
        }
    }
}

impl<N, T: Send + 'static, E: Send + 'static> Running<N, T, E> {
    /// The next target whose job has ended; `None` after the last. Safe to drop and to call again (for
    /// instance in a `select!` next to a timer that shows [`Running::progress`]): no result is lost.
    pub async fn next(&mut self) -> Option<Finished<N, T, E>> {
        loop {
            if self.cancel.is_cancelled() {
                if let Some(target) = self.waiting.pop_front() {
                    return Some(self.finish(target, Outcome::NotStarted, Duration::ZERO, true));
                }
            } else {
                self.start_jobs();
            }
            if self.jobs.is_empty() && self.waiting.is_empty() {
                return None;
            }
            let pause = self.pause();
            tokio::select! {
                biased;
                Some(ended) = self.jobs.join_next_with_id() => {
                    if let Some(finished) = self.ended(ended) {
                        return Some(finished);
                    }
                }
                () = self.cancel.cancelled(), if !self.cancel.is_cancelled() => {}
                () = sleep_until(pause.unwrap_or_else(Instant::now)), if pause.is_some() => {}
            }
        }
    }

    /// Counts so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Targets whose jobs run, in no order: what to show to a caller who asks what a fan-out waits for.
    pub fn running(&self) -> impl Iterator<Item = &N> {
        self.running.values()
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < self.fanout.width && self.take_start() {
            let Some(target) = self.waiting.pop_front() else { return };
            let token = self.cancel.child_token();
            let job = (self.start)(&target, token.clone());
            let limits = (self.fanout.timeout, self.fanout.grace);
            let handle = self.jobs.spawn(run(job, token, limits));
            self.running.insert(handle.id(), target);
            self.progress.waiting -= 1;
            self.progress.running += 1;
        }
    }

    /// Whether the pace allows one more job to start now; counts it.
    fn take_start(&mut self) -> bool {
        let Some(pace) = self.fanout.pace else { return true };
        if self.waiting.is_empty() {
            return false;
        }
        let now = Instant::now();
        let fresh = || Burst { left: pace.burst.get(), next_at: now + pace.interval };
        let burst = self.burst.get_or_insert_with(fresh);
        if now >= burst.next_at {
            *burst = fresh();
        }
        let is_allowed = burst.left > 0;
        burst.left = burst.left.saturating_sub(1);
        is_allowed
    }

    /// When the pace lets more jobs start, if only the pace holds them back.
    fn pause(&self) -> Option<Instant> {
        let has_place = !self.waiting.is_empty() && self.jobs.len() < self.fanout.width;
        let burst = self.burst.as_ref().filter(|burst| has_place && burst.left == 0)?;
        Some(burst.next_at)
    }

    fn ended(&mut self, ended: Result<(Id, Ended<T, E>), JoinError>) -> Option<Finished<N, T, E>> {
        let (id, outcome, took) = match ended {
            Ok((id, (outcome, took))) => (id, outcome, took),
            Err(error) => (error.id(), of_join_error(error), Duration::ZERO),
        };
        let target = self.running.remove(&id)?;
        Some(self.finish(target, outcome, took, false))
    }

    fn finish(
        &mut self,
        target: N,
        outcome: Outcome<T, E>,
        took: Duration,
        was_waiting: bool,
    ) -> Finished<N, T, E> {
        let from = if was_waiting { &mut self.progress.waiting } else { &mut self.progress.running };
        *from -= 1;
        let to = if outcome.is_done() { &mut self.progress.done } else { &mut self.progress.failed };
        *to += 1;
        Finished { target, outcome, took }
    }
}

/// Runs one job within its limits.
async fn run<T, E>(
    mut job: Job<T, E>,
    token: CancellationToken,
    (limit, grace): (Option<Duration>, Duration),
) -> Ended<T, E> {
    let start = Instant::now();
    let deadline = limit.map(|limit| start + limit);
    let cause = tokio::select! {
        biased;
        result = &mut job => return (of_result(result), start.elapsed()),
        () = token.cancelled() => Outcome::Cancelled,
        () = sleep_until(deadline.unwrap_or(start)), if deadline.is_some() => Outcome::TimedOut,
    };
    token.cancel();
    // A result that arrives in the grace period replaces the cause of the stop; a failure does not, because
    // the stop caused it.
    let outcome = match timeout(grace, job).await {
        Ok(Ok(value)) => Outcome::Done(value),
        Ok(Err(_)) | Err(_) => cause,
    };
    (outcome, start.elapsed())
}

fn of_result<T, E>(result: Result<T, E>) -> Outcome<T, E> {
    match result {
        Ok(value) => Outcome::Done(value),
        Err(error) => Outcome::Failed(error),
    }
}

fn of_join_error<T, E>(error: JoinError) -> Outcome<T, E> {
    match error.try_into_panic() {
        Ok(panic) => Outcome::Panicked(message_of(panic.as_ref())),
        // The runtime shuts down.
        Err(_) => Outcome::Cancelled,
    }
}

/// The message of a panic, as `panic!` makes it.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
