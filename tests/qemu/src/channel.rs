//! Commands inside a machine, over its second serial port.
//!
//! The test image runs a loop on that port ([`crate::image`]): a line `NUMBER COMMAND` is answered by `BEGIN
//! NUMBER`, the command's output, and `END NUMBER STATUS`. A serial port loses what arrives before a reader
//! is there and keeps what was not read, so every command has a number and the first one is a greeting that
//! is repeated until it is answered.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Time between two greetings.
const GREETING_INTERVAL: Duration = Duration::from_secs(3);
/// Longest wait of one read, so that deadlines are looked at.
const READ_LIMIT: Duration = Duration::from_millis(200);
/// Most output a command may give, in bytes.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a command gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Both output streams, without the last newline.
    pub output: String,
    /// The shell's exit status.
    pub status: i32,
}

/// A connection to the command loop of one machine.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    received: String,
    next: u64,
}

impl Channel {
    /// Connects to the socket of the second serial port.
    pub fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket);
        let stream = stream.with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(READ_LIMIT)).context("cannot set a read time-out")?;
        // Answers to an earlier connection must not be taken for ours.
        let next = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Ok(Self { stream, received: String::new(), next: u64::try_from(next).unwrap_or(0) })
    }

    /// Runs one command; the deadline covers waiting for the loop to come up as well.
    pub fn exec(&mut self, command: &str, limit: Duration) -> Result<Answer> {
        if command.contains('\n') {
            bail!("a command is one line");
        }
        let end = Instant::now() + limit;
        self.greet(end)?;
        let number = self.send(command)?;
        match self.receive(number, end)? {
            Some(answer) => Ok(answer),
            None => bail!("no answer within {} s; received: {:?}", limit.as_secs(), self.received),
        }
    }

    fn greet(&mut self, end: Instant) -> Result<()> {
        while Instant::now() < end {
            let number = self.send(":")?;
            let pause = end.min(Instant::now() + GREETING_INTERVAL);
            if self.receive(number, pause)?.is_some() {
                return Ok(());
            }
        }
        bail!("no process listens on the second serial port; received: {:?}", self.received);
    }

    fn send(&mut self, command: &str) -> Result<u64> {
        self.next += 1;
        // The leading newline ends a half line that may still be in the port.
        write!(self.stream, "\n{} {command}\n", self.next).context("cannot write to the serial port")?;
        Ok(self.next)
    }

    fn receive(&mut self, number: u64, end: Instant) -> Result<Option<Answer>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = parse(&self.received, number) {
                self.received.clear();
                return Ok(Some(answer));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the machine is off"),
                Ok(count) => self.keep(buffer.get(..count).unwrap_or_default())?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("cannot read from the serial port"),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<()> {
        self.received.extend(String::from_utf8_lossy(bytes).chars().filter(|&c| c != '\r'));
        if self.received.len() > OUTPUT_BYTES_MAX {
            bail!("more than {OUTPUT_BYTES_MAX} bytes of output");
        }
        Ok(())
    }
}

/// Finds the answer to command `number` in what was received so far.
fn parse(received: &str, number: u64) -> Option<Answer> {
    let (_, after) = received.split_once(&format!("BEGIN {number}\n"))?;
    let mark = format!("END {number} ");
    let at = after.find(&mark)?;
    let (output, rest) = after.split_at(at);
    let (status, _) = rest.strip_prefix(&mark)?.split_once('\n')?;
    Some(Answer { output: output.trim_end_matches('\n').to_owned(), status: status.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_among_noise() {
        let cases = [
            ("", None),
            ("BEGIN 7\nhalf", None),
            ("BEGIN 7\nhalf\nEND 7 ", None),
            ("BEGIN 6\nold\nEND 6 0\nBEGIN 7\n\nEND 7 0\n", Some(("", 0))),
            ("junk BEGIN 7\na\nb\nEND 7 2\n", Some(("a\nb", 2))),
        ];
        for (received, want) in cases {
            let want = want.map(|(output, status)| Answer { output: output.to_owned(), status });
            assert_eq!(parse(received, 7), want, "{received:?}");
        }
    }
}
