//! Fan-outs in virtual time: tokio's clock is paused, so hours pass in no time and every run is the same.

use dawn_fanout::{CancellationToken, Fanout, Finished, LimitError, Outcome, Pace, Progress, Running};
use proptest::prelude::*;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Ended = Finished<u64, u64, &'static str>;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn all(mut running: Running<u64, u64, &'static str>) -> (Vec<Ended>, Progress) {
    let mut ended = Vec::new();
    while let Some(finished) = running.next().await {
        ended.push(finished);
        let Progress { total, done, failed, running, waiting } = running.progress();
        assert_eq!(done + failed + running + waiting, total);
    }
    (ended, running.progress())
}

/// Every target has its outcome.
fn is_complete(progress: &Progress) -> bool {
    progress.done + progress.failed == progress.total
}

/// A job that takes as many seconds as its target says.
async fn work(seconds: u64) -> Result<u64, &'static str> {
    sleep(s(seconds)).await;
    Ok(seconds)
}

#[tokio::test(start_paused = true)]
async fn results_come_in_order_of_completion() {
    let running = Fanout::default().start([3, 1, 2], CancellationToken::new(), |&n, _| work(n));
    let (ended, progress) = all(running).await;
    assert_eq!(ended.iter().map(|ended| ended.target).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(ended.iter().all(|ended| ended.took == s(ended.target)));
    assert_eq!(progress.to_string(), "3/3 done");
    assert_eq!(progress.exit_code(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_jobs_than_the_width_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (now.clone(), most.clone());
    let fanout = Fanout::default().width(7).expect("a good width");
    let start = Instant::now();
    let running = fanout.start(0..70, CancellationToken::new(), move |_, _| {
        let (now, most) = counts.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let result = work(1).await;
            now.fetch_sub(1, Ordering::SeqCst);
            result
        }
    });
    let (ended, _) = all(running).await;
    assert_eq!((ended.len(), most.load(Ordering::SeqCst), start.elapsed()), (70, 7, s(10)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_job_costs_its_own_time_limit_only() {
    let fanout = Fanout::default().timeout(s(10)).and_then(|f| f.grace(s(2))).expect("good limits");
    let (ended, progress) = all(fanout.start([1, 3_600, 2], CancellationToken::new(), |&n, _| work(n))).await;
    let outcomes: Vec<_> = ended.into_iter().map(|ended| (ended.outcome, ended.took)).collect();
    assert_eq!(outcomes, [(Outcome::Done(1), s(1)), (Outcome::Done(2), s(2)), (Outcome::TimedOut, s(12))]);
    assert_eq!((progress.to_string().as_str(), progress.exit_code()), ("2/3 done, 1 failed", 1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_asked_to_stop_can_clean_up() {
    let fanout = Fanout::default().timeout(s(10)).expect("a good limit");
    let running = fanout.start([5], CancellationToken::new(), |_, token: CancellationToken| async move {
        token.cancelled().await;
        sleep(s(1)).await;
        Ok::<_, &'static str>(7)
    });
    let (ended, _) = all(running).await;
    assert_eq!((&ended[0].outcome, ended[0].took), (&Outcome::Done(7), s(11)));
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_running_jobs_and_starts_no_others() {
    let cancel = CancellationToken::new();
    let fanout = Fanout::default().width(2).and_then(|f| f.grace(s(1))).expect("good limits");
    let running = fanout.start([60, 4, 60, 60], cancel.clone(), |&n, _| work(n));
    tokio::spawn(async move {
        sleep(s(5)).await;
        cancel.cancel();
    });
    let (ended, progress) = all(running).await;
    let outcomes: Vec<_> = ended.into_iter().map(|ended| ended.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done(4), Outcome::NotStarted, Outcome::Cancelled, Outcome::Cancelled]);
    assert!(is_complete(&progress));
}

#[tokio::test(start_paused = true)]
async fn a_pace_starts_bursts() {
    let pace = Pace { burst: NonZeroUsize::new(2).expect("not zero"), interval: s(10) };
    let begin = Instant::now();
    let running = Fanout::default().pace(pace).start(0..5, CancellationToken::new(), move |_, _| {
        let started = begin.elapsed().as_secs();
        async move { Ok::<_, &'static str>(started) }
    });
    let (ended, _) = all(running).await;
    let starts: Vec<_> = ended.into_iter().map(|ended| ended.outcome).collect();
    assert_eq!(starts, [0, 0, 10, 10, 20].map(Outcome::Done));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_outcome_of_its_target() {
    let running = Fanout::default().start([1, 2], CancellationToken::new(), |&n, _| async move {
        assert!(n != 1, "target {n} is broken");
        Err::<u64, _>("no answer")
    });
    let (mut ended, _) = all(running).await;
    ended.sort_by_key(|ended| ended.target);
    let outcomes: Vec<_> = ended.into_iter().map(|ended| ended.outcome).collect();
    assert_eq!(outcomes, [Outcome::Panicked("target 1 is broken".into()), Outcome::Failed("no answer")]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_result_can_be_interrupted() {
    let mut running: Running<u64, u64, &str> =
        Fanout::default().start([3, 5], CancellationToken::new(), |&n, _| work(n));
    let mut ticks = 0;
    let mut ended = Vec::new();
    loop {
        tokio::select! {
            next = running.next() => match next {
                Some(finished) => ended.push(finished.target),
                None => break,
            },
            () = sleep(s(1)) => ticks += 1,
        }
    }
    assert_eq!(ended, [3, 5]);
    assert!(ticks >= 3, "{ticks} ticks");
}

#[tokio::test(start_paused = true)]
async fn no_targets_no_results() {
    let (ended, progress) = all(Fanout::default().start([], CancellationToken::new(), |&n, _| work(n))).await;
    assert!(ended.is_empty() && is_complete(&progress));
}

#[test]
fn limits_have_ranges() {
    let fanout = Fanout::default();
    assert_eq!(fanout.width(0), Err(LimitError::Width(0)));
    assert_eq!(fanout.width(4_097), Err(LimitError::Width(4_097)));
    assert_eq!(fanout.timeout(Duration::ZERO), Err(LimitError::Timeout(Duration::ZERO)));
    assert_eq!(fanout.grace(s(61)), Err(LimitError::Grace(s(61))));
}

proptest! {
    /// Whatever jobs do and whenever the caller cancels, each target has one outcome, in time.
    #[test]
    fn every_target_has_one_outcome(
        jobs in proptest::collection::vec(0u64..40, 0..60),
        width in 1usize..9,
        limit in 1u64..30,
        cancel_at in proptest::option::of(0u64..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let cancel = CancellationToken::new();
            if let Some(at) = cancel_at {
                let cancel = cancel.clone();
                tokio::spawn(async move {
                    sleep(s(at)).await;
                    cancel.cancel();
                });
            }
            let fanout = Fanout::default().width(width).and_then(|f| f.timeout(s(limit))).expect("good limits");
            let targets: Vec<(usize, u64)> = jobs.iter().copied().enumerate().collect();
            let mut running = fanout.start(targets, cancel, |&(_, n), _| async move {
                if n % 7 == 0 { Err("failed") } else { work(n).await }
            });
            let mut seen = vec![0; jobs.len()];
            let begin = Instant::now();
            while let Some(Finished { target: (at, n), outcome, .. }) = running.next().await {
                seen[at] += 1;
                match outcome {
                    Outcome::Done(value) => assert!(value == n && n % 7 != 0 && n <= limit + 2),
                    Outcome::Failed(_) => assert_eq!(n % 7, 0),
                    Outcome::TimedOut => assert!(n > limit),
                    Outcome::Cancelled | Outcome::NotStarted => {
                        assert!(cancel_at.is_some_and(|at| begin.elapsed() >= s(at)));
                    }
                    Outcome::Panicked(text) => panic!("{text}"),
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
            assert!(is_complete(&running.progress()));
        });
    }
}
