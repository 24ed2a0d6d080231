//! The answer to a request for existing content: the response head, and which bytes follow it. No
//! socket.

use crate::conditions::{Part, Version, decide};
use crate::head::{Head, Method};
use crate::response::{self, HeadWriter, Keep};

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// These bytes of the content.
    Content {
        /// The first.
        start: u64,
        /// The one after the last.
        end: u64,
    },
    /// Nothing was asked for but the head, or the client has the content already.
    Nothing,
    /// The requested range is outside of the content.
    Unsatisfiable,
    /// The content is not the one that the client names.
    Failed,
}

/// Appends the response head for content of `size` bytes to `out`.
pub fn respond(out: &mut Vec<u8>, head: &Head, version: &Version, size: u64, media_type: &str) -> Follows {
    let part = decide(head, version, size);
    let keep = keep(head);
    let (start, end) = match part {
        Part::Whole => (0, size),
        Part::Range { start, end } => (start, end),
        Part::NotModified => {
            let mut writer = HeadWriter::new(out, response::NOT_MODIFIED);
            writer.version(version).end(keep);
            return Follows::Nothing;
        }
        Part::Failed => {
            HeadWriter::new(out, response::PRECONDITION_FAILED).length(0).end(keep);
            return Follows::Failed;
        }
        Part::Unsatisfiable => {
            let mut writer = HeadWriter::new(out, response::RANGE_UNSATISFIABLE);
            writer.content_range(None, size).length(0).end(keep);
            return Follows::Unsatisfiable;
        }
    };
    let status = if part == Part::Whole { response::OK } else { response::PARTIAL };
    let mut writer = HeadWriter::new(out, status);
    writer.field("Content-Type", media_type).length(end - start);
    if media_type.starts_with("text/html") {
        // A page of this server is not for the frames of another one.
        writer.field("X-Frame-Options", "SAMEORIGIN");
    }
    if !version.etag.is_empty() {
        writer.version(version);
    }
    writer.field("Accept-Ranges", "bytes");
    if part != Part::Whole {
        writer.content_range(Some((start, end)), size);
    }
    writer.end(keep);
    if head.method == Method::Head { Follows::Nothing } else { Follows::Content { start, end } }
}

/// What the response says about the connection.
pub fn keep(head: &Head) -> Keep {
    match (head.keep_alive, head.is_11) {
        (false, _) => Keep::Close,
        (true, true) => Keep::Default,
        (true, false) => Keep::Say,
    }
}
