//! Output in whole lines: a node's bytes arrive in pieces of any size and are cut at line ends.
//!
//! A line longer than [`LINE_BYTES_MAX`] is cut into several. A carriage return before a line end goes with
//! it. A last line without an end is a line.

use crate::visible::visible;

/// Bytes of one line; a longer one is shown as several.
pub const LINE_BYTES_MAX: usize = 4 << 20;

/// The beginning of a line whose end has not arrived.
#[derive(Debug, Default)]
pub struct Lines {
    open: Vec<u8>,
}

impl Lines {
    /// Appends the lines that `bytes` complete to `text`, each with `\n`, safe to show.
    pub fn push(&mut self, mut bytes: &[u8], text: &mut String) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(at);
            bytes = rest.get(1..).unwrap_or_default();
            if self.open.is_empty() && line.len() <= LINE_BYTES_MAX {
                show(line, text);
            } else {
                self.extend(line, text);
                self.end(text);
            }
        }
        self.extend(bytes, text);
    }

    /// Appends the line that has begun, if one has.
    pub fn finish(&mut self, text: &mut String) {
        if !self.open.is_empty() {
            self.end(text);
        }
    }

    fn extend(&mut self, mut bytes: &[u8], text: &mut String) {
        while self.open.len() + bytes.len() > LINE_BYTES_MAX {
            let (now, later) = bytes.split_at(LINE_BYTES_MAX - self.open.len());
            self.open.extend_from_slice(now);
            self.end(text);
            bytes = later;
        }
        self.open.extend_from_slice(bytes);
    }

    fn end(&mut self, text: &mut String) {
        show(&self.open, text);
        self.open.clear();
    }
}

fn show(line: &[u8], text: &mut String) {
    text.push_str(&visible(line.strip_suffix(b"\r").unwrap_or(line)));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(pieces: &[&[u8]]) -> String {
        let (mut lines, mut text) = (Lines::default(), String::new());
        pieces.iter().for_each(|piece| lines.push(piece, &mut text));
        lines.finish(&mut text);
        text
    }

    #[test]
    fn lines_end_where_they_end() {
        for (pieces, text) in [
            (&[&b"a\nb\n"[..]][..], "a\nb\n"),
            (&[b"a", b"b\n\n", b"c"], "ab\n\nc\n"),
            (&[b"a\r", b"\nb\r\n"], "a\nb\n"),
            (&[], ""),
        ] {
            assert_eq!(cut(pieces), text);
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let piece = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
        let text = cut(&[&piece, &piece, b"\n"]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [LINE_BYTES_MAX, 2]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), at in 0..200usize) {
            let at = at.min(bytes.len());
            let (a, b) = bytes.split_at(at);
            prop_assert_eq!(cut(&[&bytes]), cut(&[a, b]));
        }
    }
}
