//! Buffers for connections that have something to read or to send; one that waits for its client holds none.
//!
//! A connection nearly always gives its buffers back before another one of the same thread takes some. So
//! each thread keeps one pair, and a request costs no allocation for them.

use std::cell::RefCell;

use crate::limits::{HEAD_BYTES_MAX, READ_BYTES, SPARE_BYTES_MAX};

/// What a connection reads into, and what it writes from.
#[derive(Default)]
pub(crate) struct Buffers {
    pub(crate) read: Vec<u8>,
    pub(crate) out: Vec<u8>,
}

thread_local! {
    static SPARE: RefCell<Option<Buffers>> = const { RefCell::new(None) };
}

impl Buffers {
    /// Makes sure that there is memory to read into.
    pub(crate) fn hold(&mut self) {
        if self.read.capacity() == 0
            && let Some(spare) = SPARE.take()
        {
            *self = spare;
        }
        self.read.reserve(READ_BYTES);
    }

    /// Gives the memory away, and with it whatever is in it. Only common sizes are kept for others.
    pub(crate) fn release(&mut self) {
        let Self { mut read, mut out } = std::mem::take(self);
        if read.capacity() <= HEAD_BYTES_MAX && out.capacity() <= SPARE_BYTES_MAX {
            read.clear();
            out.clear();
            SPARE.set(Some(Self { read, out }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_is_kept_and_it_is_empty() {
        let mut first = Buffers::default();
        first.hold();
        first.read.extend_from_slice(b"secret");
        let memory = first.read.as_ptr();
        first.release();
        assert_eq!(first.read.capacity(), 0);
        let mut second = Buffers::default();
        second.hold();
        assert!(second.read.is_empty() && second.read.as_ptr() == memory);
        second.out.reserve(SPARE_BYTES_MAX + 1);
        second.release();
        assert!(SPARE.take().is_none(), "too large to be kept");
    }
}
