//! The thread that makes leases durable: records in, one sync for as many as are waiting, then the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, mem};

use super::ports::Senders;
use super::wake::{Batch, CommitError, Verdict, Wake};
use crate::lease::journal::Journal;
use crate::lease::record::Record;

/// Batches that wait for the disk at most; a batch has at most as many packets as are received at once.
const BATCHES_MAX: usize = 512;
/// Records written with one sync at most.
const RECORDS_PER_SYNC_MAX: usize = 16_384;
/// How long records gather before a sync when several clients are at it, in milliseconds.
const GATHER_MS: u64 = 20;
/// How often a journal that failed is tried again, in milliseconds.
const RETRY_MS: u64 = 2000;

/// The way to the thread.
pub(super) struct Committer {
    batches: SyncSender<Batch>,
    /// A batch was given back; the thread reports it when it has caught up.
    overrun: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Committer {
    pub(super) fn start(journal: Journal, senders: Arc<Senders>, wake: Wake) -> io::Result<Self> {
        let (batches, receiver) = sync_channel(BATCHES_MAX);
        let overrun = Arc::new(AtomicBool::new(false));
        let mut state = State { journal, senders, wake, failed_at: None, overrun: overrun.clone() };
        let thread =
            std::thread::Builder::new().name("dhcp-journal".into()).spawn(move || state.run(&receiver))?;
        Ok(Self { batches, overrun, thread })
    }

    /// Hands a batch over; gives it back when the disk is too far behind.
    pub(super) fn submit(&self, batch: Batch) -> Result<(), Batch> {
        self.batches.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })
    }

    /// Asks for a message when the disk has caught up. To be called after the engine's failure was reported,
    /// so that the recovery is reported after it.
    pub(super) fn tell_when_caught_up(&self) {
        self.overrun.store(true, Ordering::Release);
    }

    /// Waits until everything handed over is on disk.
    pub(super) fn finish(self) {
        drop(self.batches);
        let _ = self.thread.join();
    }
}

struct State {
    journal: Journal,
    senders: Arc<Senders>,
    wake: Wake,
    /// When the last attempt to write the journal failed.
    failed_at: Option<Instant>,
    overrun: Arc<AtomicBool>,
}

impl State {
    fn run(&mut self, batches: &Receiver<Batch>) {
        let mut crowd = false;
        loop {
            let first = match batches.recv_timeout(Duration::from_millis(RETRY_MS)) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) if self.is_down() => Batch::default(),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if crowd {
                gather();
            }
            let batch = drain(first, batches);
            crowd = batch.send.len() > 1;
            self.commit(batch);
        }
    }

    /// Whether the engine knows that nothing can be written.
    fn is_down(&self) -> bool {
        self.failed_at.is_some() || self.overrun.load(Ordering::Acquire)
    }

    fn commit(&mut self, mut batch: Batch) {
        match self.write(&batch.records) {
            Ok(()) => {
                self.senders.send(&batch.send);
                let was_failed = self.failed_at.take().is_some();
                if self.overrun.swap(false, Ordering::AcqRel) || was_failed {
                    self.wake.report(Verdict::Recovered);
                }
            }
            Err(why) => self.wake.report(Verdict::Failed(mem::take(&mut batch.records), why)),
        }
    }

    /// Writes records; after a failure not before some time has passed, and with a rewrite first, which may
    /// need less room than the file has now.
    fn write(&mut self, records: &[Record]) -> Result<(), CommitError> {
        let written = match self.failed_at {
            Some(at) if at.elapsed() < Duration::from_millis(RETRY_MS / 2) => {
                return Err(CommitError::TooSoon);
            }
            Some(_) => self.journal.compact().and_then(|()| self.journal.commit(records)),
            None => self.journal.commit(records),
        };
        written.map_err(|error| {
            self.failed_at = Some(Instant::now());
            CommitError::from(error)
        })
    }
}

fn drain(mut batch: Batch, batches: &Receiver<Batch>) -> Batch {
    while batch.records.len() < RECORDS_PER_SYNC_MAX {
        let Ok(next) = batches.try_recv() else { break };
        batch.records.extend(next.records);
        batch.send.extend(next.send);
    }
    batch
}

#[allow(clippy::disallowed_methods, reason = "the journal's own thread; the wait is GATHER_MS")]
fn gather() {
    std::thread::sleep(Duration::from_millis(GATHER_MS));
}
