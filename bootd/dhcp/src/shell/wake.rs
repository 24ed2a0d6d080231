//! Messages between the worker and the thread that makes leases durable: batches of records one way, verdicts
//! back, and the event that wakes the worker.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::Outgoing;
use crate::lease::journal::JournalError;
use crate::lease::record::Record;

/// Records, and the answers that wait for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub records: Vec<Record>,
    pub send: Vec<Outgoing>,
}

/// Why records are not on disk.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// Too many batches wait already.
    #[error("the disk is too slow")]
    TooSlow,
    /// The journal is not tried again so soon after a failure.
    #[error("it failed a moment ago")]
    TooSoon,
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// What is sent to the worker.
pub(super) enum Verdict {
    /// These records are not on disk, and why.
    Failed(Vec<Record>, CommitError),
    /// The journal can be written again.
    Recovered,
}

/// The way to wake the worker from other threads.
#[derive(Clone)]
pub(super) struct Wake {
    pub(super) event: Arc<OwnedFd>,
    pub(super) stop: Arc<AtomicBool>,
    verdicts: Arc<Mutex<Vec<Verdict>>>,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd returns a descriptor that is not owned elsewhere, or -1.
        let event = unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(Self { event: Arc::new(event), stop: Arc::default(), verdicts: Arc::default() })
    }

    /// Ends the worker.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn report(&self, verdict: Verdict) {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(verdict);
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&*self.event, &1_u64.to_ne_bytes());
    }

    pub(super) fn take(&self) -> Vec<Verdict> {
        let _ = rustix::io::read(&*self.event, &mut [0; 8]);
        std::mem::take(&mut *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
