//! The argument of the step `runimage=`: where the archive is, and which it must be.
//!
//! `URL#sha256=DIGEST`: the node runs the archive only if its SHA-256 is this one, 64 hexadecimal digits.
//! xCAT knows the address alone; what comes from there is run as it is.

use std::fmt;

/// Begins the part after `#`.
const SHA256: &str = "sha256=";
/// Bytes of a SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// The archive of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunImage<'a> {
    /// Its address.
    pub url: &'a str,
    /// The SHA-256 that it must have.
    pub digest: Option<[u8; DIGEST_BYTES]>,
}

/// What follows `#` is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadDigest;

impl fmt::Display for BadDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("after # it must have sha256= and 64 hexadecimal digits")
    }
}

impl std::error::Error for BadDigest {}

impl<'a> RunImage<'a> {
    /// Reads the argument.
    ///
    /// # Errors
    /// There is a `#`, and what follows is not `sha256=` with 64 hexadecimal digits.
    pub fn parse(text: &'a str) -> Result<Self, BadDigest> {
        let Some((url, rest)) = text.split_once('#') else { return Ok(Self { url: text, digest: None }) };
        let digest = rest.strip_prefix(SHA256).and_then(digest).ok_or(BadDigest)?;
        Ok(Self { url, digest: Some(digest) })
    }
}

fn digest(text: &str) -> Option<[u8; DIGEST_BYTES]> {
    let is_digest = text.len() == 2 * DIGEST_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; DIGEST_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| is_digest) {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    is_digest.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let plain = RunImage::parse("http://10.0.0.1/x.tgz");
        assert_eq!(plain, Ok(RunImage { url: "http://10.0.0.1/x.tgz", digest: None }));
        let text = format!("http://x/y.tgz#sha256={}", "0aF".repeat(21) + "1");
        let read = RunImage::parse(&text).unwrap();
        assert_eq!(
            (read.url, read.digest.unwrap()[..3].to_vec()),
            ("http://x/y.tgz", vec![0x0a, 0xf0, 0xaf])
        );
        for wrong in ["u#", "u#sha256=", "u#md5=00", "u#sha256=+a", "#sha256=é"] {
            assert_eq!(RunImage::parse(wrong), Err(BadDigest), "{wrong}");
        }
        let wrong = format!("u#sha256={}", "é".repeat(32));
        assert_eq!(RunImage::parse(&wrong), Err(BadDigest));
    }
}
