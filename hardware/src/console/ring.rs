//! The newest output of a console, for viewers who come later.

use std::collections::VecDeque;

use crate::limits::CONSOLE_RING_BYTES_MAX;

/// The last bytes, [`CONSOLE_RING_BYTES_MAX`] at most.
#[derive(Debug, Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    is_cut: bool,
}

impl Ring {
    pub(super) fn push(&mut self, output: &[u8]) {
        let begin = output.len().saturating_sub(CONSOLE_RING_BYTES_MAX);
        let newest = output.get(begin..).unwrap_or_default();
        // Room is made first, so that the buffer never grows beyond the limit.
        let over = (self.bytes.len() + newest.len()).saturating_sub(CONSOLE_RING_BYTES_MAX);
        self.is_cut |= over > 0 || begin > 0;
        self.bytes.drain(..over);
        self.bytes.extend(newest);
    }

    /// Its content from the beginning of a line: half an escape sequence would be shown as text.
    pub(super) fn shown(&self) -> Vec<u8> {
        let all: Vec<u8> = self.bytes.iter().copied().collect();
        let line = all.iter().position(|byte| *byte == b'\n').filter(|_| self.is_cut);
        line.and_then(|at| all.get(at + 1..)).map_or(all.clone(), <[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay() {
        let mut ring = Ring::default();
        ring.push(b"first\nsecond\n");
        assert_eq!(ring.shown(), b"first\nsecond\n");
        for number in 0..10_000 {
            ring.push(format!("line {number}\n").as_bytes());
        }
        let shown = String::from_utf8(ring.shown()).unwrap();
        assert!(shown.starts_with("line ") && shown.ends_with("line 9999\n"), "{shown}");
        assert!((CONSOLE_RING_BYTES_MAX - 20..=CONSOLE_RING_BYTES_MAX).contains(&shown.len()));
        ring.push(&[b'x'; 1 << 20]);
        assert_eq!(ring.shown(), [b'x'; CONSOLE_RING_BYTES_MAX]);
    }
}
