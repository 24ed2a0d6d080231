//! Record marking on streams (RFC 5531 §11): fragments with a four-byte header, joined to records.
//!
//! Memory follows the bytes that have arrived, not the length that a header announces: a stranger who
//! sends eight bytes costs one small buffer. A record longer than [`RECORD_BYTES_MAX`], or made of
//! absurdly many fragments, ends the connection.

use thiserror::Error;

use crate::nfs3::IO_BYTES_MAX;

/// Most bytes of one record: the largest WRITE and room for its header.
pub const RECORD_BYTES_MAX: usize = IO_BYTES_MAX as usize + (64 << 10);
/// Most fragments of one record.
const FRAGMENTS_MAX: u32 = 256;
/// Room for receiving when nothing larger is announced.
const RECEIVE_BYTES: usize = 16 << 10;
/// Records from this size on are handed over in the buffer they arrived in, if they end it.
const HAND_OVER_BYTES_MIN: usize = 32 << 10;
const LAST_FRAGMENT: u32 = 0x8000_0000;

/// Why a stream cannot be continued.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Longer than any call can be.
    #[error("record longer than {RECORD_BYTES_MAX} bytes")]
    TooLong,
    /// Too many fragments.
    #[error("record of more than {FRAGMENTS_MAX} fragments")]
    TooManyFragments,
}

/// One whole record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    start: usize,
}

impl Record {
    /// A record that is all of `bytes`.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// Its bytes, without headers.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Received bytes on their way to records.
#[derive(Debug)]
pub struct Records {
    bytes_max: usize,
    received: Vec<u8>,
    at: usize,
    partial: Vec<u8>,
    fragments: u32,
}

impl Default for Records {
    fn default() -> Self {
        Self::with_limit(RECORD_BYTES_MAX)
    }
}

impl Records {
    /// For records of at most `bytes_max` bytes (and never more than [`RECORD_BYTES_MAX`]).
    pub fn with_limit(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.min(RECORD_BYTES_MAX);
        Self { bytes_max, received: Vec::new(), at: 0, partial: Vec::new(), fragments: 0 }
    }

    /// The buffer to append received bytes to, with room for at least one more and never much more than
    /// the record at hand can use.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if self.at > 0 {
            self.received.drain(..self.at);
            self.at = 0;
        }
        let have = self.received.len();
        let missing = self.announced().map_or(RECEIVE_BYTES, |len| (4 + len).saturating_sub(have));
        // Doubling: an announced size is trusted only up to what has arrived.
        let room = missing.clamp(RECEIVE_BYTES, have.max(RECEIVE_BYTES));
        if self.received.capacity() - have < room.min(missing.max(1)) {
            self.received.reserve_exact(room);
        }
        &mut self.received
    }

    /// Whether a record has begun and not ended.
    pub fn in_the_middle(&self) -> bool {
        self.received.len() > self.at || self.fragments > 0
    }

    /// Bytes of records that have not arrived whole.
    pub fn unfinished_bytes(&self) -> usize {
        self.received.len() - self.at + self.partial.len()
    }

    /// Gives back memory that an idle connection does not need.
    pub fn shrink(&mut self) {
        if !self.in_the_middle() && self.received.capacity() > RECEIVE_BYTES {
            *self = Self::with_limit(self.bytes_max);
        }
    }

    fn header(&self) -> Option<u32> {
        let bytes = self.received.get(self.at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    fn announced(&self) -> Option<usize> {
        usize::try_from(self.header()? & !LAST_FRAGMENT).ok()
    }

    /// The next whole record, if it has arrived.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        loop {
            let (Some(header), Some(len)) = (self.header(), self.announced()) else { return Ok(None) };
            if self.partial.len() + len > self.bytes_max {
                return Err(RecordError::TooLong);
            }
            let start = self.at + 4;
            let Some(fragment) = self.received.get(start..start + len) else { return Ok(None) };
            let last = header & LAST_FRAGMENT != 0;
            if last && self.fragments == 0 {
                return Ok(Some(self.take_whole(start, len)));
            }
            self.partial.extend_from_slice(fragment);
            self.at = start + len;
            self.fragments += 1;
            if last {
                self.fragments = 0;
                return Ok(Some(Record::whole(std::mem::take(&mut self.partial))));
            }
            if self.fragments >= FRAGMENTS_MAX {
                return Err(RecordError::TooManyFragments);
            }
        }
    }

    fn take_whole(&mut self, start: usize, len: usize) -> Record {
        let end = start + len;
        if len >= HAND_OVER_BYTES_MIN && end == self.received.len() {
            self.at = 0;
            return Record { bytes: std::mem::take(&mut self.received), start };
        }
        self.at = end;
        Record::whole(self.received.get(start..end).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(len: usize, last: bool) -> Vec<u8> {
        let header = u32::try_from(len).unwrap() | if last { LAST_FRAGMENT } else { 0 };
        header.to_be_bytes().to_vec()
    }

    #[test]
    fn records_come_out_however_the_bytes_arrive() {
        let big = vec![7u8; 200_000];
        let stream = [
            [mark(5, true), b"hello".to_vec()].concat(),
            [mark(2, false), b"he".to_vec(), mark(0, false), mark(3, true), b"llo".to_vec()].concat(),
            [mark(big.len(), true), big.clone()].concat(),
            [mark(0, true)].concat(),
            [mark(5, true), b"world".to_vec()].concat(),
        ]
        .concat();
        for step in [1, 3, 7, 1000, 65_536, 1 << 20] {
            let mut records = Records::default();
            let mut got = Vec::new();
            for chunk in stream.chunks(step) {
                records.room().extend_from_slice(chunk);
                while let Some(record) = records.next_record().unwrap() {
                    got.push(record.bytes().to_vec());
                }
            }
            assert_eq!(got, [b"hello".to_vec(), b"hello".to_vec(), big.clone(), vec![], b"world".to_vec()]);
            assert!(!records.in_the_middle());
        }
    }

    #[test]
    fn announcements_cost_nothing() {
        let mut records = Records::default();
        records.room().extend_from_slice(&mark(RECORD_BYTES_MAX, true));
        assert_eq!(records.next_record(), Ok(None));
        assert!(records.room().capacity() < 3 * RECEIVE_BYTES);
        for header in [mark(RECORD_BYTES_MAX + 1, true), mark(0x7fff_ffff, false)] {
            let mut records = Records::default();
            records.room().extend_from_slice(&header);
            assert_eq!(records.next_record(), Err(RecordError::TooLong));
        }
        let mut records = Records::default();
        records.room().extend_from_slice(&mark(0, false).repeat(300));
        assert_eq!(records.next_record(), Err(RecordError::TooManyFragments));
    }
}
