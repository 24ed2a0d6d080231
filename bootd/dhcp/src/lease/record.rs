//! The journal's records: one lease, or one address forgotten, in bytes with a checksum.
//!
//! A record is `mark (4 bytes) | mask | length (16 bit, little endian) | crc32 (32 bit) | body ^ mask`. The
//! checksum covers the mask, the length and the body as it is stored. The body is `version 1 | state | htype
//! | hlen | address | since | expires | chaddr | hostname`.
//!
//! The mask is chosen so that the mark occurs only at the beginning of a record, whatever name a client has.
//! After damage the reader therefore continues at the next mark: only damaged records are lost.
//!
//! The format before this one had neither mark nor mask and a checksum of the body alone
//! ([`Format::Unmarked`]). It is read and no longer written.

use std::net::Ipv4Addr;

use super::{HOSTNAME_BYTES_MAX, Lease, State};
use crate::hwaddr::{HWADDR_BYTES_MAX, HwAddr};
use crate::time::Time;

/// Begins every record. No beginning of it is also an end of it, so that two neighbours never form one.
const MARK: [u8; 4] = [0xd7, 0x4c, 0xe1, 0x9a];
/// Bytes before the body.
const FRAME_BYTES: usize = 11;
/// Bytes of length and checksum before the body of an unmarked record.
const UNMARKED_FRAME_BYTES: usize = 6;
/// Bytes of the body before link-layer address and host name.
const BODY_BYTES_MIN: usize = 24;
/// Bytes of the longest body.
const BODY_BYTES_MAX: usize = BODY_BYTES_MIN + HWADDR_BYTES_MAX + HOSTNAME_BYTES_MAX;
const VERSION: u8 = 1;
const STATE_FORGOTTEN: u8 = 0;
const STATE_BOUND: u8 = 1;
const STATE_DECLINED: u8 = 2;
const STATE_IDLE: u8 = 3;
/// A record for a known node: kept for the operator's listing, without any effect.
const FLAG_RESERVED: u8 = 0x80;

/// The content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The lease as it is now.
    Lease(Lease),
    /// The address has no lease any more.
    Forget(Ipv4Addr),
}

/// How the records of a file differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As this version writes them.
    Marked,
    /// As files that begin with `dawnlse1` have them.
    Unmarked,
}

/// The records in a run of bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// The undamaged records in their order, each with its bytes.
    pub records: Vec<(Record, &'a [u8])>,
    /// Bytes up to the end of the last undamaged record.
    pub end: usize,
    /// Places between undamaged records, or before the first, where bytes are damaged.
    pub gaps: usize,
    /// Bytes in those places.
    pub gap_bytes: usize,
    /// Bytes after the last undamaged record that are not zero at their end: a torn or damaged last record.
    pub tail_bytes: usize,
}

/// Reads every record that is undamaged. Zeros after the last record belong to the file and are not damage.
pub fn read_all(bytes: &[u8], format: Format) -> Found<'_> {
    let mut found = Found::default();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((record, len)) = format.read(rest) {
            if at > found.end {
                found.gaps += 1;
                found.gap_bytes += at - found.end;
            }
            found.records.push((record, rest.get(..len).unwrap_or(&[])));
            at += len;
            found.end = at;
        } else {
            let Some(step) = format.next_beginning(rest) else { break };
            at += step;
        }
    }
    let tail = bytes.get(found.end..).unwrap_or(&[]);
    found.tail_bytes = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    found
}

impl Format {
    /// The record at the start of `bytes` and how many bytes it takes.
    fn read(self, bytes: &[u8]) -> Option<(Record, usize)> {
        match self {
            Self::Marked => Record::read(bytes),
            Self::Unmarked => read_unmarked(bytes),
        }
    }

    /// Bytes to the next place, after the first byte, where a record may begin.
    fn next_beginning(self, bytes: &[u8]) -> Option<usize> {
        let rest = bytes.get(1..)?;
        let place = match self {
            Self::Marked => rest.windows(MARK.len()).position(|window| window == MARK)?,
            Self::Unmarked => rest.iter().position(|byte| *byte != 0)?,
        };
        Some(place + 1)
    }
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
        // A record has fewer places for a mark than there are masks, so one of them fits.
        if let Some(bytes) = out.get_mut(frame..) {
            let _ = (0..=u8::MAX).any(|mask| seal(bytes, mask));
        }
    }

    /// Reads the record at the start of `bytes`, and how many bytes it took; `None` at the end or at damage.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let checked = bytes.strip_prefix(&MARK)?;
        let (&[mask, low, high, ref crc @ ..], rest) = checked.split_first_chunk::<7>()?;
        let len = usize::from(u16::from_le_bytes([low, high]));
        let body = body_of(rest, len)?;
        if checksum(&[mask, low, high], body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let body: Vec<u8> = body.iter().map(|byte| byte ^ mask).collect();
        Some((read_body(&body)?, FRAME_BYTES + len))
    }
}

/// The body, if a body can be so long. The limit bounds what looking for the next record costs.
fn body_of(rest: &[u8], len: usize) -> Option<&[u8]> {
    rest.get(..len).filter(|body| (BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&body.len()))
}

/// Finishes a record whose body is masked with the mask stored in it (0 at first): masks it with `mask`,
/// fills the frame; `false` if the mark occurs in it once more.
fn seal(record: &mut [u8], mask: u8) -> bool {
    let Some((frame, body)) = record.split_first_chunk_mut::<FRAME_BYTES>() else { return true };
    let [_, _, _, _, old, ..] = *frame;
    body.iter_mut().for_each(|byte| *byte ^= old ^ mask);
    let [low, high] = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    let crc = checksum(&[mask, low, high], body).to_le_bytes();
    let fields = MARK.into_iter().chain([mask, low, high]).chain(crc);
    frame.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let again = |rest: &[u8]| rest.windows(MARK.len()).any(|window| window == MARK);
    !record.get(1..).is_some_and(again)
}

fn checksum(frame: &[u8; 3], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(frame);
    hasher.update(body);
    hasher.finalize()
}

/// The record of the format without marks at the start of `bytes`, and how many bytes it took.
fn read_unmarked(bytes: &[u8]) -> Option<(Record, usize)> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    let body = body_of(rest, len)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((read_body(body)?, UNMARKED_FRAME_BYTES + len))
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
    fn any_damage_is_noticed() {
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

    #[test]
    fn a_mark_is_at_the_beginning_only() {
        for border in 1..MARK.len() {
            assert_ne!(MARK[..border], MARK[MARK.len() - border..], "{border}");
        }
        for shift in 0..8u8 {
            let Record::Lease(mut lease) = sample() else { panic!("a lease") };
            let mut hw = [shift; 16];
            hw[usize::from(shift)..][..4].copy_from_slice(&MARK);
            lease.hw = HwAddr::new(1, &hw).unwrap();
            let mut bytes = Vec::new();
            Record::Lease(lease.clone()).write(&mut bytes);
            assert_eq!(bytes.windows(4).filter(|window| *window == MARK).count(), 1);
            assert_eq!(Record::read(&bytes), Some((Record::Lease(lease), bytes.len())));
        }
    }
}
