//! Output of a console as lines of plain text.
//!
//! Escape sequences (ECMA-48) and control characters are left out, a carriage return begins the line again as
//! a terminal would, a backspace takes a character back. A line of more than [`CONSOLE_LINE_BYTES_MAX`] is
//! cut into several, and a sequence that does not end is given up after [`SEQUENCE_BYTES_MAX`], so hostile
//! output holds a bounded amount of memory and cannot hide what comes after it.

use crate::limits::CONSOLE_LINE_BYTES_MAX;

/// Bytes of one escape sequence that are left out at most.
const SEQUENCE_BYTES_MAX: usize = 256;
const BACKSPACE: u8 = 0x08;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;

/// Where in a sequence the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After `ESC [`, until a byte from `@` to `~`.
    Control,
    /// A string (title, colours), until BEL or `ESC \`.
    Text7,
}

/// Makes lines of bytes.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    at: At,
    in_sequence: usize,
    returned: bool,
}

impl Lines {
    /// Takes output; `take` gets each line that is complete.
    pub fn push(&mut self, output: &[u8], mut take: impl FnMut(String)) {
        for byte in output {
            if self.at == At::Text {
                self.on_text(*byte, &mut take);
            } else {
                self.on_sequence(*byte);
            }
        }
    }

    /// The line that is not complete, if anything is in it.
    pub fn end(&mut self) -> Option<String> {
        self.at = At::Text;
        (!self.line.is_empty()).then(|| plain(&std::mem::take(&mut self.line)))
    }

    fn on_text(&mut self, byte: u8, take: &mut impl FnMut(String)) {
        match byte {
            b'\n' => {
                self.returned = false;
                return take(plain(&std::mem::take(&mut self.line)));
            }
            b'\r' => return self.returned = true,
            ESCAPE => {
                (self.at, self.in_sequence) = (At::Escape, 0);
                return;
            }
            _ => {}
        }
        if std::mem::take(&mut self.returned) {
            self.line.clear();
        }
        match byte {
            BACKSPACE => drop(self.line.pop()),
            b'\t' | b' '..=b'~' | 0x80.. => self.line.push(byte),
            _ => {}
        }
        if self.line.len() >= CONSOLE_LINE_BYTES_MAX {
            take(plain(&std::mem::take(&mut self.line)));
        }
    }

    fn on_sequence(&mut self, byte: u8) {
        self.in_sequence += 1;
        self.at = match (self.at, byte) {
            _ if self.in_sequence > SEQUENCE_BYTES_MAX => At::Text,
            (_, ESCAPE) => At::Escape,
            (At::Escape, b'[') => At::Control,
            (At::Escape, b']' | b'P' | b'X' | b'^' | b'_') => At::Text7,
            (At::Escape, b' '..=b'/') => At::Escape,
            (At::Escape, _) | (At::Control, b'@'..=b'~') | (At::Text7, BELL) => At::Text,
            // A line end inside of a sequence: it was never one.
            (At::Control, b'\n') => At::Text,
            (at, _) => at,
        };
    }
}

/// Text without control characters, C1 and invalid bytes among them.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(output: &[u8]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        // Byte by byte: a sequence is recognised however it is split into packets.
        output.iter().for_each(|byte| lines.push(&[*byte], |line| all.push(line)));
        all.extend(lines.end());
        all
    }

    #[test]
    fn plain_lines() {
        for (output, expected) in [
            (&b"a\r\nb\n\rc"[..], vec!["a", "b", "c"]),
            (b"\x1b[1;31mred\x1b[0m\r\n", vec!["red"]),
            (b"\x1b]0;title\x07x\x1b]2;t\x1b\\y\n", vec!["xy"]),
            (b"10%\r20%\r100%\r\n", vec!["100%"]),
            (b"passe\x08word\x00\x07\x9b\n", vec!["password\u{fffd}"]),
            ("gr\u{fc}n \u{9b}31m\n".as_bytes(), vec!["gr\u{fc}n 31m"]),
            (b"\x1b[12\nKernel panic\n", vec!["Kernel panic"]),
        ] {
            assert_eq!(lines(output), expected, "{}", output.escape_ascii());
        }
    }

    #[test]
    fn long_lines_and_endless_sequences() {
        let long = lines(&[b'x'; 1 << 20]);
        assert_eq!(long.len(), (1 << 20) / CONSOLE_LINE_BYTES_MAX);
        assert!(long.iter().all(|line| line.len() == CONSOLE_LINE_BYTES_MAX));
        let mut endless = b"\x1b]0;".to_vec();
        endless.extend([b'x'; 1000]);
        endless.extend(b"\nKernel panic\n");
        assert!(lines(&endless).contains(&"Kernel panic".to_owned()));
    }
}
