//! Packets of unknown machines that wait for the one thread that looks at them.
//!
//! A machine repeats its packet until it is answered, so one for each address is enough: a newer one takes
//! the place of the one that waits. When there is no room, a new address is not taken; the machine sends
//! again.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Addresses whose packets wait.
pub(super) const WAITING_MAX: usize = 4096;
/// Bytes of all packets that wait.
const BYTES_MAX: usize = 16 << 20;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<IpAddr>,
    packets: HashMap<IpAddr, Vec<u8>>,
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
        waiting.packets.insert(from, packet.to_owned());
        if older.is_none() {
            waiting.order.push_back(from);
        }
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// The packet that waits longest; waits for one for at most `time`.
    pub(super) fn take(&self, time: Duration) -> Option<(IpAddr, Vec<u8>)> {
        let is_empty = |waiting: &mut Waiting| waiting.order.is_empty();
        let waited = self.arrived.wait_timeout_while(self.waiting(), time, is_empty);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let from = waiting.order.pop_front()?;
        let packet = waiting.packets.remove(&from)?;
        waiting.bytes -= packet.len();
        Some((from, packet))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
            || inbox.take(Duration::ZERO).map(|(from, bytes)| (from, String::from_utf8(bytes).unwrap()));
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
}
