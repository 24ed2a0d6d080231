//! Packets of unknown machines that wait for the one thread that looks at them.
//!
//! A machine repeats its packet until it is answered, so one for each address is enough: a newer one takes
//! the place of the one that waits. When there is no room, a new address is not taken; the machine sends
//! again. A packet may be put back for a second look at a later time.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Addresses whose packets wait.
pub(super) const WAITING_MAX: usize = 4096;
/// Bytes of all packets that wait.
const BYTES_MAX: usize = 16 << 20;

/// A packet that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) from: IpAddr,
    pub(super) packet: Vec<u8>,
    /// It was put back before.
    pub(super) is_second: bool,
}

/// The packets that wait, at most one for each address.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<IpAddr>,
    packets: HashMap<IpAddr, Vec<u8>>,
    /// Packets for a second look, and when, in the order in which they were put back.
    again: VecDeque<(Instant, IpAddr, Vec<u8>)>,
    /// Of all packets.
    bytes: usize,
}

impl Inbox {
    /// Keeps a packet for the thread. False if there is no room.
    pub(super) fn put(&self, from: IpAddr, packet: &[u8]) -> bool {
        let mut waiting = self.waiting();
        let older = waiting.packets.get(&from).map(Vec::len);
        let bytes = waiting.bytes - older.unwrap_or(0) + packet.len();
        if bytes > BYTES_MAX || (older.is_none() && waiting.order.len() >= WAITING_MAX) {
            return false;
        }
        waiting.bytes = bytes;
        // It says the same and more; and the machine may be a node by the time of a second look.
        waiting.forget_second_look(from);
        waiting.packets.insert(from, packet.to_owned());
        if older.is_none() {
            waiting.order.push_back(from);
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// Keeps a packet for a second look; left out if there is no room.
    pub(super) fn put_back(&self, from: IpAddr, packet: Vec<u8>, at: Instant) {
        let mut waiting = self.waiting();
        waiting.forget_second_look(from);
        if waiting.again.len() < WAITING_MAX && waiting.bytes + packet.len() <= BYTES_MAX {
            waiting.bytes += packet.len();
            waiting.again.push_back((at, from, packet));
        }
    }

    /// The packet whose second look is due, else the one that waits longest; waits at most `time` for one.
    pub(super) fn take(&self, time: Duration) -> Option<Taken> {
        let is_empty = |waiting: &mut Waiting| waiting.order.is_empty() && !waiting.is_due();
        let waited = self.arrived.wait_timeout_while(self.waiting(), time, is_empty);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (from, packet, is_second) = if waiting.is_due() {
            let (_, from, packet) = waiting.again.pop_front()?;
            (from, packet, true)
        } else {
            let from = waiting.order.pop_front()?;
            (from, waiting.packets.remove(&from)?, false)
        };
        waiting.bytes -= packet.len();
        Some(Taken { from, packet, is_second })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget_second_look(&mut self, from: IpAddr) {
        if let Some(at) = self.again.iter().position(|(_, other, _)| *other == from)
            && let Some((_, _, packet)) = self.again.remove(at)
        {
            self.bytes -= packet.len();
        }
    }

    fn is_due(&self) -> bool {
        self.again.front().is_some_and(|(at, ..)| *at <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 1, 255, last])
    }

    #[test]
    fn one_packet_for_an_address_the_newest() {
        let inbox = Inbox::default();
        for (last, text) in [(1, "old"), (2, "other"), (1, "new")] {
            assert!(inbox.put(address(last), text.as_bytes()));
        }
        let take =
            || inbox.take(Duration::ZERO).map(|taken| (taken.from, String::from_utf8(taken.packet).unwrap()));
        assert_eq!(take(), Some((address(1), "new".into())));
        assert_eq!(take(), Some((address(2), "other".into())));
        assert_eq!(take(), None);
        assert_eq!(inbox.waiting().bytes, 0);
    }

    #[test]
    fn a_flood_takes_no_more_than_its_room() {
        let inbox = Inbox::default();
        let many = (0..u32::try_from(WAITING_MAX).unwrap() + 10).map(|n| IpAddr::from((n + 1).to_be_bytes()));
        let taken = many.filter(|from| inbox.put(*from, b"x")).count();
        assert_eq!(taken, WAITING_MAX);
        assert!(!inbox.put(address(1), &vec![0; BYTES_MAX]));
        assert!(inbox.put(IpAddr::from([0, 0, 0, 1]), b"news of one that waits"));
    }

    #[test]
    fn a_second_look_is_taken_when_it_is_due() {
        let inbox = Inbox::default();
        let now = Instant::now();
        inbox.put_back(address(1), b"due".to_vec(), now);
        inbox.put_back(address(4), b"old".to_vec(), now);
        assert!(inbox.put(address(4), b"new"));
        inbox.put_back(address(2), b"later".to_vec(), now + Duration::from_secs(3600));
        assert!(inbox.put(address(3), b"first"));
        let taken = |last, text: &str, is_second| {
            Some(Taken { from: address(last), packet: text.as_bytes().to_vec(), is_second })
        };
        assert_eq!(inbox.take(Duration::ZERO), taken(1, "due", true));
        assert_eq!(inbox.take(Duration::ZERO), taken(4, "new", false));
        assert_eq!(inbox.take(Duration::ZERO), taken(3, "first", false));
        assert_eq!(inbox.take(Duration::ZERO), None);
        assert_eq!(inbox.waiting().bytes, "later".len());
    }
}
