//! Options of a received packet: in the order they came, pieces joined (RFC 3396), overload followed.
//!
//! A broken tail (an option longer than what is left) ends the list; what was read before it counts. That is
//! what every server does, because some firmware fills its packets with rubbish after the last option. Only a
//! packet in which nothing before it says what the client wants is malformed.

use super::code;

/// Most options taken from one packet; a packet of 1,500 bytes with more is made to waste time.
pub const OPTIONS_MAX: usize = 128;

/// One option as encoded in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece<'a> {
    code: u8,
    value: &'a [u8],
}

/// The options of one message.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    pieces: Vec<Piece<'a>>,
    /// Values that came in several pieces, joined.
    joined: Vec<(u8, Vec<u8>)>,
    /// An option is longer than what was left for it.
    cut: bool,
}

impl<'a> Options<'a> {
    /// Reads the options area, then `file` and `sname` when option 52 says they hold options
    /// (RFC 2131 §4.1: in that order).
    pub fn read(area: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> Self {
        let mut options = Self { pieces: Vec::with_capacity(24), joined: Vec::new(), cut: false };
        options.append(area);
        let overload = options.piece(code::OVERLOAD).and_then(|v| v.first()).copied().unwrap_or(0);
        if overload & 1 != 0 {
            options.append(file);
        }
        if overload & 2 != 0 {
            options.append(sname);
        }
        options.join();
        options
    }

    /// The value of an option; an empty slice when it was sent without a value.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        match self.joined.iter().find(|(joined, _)| *joined == code) {
            Some((_, value)) => Some(value),
            None => self.piece(code),
        }
    }

    /// Whether the option was sent at all.
    pub fn has(&self, code: u8) -> bool {
        self.piece(code).is_some()
    }

    /// Whether the list ends in the middle of an option.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Codes in the order they were sent; a code sent in pieces appears once.
    pub fn codes(&self) -> impl Iterator<Item = u8> {
        let pieces = &self.pieces;
        pieces.iter().enumerate().filter_map(|(n, piece)| {
            let seen = pieces.iter().take(n).any(|earlier| earlier.code == piece.code);
            (!seen).then_some(piece.code)
        })
    }

    fn piece(&self, code: u8) -> Option<&'a [u8]> {
        self.pieces.iter().find(|piece| piece.code == code).map(|piece| piece.value)
    }

    fn append(&mut self, area: &'a [u8]) {
        let mut walk = Walk::new(area);
        for (code, value) in walk.by_ref().take(OPTIONS_MAX.saturating_sub(self.pieces.len())) {
            self.pieces.push(Piece { code, value });
        }
        self.cut |= walk.is_cut();
    }

    fn join(&mut self) {
        let mut seen = [false; 256];
        for piece in &self.pieces {
            let Some(seen) = seen.get_mut(usize::from(piece.code)) else { continue };
            if *seen && !self.joined.iter().any(|(code, _)| *code == piece.code) {
                let same = self.pieces.iter().filter(|other| other.code == piece.code);
                self.joined.push((piece.code, same.flat_map(|other| other.value).copied().collect()));
            }
            *seen = true;
        }
    }
}

/// Walks `code, length, value` triples; used for options and for sub-options of 43, 82 and 175.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Starts at the first byte of `area`.
    pub fn new(area: &'a [u8]) -> Self {
        Self { rest: area }
    }

    /// The value of the first sub-option with this code.
    pub fn find(area: &'a [u8], code: u8) -> Option<&'a [u8]> {
        Self::new(area).find(|(found, _)| *found == code).map(|(_, value)| value)
    }
}

impl Walk<'_> {
    /// Asked after the last option: whether what is left is the head of one that has no room.
    fn is_cut(&self) -> bool {
        match self.rest {
            [] | [code::END, ..] => false,
            [_, len, value @ ..] => value.len() < usize::from(*len),
            [_] => true,
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&code, rest) = self.rest.split_first()?;
            match code {
                code::PAD => self.rest = rest,
                code::END => return None,
                _ => {
                    let (&len, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(len))?;
                    self.rest = rest;
                    return Some((code, value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_over_the_overloaded_fields() {
        let area = [52, 1, 3, 67, 2, b'a', b'b', 12, 0, 255, 9, 9];
        let file = [67, 1, b'c', 255];
        let sname = [0, 0, 67, 1, b'd', 60, 1, b'P'];
        let options = Options::read(&area, &file, &sname);
        assert_eq!(options.get(67), Some(&b"abcd"[..]));
        assert_eq!(options.get(60), Some(&b"P"[..]));
        assert_eq!(options.get(12), Some(&[][..]));
        assert_eq!(options.get(9), None);
        assert_eq!(options.codes().collect::<Vec<_>>(), [52, 67, 12, 60]);
    }

    #[test]
    fn a_broken_tail_ends_the_list() {
        let options = Options::read(&[53, 1, 1, 61, 200, 1], &[], &[]);
        assert_eq!(options.codes().collect::<Vec<_>>(), [53]);
        assert!(options.is_cut());
        let head = Options::read(&[53], &[], &[]);
        assert!(head.codes().next().is_none() && head.is_cut());
        assert!(!Options::read(&[53, 1, 1, 255, 61, 200], &[], &[]).is_cut());
    }
}
