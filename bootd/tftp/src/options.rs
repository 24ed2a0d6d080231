//! Negotiation: what a client asked for, and what it gets (RFC 2347, 2348, 2349, 7440).
//!
//! An option that we do not know, or whose value is out of range, is left out of the OACK as RFC 2347 wants;
//! the transfer then uses the default.

use std::time::Duration;

use crate::limits::{BLKSIZE_DEFAULT, BLKSIZE_MAX, BLKSIZE_MIN, TIMEOUT_OPTION_S};

/// Options of a request that we understand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Block size, bytes.
    pub blksize: Option<u64>,
    /// The client wants to know the size.
    pub tsize: bool,
    /// Seconds between repeats.
    pub timeout_s: Option<u64>,
    /// Blocks per acknowledgement.
    pub windowsize: Option<u64>,
}

/// What bounds a grant at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Largest block, bytes; from the MTU and the configuration.
    pub blksize_max: usize,
    /// Largest window, blocks.
    pub window_max: u16,
    /// Largest window, bytes; one block of any size is granted.
    pub window_bytes_max: usize,
}

/// The terms of one transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Bytes per block.
    pub blksize: usize,
    /// Blocks per acknowledgement.
    pub window: u16,
    /// Time between repeats, if the client fixed it.
    pub timeout: Option<Duration>,
}

impl Asked {
    /// Picks the options that make sense out of a request.
    pub fn from_request(options: &[(&[u8], &[u8])]) -> Self {
        let mut asked = Asked::default();
        for (name, value) in options {
            let number = decimal(value);
            if name.eq_ignore_ascii_case(b"blksize") {
                asked.blksize = number.filter(|n| *n >= BLKSIZE_MIN as u64);
            } else if name.eq_ignore_ascii_case(b"tsize") {
                asked.tsize = number.is_some();
            } else if name.eq_ignore_ascii_case(b"timeout") {
                asked.timeout_s = number.filter(|n| TIMEOUT_OPTION_S.contains(n));
            } else if name.eq_ignore_ascii_case(b"windowsize") {
                asked.windowsize = number.filter(|n| *n >= 1);
            }
        }
        asked
    }

    /// Settles the options, and the OACK that confirms them; an empty OACK means that none is sent.
    pub fn grant(&self, bounds: Bounds, size: u64) -> (Terms, Vec<(&'static str, u64)>) {
        let mut oack = Vec::new();
        let mut terms = Terms { blksize: BLKSIZE_DEFAULT, window: 1, timeout: None };
        if let Some(asked) = self.blksize {
            terms.blksize = usize::try_from(asked).unwrap_or(BLKSIZE_MAX).min(bounds.blksize_max);
            oack.push(("blksize", terms.blksize as u64));
        }
        // Some clients (curl) take a size of 0 for an error; without the option they read the empty file.
        if self.tsize && size > 0 {
            oack.push(("tsize", size));
        }
        if let Some(seconds) = self.timeout_s {
            terms.timeout = Some(Duration::from_secs(seconds));
            oack.push(("timeout", seconds));
        }
        if let Some(asked) = self.windowsize {
            let by_bytes = u16::try_from(bounds.window_bytes_max / terms.blksize).unwrap_or(u16::MAX).max(1);
            let asked = u16::try_from(asked).unwrap_or(u16::MAX);
            terms.window = asked.min(bounds.window_max).min(by_bytes).max(1);
            oack.push(("windowsize", u64::from(terms.window)));
        }
        (terms, oack)
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { blksize_max: 1468, window_max: 64, window_bytes_max: 1 << 17 };

    #[test]
    fn options_are_granted_within_bounds() {
        type Case = (&'static [(&'static [u8], &'static [u8])], &'static [(&'static str, u64)]);
        let cases: &[Case] = &[
            (&[], &[]),
            (&[(b"blksize", b"1024")], &[("blksize", 1024)]),
            (&[(b"BLKSIZE", b"65464")], &[("blksize", 1468)]),
            (&[(b"blksize", b"7")], &[]),
            (&[(b"blksize", b"999999999999999999999")], &[]),
            (&[(b"tsize", b"0"), (b"timeout", b"3")], &[("tsize", 5000), ("timeout", 3)]),
            (&[(b"timeout", b"0")], &[]),
            (&[(b"timeout", b"256")], &[]),
            (&[(b"windowsize", b"4")], &[("windowsize", 4)]),
            (&[(b"windowsize", b"65535")], &[("windowsize", 64)]),
            (&[(b"windowsize", b"0")], &[]),
            (&[(b"multicast", b"")], &[]),
        ];
        for (options, want) in cases {
            let (_, oack) = Asked::from_request(options).grant(BOUNDS, 5000);
            assert_eq!(&oack[..], *want, "{options:?}");
        }
    }
}
