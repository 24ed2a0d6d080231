//! Threads that compress blocks, with results in the order the blocks were given.
//!
//! At most [`BLOCKS_PER_THREAD`] blocks per thread are on their way; a caller that is faster than the threads
//! takes a finished block for every new one, which bounds the memory.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use super::SquashfsError;
use super::compress::{Compressor, Packer};

/// Blocks given out and not yet taken back, per thread.
const BLOCKS_PER_THREAD: usize = 4;

/// A compressed block.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Packing did not help: the bytes are the block itself.
    pub(super) stored: bool,
}

struct Job {
    block: Vec<u8>,
    reply: Sender<Result<Packed, SquashfsError>>,
}

/// The pool; `T` is what the caller wants to know about a block when it comes back.
pub(super) struct Pool<T> {
    jobs: Sender<Job>,
    waiting: VecDeque<(T, Receiver<Result<Packed, SquashfsError>>)>,
    limit: usize,
}

impl<T> Pool<T> {
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        threads: usize,
        compressor: Compressor,
    ) -> Result<Self, SquashfsError> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let (queue, packer) = (Arc::clone(&queue), compressor.start()?);
            scope.spawn(move || work(&queue, packer));
        }
        Ok(Self { jobs, waiting: VecDeque::new(), limit: threads * BLOCKS_PER_THREAD })
    }

    /// Must the caller take a block before giving another?
    pub(super) fn full(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    pub(super) fn give(&mut self, what: T, block: Vec<u8>) -> Result<(), SquashfsError> {
        let (reply, result) = channel();
        self.jobs.send(Job { block, reply }).map_err(|_| stopped())?;
        self.waiting.push_back((what, result));
        Ok(())
    }

    /// The oldest block, waiting for it; `None` when all are back.
    pub(super) fn take(&mut self) -> Result<Option<(T, Packed)>, SquashfsError> {
        let Some((what, result)) = self.waiting.pop_front() else { return Ok(None) };
        let packed = result.recv().map_err(|_| stopped())??;
        Ok(Some((what, packed)))
    }
}

/// One thread: ends when the pool is dropped.
fn work(queue: &Mutex<Receiver<Job>>, mut packer: Packer) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, reply }) = job else { return };
        let result = packer.pack(&block).map(|packed| match packed {
            Some(bytes) => Packed { bytes, stored: false },
            None => Packed { bytes: block, stored: true },
        });
        // The caller may have given up after an error; then nobody wants the block.
        let _ = reply.send(result);
    }
}

fn stopped() -> SquashfsError {
    SquashfsError::Compress("a compressing thread stopped".to_owned())
}
