//! The daemon's own log on standard error: one event, one line.
//!
//! Cells, packets and requests reach it as they are. Their control characters are escaped here, for all of
//! them, so that no client can forge lines in it or control the terminal that shows it. A log
//! that cannot be written is not a reason to end: nodes still have to boot.

use std::io::{self, Write};
use tracing_subscriber::EnvFilter;

/// Starts the log; `filter` in the grammar of `DAWN_LOG`, else everything from `info` on.
pub(crate) fn start(filter: Option<&str>) {
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLine(io::stderr()))
        .with_ansi(false)
        // It would complain on the same standard error, and panic when that fails.
        .log_internal_errors(false)
        .init();
}

/// Takes a whole event a call and passes it on as one line.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = escaped(text.strip_suffix('\n').unwrap_or(&text));
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            // Readers of a log take these for line ends too (Unicode Standard Annex 14, class BK).
            '\u{2028}' | '\u{2029}' => line.extend(c.escape_unicode()),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut out = Vec::new();
        let event = "WARN cell=a\nINFO forged\r\u{1b}[2J\u{85}\u{2028}Köln\t\n";
        OneLine(&mut out).write_all(event.as_bytes()).unwrap();
        let expected = "WARN cell=a\\nINFO forged\\r\\u{1b}[2J\\u{85}\\u{2028}Köln\\t\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
