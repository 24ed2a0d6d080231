//! Cuts a byte stream into request documents.
//!
//! xCAT reads until `</xcatrequest>` and drops a peer that has sent more than 15 bytes
//! without `<xcatrequest>`. The same here, with limits, and without reading a byte twice.

use crate::limits::{REQUEST_GAP_BYTES_MAX, REQUEST_PREAMBLE_BYTES_MAX};

const OPEN: &str = "<xcatrequest>";
const CLOSE: &str = "</xcatrequest>";

/// Why a stream is not requests.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// Another protocol is used.
    #[error("the peer does not speak the xcatd protocol")]
    NotOurs,
    /// The request is larger than this peer may send.
    #[error("the request is larger than {bytes_max} bytes")]
    TooLarge {
        /// Limit that was passed.
        bytes_max: usize,
    },
}

/// Collects bytes and gives documents.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    scanned: usize,
    bytes_max: usize,
}

impl Framer {
    /// A framer for requests of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), scanned: 0, bytes_max }
    }

    /// Nothing of a further request has arrived.
    pub fn is_empty(&self) -> bool {
        self.buffer.iter().all(u8::is_ascii_whitespace)
    }

    /// Bytes of the request that is arriving.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.buffer.extend_from_slice(bytes);
        let start = self.buffer.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(self.buffer.len());
        if start > REQUEST_GAP_BYTES_MAX {
            return Err(FrameError::NotOurs);
        }
        let said = self.buffer.get(start..).unwrap_or_default();
        let window = said.get(..OPEN.len() + REQUEST_PREAMBLE_BYTES_MAX).unwrap_or(said);
        if said.len() > REQUEST_PREAMBLE_BYTES_MAX && find(window, OPEN).is_none() {
            return Err(FrameError::NotOurs);
        }
        if self.buffer.len() > self.bytes_max {
            return Err(FrameError::TooLarge { bytes_max: self.bytes_max });
        }
        Ok(())
    }

    /// Takes the next complete document out; bytes that are not UTF-8 become U+FFFD.
    pub fn next_document(&mut self) -> Option<String> {
        let from = self.scanned.saturating_sub(CLOSE.len());
        let tail = self.buffer.get(from..).unwrap_or_default();
        let Some(at) = find(tail, CLOSE) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = from + at + CLOSE.len();
        let rest = self.buffer.split_off(end);
        let document = std::mem::replace(&mut self.buffer, rest);
        self.scanned = 0;
        let start = find(&document, OPEN).unwrap_or(0);
        Some(String::from_utf8_lossy(document.get(start..).unwrap_or_default()).into_owned())
    }
}

/// First place of a tag. Text is searched as text, which is several times faster than window by window; what
/// is not (yet) UTF-8 is searched the slow way.
pub(crate) fn find(haystack: &[u8], tag: &str) -> Option<usize> {
    match std::str::from_utf8(haystack) {
        Ok(text) => text.find(tag),
        Err(_) => haystack.windows(tag.len()).position(|window| window == tag.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_byte_by_byte() {
        let text = b"<xcatrequest><a/></xcatrequest>\n  <xcatrequest><b/></xcatrequest>\n";
        let mut framer = Framer::new(1000);
        let mut got = Vec::new();
        for byte in text {
            framer.push(&[*byte]).expect("our protocol");
            got.extend(framer.next_document());
        }
        assert_eq!(got, ["<xcatrequest><a/></xcatrequest>", "<xcatrequest><b/></xcatrequest>"]);
        assert!(framer.is_empty());
    }

    #[test]
    fn strangers_and_giants_are_dropped() {
        assert_eq!(Framer::new(1000).push(b"GET / HTTP/1.0\r\n\r\n"), Err(FrameError::NotOurs));
        assert_eq!(Framer::new(1000).push(&[b' '; 5000]), Err(FrameError::NotOurs));
        let mut framer = Framer::new(100);
        let result = framer.push(format!("<xcatrequest>{}", "x".repeat(100)).as_bytes());
        assert_eq!(result, Err(FrameError::TooLarge { bytes_max: 100 }));
    }
}
