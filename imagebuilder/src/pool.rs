//! Threads that compress blocks, with results in the order the blocks were given.
//!
//! At most [`BLOCKS_PER_THREAD`] blocks per thread are on their way; a caller that is faster than the threads
//! takes a finished block for every new one, which bounds the memory.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

/// Blocks given out and not yet taken back, per thread.
const BLOCKS_PER_THREAD: usize = 4;

/// A compressed block.
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    /// Packing did not help: the bytes are the block itself.
    pub(crate) stored: bool,
}

/// The state of one thread.
pub(crate) trait Pack: Send {
    /// Compress one block.
    fn pack(&mut self, block: Vec<u8>) -> io::Result<Packed>;
}

struct Job {
    block: Vec<u8>,
    reply: Sender<io::Result<Packed>>,
}

/// The pool; `T` is what the caller wants to know about a block when it comes back.
pub(crate) struct Pool<T> {
    jobs: Sender<Job>,
    waiting: VecDeque<(T, Receiver<io::Result<Packed>>)>,
    limit: usize,
}

impl<T> Pool<T> {
    /// One thread for each of `packers`.
    pub(crate) fn start<'scope, P: Pack + 'scope>(scope: &'scope Scope<'scope, '_>, packers: Vec<P>) -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let limit = packers.len() * BLOCKS_PER_THREAD;
        for packer in packers {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(&queue, packer));
        }
        Self { jobs, waiting: VecDeque::new(), limit }
    }

    /// Must the caller take a block before giving another?
    pub(crate) fn full(&self) -> bool {
        self.waiting.len() >= self.limit
    }

    /// Hand a block to the threads.
    pub(crate) fn give(&mut self, what: T, block: Vec<u8>) -> io::Result<()> {
        let (reply, result) = channel();
        self.jobs.send(Job { block, reply }).map_err(|_| stopped())?;
        self.waiting.push_back((what, result));
        Ok(())
    }

    /// The oldest block, waiting for it; `None` when all are back.
    pub(crate) fn take(&mut self) -> io::Result<Option<(T, Packed)>> {
        let Some((what, result)) = self.waiting.pop_front() else { return Ok(None) };
        let packed = result.recv().map_err(|_| stopped())??;
        Ok(Some((what, packed)))
    }
}

/// One thread: ends when the pool is dropped.
fn work(queue: &Mutex<Receiver<Job>>, mut packer: impl Pack) {
    loop {
        let job = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(Job { block, reply }) = job else { return };
        // The caller may have given up after an error; then the block is not wanted.
        let _ = reply.send(packer.pack(block));
    }
}

fn stopped() -> io::Error {
    io::Error::other("a compressing thread stopped")
}
