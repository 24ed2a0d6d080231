//! XDR (RFC 4506) as NFS uses it: a reader over borrowed bytes and a writer onto one buffer.
//!
//! The reader never allocates and never recurses: a length on the wire is compared with the limit of
//! its field and with the bytes that are really there before anything is done with it. The writer
//! cannot fail. Deliberately missing: floats, hypers with sign, discriminated unions as a type (each
//! procedure spells its arms out).

use thiserror::Error;

/// Why bytes are not the XDR item that was expected. The RPC answer is GARBAGE_ARGS.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum XdrError {
    /// The record ends inside an item.
    #[error("record ends inside an item: {wanted} bytes wanted, {left} left")]
    Short {
        /// Bytes the item needs.
        wanted: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A variable-length item is longer than its field allows.
    #[error("item of {len} bytes where at most {max} are allowed")]
    TooLong {
        /// Length on the wire, in bytes.
        len: usize,
        /// Limit of the field, in bytes.
        max: usize,
    },
    /// A count and the length of the data that it counts differ.
    #[error("{len} bytes of data where {count} are announced")]
    Contradiction {
        /// The count, in bytes.
        count: u32,
        /// Length of the data, in bytes.
        len: usize,
    },
    /// A bool or enum has a value that does not exist.
    #[error("value {0} is not one of the enumeration")]
    BadEnum(u32),
}

/// Reads XDR items from the front of a byte slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader that starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Exactly `len` bytes plus the padding to a multiple of four.
    pub fn fixed(&mut self, len: usize) -> Result<&'a [u8], XdrError> {
        let short = XdrError::Short { wanted: len, left: self.rest.len() };
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        let pad = len.wrapping_neg() & 3;
        self.rest = rest.get(pad..).ok_or(short)?;
        Ok(bytes)
    }

    /// Variable-length opaque of at most `max` bytes.
    pub fn opaque(&mut self, max: usize) -> Result<&'a [u8], XdrError> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if len > max {
            return Err(XdrError::TooLong { len, max });
        }
        self.fixed(len)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(XdrError::Short { wanted: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*head)
    }

    /// Unsigned 32 bits.
    pub fn u32(&mut self) -> Result<u32, XdrError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Unsigned 64 bits ("unsigned hyper").
    pub fn u64(&mut self) -> Result<u64, XdrError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A bool: only 0 or 1.
    pub fn bool(&mut self) -> Result<bool, XdrError> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(XdrError::BadEnum(other)),
        }
    }
}

/// Appends XDR items to a buffer.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer that appends to `bytes`.
    pub fn onto(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything after the first `len` bytes: an answer turned into an error.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Unsigned 32 bits.
    pub fn u32(&mut self, v: u32) {
        self.bytes.extend_from_slice(&v.to_be_bytes());
    }

    /// Unsigned 64 bits.
    pub fn u64(&mut self, v: u64) {
        self.bytes.extend_from_slice(&v.to_be_bytes());
    }

    /// A bool.
    pub fn bool(&mut self, v: bool) {
        self.u32(u32::from(v));
    }

    /// Bytes whose length both sides know, padded to a multiple of four.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad(bytes.len());
    }

    /// Length, bytes, padding. Lengths above 4 GiB cannot occur: every caller is bounded by a record.
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.fixed(bytes);
    }

    /// Zero bytes that fill `len` up to a multiple of four.
    pub fn pad(&mut self, len: usize) {
        let pad = len.wrapping_neg() & 3;
        self.bytes.resize(self.bytes.len() + pad, 0);
    }

    /// Overwrites the four bytes at `at` (written before) with `v`.
    pub fn patch_u32(&mut self, at: usize, v: u32) {
        if let Some(slot) = self.bytes.get_mut(at..at + 4) {
            slot.copy_from_slice(&v.to_be_bytes());
        }
    }

    /// The buffer itself, for a system call that reads straight into it.
    pub(crate) fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_use() {
        let cases: &[(&[u8], usize, XdrError)] = &[
            (&[0, 0, 0, 9, 1], 16, XdrError::Short { wanted: 9, left: 1 }),
            (&[255, 255, 255, 255], 16, XdrError::TooLong { len: 0xffff_ffff, max: 16 }),
            (&[0, 0], 16, XdrError::Short { wanted: 4, left: 2 }),
            (&[0, 0, 0, 1, 7], 16, XdrError::Short { wanted: 1, left: 1 }),
        ];
        for (bytes, max, want) in cases {
            assert_eq!(Reader::new(bytes).opaque(*max), Err(*want), "{bytes:?}");
        }
    }

    #[test]
    fn items_come_back_as_written() {
        let mut w = Writer::default();
        w.u32(7);
        w.u64(u64::MAX - 1);
        w.bool(true);
        w.opaque(b"hello");
        w.patch_u32(0, 8);
        let bytes = w.into_bytes();
        assert_eq!(bytes.len() % 4, 0);
        let mut r = Reader::new(&bytes);
        assert_eq!(r.u32(), Ok(8));
        assert_eq!(r.u64(), Ok(u64::MAX - 1));
        assert_eq!(r.bool(), Ok(true));
        assert_eq!(r.opaque(5), Ok(b"hello".as_slice()));
        assert!(r.rest().is_empty());
    }
}
