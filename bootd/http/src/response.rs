//! Response heads, and the short bodies of errors.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::conditions::Version;

/// Status codes that this front answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16, pub &'static str);

/// 200.
pub const OK: Status = Status(200, "OK");
/// 206.
pub const PARTIAL: Status = Status(206, "Partial Content");
/// 301.
pub const MOVED: Status = Status(301, "Moved Permanently");
/// 304.
pub const NOT_MODIFIED: Status = Status(304, "Not Modified");
/// 400.
pub const BAD_REQUEST: Status = Status(400, "Bad Request");
/// 403.
pub const FORBIDDEN: Status = Status(403, "Forbidden");
/// 404.
pub const NOT_FOUND: Status = Status(404, "Not Found");
/// 405.
pub const NOT_ALLOWED: Status = Status(405, "Method Not Allowed");
/// 408.
pub const TIMEOUT: Status = Status(408, "Request Timeout");
/// 412.
pub const PRECONDITION_FAILED: Status = Status(412, "Precondition Failed");
/// 416.
pub const RANGE_UNSATISFIABLE: Status = Status(416, "Range Not Satisfiable");
/// 431.
pub const HEAD_TOO_LARGE: Status = Status(431, "Request Header Fields Too Large");
/// 500.
pub const INTERNAL: Status = Status(500, "Internal Server Error");
/// 503.
pub const BUSY: Status = Status(503, "Service Unavailable");

/// A response head being written into a buffer.
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Writes the status line and the date.
    pub fn new(out: &'a mut Vec<u8>, status: Status) -> Self {
        let mut head = Self { out };
        head.raw(b"HTTP/1.1 ");
        head.number(u64::from(status.0));
        head.raw(b" ");
        head.raw(status.1.as_bytes());
        head.raw(b"\r\nDate: ");
        append_date(head.out);
        head.raw(b"\r\n");
        head
    }

    /// Writes one field; `value` must not come from outside unescaped.
    pub fn field(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(name.as_bytes());
        self.raw(b": ");
        self.raw(value.as_bytes());
        self.raw(b"\r\n");
        self
    }

    /// Writes `Content-Length`.
    pub fn length(&mut self, bytes: u64) -> &mut Self {
        self.raw(b"Content-Length: ");
        self.number(bytes);
        self.raw(b"\r\n");
        self
    }

    /// Writes what identifies the content.
    pub fn version(&mut self, version: &Version) -> &mut Self {
        self.field("ETag", &version.etag);
        match version.modified {
            Some(time) => {
                // Writing to a Vec cannot fail.
                let _ = write!(self.out, "Last-Modified: {}\r\n", httpdate::HttpDate::from(time));
                self
            }
            // Rendered for this moment: a cache has to ask again.
            None => self.field("Cache-Control", "no-cache"),
        }
    }

    /// Writes `Content-Range`; without a range it says that none fits.
    pub fn content_range(&mut self, range: Option<(u64, u64)>, size: u64) -> &mut Self {
        // Writing to a Vec cannot fail.
        let _ = match range {
            Some((start, end)) => {
                write!(self.out, "Content-Range: bytes {start}-{}/{size}\r\n", end.saturating_sub(1))
            }
            None => write!(self.out, "Content-Range: bytes */{size}\r\n"),
        };
        self
    }

    /// Ends the head, telling whether the connection stays.
    pub fn end(&mut self, keep: Keep) {
        match keep {
            Keep::Default => {}
            Keep::Say => self.raw(b"Connection: keep-alive\r\n"),
            Keep::Close => self.raw(b"Connection: close\r\n"),
        }
        self.raw(b"\r\n");
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        let _ = write!(self.out, "{number}");
    }
}

/// What the head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Kept, as HTTP/1.1 does without saying.
    Default,
    /// Kept open, with a header for HTTP/1.0.
    Say,
    /// Closed after this response.
    Close,
}

/// Appends a whole response with a short text; for HEAD without the text itself.
pub fn put_text(out: &mut Vec<u8>, status: Status, text: &str, with_body: bool, keep: Keep) {
    let mut head = HeadWriter::new(out, status);
    head.field("Content-Type", "text/plain; charset=utf-8").length(text.len() as u64);
    if status == NOT_ALLOWED {
        head.field("Allow", "GET, HEAD");
    }
    if status == BUSY {
        head.field("Retry-After", "5");
    }
    head.end(keep);
    if with_body {
        out.extend_from_slice(text.as_bytes());
    }
}

thread_local! {
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Appends the date, made once a second.
fn append_date(out: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(at, text)| {
        if *at != second || text.is_empty() {
            *at = second;
            *text = httpdate::fmt_http_date(now);
        }
        out.extend_from_slice(text.as_bytes());
    });
}
