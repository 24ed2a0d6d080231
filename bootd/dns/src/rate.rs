//! How often strangers are answered: a stranger's address may be forged, and the answer would hit its owner.
//!
//! Each source (an IPv4 address's /24, an IPv6 address's /56) has so many answers a second. Beyond them every
//! second answer is an empty, truncated one, as small as the question, after which an honest client comes
//! again by TCP, where no address can be forged; the others are dropped.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Answers of one source a second.
pub const ANSWERS_PER_SECOND: u32 = 20;
/// Sources that are counted; while more ask in one second, new ones get truncated answers only.
pub const SOURCES_MAX: usize = 8192;
/// Length of a count.
const WINDOW: Duration = Duration::from_secs(1);
/// Bits of an address that make a source.
const SOURCE_BITS: (u32, u32) = (24, 56);

/// The answers that a stranger gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The answer.
    Answer,
    /// An empty, truncated answer.
    Truncated,
    /// Nothing.
    Nothing,
}

/// Counts answers of this second.
#[derive(Debug, Default)]
pub struct Rate {
    began: Duration,
    sources: HashMap<IpAddr, u32>,
}

impl Rate {
    /// Counts one answer to the address.
    pub fn allow(&mut self, now: Duration, ip: IpAddr) -> Allowed {
        if now.saturating_sub(self.began) >= WINDOW {
            self.began = now;
            self.sources.clear();
        }
        let source = source(ip);
        let full = self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source);
        if full {
            return Allowed::Truncated;
        }
        let count = self.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        match *count {
            few if few <= ANSWERS_PER_SECOND => Allowed::Answer,
            many if many % 2 == 0 => Allowed::Truncated,
            _ => Allowed::Nothing,
        }
    }
}

fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !(u32::MAX >> SOURCE_BITS.0)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> SOURCE_BITS.1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_little() {
        let mut rate = Rate::default();
        let now = Duration::from_secs(100);
        let ask = |rate: &mut Rate, now, last| rate.allow(now, [192, 0, 2, last].into());
        let answers = (0..1000_u32).filter(|n| ask(&mut rate, now, (n % 200) as u8) == Allowed::Answer);
        assert_eq!(answers.count(), 20);
        assert_eq!(rate.allow(now, [198, 51, 100, 1].into()), Allowed::Answer);
        assert_eq!(ask(&mut rate, now + WINDOW, 1), Allowed::Answer);
        let many = (0..u32::try_from(SOURCES_MAX).unwrap() * 2).map(|n| Ipv4Addr::from_bits(n << 8));
        many.for_each(|ip| {
            rate.allow(now + WINDOW, ip.into());
        });
        assert!(rate.sources.len() <= SOURCES_MAX);
    }
}
