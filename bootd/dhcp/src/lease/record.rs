//! The journal's records: one lease, or one address forgotten, in bytes with a checksum.
//!
//! A record is `length (16 bit, little endian) | crc32 (32 bit) | body`; the checksum covers the body. The
//! body is `version 1 | state | htype | hlen | address | since | expires | chaddr | hostname`. A record that is
//! cut off or damaged ends the reading: whatever follows was never acknowledged, because a client hears of
//! its lease only after the whole batch is on disk.

use std::net::Ipv4Addr;

use super::{HOSTNAME_BYTES_MAX, Lease, State};
use crate::hwaddr::HwAddr;
use crate::time::Time;

/// Bytes of length and checksum before the body.
const FRAME_BYTES: usize = 6;
/// Bytes of the body before link-layer address and host name.
const BODY_BYTES_MIN: usize = 24;
const VERSION: u8 = 1;
const STATE_FORGOTTEN: u8 = 0;
const STATE_BOUND: u8 = 1;
const STATE_DECLINED: u8 = 2;
const STATE_IDLE: u8 = 3;
/// A record for a known node: kept for the operator's listing, never acted upon.
const FLAG_RESERVED: u8 = 0x80;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The lease as it is now.
    Lease(Lease),
    /// The address has no lease any more.
    Forget(Ipv4Addr),
}

impl Record {
    /// The address the record is about.
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Self::Lease(lease) => lease.address,
            Self::Forget(address) => *address,
        }
    }

    /// Appends the record to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let frame = out.len();
        out.extend_from_slice(&[0; FRAME_BYTES]);
        match self {
            Self::Lease(lease) => write_lease(lease, out),
            Self::Forget(address) => {
                out.extend_from_slice(&[VERSION, STATE_FORGOTTEN, 0, 0]);
                out.extend_from_slice(&address.octets());
                out.extend_from_slice(&[0; 16]);
            }
        }
        let body = out.get(frame + FRAME_BYTES..).unwrap_or(&[]);
        let len = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
        let crc = crc32fast::hash(body).to_le_bytes();
        for (to, from) in out.iter_mut().skip(frame).zip(len.into_iter().chain(crc)) {
            *to = from;
        }
    }

    /// Reads the record at the start of `bytes`, and how many bytes it took; `None` at the end or at damage.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_le_bytes(*len));
        let body = rest.get(..len)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        Some((read_body(body)?, FRAME_BYTES + len))
    }
}

fn write_lease(lease: &Lease, out: &mut Vec<u8>) {
    let state = match lease.state {
        State::Offered | State::Bound => STATE_BOUND,
        State::Declined => STATE_DECLINED,
        State::Idle => STATE_IDLE,
    };
    let reserved = if lease.node.is_some() { FLAG_RESERVED } else { 0 };
    let hw = lease.hw.bytes();
    out.extend_from_slice(&[VERSION, state | reserved, lease.hw.htype()]);
    out.push(u8::try_from(hw.len()).unwrap_or(0));
    out.extend_from_slice(&lease.address.octets());
    out.extend_from_slice(&lease.since.millis().to_le_bytes());
    out.extend_from_slice(&lease.expires.millis().to_le_bytes());
    out.extend_from_slice(hw);
    let name = lease.node.as_deref().or(lease.hostname.as_deref()).unwrap_or("");
    out.extend(name.bytes().take(HOSTNAME_BYTES_MAX));
}

fn read_body(body: &[u8]) -> Option<Record> {
    let (fixed, rest) = body.split_first_chunk::<BODY_BYTES_MIN>()?;
    let [VERSION, state, htype, hlen, a, b, c, d, times @ ..] = *fixed else { return None };
    let address = Ipv4Addr::new(a, b, c, d);
    if state == STATE_FORGOTTEN {
        return Some(Record::Forget(address));
    }
    let (hw, name) = rest.split_at_checked(usize::from(hlen))?;
    let name = String::from_utf8_lossy(name);
    let expires = millis(times.get(8..)?)?;
    let reserved = state & FLAG_RESERVED != 0;
    Some(Record::Lease(Lease {
        address,
        hw: HwAddr::new(htype, hw).ok()?,
        state: match state & !FLAG_RESERVED {
            STATE_BOUND => State::Bound,
            STATE_DECLINED => State::Declined,
            STATE_IDLE => State::Idle,
            _ => return None,
        },
        since: millis(&times)?,
        expires,
        promised: expires,
        node: reserved.then(|| name.as_ref().into()),
        hostname: (!reserved && !name.is_empty()).then(|| name.as_ref().into()),
    }))
}

fn millis(bytes: &[u8]) -> Option<Time> {
    bytes.first_chunk::<8>().map(|bytes| Time::from_millis(u64::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record::Lease(Lease {
            address: Ipv4Addr::new(10, 0, 0, 9),
            hw: HwAddr::ethernet([2, 0, 0, 0, 0, 9]),
            state: State::Bound,
            since: Time::from_millis(5),
            expires: Time::from_millis(1 << 41),
            promised: Time::from_millis(1 << 41),
            node: None,
            hostname: Some("cn9".into()),
        })
    }

    #[test]
    fn records_come_back() {
        for record in [sample(), Record::Forget(Ipv4Addr::new(10, 0, 0, 9))] {
            let mut bytes = Vec::new();
            record.write(&mut bytes);
            assert_eq!(Record::read(&bytes), Some((record, bytes.len())));
        }
    }

    #[test]
    fn any_damage_ends_the_reading() {
        let mut bytes = Vec::new();
        sample().write(&mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..cut]), None, "cut at {cut}");
        }
        for n in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[n] ^= 0x10;
            assert_eq!(Record::read(&damaged).map(|(record, _)| record), None, "byte {n}");
        }
    }
}
