//! Shares of scarce resources: places and bytes, with a part kept for callers with better proof.
//!
//! Connections, transfers and buffers are limited in number. With a limit alone, the callers that come first
//! or most often could take all of it; so a part of every limit is kept for callers that the machine knows
//! better ([`Kind`]), and no source has more than its share. [`Places`] counts connections. One that has not
//! proved anything yet (an unfinished TLS handshake, an idle connection) is ended for a newcomer when places
//! are short, the oldest first. [`Bytes`] counts memory that is held for slow clients.
//!
//! A service that uses this does not know the model: [`Callers`] answers who an address is. It must
//! answer from memory, because nothing waits for it.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queues::{Queue, Queues, Slab};

/// Bits of an IPv6 address that name the network of a machine (RFC 4291, section 2.5.4).
const IPV6_NETWORK_BITS: u32 = 64;
/// Limits are divided into so many parts.
const PARTS: usize = 16;

/// Who calls, least proof first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An address that no node has.
    Stranger,
    /// The address of a node.
    Node,
    /// The caller has shown a certificate of ours.
    Certificate,
    /// A program on this machine: the address is a loopback address.
    Local,
}

impl Kind {
    /// All kinds, least proof first.
    pub const ALL: [Self; 4] = [Self::Stranger, Self::Node, Self::Certificate, Self::Local];

    /// The part of a limit that may be in use when a caller of this kind takes more of it; at least 1.
    #[must_use]
    pub fn part_of(self, limit: usize) -> usize {
        let parts = match self {
            Self::Stranger => 8,
            Self::Node => 14,
            Self::Certificate => 15,
            Self::Local => PARTS,
        };
        let (whole, rest) = (limit / PARTS, limit % PARTS);
        (whole * parts + rest * parts / PARTS).max(1)
    }
}

/// Who has an address. Answers from memory, without waiting.
pub trait Callers: Send + Sync {
    /// Who calls from this address. [`Kind::Certificate`] is never the answer: an address proves no
    /// certificate.
    fn kind(&self, ip: IpAddr) -> Kind;
}

impl<F: Fn(IpAddr) -> Kind + Send + Sync> Callers for F {
    fn kind(&self, ip: IpAddr) -> Kind {
        self(ip)
    }
}

impl fmt::Debug for dyn Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callers")
    }
}

/// Knows only this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyLocal;

impl Callers for OnlyLocal {
    fn kind(&self, ip: IpAddr) -> Kind {
        if ip.to_canonical().is_loopback() { Kind::Local } else { Kind::Stranger }
    }
}

/// What one source is: an IPv4 address, or the network of an IPv6 address, of which one machine may have any
/// number.
#[must_use]
pub fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> IPV6_NETWORK_BITS)).into(),
    }
}

/// A limit, and one source's part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// For all callers together.
    pub total: usize,
    /// For one source that is a stranger.
    pub per_stranger: usize,
    /// For one other source.
    pub per_source: usize,
    /// For the programs of this machine together.
    pub local: usize,
}

impl Limit {
    fn of_source(&self, kind: Kind) -> usize {
        match kind {
            Kind::Stranger => self.per_stranger,
            Kind::Node | Kind::Certificate => self.per_source,
            Kind::Local => self.local,
        }
    }
}

/// Makes the holder of a place leave.
type GiveWay = Box<dyn Fn() + Send>;

struct Entry {
    /// Distinguishes it from those that have its number later.
    ticket: u64,
    kind: Kind,
    /// The number of its source.
    source: usize,
    /// It may be asked to leave: it stands in the queue of its kind and in that of its source.
    may_leave: bool,
    give_way: GiveWay,
}

struct Source {
    ip: IpAddr,
    held: usize,
    /// Those that may be asked to leave, oldest first.
    may_leave: Queue,
}

/// At every request an entry leaves its queues and joins them again: in constant time, without hashing.
#[derive(Default)]
struct Table {
    held: usize,
    next: u64,
    entries: Slab<Entry>,
    sources: Slab<Source>,
    numbers: HashMap<IpAddr, usize>,
    /// By [`Kind`]: those that may be asked to leave, oldest first.
    may_leave: [Queue; Kind::ALL.len()],
    by_kind: Queues,
    by_source: Queues,
}

/// Places of one service: connections, say.
pub struct Places {
    limit: Limit,
    callers: Arc<dyn Callers>,
    table: Mutex<Table>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Places({} of {})", self.held(), self.limit.total)
    }
}

/// One place; dropping it frees it.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: usize,
    ticket: u64,
}

impl Places {
    /// Places with a limit, for callers that `callers` tells apart.
    #[must_use]
    pub fn new(limit: Limit, callers: Arc<dyn Callers>) -> Arc<Self> {
        Arc::new(Self { limit, callers, table: Mutex::default() })
    }

    /// A place for a caller from this address, or `None` when there is none for its kind or its source.
    /// While it has proved nothing, `give_way` may be called, which must make it leave soon; its place then
    /// counts as free.
    pub fn enter(self: &Arc<Self>, ip: IpAddr, give_way: impl Fn() + Send + 'static) -> Option<Place> {
        self.enter_as(self.callers.kind(ip.to_canonical()), ip, give_way)
    }

    /// The same for a caller that has proved to be more than its address says.
    pub fn enter_as(
        self: &Arc<Self>,
        kind: Kind,
        ip: IpAddr,
        give_way: impl Fn() + Send + 'static,
    ) -> Option<Place> {
        let source = source_of(ip);
        let mut table = self.table();
        if !table.make_room(self.limit, kind, source) {
            return None;
        }
        let (number, ticket) = table.insert(kind, source, Box::new(give_way));
        Some(Place { places: Arc::clone(self), number, ticket })
    }

    /// Places in use.
    #[must_use]
    pub fn held(&self) -> usize {
        self.table().held
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The holder is at work: it is not asked to leave.
    pub fn keep(&self) {
        self.places.table().queue(self.number, self.ticket, false);
    }

    /// The holder is idle, from now on: it may be asked to leave.
    pub fn rest(&self) {
        self.places.table().queue(self.number, self.ticket, true);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.table().take(self.number, self.ticket);
    }
}

impl Table {
    /// Whether there is a place, after those with less right to it were asked to leave.
    fn make_room(&mut self, limit: Limit, kind: Kind, source: IpAddr) -> bool {
        let own = self.numbers.get(&source).and_then(|number| self.sources.get(*number));
        if let Some(own) = own.filter(|own| own.held >= limit.of_source(kind)) {
            let oldest = own.may_leave.first();
            return oldest.is_some_and(|number| self.send_away(number));
        }
        if self.held < kind.part_of(limit.total) {
            return true;
        }
        // One in, one out: the number in use does not grow, however many callers come.
        let kinds = Kind::ALL.iter().zip(&self.may_leave);
        let oldest = kinds.take_while(|(other, _)| **other <= kind).find_map(|(_, queue)| queue.first());
        oldest.is_some_and(|number| self.send_away(number))
    }

    fn send_away(&mut self, number: usize) -> bool {
        let ticket = self.entries.get(number).map(|entry| entry.ticket);
        let Some(entry) = ticket.and_then(|ticket| self.take(number, ticket)) else { return false };
        (entry.give_way)();
        true
    }

    /// Number and ticket of a new entry, which may be asked to leave.
    fn insert(&mut self, kind: Kind, ip: IpAddr, give_way: GiveWay) -> (usize, u64) {
        let ticket = self.next;
        self.next += 1;
        self.held += 1;
        let sources = &mut self.sources;
        let new = || sources.insert(Source { ip, held: 0, may_leave: Queue::default() });
        let source = *self.numbers.entry(ip).or_insert_with(new);
        if let Some(source) = self.sources.get_mut(source) {
            source.held += 1;
        }
        let number = self.entries.insert(Entry { ticket, kind, source, may_leave: false, give_way });
        self.queue(number, ticket, true);
        (number, ticket)
    }

    /// Puts an entry at the end of its queues, or takes it out of them.
    fn queue(&mut self, number: usize, ticket: u64, may_leave: bool) {
        let Some(entry) = self.entries.get_mut(number).filter(|entry| entry.ticket == ticket) else { return };
        let of_kind = self.may_leave.get_mut(entry.kind as usize);
        let (Some(of_kind), Some(source)) = (of_kind, self.sources.get_mut(entry.source)) else { return };
        if std::mem::replace(&mut entry.may_leave, may_leave) {
            self.by_kind.remove(of_kind, number);
            self.by_source.remove(&mut source.may_leave, number);
        }
        if may_leave {
            self.by_kind.append(of_kind, number);
            self.by_source.append(&mut source.may_leave, number);
        }
    }

    fn take(&mut self, number: usize, ticket: u64) -> Option<Entry> {
        self.queue(number, ticket, false);
        self.entries.get(number).filter(|entry| entry.ticket == ticket)?;
        let entry = self.entries.remove(number)?;
        self.held -= 1;
        if let Some(source) = self.sources.get_mut(entry.source) {
            source.held -= 1;
            if source.held == 0 {
                self.numbers.remove(&source.ip);
                self.sources.remove(entry.source);
            }
        }
        Some(entry)
    }
}

/// Memory held for slow clients of one service, in bytes. It only counts; a caller that gets no room waits.
pub struct Bytes {
    limit: Limit,
    callers: Arc<dyn Callers>,
    held: Mutex<HeldBytes>,
    /// The same as `total`, for callers that only want to know that there is plenty.
    about: AtomicUsize,
}

#[derive(Default)]
struct HeldBytes {
    total: usize,
    sources: HashMap<IpAddr, usize>,
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} of {})", self.held(), self.limit.total)
    }
}

/// What one connection holds of [`Bytes`]; dropping it gives all back.
#[derive(Debug)]
pub struct HeldPart {
    bytes: Arc<Bytes>,
    kind: Kind,
    source: IpAddr,
    amount: usize,
}

impl Bytes {
    /// Bytes with a limit, for callers that `callers` tells apart.
    #[must_use]
    pub fn new(limit: Limit, callers: Arc<dyn Callers>) -> Arc<Self> {
        Arc::new(Self { limit, callers, held: Mutex::default(), about: AtomicUsize::new(0) })
    }

    /// The account of a connection from this address, with nothing on it.
    pub fn part(self: &Arc<Self>, ip: IpAddr) -> HeldPart {
        self.part_as(self.callers.kind(ip.to_canonical()), ip)
    }

    /// The same for a caller that the service knows by itself.
    pub fn part_as(self: &Arc<Self>, kind: Kind, ip: IpAddr) -> HeldPart {
        HeldPart { bytes: Arc::clone(self), kind, source: source_of(ip), amount: 0 }
    }

    /// Bytes held by all.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held_now().total
    }

    fn held_now(&self) -> MutexGuard<'_, HeldBytes> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldPart {
    /// Who holds it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Sets what is held. It may exceed the limits: what is in memory is counted, and
    /// [`HeldPart::has_room`] says whether there may be more.
    pub fn set(&mut self, amount: usize) {
        if amount == self.amount {
            return;
        }
        let mut held = self.bytes.held_now();
        held.total = held.total - self.amount + amount;
        self.bytes.about.store(held.total, Ordering::Relaxed);
        let of_source = held.sources.entry(self.source).or_default();
        *of_source = *of_source - self.amount + amount;
        if *of_source == 0 {
            held.sources.remove(&self.source);
        }
        self.amount = amount;
    }

    /// Whether this connection may make more: it holds nothing, or there is plenty. So a client that reads
    /// its answers is served, piece by piece, even when others have used up the part of its kind.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.amount == 0 || self.has_plenty()
    }

    /// Whether neither its kind nor its source has used up its part.
    #[must_use]
    pub fn has_plenty(&self) -> bool {
        let of_kind = self.kind.part_of(self.bytes.limit.total);
        let per_source = self.bytes.limit.of_source(self.kind);
        if self.bytes.about.load(Ordering::Relaxed) < of_kind.min(per_source) {
            return true;
        }
        let held = self.bytes.held_now();
        held.total < of_kind && held.sources.get(&self.source).copied().unwrap_or(0) < per_source
    }
}

impl Drop for HeldPart {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Nodes are 10.0.*.*; everything else but loopback is a stranger.
    fn callers() -> Arc<dyn Callers> {
        Arc::new(|ip: IpAddr| match ip {
            IpAddr::V4(v4) if v4.octets().starts_with(&[10, 0]) => Kind::Node,
            ip => OnlyLocal.kind(ip),
        })
    }

    fn places(total: usize, per_source: usize, local: usize) -> Arc<Places> {
        Places::new(Limit { total, per_stranger: per_source, per_source, local }, callers())
    }

    /// As many settled places as there are.
    fn fill(places: &Arc<Places>, ip: impl Fn(usize) -> IpAddr) -> Vec<Place> {
        let enter = |number| places.enter(ip(number), || ()).inspect(Place::keep);
        (0..).map_while(enter).collect()
    }

    fn others(number: usize) -> IpAddr {
        IpAddr::from([10, 9, (number / 200) as u8, (number % 200) as u8])
    }

    #[test]
    fn every_kind_has_its_part() {
        for (limit, parts) in [
            (1, [1, 1, 1, 1]),
            (16, [8, 14, 15, 16]),
            (4096, [2048, 3584, 3840, 4096]),
            (usize::MAX, [usize::MAX / 2, usize::MAX / 16 * 14 + 13, usize::MAX / 16 * 15 + 14, usize::MAX]),
        ] {
            assert_eq!(Kind::ALL.map(|kind| kind.part_of(limit)), parts, "{limit}");
        }
    }

    #[test]
    fn strangers_leave_places_for_nodes_and_nodes_for_this_machine() {
        let places = places(32, 2, 4);
        let strangers = fill(&places, others);
        assert_eq!(strangers.len(), 16);
        let nodes = fill(&places, |number| IpAddr::from([10, 0, 0, number as u8]));
        assert_eq!(nodes.len(), 12);
        let own = fill(&places, |_| ip("127.0.0.1"));
        assert_eq!(own.len(), 4);
        drop((strangers, nodes, own));
        let table = places.table();
        assert!(table.held == 0 && table.entries.is_empty() && table.sources.is_empty());
        assert!(table.numbers.is_empty() && table.may_leave.iter().all(|queue| queue.first().is_none()));
    }

    #[test]
    fn one_source_has_its_share_only() {
        let places = places(160, 3, 5);
        let loud = fill(&places, |_| ip("10.9.0.1"));
        let own = fill(&places, |_| ip("::ffff:127.0.0.1"));
        let network = fill(&places, |_| ip("2001:db8::1"));
        assert_eq!((loud.len(), own.len(), network.len()), (3, 5, 3));
        assert!(fill(&places, |_| ip("2001:db8::2")).is_empty(), "the same network");
        assert_eq!(fill(&places, |_| ip("2001:db8:0:1::1")).len(), 3);
    }

    #[test]
    fn the_oldest_that_proved_nothing_gives_way() {
        let places = places(16, 100, 100);
        let left = Arc::new(Mutex::new(Vec::new()));
        let enter = |name: &'static str, from: &str| {
            let left = Arc::clone(&left);
            places.enter(ip(from), move || left.lock().unwrap().push(name))
        };
        let names = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
        let mut held: Vec<Place> = names.iter().map(|name| enter(name, "10.9.0.1").unwrap()).collect();
        held[0].keep();
        held[1].rest();
        assert!(left.lock().unwrap().is_empty());
        let newcomer = enter("s8", "10.9.0.2").expect("the oldest idle one leaves");
        assert_eq!(*left.lock().unwrap(), ["s2"]);
        assert_eq!(places.held(), 8);
        // A place that was given up frees nothing a second time.
        drop(held.remove(2));
        assert_eq!(places.held(), 8);
        drop(newcomer);
        assert_eq!(places.held(), 7);
    }

    #[test]
    fn those_with_more_proof_never_give_way_to_those_with_less() {
        let places = places(16, 100, 100);
        let left = Arc::new(AtomicUsize::new(0));
        let counted = || {
            let left = Arc::clone(&left);
            move || assert!(left.fetch_add(1, Ordering::Relaxed) < usize::MAX)
        };
        let nodes: Vec<_> = (0..14).map_while(|_| places.enter(ip("10.0.0.1"), counted())).collect();
        assert_eq!(nodes.len(), 14);
        assert!(places.enter(ip("10.9.0.1"), || ()).is_none(), "a stranger sends no node away");
        let newcomer = places.enter(ip("10.0.0.2"), || ()).expect("a node may");
        newcomer.keep();
        assert_eq!(left.load(Ordering::Relaxed), 1);
        nodes.iter().for_each(Place::keep);
        assert!(places.enter(ip("10.0.0.3"), || ()).is_none(), "nodes at work stay");
        let proved = places.enter_as(Kind::Certificate, ip("10.9.0.1"), || ());
        assert!(proved.is_some() && places.enter(ip("127.0.0.1"), || ()).is_some());
    }

    #[test]
    fn a_source_at_its_limit_gives_way_to_itself() {
        let places = places(160, 2, 2);
        let left = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&left);
        let first =
            places.enter(ip("10.0.0.1"), move || assert!(seen.fetch_add(1, Ordering::Relaxed) == 0)).unwrap();
        let second = places.enter(ip("10.0.0.1"), || ()).unwrap();
        second.keep();
        let third = places.enter(ip("10.0.0.1"), || ()).expect("in the place of the first");
        third.keep();
        assert_eq!((left.load(Ordering::Relaxed), places.held()), (1, 2));
        assert!(places.enter(ip("10.0.0.1"), || ()).is_none());
        drop((first, second, third));
        assert_eq!(places.held(), 0);
    }

    #[test]
    fn bytes_of_slow_strangers_leave_room_for_nodes() {
        let bytes =
            Bytes::new(Limit { total: 1600, per_stranger: 400, per_source: 400, local: 1600 }, callers());
        let mut strangers: Vec<HeldPart> = (0..2).map(|number| bytes.part(others(number))).collect();
        strangers.iter_mut().for_each(|part| part.set(399));
        assert!(strangers[0].has_room());
        strangers[0].set(400);
        assert!(!strangers[0].has_room(), "its own share is used");
        assert!(strangers[1].has_room());
        let mut third = bytes.part(others(2));
        assert!(third.has_room());
        third.set(1);
        assert!(!third.has_room(), "the share of all strangers is used");
        let mut node = bytes.part(ip("10.0.0.1"));
        assert!(node.has_room());
        node.set(600);
        let mut other = bytes.part(ip("10.0.0.2"));
        assert!(!other.has_plenty() && bytes.part(ip("127.0.0.1")).has_plenty());
        assert!(other.has_room(), "one piece at a time");
        other.set(1);
        assert!(!other.has_room());
        drop((strangers, third, node, other));
        assert_eq!(bytes.held(), 0);
        assert!(bytes.held_now().sources.is_empty());
    }
}
