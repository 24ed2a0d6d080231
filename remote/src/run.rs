//! Jobs for many nodes: connections or programs, a bounded number at once, each result as soon as it arrives.
//!
//! [`run`] blocks its thread and drives all jobs on it. It hands events to one function: streamed lines, a
//! node's end with what was kept of its output, and a progress report twice a second, in which the caller can
//! check whether the run is still wanted. When the function says `Break`, remote commands are ended and every
//! node that is left is reported as stopped.

use crate::event::{End, Ended, Event};
use crate::failure::Failure;
use crate::names::{host_name, user_name};
use crate::output::{Budget, Output, Shared};
use crate::program::{self, Program};
use crate::session::{self, Command, Limits};
use crate::target::Target;
use dawn_fanout::{CancellationToken, Fanout, Finished, Outcome, Progress, Running};
use dawn_wire::Secret;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Jobs at once, if the caller gives no number (xCAT's default).
pub const FANOUT_DEFAULT: usize = 64;
/// Time for connecting and logging in, if the caller gives none.
pub const CONNECT_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// Time between two reports of progress.
pub const PROGRESS_PERIOD: Duration = Duration::from_millis(500);
/// Streamed pieces of output that wait for a slow reader before their nodes are not read on.
const EVENTS_MAX: usize = 64;
/// Time that a stopped job has to end its remote command and to say goodbye.
const GRACE: Duration = Duration::from_secs(3);

/// What is done for a node.
#[derive(Clone, Debug)]
pub enum Work {
    /// A command over our own connection.
    Ssh(Command),
    /// The same, logging in with a password.
    SshWithPassword(Command, Secret),
    /// A program on this machine.
    Program(Program),
}

/// A node and what is done for it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The node.
    pub target: Target,
    /// What is done.
    pub work: Work,
}

/// How jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Jobs at once.
    pub fanout: usize,
    /// Time for connecting and logging in.
    pub connect: Duration,
    /// Time without output after which a node is given up.
    pub idle: Option<Duration>,
    /// Time for the whole job of a node.
    pub whole: Option<Duration>,
    /// Hand on lines as they come.
    pub stream: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { fanout: FANOUT_DEFAULT, connect: CONNECT_TIME_DEFAULT, idle: None, whole: None, stream: false }
    }
}

/// Runs all jobs; the counts at the end. `on` gets each event, and stops the run with `Break`.
///
/// # Errors
/// No runtime could be made: the process is out of descriptors or threads.
pub fn run(
    jobs: Vec<Job>,
    settings: Settings,
    on: &mut dyn FnMut(Event) -> ControlFlow<()>,
) -> io::Result<Progress> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let drive = runtime.block_on(async { Drive::new(jobs, settings) });
    let mut drive = drive.map_err(io::Error::other)?;
    // The function may block, as it writes to a client: it is called outside of the runtime.
    while let Some(event) = runtime.block_on(drive.next()) {
        if on(event).is_break() {
            drive.stop.cancel();
        }
    }
    let progress = drive.running.progress();
    drop(drive);
    // A look-up of a name that hangs does not hold the caller.
    runtime.shutdown_background();
    Ok(progress)
}

/// A run on its way.
struct Drive {
    all: Arc<All>,
    running: Running<usize, End, End>,
    events: mpsc::Receiver<Event>,
    ticks: Interval,
    stop: CancellationToken,
    /// A node's end, which waits for the node's last lines.
    ended: Option<Event>,
}

impl Drive {
    fn new(jobs: Vec<Job>, settings: Settings) -> Result<Self, dawn_fanout::LimitError> {
        let mut fanout = Fanout::default().width(settings.fanout)?.grace(GRACE)?;
        if let Some(whole) = settings.whole {
            fanout = fanout.timeout(whole)?;
        }
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let stop = CancellationToken::new();
        let kept = jobs.iter().map(|_| Shared::default()).collect();
        let all = Arc::new(All { kept, jobs, budget: Arc::default(), settings, events: sender });
        let running = start(&all, fanout, stop.clone());
        let mut ticks = interval(PROGRESS_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { all, running, events, ticks, stop, ended: None })
    }

    /// The next event; `None` after the last.
    async fn next(&mut self) -> Option<Event> {
        if self.ended.is_some() {
            return self.events.try_recv().ok().or_else(|| self.ended.take());
        }
        tokio::select! {
            Some(event) = self.events.recv() => Some(event),
            finished = self.running.next() => {
                self.ended = Some(Event::Ended(self.all.ended(finished?)));
                self.events.try_recv().ok().or_else(|| self.ended.take())
            }
            _ = self.ticks.tick() => Some(Event::Progress(self.running.progress())),
        }
    }
}

/// What all jobs of a run share.
struct All {
    jobs: Vec<Job>,
    kept: Vec<Shared>,
    budget: Arc<Budget>,
    settings: Settings,
    events: mpsc::Sender<Event>,
}

fn start(all: &Arc<All>, fanout: Fanout, stop: CancellationToken) -> Running<usize, End, End> {
    let shared = Arc::clone(all);
    fanout.start(0..all.jobs.len(), stop, move |at, token| {
        let (all, at) = (Arc::clone(&shared), *at);
        async move { all.work(at, token).await }
    })
}

impl All {
    /// Carries out one job. An error is any end but success, so that progress counts it as failed.
    async fn work(&self, at: usize, stop: CancellationToken) -> Result<End, End> {
        let (Some(job), Some(kept)) = (self.jobs.get(at), self.kept.get(at)) else {
            return Err(End::NotStarted);
        };
        let node = job.target.node.clone();
        let _ = self.events.send(Event::Started(node.clone())).await;
        let mut output = match self.settings.stream {
            true => Output::streamed(node, self.events.clone()),
            false => Output::kept(Arc::clone(kept), Arc::clone(&self.budget)),
        };
        let result = self.carry_out(job, &mut output, &stop).await;
        output.finish().await;
        match result {
            Ok(0) => Ok(End::Exit(0)),
            Ok(code) => Err(End::Exit(code)),
            Err(failure) => Err(End::Failed(failure)),
        }
    }

    async fn carry_out(
        &self,
        job: &Job,
        output: &mut Output,
        stop: &CancellationToken,
    ) -> Result<i32, Failure> {
        host_name(&job.target.node)?;
        host_name(&job.target.host)?;
        user_name(&job.target.user)?;
        let limits = Limits { connect: self.settings.connect, idle: self.settings.idle };
        match &job.work {
            Work::Ssh(command) => session::run(&job.target, command, None, limits, output, stop).await,
            Work::SshWithPassword(command, password) => {
                session::run(&job.target, command, Some(password), limits, output, stop).await
            }
            Work::Program(program) => program::run(program, limits.idle, output, stop).await,
        }
    }

    fn ended(&self, finished: Finished<usize, End, End>) -> Ended {
        let at = finished.target;
        let node = self.jobs.get(at).map(|job| job.target.node.clone()).unwrap_or_default();
        let kept = self
            .kept
            .get(at)
            .map(|kept| std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner)));
        let kept = kept.unwrap_or_default();
        self.budget.give_back(&kept);
        let end = match finished.outcome {
            Outcome::Done(end) | Outcome::Failed(end) => end,
            Outcome::TimedOut => End::TimedOut,
            Outcome::Cancelled => End::Stopped,
            Outcome::NotStarted => End::NotStarted,
            Outcome::Panicked(reason) => End::Failed(Failure::Protocol { node: node.clone(), reason }),
        };
        Ended { node, end, kept, took: finished.took }
    }
}
