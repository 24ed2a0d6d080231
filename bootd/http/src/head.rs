//! The head of a request: only what we need of RFC 9110 and RFC 9112.
//!
//! `httparse` finds the parts; this file makes them mean something. Absolute targets (`http://host/path`) are
//! taken like plain ones.

use std::mem::MaybeUninit;

use dawn_serving::{PathError, RequestPath};

use crate::limits::{HEAD_BYTES_MAX, HEADER_FIELDS_MAX};

/// Methods that this front knows; everything else belongs to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send it.
    Get,
    /// Describe it.
    Head,
    /// Something else.
    Other,
}

/// One request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// GET, HEAD or something else.
    pub method: Method,
    /// The path as sent, for messages.
    pub target: String,
    /// The cleaned path, or why there is none.
    pub path: Result<RequestPath, PathError>,
    /// Everything after `?`.
    pub query: String,
    /// HTTP/1.1 (else 1.0).
    pub is_11: bool,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// Whether a body follows, as by `Content-Length` or `Transfer-Encoding`.
    pub has_body: bool,
    /// `Range`, undecoded.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<String>,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<String>,
}

/// Why bytes are not a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.
    #[error("this is not an HTTP/1 request: {0}")]
    Malformed(httparse::Error),
    /// More than [`HEAD_BYTES_MAX`].
    #[error("the request head is longer than 16384 bytes")]
    TooLong,
    /// The end or the addressee of the request is not certain: a proxy in between might read
    /// it in another way (RFC 9112 section 11.2, request smuggling).
    #[error(transparent)]
    Ambiguous(#[from] Ambiguity),
}

/// Which part of a head can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// This field may occur once only.
    #[error("there is more than one {0}")]
    Twice(&'static str),
    /// Two fields each say where the body ends.
    #[error("there are both Content-Length and Transfer-Encoding")]
    TwoLengths,
    /// A field of HTTP/1.1 in a request of HTTP/1.0.
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    CodingIn10,
    /// A coding that this server cannot read.
    #[error("the Transfer-Encoding is not \"chunked\"")]
    Coding,
    /// RFC 9112 section 3.2.
    #[error("an HTTP/1.1 request needs a Host")]
    NoHost,
    /// RFC 9112 section 3.2.
    #[error("the Host is not a name or an address")]
    Host,
    /// RFC 9112 section 6.3.
    #[error("the Content-Length is not a number of bytes")]
    Length,
}

impl Head {
    /// Reads a head from the beginning of `bytes`; gives its length too, or none if more bytes are needed.
    ///
    /// # Errors
    /// [`HeadError`] when it can never become one.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
        let mut fields = [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => {
                Ok(Some((Head::from_parsed(&request)?, length)))
            }
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLong),
            Err(error) => Err(HeadError::Malformed(error)),
        }
    }

    fn from_parsed(request: &httparse::Request<'_, '_>) -> Result<Head, HeadError> {
        let target = request.path.unwrap_or("/");
        let (raw_path, query) = split_target(target);
        let is_11 = request.version == Some(1);
        let framing = Framing::of(request.headers, is_11)?;
        let mut head = Head {
            method: match request.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                _ => Method::Other,
            },
            path: RequestPath::from_url(raw_path),
            target: raw_path.to_owned(),
            query: query.to_owned(),
            is_11,
            keep_alive: framing.keep_alive,
            has_body: framing.has_body,
            range: None,
            if_range: None,
            if_match: None,
            if_unmodified_since: None,
            if_none_match: None,
            if_modified_since: None,
        };
        for field in request.headers.iter() {
            head.take_field(field);
        }
        Ok(head)
    }

    fn take_field(&mut self, field: &httparse::Header<'_>) {
        let Ok(value) = std::str::from_utf8(field.value) else { return };
        let value = value.trim();
        let own = || Some(value.to_owned());
        match field.name.len() {
            5 if field.name.eq_ignore_ascii_case("range") => self.range = own(),
            8 if field.name.eq_ignore_ascii_case("if-match") => self.if_match = own(),
            8 if field.name.eq_ignore_ascii_case("if-range") => self.if_range = own(),
            13 if field.name.eq_ignore_ascii_case("if-none-match") => self.if_none_match = own(),
            17 if field.name.eq_ignore_ascii_case("if-modified-since") => self.if_modified_since = own(),
            19 if field.name.eq_ignore_ascii_case("if-unmodified-since") => self.if_unmodified_since = own(),
            _ => {}
        }
    }
}

/// The head's statement about the bytes after it, read strictly.
#[derive(Debug, PartialEq, Eq)]
struct Framing {
    keep_alive: bool,
    has_body: bool,
}

impl Framing {
    /// RFC 9110 section 7.2 (Host) and 8.6 (Content-Length), RFC 9112 section 3.2, 6.1 to 6.3 and 9.3.
    /// Stricter in one point: Content-Length may occur only once, even if several would agree.
    fn of(fields: &[httparse::Header<'_>], is_11: bool) -> Result<Framing, Ambiguity> {
        let (mut host, mut length, mut coding) = (None, None, None);
        let (mut keeps, mut closes) = (is_11, false);
        for field in fields {
            let (once, name) = match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => (&mut host, "Host"),
                14 if field.name.eq_ignore_ascii_case("content-length") => (&mut length, "Content-Length"),
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    (&mut coding, "Transfer-Encoding")
                }
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    closes |= has_word(field.value, b"close");
                    keeps |= has_word(field.value, b"keep-alive");
                    continue;
                }
                _ => continue,
            };
            if once.replace(trimmed(field.value)).is_some() {
                return Err(Ambiguity::Twice(name));
            }
        }
        check_host(host, is_11)?;
        let has_body = match (length, coding) {
            (None, None) => false,
            (Some(_), Some(_)) => return Err(Ambiguity::TwoLengths),
            (Some(length), None) => content_length(length)? > 0,
            (None, Some(_)) if !is_11 => return Err(Ambiguity::CodingIn10),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => true,
            (None, Some(_)) => return Err(Ambiguity::Coding),
        };
        Ok(Framing { keep_alive: keeps && !closes, has_body })
    }
}

fn check_host(host: Option<&[u8]>, is_11: bool) -> Result<(), Ambiguity> {
    let may_be_in_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    match host {
        None if is_11 => Err(Ambiguity::NoHost),
        Some(host) if !host.iter().all(may_be_in_host) => Err(Ambiguity::Host),
        _ => Ok(()),
    }
}

/// Digits only, at most `u64::MAX`.
fn content_length(value: &[u8]) -> Result<u64, Ambiguity> {
    let digits = Some(value).filter(|value| value.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    number.ok_or(Ambiguity::Length)
}

/// A field value without the blanks and tabs around it (RFC 9110 section 5.6.3).
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| trimmed(item).eq_ignore_ascii_case(word))
}

/// Path and query of a request target in origin or absolute form.
fn split_target(target: &str) -> (&str, &str) {
    let origin = if target.starts_with('/') {
        target
    } else {
        match target.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
            None => target,
        }
    };
    let origin = origin.split_once('#').map_or(origin, |(before, _)| before);
    origin.split_once('?').unwrap_or((origin, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Head {
        Head::parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn targets_become_paths() {
        let cases: &[(&str, &str, &str)] = &[
            ("/install/x", "install/x", ""),
            ("//install//x", "install/x", ""),
            ("http://10.1.0.1:80/install/x?a=b", "install/x", "a=b"),
            ("http://10.1.0.1", "", ""),
            ("/a%20b?q?r", "a b", "q?r"),
        ];
        for (target, path, query) in cases {
            let head = parse(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(head.path.as_ref().map(RequestPath::as_str), Ok(*path), "{target}");
            assert_eq!(head.query, *query, "{target}");
        }
    }

    #[test]
    fn connections_are_kept_as_asked() {
        let cases: &[(&str, &str, bool)] = &[
            ("1.1", "", true),
            ("1.0", "", false),
            ("1.1", "Connection: Close\r\n", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.1", "Connection: TE, close\r\n", false),
            ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ];
        for (version, field, kept) in cases {
            let head = parse(&format!("GET / HTTP/{version}\r\nHost: x\r\n{field}\r\n"));
            assert_eq!(head.keep_alive, *kept, "{version} {field:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(Head::parse(long.as_bytes()), Err(HeadError::TooLong));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADER_FIELDS_MAX + 1));
        assert_eq!(Head::parse(many.as_bytes()), Err(HeadError::TooLong));
        assert_eq!(Head::parse(b"GET / HT"), Ok(None));
        assert!(matches!(Head::parse(b"\x16\x03\x01\x02\x00"), Err(HeadError::Malformed(_))));
    }
}
