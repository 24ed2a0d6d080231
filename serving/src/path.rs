//! The path of a request, cleaned once at the border.
//!
//! Firmware and installers write the same path in many ways: with and without a leading slash, with `//`
//! where a directory and a name were glued together, with `.` components, and Windows boot managers with
//! backslashes. A [`RequestPath`] holds the one form `a/b/c`. `..` is refused and not resolved: nothing that
//! boots needs it.

use std::fmt;

/// Longest path we look at, in bytes. TFTP packets carry at most about 500, HTTP heads are bounded elsewhere.
pub const PATH_BYTES_MAX: usize = 1024;

/// A relative path without empty, `.` or `..` components and without control characters. May be empty (the
/// root).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RequestPath {
    clean: String,
    trailing_slash: bool,
}

/// Why a path is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component is `..`.
    #[error("the path contains '..', which would leave the served directory")]
    Climbs,
    /// Not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// A control character or NUL.
    #[error("the path contains a control character")]
    Control,
    /// More than [`PATH_BYTES_MAX`] bytes.
    #[error("the path is longer than 1024 bytes")]
    TooLong,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("the path has a '%' that is not followed by two hexadecimal digits")]
    BadEscape,
}

impl RequestPath {
    /// Cleans a path as TFTP clients write it; `\` counts as `/`.
    ///
    /// # Errors
    /// [`PathError`] when it climbs, is too long, not UTF-8 or holds control characters.
    pub fn from_tftp(raw: &[u8]) -> Result<Self, PathError> {
        let text = std::str::from_utf8(raw).map_err(|_| PathError::NotUtf8)?;
        if text.contains('\\') { Self::parse(&text.replace('\\', "/")) } else { Self::parse(text) }
    }

    /// Cleans the path part of an HTTP target (no query), undoing `%XX`.
    ///
    /// # Errors
    /// [`PathError`] as [`RequestPath::from_tftp`], and for a broken escape.
    pub fn from_url(raw: &str) -> Result<Self, PathError> {
        if raw.contains('%') { Self::parse(&percent_decode(raw)?) } else { Self::parse(raw) }
    }

    /// Cleans a path that is already plain text.
    ///
    /// # Errors
    /// [`PathError`] when it climbs, is too long or holds control characters.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(PathError::Control);
        }
        let mut clean = String::with_capacity(text.len());
        for part in text.split('/') {
            match part {
                "" | "." => continue,
                ".." => return Err(PathError::Climbs),
                name => {
                    if !clean.is_empty() {
                        clean.push('/');
                    }
                    clean.push_str(name);
                }
            }
        }
        Ok(Self { clean, trailing_slash: text.ends_with('/') })
    }

    /// The clean text: `a/b/c`, empty for the root.
    pub fn as_str(&self) -> &str {
        &self.clean
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.clean.is_empty()
    }

    /// Whether the request ended in `/`, as links to directories do.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// What is left behind `prefix` (itself clean), matched by whole components.
    pub fn strip_prefix(&self, prefix: &str) -> Option<RequestPath> {
        if prefix.is_empty() {
            return Some(self.clone());
        }
        let rest = self.clean.strip_prefix(prefix)?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        Some(Self { clean: rest.to_owned(), trailing_slash: self.trailing_slash })
    }

    /// Whether the path is `prefix` or is below it.
    pub fn is_within(&self, prefix: &str) -> bool {
        prefix.is_empty()
            || self.clean.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.clean)
    }
}

fn percent_decode(raw: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = bytes.next().and_then(hex_value).ok_or(PathError::BadEscape)?;
            let low = bytes.next().and_then(hex_value).ok_or(PathError::BadEscape)?;
            out.push(high << 4 | low);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| PathError::NotUtf8)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        let cases: &[(&str, Result<&str, PathError>)] = &[
            ("pxelinux.0", Ok("pxelinux.0")),
            ("/pxelinux.0", Ok("pxelinux.0")),
            ("//install//netboot/x", Ok("install/netboot/x")),
            ("./grub/./grub.cfg", Ok("grub/grub.cfg")),
            ("", Ok("")),
            ("/", Ok("")),
            ("a/...", Ok("a/...")),
            ("../etc/passwd", Err(PathError::Climbs)),
            ("a/../b", Err(PathError::Climbs)),
            ("a/..", Err(PathError::Climbs)),
            ("a\nb", Err(PathError::Control)),
        ];
        for (raw, want) in cases {
            assert_eq!(
                RequestPath::parse(raw).as_ref().map(RequestPath::as_str),
                want.as_ref().copied(),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn tftp_takes_backslashes_and_http_escapes() {
        assert_eq!(RequestPath::from_tftp(b"\\boot\\BCD").unwrap().as_str(), "boot/BCD");
        assert_eq!(RequestPath::from_tftp(b"..\\x"), Err(PathError::Climbs));
        assert_eq!(RequestPath::from_tftp(b"\xff"), Err(PathError::NotUtf8));
        assert_eq!(RequestPath::from_url("/a%2fb/%e2%82%ac").unwrap().as_str(), "a/b/€");
        assert_eq!(RequestPath::from_url("/%2e%2e/x"), Err(PathError::Climbs));
        assert_eq!(RequestPath::from_url("/a%00"), Err(PathError::Control));
        assert_eq!(RequestPath::from_url("/a%2"), Err(PathError::BadEscape));
    }

    #[test]
    fn prefixes_match_whole_components() {
        let path = RequestPath::parse("install/netboot/x").unwrap();
        assert_eq!(path.strip_prefix("install").unwrap().as_str(), "netboot/x");
        assert_eq!(path.strip_prefix("inst"), None);
        assert!(path.is_within("install/netboot"));
        assert!(!path.is_within("install/net"));
    }
}
