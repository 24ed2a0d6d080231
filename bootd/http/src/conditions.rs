//! Conditional requests and ranges: RFC 9110 sections 13 and 14.
//!
//! Only a single range is honoured; a request for several gets the whole content, as the RFC allows.

use std::time::SystemTime;

use dawn_serving::FileStamp;

use crate::head::{Head, Method};

/// What identifies one version of some content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Entity tag with its quotes; empty for content that cannot be told from another version.
    pub etag: String,
    /// Time of the last change, whole seconds; none for rendered bytes.
    pub modified: Option<SystemTime>,
}

impl Version {
    /// The version of a file.
    pub fn of_file(stamp: &FileStamp) -> Self {
        let etag =
            format!("\"{:x}-{:x}-{:x}{:08x}\"", stamp.inode, stamp.size, stamp.mtime_s, stamp.mtime_ns);
        Self { etag, modified: Some(stamp.modified()) }
    }

    /// The version of bytes made for one request: their hash (FNV-1a, which is stable between builds).
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { etag: format!("\"v{hash:016x}\""), modified: None }
    }
}

/// What part of the content is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it (200).
    Whole,
    /// Bytes from `start` up to but not including `end` (206).
    Range {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// The client has it already (304).
    NotModified,
    /// The range is outside of the content (416).
    Unsatisfiable,
    /// The content is not, or no longer, the one that the client names (412).
    Failed,
}

/// Decides what a GET or HEAD for content of that version and size gets.
pub fn decide(head: &Head, version: &Version, size: u64) -> Part {
    if !is_expected(head, version) {
        return Part::Failed;
    }
    if !version.etag.is_empty() && is_current(head, version) {
        return Part::NotModified;
    }
    // A range means something for GET alone (RFC 9110 section 14.2).
    let Some(range) = head.range.as_ref().filter(|_| head.method == Method::Get) else { return Part::Whole };
    if head.if_range.as_ref().is_some_and(|condition| !range_applies(condition, version)) {
        return Part::Whole;
    }
    parse_range(range, size)
}

/// `If-Match`, else `If-Unmodified-Since` (RFC 9110 section 13.2.2); an invalid date is ignored.
fn is_expected(head: &Head, version: &Version) -> bool {
    if let Some(tags) = &head.if_match {
        let strong = |tag: &str| tag == "*" || !version.etag.is_empty() && tag == version.etag;
        return tags.split(',').map(str::trim).any(strong);
    }
    let (Some(since), Some(modified)) = (&head.if_unmodified_since, version.modified) else { return true };
    httpdate::parse_http_date(since).map_or(true, |since| modified <= since)
}

fn is_current(head: &Head, version: &Version) -> bool {
    if let Some(tags) = &head.if_none_match {
        return tags.split(',').map(str::trim).any(|tag| tag == "*" || weak_equal(tag, &version.etag));
    }
    let (Some(since), Some(modified)) = (&head.if_modified_since, version.modified) else { return false };
    httpdate::parse_http_date(since).is_ok_and(|since| modified <= since)
}

fn weak_equal(tag: &str, etag: &str) -> bool {
    tag.strip_prefix("W/").unwrap_or(tag) == etag
}

fn range_applies(condition: &str, version: &Version) -> bool {
    if condition.starts_with('"') {
        return condition == version.etag;
    }
    let Some(modified) = version.modified else { return false };
    httpdate::parse_http_date(condition).is_ok_and(|date| date == modified)
}

/// A range that is not a range at all is ignored, as RFC 9110 section 14.2 wants.
fn parse_range(range: &str, size: u64) -> Part {
    let Some((unit, spec)) = range.split_once('=') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => within(start, last.saturating_add(1).min(size), size),
        (Some(start), None) if last.is_empty() => within(start, size, size),
        (None, Some(count)) if first.is_empty() => within(size.saturating_sub(count), size, size),
        _ => Part::Whole,
    }
}

fn within(start: u64, end: u64, size: u64) -> Part {
    if start < size && start < end { Part::Range { start, end } } else { Part::Unsatisfiable }
}

/// A number too large for us is beyond the end of every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        let text = format!("GET /x HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        Head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn version() -> Version {
        let modified = httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap();
        Version { etag: "\"abc\"".to_owned(), modified: Some(modified) }
    }

    #[test]
    fn ranges_and_conditions() {
        let range = |start, end| Part::Range { start, end };
        let cases: &[(&str, Part)] = &[
            ("", Part::Whole),
            ("Range: bytes=0-0\r\n", range(0, 1)),
            ("Range: bytes=10-\r\n", range(10, 100)),
            ("Range: bytes=-10\r\n", range(90, 100)),
            ("Range: bytes=-1000\r\n", range(0, 100)),
            ("Range: bytes=50-1000\r\n", range(50, 100)),
            ("Range: bytes=100-\r\n", Part::Unsatisfiable),
            ("Range: bytes=-0\r\n", Part::Unsatisfiable),
            ("Range: bytes=5-4\r\n", Part::Whole),
            ("Range: bytes=0-1,5-6\r\n", Part::Whole),
            ("Range: lines=0-1\r\n", Part::Whole),
            ("Range: bytes=+1-5\r\n", Part::Whole),
            ("Range: bytes=99999999999999999999-\r\n", Part::Unsatisfiable),
            ("Range: bytes=90-99999999999999999999\r\n", range(90, 100)),
            ("If-Match: \"x\", \"abc\"\r\n", Part::Whole),
            ("If-Match: *\r\n", Part::Whole),
            ("If-Match: \"x\"\r\nRange: bytes=0-0\r\n", Part::Failed),
            ("If-Match: W/\"abc\"\r\n", Part::Failed),
            ("If-Unmodified-Since: Fri, 20 Nov 2026 09:59:59 GMT\r\n", Part::Failed),
            ("If-Unmodified-Since: Fri, 20 Nov 2026 10:00:00 GMT\r\n", Part::Whole),
            ("If-Unmodified-Since: soon\r\n", Part::Whole),
            ("If-None-Match: \"abc\"\r\n", Part::NotModified),
            ("If-None-Match: \"x\", W/\"abc\"\r\n", Part::NotModified),
            ("If-None-Match: *\r\n", Part::NotModified),
            ("If-None-Match: \"x\"\r\nIf-Modified-Since: Fri, 20 Nov 2026 11:00:00 GMT\r\n", Part::Whole),
            ("If-Modified-Since: Fri, 20 Nov 2026 10:00:00 GMT\r\n", Part::NotModified),
            ("If-Modified-Since: Fri, 20 Nov 2026 09:59:59 GMT\r\n", Part::Whole),
            ("Range: bytes=1-2\r\nIf-Range: \"abc\"\r\n", range(1, 3)),
            ("Range: bytes=1-2\r\nIf-Range: \"old\"\r\n", Part::Whole),
            ("Range: bytes=1-2\r\nIf-Range: Fri, 20 Nov 2026 10:00:00 GMT\r\n", range(1, 3)),
        ];
        for (fields, want) in cases {
            assert_eq!(decide(&head(fields), &version(), 100), *want, "{fields:?}");
        }
    }

    #[test]
    fn head_is_never_a_part() {
        let text = b"HEAD /x HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n";
        let head = Head::parse(text).unwrap().unwrap().0;
        assert_eq!(decide(&head, &version(), 100), Part::Whole);
    }

    #[test]
    fn nothing_can_be_cut_from_an_empty_file() {
        assert_eq!(decide(&head("Range: bytes=0-\r\n"), &version(), 0), Part::Unsatisfiable);
    }
}
