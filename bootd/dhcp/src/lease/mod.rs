//! Leases: which machine holds which address until when, and which dynamic address to give next.
//!
//! One table holds dynamic leases (they must survive the daemon) and, for the operator's eyes, those of
//! known nodes (the model says their address anyway). A machine keeps its dynamic address as long as
//! possible: an ended lease stays in the table, idle, until another machine needs the address, and the
//! address that has been idle longest is reused first.

pub mod journal;
pub mod record;

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::directory::Range;
use crate::hwaddr::HwAddr;
use crate::time::Time;

/// Longest host name kept with a lease, in bytes; longer ones are cut.
pub const HOSTNAME_BYTES_MAX: usize = 64;
/// How many reserved or declined addresses allocation passes over in one packet before it gives up.
const SKIPS_PER_PACKET_MAX: u32 = 1024;

/// State of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Offered and held for the client's request; not on disk.
    Offered,
    /// Acknowledged.
    Bound,
    /// Found in use by someone else; not given out until it ends.
    Declined,
    /// Given back or run out; free, and remembered for the machine that had it.
    Idle,
}

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The machine.
    pub hw: HwAddr,
    /// State.
    pub state: State,
    /// When it was first bound, or since when it is in this state.
    pub since: Time,
    /// When the state ends.
    pub expires: Time,
    /// The lease before the last extension: it applies again if the extension cannot be made durable.
    pub promised: Time,
    /// The node, for a reserved address.
    pub node: Option<Arc<str>>,
    /// Host name the client sent.
    pub hostname: Option<Box<str>>,
}

/// Leases of one server.
#[derive(Debug, Default)]
pub struct Table {
    by_address: HashMap<u32, Lease>,
    by_hw: HashMap<HwAddr, Vec<u32>>,
    /// End of every lease that ends: offered, bound, declined.
    ends: BTreeSet<(Time, u32)>,
    pools: Vec<Pool>,
}

/// Allocation state of one range.
#[derive(Debug)]
struct Pool {
    range: Range,
    /// First address never given out.
    fresh: Option<u32>,
    /// Free addresses with a past, longest idle first.
    idle: BTreeSet<(Time, u32)>,
    /// Addresses that are offered, bound or declined.
    used: u64,
}

impl Pool {
    fn new(range: Range) -> Self {
        Self { range, fresh: Some(range.first().into()), idle: BTreeSet::new(), used: 0 }
    }

    fn advance(&mut self, address: u32) {
        self.fresh = address.checked_add(1).filter(|next| self.range.contains((*next).into()));
    }
}

impl Table {
    /// The lease of an address.
    pub fn get(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.by_address.get(&address.into())
    }

    /// All leases of a machine.
    pub fn of(&self, hw: &HwAddr) -> impl Iterator<Item = &Lease> {
        let addresses = self.by_hw.get(hw).map(Vec::as_slice).unwrap_or(&[]);
        addresses.iter().filter_map(|address| self.by_address.get(address))
    }

    /// All leases, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values()
    }

    /// Number of leases of every state.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether there is no lease.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Puts a lease, replacing the one the address had.
    pub fn put(&mut self, lease: Lease) {
        let key = u32::from(lease.address);
        self.unlink(key, &lease.hw);
        match lease.state {
            State::Idle => self.pool_of(lease.address).map(|pool| pool.idle.insert((lease.since, key))),
            _ => {
                if let Some(pool) = self.pool_of(lease.address) {
                    pool.used += 1;
                }
                Some(self.ends.insert((lease.expires, key)))
            }
        };
        let of_hw = self.by_hw.entry(lease.hw).or_default();
        if !of_hw.contains(&key) {
            of_hw.push(key);
        }
        self.by_address.insert(key, lease);
    }

    /// Forgets an address altogether.
    pub fn remove(&mut self, address: Ipv4Addr) -> Option<Lease> {
        let key = u32::from(address);
        let hw = self.by_address.get(&key)?.hw;
        self.unlink(key, &hw);
        if let Some(of_hw) = self.by_hw.get_mut(&hw) {
            of_hw.retain(|other| *other != key);
            if of_hw.is_empty() {
                self.by_hw.remove(&hw);
            }
        }
        self.by_address.remove(&key)
    }

    /// The next end of a lease.
    pub fn next_end(&self) -> Option<Time> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Takes one lease that has ended: it becomes idle, or is forgotten when it was reserved or its range
    /// is gone. Returns it as it was.
    pub fn expire_one(&mut self, now: Time) -> Option<Lease> {
        let (at, key) = *self.ends.first()?;
        if at > now {
            return None;
        }
        let lease = self.by_address.get(&key)?.clone();
        let pooled = lease.node.is_none() && self.pool_of(lease.address).is_some();
        if pooled {
            self.put(Lease { state: State::Idle, since: at, expires: at, promised: at, ..lease.clone() });
        } else {
            self.remove(lease.address);
        }
        Some(lease)
    }

    /// An address for a machine that has none: fresh ones first, then the one idle longest. `usable`
    /// refuses addresses that belong to nodes.
    pub fn allocate(&mut self, ranges: &[Range], usable: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let mut skips = 0;
        for range in ranges {
            self.ensure_pool(*range);
            if let Some(address) = self.fresh(*range, &usable, &mut skips) {
                return Some(address);
            }
        }
        ranges.iter().find_map(|range| self.longest_idle(*range, &usable))
    }

    /// Whether more than half of the addresses of these ranges are in use.
    pub fn is_crowded(&self, ranges: &[Range]) -> bool {
        let pools = self.pools.iter().filter(|pool| ranges.contains(&pool.range));
        let used: u64 = pools.map(|pool| pool.used).sum();
        let size = |range: &Range| u64::from(u32::from(range.last()) - u32::from(range.first())) + 1;
        used > ranges.iter().map(size).sum::<u64>() / 2
    }

    /// Makes a pool for a range that is seen for the first time, so that its ended leases are kept.
    pub fn ensure_pool(&mut self, range: Range) {
        if self.pools.iter().any(|pool| pool.range == range) {
            return;
        }
        let mut pool = Pool::new(range);
        let inside = self.by_address.values().filter(|lease| range.contains(lease.address));
        pool.idle = inside
            .filter(|lease| lease.state == State::Idle)
            .map(|lease| (lease.since, u32::from(lease.address)))
            .collect();
        let taken = self.by_address.values().filter(|lease| range.contains(lease.address));
        pool.used = taken.filter(|lease| lease.state != State::Idle).map(|_| 1).sum();
        // Ranges that went away keep no pool; their leases run out and are forgotten.
        self.pools.retain(|old| !old.range.overlaps(&range));
        self.pools.push(pool);
    }

    fn fresh(
        &mut self,
        range: Range,
        usable: &impl Fn(Ipv4Addr) -> bool,
        skips: &mut u32,
    ) -> Option<Ipv4Addr> {
        let pool = self.pools.iter_mut().find(|pool| pool.range == range)?;
        while let Some(address) = pool.fresh {
            pool.advance(address);
            if self.by_address.contains_key(&address) {
                continue;
            }
            if usable(address.into()) {
                return Some(address.into());
            }
            *skips += 1;
            if *skips > SKIPS_PER_PACKET_MAX {
                return None;
            }
        }
        None
    }

    fn longest_idle(&self, range: Range, usable: &impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let pool = self.pools.iter().find(|pool| pool.range == range)?;
        let mut idle = pool.idle.iter().map(|(_, address)| Ipv4Addr::from(*address));
        idle.by_ref().take(1024).find(|address| usable(*address))
    }

    fn pool_of(&mut self, address: Ipv4Addr) -> Option<&mut Pool> {
        self.pools.iter_mut().find(|pool| pool.range.contains(address))
    }

    /// Takes an address out of the time-ordered sets, and out of its machine's list when it changes hands.
    fn unlink(&mut self, key: u32, new_hw: &HwAddr) {
        let Some(old) = self.by_address.get(&key) else { return };
        let (old_hw, since, expires, idle) = (old.hw, old.since, old.expires, old.state == State::Idle);
        if idle {
            if let Some(pool) = self.pool_of(key.into()) {
                pool.idle.remove(&(since, key));
            }
        } else {
            self.ends.remove(&(expires, key));
            if let Some(pool) = self.pool_of(key.into()) {
                pool.used = pool.used.saturating_sub(1);
            }
        }
        if old_hw != *new_hw
            && let Some(of_hw) = self.by_hw.get_mut(&old_hw)
        {
            of_hw.retain(|other| *other != key);
            if of_hw.is_empty() {
                self.by_hw.remove(&old_hw);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(address: u32, mac: u8, state: State, expires: u64) -> Lease {
        Lease {
            address: address.into(),
            hw: HwAddr::ethernet([2, 0, 0, 0, 0, mac]),
            state,
            since: Time::from_millis(0),
            expires: Time::from_millis(expires),
            promised: Time::from_millis(0),
            node: None,
            hostname: None,
        }
    }

    #[test]
    fn fresh_addresses_first_then_the_longest_idle() {
        let range = Range::new(10.into(), 13.into()).unwrap();
        let mut table = Table::default();
        let odd_ones_taken = |ip: Ipv4Addr| ip != Ipv4Addr::from(11);
        for expected in [10, 12, 13] {
            let got = table.allocate(&[range], odd_ones_taken).unwrap();
            assert_eq!(u32::from(got), expected);
            table.put(lease(expected, 1, State::Bound, 1000 - u64::from(expected)));
        }
        assert_eq!(table.allocate(&[range], odd_ones_taken), None);
        let ended = std::iter::from_fn(|| table.expire_one(Time::from_millis(988))).count();
        assert_eq!(ended, 2);
        assert_eq!(table.allocate(&[range], odd_ones_taken), Some(13.into()));
    }

    #[test]
    fn an_address_changes_hands_completely() {
        let mut table = Table::default();
        table.put(lease(10, 1, State::Bound, 5));
        table.put(lease(10, 2, State::Bound, 9));
        assert_eq!(table.of(&HwAddr::ethernet([2, 0, 0, 0, 0, 1])).count(), 0);
        assert_eq!(table.of(&HwAddr::ethernet([2, 0, 0, 0, 0, 2])).count(), 1);
        assert_eq!(table.next_end(), Some(Time::from_millis(9)));
        assert!(table.remove(10.into()).is_some());
        assert!(table.is_empty() && table.next_end().is_none());
    }
}
