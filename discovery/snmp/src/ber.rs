//! The encoding: the part of BER (X.690) that SNMP uses: tags of one byte, lengths that are given.
//!
//! [`Reader`] knows where it stands in the whole message, because a digest is computed over all of it with
//! one field blanked. Lengths in a longer form than needed are read, agents write them. What does not fit
//! is an error with its place; nothing is guessed.

use std::ops::Range;

/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// OCTET STRING.
pub const OCTETS: u8 = 0x04;
/// NULL.
pub const NULL: u8 = 0x05;
/// OBJECT IDENTIFIER.
pub const OBJECT: u8 = 0x06;
/// SEQUENCE and SEQUENCE OF.
pub const SEQUENCE: u8 = 0x30;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BerError {
    /// The bytes end inside a field.
    #[error("the message ends early, at byte {0}")]
    Short(usize),
    /// A length that is not given, or has more than four bytes.
    #[error("byte {0} is not a length")]
    Length(usize),
    /// Another field is expected.
    #[error("at byte {at} there is a field {found:#04x} instead of {wanted:#04x}")]
    Tag {
        /// Where.
        at: usize,
        /// Which field is there.
        found: u8,
        /// Which one should be.
        wanted: u8,
    },
    /// A number, name or value out of its range.
    #[error("the value at byte {0} is out of range")]
    Range(usize),
    /// More items than are read.
    #[error("the list at byte {0} is too long")]
    TooMany(usize),
}

/// Reads fields one after another.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    whole: &'a [u8],
    at: usize,
    end: usize,
}

/// One field.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Which kind.
    pub tag: u8,
    /// Where its content stands in the whole message.
    pub place: Range<usize>,
    /// Its content.
    pub content: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a message from its beginning.
    pub fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0, end: whole.len() }
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// Where the next field begins.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next field's kind, without reading it.
    pub fn peek(&self) -> Option<u8> {
        if self.is_empty() { None } else { self.whole.get(self.at).copied() }
    }

    fn byte(&mut self) -> Result<u8, BerError> {
        let byte = self.peek().ok_or(BerError::Short(self.at))?;
        self.at += 1;
        Ok(byte)
    }

    fn length(&mut self) -> Result<usize, BerError> {
        let at = self.at;
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(usize::from(first));
        }
        let count = first & 0x7f;
        if !(1..=4).contains(&count) {
            return Err(BerError::Length(at));
        }
        let mut length = 0_usize;
        for _ in 0..count {
            length = length.checked_mul(256).ok_or(BerError::Length(at))? + usize::from(self.byte()?);
        }
        Ok(length)
    }

    /// The next field, whatever it is.
    ///
    /// # Errors
    /// [`BerError::Short`], [`BerError::Length`].
    pub fn field(&mut self) -> Result<Field<'a>, BerError> {
        let tag = self.byte()?;
        let length = self.length()?;
        let start = self.at;
        let end = start.checked_add(length).filter(|end| *end <= self.end).ok_or(BerError::Short(start))?;
        let content = self.whole.get(start..end).ok_or(BerError::Short(start))?;
        self.at = end;
        Ok(Field { tag, place: start..end, content })
    }

    /// The next field, which must be of this kind.
    ///
    /// # Errors
    /// As [`Reader::field`], and [`BerError::Tag`].
    pub fn expect(&mut self, wanted: u8) -> Result<Field<'a>, BerError> {
        let at = self.at;
        let field = self.field()?;
        if field.tag == wanted { Ok(field) } else { Err(BerError::Tag { at, found: field.tag, wanted }) }
    }

    /// A reader of a field's content.
    pub fn within(&self, field: &Field<'a>) -> Self {
        Self { whole: self.whole, at: field.place.start, end: field.place.end }
    }

    /// Opens a sequence.
    ///
    /// # Errors
    /// As [`Reader::expect`].
    pub fn open(&mut self, tag: u8) -> Result<Self, BerError> {
        let field = self.expect(tag)?;
        Ok(self.within(&field))
    }

    /// An INTEGER.
    ///
    /// # Errors
    /// As [`Reader::expect`], and [`BerError::Range`] beyond 64 bits.
    pub fn integer(&mut self) -> Result<i64, BerError> {
        let field = self.expect(INTEGER)?;
        signed(field.content).ok_or(BerError::Range(field.place.start))
    }

    /// An INTEGER from 0 to 2^31 - 1, as nearly all of SNMP's are.
    ///
    /// # Errors
    /// As [`Reader::integer`].
    pub fn natural(&mut self) -> Result<u32, BerError> {
        let at = self.at;
        let number = self.integer()?;
        u32::try_from(number).ok().filter(|n| *n <= i32::MAX.unsigned_abs()).ok_or(BerError::Range(at))
    }

    /// An INTEGER of 32 bits with a sign.
    ///
    /// # Errors
    /// As [`Reader::integer`].
    pub fn int32(&mut self) -> Result<i32, BerError> {
        let at = self.at;
        i32::try_from(self.integer()?).map_err(|_| BerError::Range(at))
    }
}

/// A number in two's complement of 1 to 8 bytes.
pub fn signed(content: &[u8]) -> Option<i64> {
    let (first, _) = content.split_first()?;
    if content.len() > 8 {
        return None;
    }
    let start = if first & 0x80 == 0 { 0 } else { -1 };
    Some(content.iter().fold(start, |number: i64, byte| (number << 8) | i64::from(*byte)))
}

/// A number without sign of 1 to 8 bytes, or 9 of which the first is zero.
pub fn unsigned(content: &[u8]) -> Option<u64> {
    let digits = match content {
        [0, rest @ ..] if !rest.is_empty() => rest,
        [] => return None,
        all => all,
    };
    if digits.len() > 8 {
        return None;
    }
    Some(digits.iter().fold(0, |number: u64, byte| (number << 8) | u64::from(*byte)))
}

/// Appends a field.
pub fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let bytes = content.len().to_be_bytes();
    let used = bytes.iter().skip_while(|byte| **byte == 0).count();
    match content.len() {
        short @ 0..=0x7f => out.push(short.to_le_bytes()[0]),
        _ => {
            out.push(0x80 | used.to_le_bytes()[0]);
            out.extend(bytes.iter().skip(bytes.len() - used));
        }
    }
    out.extend_from_slice(content);
}

/// Appends a field whose content is written by `fill`.
pub fn put_with(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut content = Vec::new();
    fill(&mut content);
    put(out, tag, &content);
}

/// Appends an INTEGER in as few bytes as it needs.
pub fn put_integer(out: &mut Vec<u8>, number: i64) {
    put(out, INTEGER, &minimal_signed(number));
}

fn minimal_signed(number: i64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    while let [first, second, ..] = bytes.as_slice() {
        let is_spare = (*first == 0 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0);
        if !is_spare {
            break;
        }
        bytes.remove(0);
    }
    bytes
}

/// Appends a number without sign under the tag.
pub fn put_unsigned(out: &mut Vec<u8>, tag: u8, number: u64) {
    let mut bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    if bytes.first().is_none_or(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    put(out, tag, &bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (number, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (-1, &[0xff]),
            (-129, &[0xff, 0x7f]),
            (i64::from(i32::MAX), &[0x7f, 0xff, 0xff, 0xff]),
        ] {
            let mut out = Vec::new();
            put_integer(&mut out, number);
            assert_eq!(&out[2..], bytes, "{number}");
            assert_eq!(Reader::new(&out).integer(), Ok(number));
        }
        assert_eq!(unsigned(&[0, 0xff, 0xff, 0xff, 0xff]), Some(0xffff_ffff));
        assert_eq!(unsigned(&[0]), Some(0));
        assert_eq!(unsigned(&[]), None);
        assert_eq!(unsigned(&[1; 9]), None);
    }

    #[test]
    fn lengths() {
        for size in [0, 1, 127, 128, 255, 256, 70_000] {
            let mut out = Vec::new();
            put(&mut out, OCTETS, &vec![7; size]);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.expect(OCTETS).unwrap().content.len(), size);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_refused() {
        for (bytes, error) in [
            (&[][..], BerError::Short(0)),
            (&[0x30], BerError::Short(1)),
            (&[0x30, 0x80], BerError::Length(1)),
            (&[0x30, 0x85, 1, 1, 1, 1, 1], BerError::Length(1)),
            (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], BerError::Short(6)),
            (&[0x30, 2, 0], BerError::Short(2)),
            (&[0x04, 0], BerError::Tag { at: 0, found: 4, wanted: 0x30 }),
        ] {
            assert_eq!(Reader::new(bytes).open(SEQUENCE).unwrap_err(), error, "{bytes:?}");
        }
    }

    #[test]
    fn a_field_may_not_reach_beyond_its_sequence() {
        let bytes = [0x30, 2, 0x04, 5, 1, 2, 3, 4, 5];
        let mut inner = Reader::new(&bytes).open(SEQUENCE).unwrap();
        assert_eq!(inner.field().unwrap_err(), BerError::Short(4));
    }
}
