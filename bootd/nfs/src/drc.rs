//! The duplicate-request cache: a call that must not be carried out twice is not.
//!
//! A client that gets no reply sends the same call again, on the same or a new connection. For calls that
//! change names or attributes the second execution would fail (REMOVE: no such file) or do harm, so their
//! replies are kept and given again. A repetition that arrives while the call is still being worked on
//! waits for its reply, for a while.
//!
//! The cache is in a file that is mapped into memory, so a daemon that is killed and started again still
//! knows what it has answered; nothing is synced, because after a crash of the machine the changes
//! themselves may be gone, and the file is cleared when the boot id is another. A call that was begun and
//! not answered when the daemon died is carried out again with the knowledge that it may have happened
//! ([`Seen::Interrupted`]).
//!
//! Each slot has two checksums, of the call and of its reply, which are looked at when the file is opened: a
//! damaged slot is emptied, a damaged reply is one that was not given ([`Seen::Interrupted`]), and both are
//! counted in the log. The disk space is taken when the file is made, so that a full disk is not a fault of
//! memory later; without it, or where the file cannot be had, the cache is in memory alone.
//!
//! Memory is bounded by construction: a fixed number of sets by client address, a fixed number of slots of
//! fixed size in each, oldest out first.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use memmap2::{MmapMut, MmapOptions};

use crate::rpc::Call;

/// Sets of slots; clients are spread over them by address.
const SETS: usize = 256;
/// Slots per set. A Linux client has at most 65 calls outstanding unless tuned.
const SLOTS: usize = 128;
/// Bytes of a slot: header, key and reply. The longest reply kept, CREATE's, has 308.
const SLOT_BYTES: usize = 512;
const SET_BYTES: usize = SLOTS * SLOT_BYTES;
/// Bytes before the first set in the file: version, boot id. One page, so that sets can be mapped.
const HEAD_BYTES: usize = 4096;
/// Bytes of a slot before the reply.
const SLOT_HEAD_BYTES: usize = 64;
/// Bytes of the call that go into its fingerprint.
const FINGERPRINT_BYTES: usize = 256;
/// Repetitions that wait for a reply at the same time; more are left to ask again.
const WAITING_MAX: usize = 4;
/// How long a repetition waits.
const WAIT: Duration = Duration::from_secs(5);

/// The parts that must be equal for two calls to be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of `call`, whose whole record is `record`.
    pub fn of(client: IpAddr, call: &Call<'_>, record: &[u8]) -> Self {
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write(record.get(..FINGERPRINT_BYTES).unwrap_or(record));
        hasher.write_usize(record.len());
        let address = match client {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let mut key = [0; 32];
        let parts =
            address.octets().into_iter().chain(call.xid.to_be_bytes()).chain(call.procedure.to_be_bytes());
        for (slot, byte) in key.iter_mut().zip(parts.chain(hasher.finish().to_be_bytes())) {
            *slot = byte;
        }
        Self(key)
    }

    fn tag(&self) -> u32 {
        self.0.last_chunk().map_or(0, |b| u32::from_be_bytes(*b))
    }

    fn set(&self) -> usize {
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write(self.0.get(..16).unwrap_or_default());
        usize::try_from(hasher.finish() >> 32).unwrap_or(0) % SETS
    }
}

/// Whether a call was seen before.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// No: carry it out and call [`ReplyCache::finish`].
    Never,
    /// Begun by a daemon that died: as [`Seen::Never`], but it may have happened.
    Interrupted,
    /// It is being carried out.
    Working,
    /// It was answered with this.
    Answered(Vec<u8>),
}

#[derive(Debug)]
enum Memory {
    Own(Vec<u8>),
    Mapped(MmapMut),
}

impl Deref for Memory {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

#[derive(Debug)]
struct Set {
    memory: Memory,
    /// A piece of each slot's key, so that a search touches one slot and not all.
    tags: Vec<u32>,
    /// The slot to be used next.
    next: usize,
}

/// State of a slot, in its first word.
const WORKING: u32 = 1;
const ANSWERED: u32 = 2;

/// One slot: state (0), length of the reply (4), run of the daemon (8), key (16), checksum of run and key
/// (48), checksum of length and reply (56), reply (64).
struct Slot<'a>(&'a mut [u8]);

/// Where the checksums are.
const CALL_SUM: usize = 48;
const REPLY_SUM: usize = 56;

impl Slot<'_> {
    fn word(&self, at: usize) -> u32 {
        self.0.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
    }

    fn run(&self) -> u64 {
        self.0.get(8..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_be_bytes(*b))
    }

    fn holds(&self, key: &Key) -> bool {
        self.word(0) != 0 && self.0.get(16..48) == Some(&key.0)
    }

    fn reply(&self) -> Vec<u8> {
        let len = usize::try_from(self.word(4)).unwrap_or(0);
        self.0.get(SLOT_HEAD_BYTES..SLOT_HEAD_BYTES + len).unwrap_or_default().to_vec()
    }

    fn call_sum(&self) -> [u8; 8] {
        checksum(&[self.0.get(8..CALL_SUM).unwrap_or_default()])
    }

    fn reply_sum(&self) -> [u8; 8] {
        let len = usize::try_from(self.word(4)).unwrap_or(usize::MAX);
        let reply = self.0.get(SLOT_HEAD_BYTES..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        checksum(&[&self.word(4).to_be_bytes(), reply])
    }

    fn sum_at(&self, at: usize) -> Option<&[u8; 8]> {
        self.0.get(at..)?.first_chunk()
    }

    /// Removes damaged replies from a slot of an earlier run; returns whether there were any.
    fn repair(&mut self) -> bool {
        let state = self.word(0);
        if state == 0 {
            return false;
        }
        if self.sum_at(CALL_SUM) != Some(&self.call_sum()) || !matches!(state, WORKING | ANSWERED) {
            self.put(0, &0u32.to_be_bytes());
            return true;
        }
        if state == ANSWERED && self.sum_at(REPLY_SUM) != Some(&self.reply_sum()) {
            self.put(0, &WORKING.to_be_bytes());
            return true;
        }
        false
    }

    fn begin(&mut self, key: &Key, run: u64) {
        // The state last: a daemon killed half-way leaves an empty slot.
        self.put(0, &0u32.to_be_bytes());
        self.put(8, &run.to_be_bytes());
        self.put(16, &key.0);
        self.put(CALL_SUM, &self.call_sum());
        self.put(0, &WORKING.to_be_bytes());
    }

    fn finish(&mut self, reply: &[u8]) {
        if reply.len() > SLOT_BYTES - SLOT_HEAD_BYTES {
            return self.put(0, &0u32.to_be_bytes());
        }
        self.put(SLOT_HEAD_BYTES, reply);
        self.put(4, &u32::try_from(reply.len()).unwrap_or(0).to_be_bytes());
        self.put(REPLY_SUM, &self.reply_sum());
        self.put(0, &ANSWERED.to_be_bytes());
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let mut hasher = siphasher::sip::SipHasher13::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish().to_be_bytes()
}

impl Set {
    /// With the slots that the memory holds, and how many of them are damaged.
    fn new(mut memory: Memory) -> (Self, usize) {
        let damaged =
            memory.chunks_exact_mut(SLOT_BYTES).filter_map(|slot| Slot(slot).repair().then_some(()));
        let damaged = damaged.count();
        let slots = memory.chunks_exact_mut(SLOT_BYTES).map(Slot);
        let tags: Vec<u32> = slots.map(|slot| if slot.word(0) == 0 { 0 } else { slot.word(44) }).collect();
        let next = tags.iter().position(|tag| *tag == 0).unwrap_or(0);
        (Self { memory, tags, next }, damaged)
    }

    fn find(&mut self, key: &Key) -> Option<Slot<'_>> {
        let slots = self.memory.chunks_exact_mut(SLOT_BYTES).zip(&self.tags);
        slots.filter(|(_, tag)| **tag == key.tag()).map(|(slot, _)| Slot(slot)).find(|slot| slot.holds(key))
    }

    fn begin(&mut self, key: &Key, run: u64) -> Seen {
        if let Some(mut slot) = self.find(key) {
            return match slot.word(0) {
                ANSWERED => Seen::Answered(slot.reply()),
                _ if slot.run() == run => Seen::Working,
                _ => {
                    slot.begin(key, run);
                    Seen::Interrupted
                }
            };
        }
        let next = self.next;
        self.next = (next + 1) % SLOTS;
        if let Some(slot) = self.memory.chunks_exact_mut(SLOT_BYTES).nth(next) {
            Slot(slot).begin(key, run);
            self.tags.get_mut(next).into_iter().for_each(|tag| *tag = key.tag());
        }
        Seen::Never
    }
}

/// Replies of calls that must happen once only.
#[derive(Debug)]
pub struct ReplyCache {
    sets: Vec<Mutex<Set>>,
    answered: Condvar,
    waiting: AtomicUsize,
    /// Tells the slots of this run from those of a daemon that died.
    run: u64,
    /// Slots that were damaged when the file was opened.
    pub damaged: usize,
}

impl ReplyCache {
    /// A cache in memory alone, for run number `run`.
    pub fn in_memory(run: u64) -> Self {
        Self::of((0..SETS).map(|_| Memory::Own(vec![0; SET_BYTES])).collect(), run)
    }

    /// A cache in the file at `path`, which is made if need be, and cleared unless it was written since
    /// the machine was started last (`boot_id`).
    pub fn in_file(path: &Path, boot_id: &[u8], run: u64) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let bytes = u64::try_from(HEAD_BYTES + SETS * SET_BYTES).unwrap_or(0);
        let clear = || file.set_len(0).and_then(|()| file.set_len(bytes)).and_then(|()| take(&file, bytes));
        match file.metadata()?.len() == bytes {
            true => take(&file, bytes)?,
            false => clear()?,
        }
        let mut head = map(&file, 0, HEAD_BYTES)?;
        let wanted = [b"dawn nfs replies 2\n", boot_id].concat();
        if head.get(..wanted.len()) != Some(&wanted) {
            let is_ours = head.starts_with(b"dawn nfs replies ");
            if !is_ours && head.iter().any(|byte| *byte != 0) {
                tracing::warn!(path = %path.display(), "the file of NFS replies is not one; it is made new");
            }
            drop(head);
            clear()?;
            head = map(&file, 0, HEAD_BYTES)?;
            if let Some(place) = head.get_mut(..wanted.len()) {
                place.copy_from_slice(&wanted);
            }
        }
        let set = |i| Ok(Memory::Mapped(map(&file, HEAD_BYTES + i * SET_BYTES, SET_BYTES)?));
        Ok(Self::of((0..SETS).map(set).collect::<io::Result<_>>()?, run))
    }

    fn of(sets: Vec<Memory>, run: u64) -> Self {
        let mut damaged = 0;
        let set = |memory| {
            let (set, lost) = Set::new(memory);
            damaged += lost;
            Mutex::new(set)
        };
        let sets = sets.into_iter().map(set).collect();
        Self { sets, answered: Condvar::new(), waiting: AtomicUsize::new(0), run, damaged }
    }

    fn set(&self, key: &Key) -> Option<MutexGuard<'_, Set>> {
        Some(self.sets.get(key.set())?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks a call up and, if it is new, marks it as being worked on.
    pub fn begin(&self, key: Key) -> Seen {
        let Some(mut set) = self.set(&key) else { return Seen::Never };
        let seen = set.begin(&key, self.run);
        if seen != Seen::Working || self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            if seen == Seen::Working {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            return seen;
        }
        let still_working = |set: &mut Set| set.find(&key).is_some_and(|slot| slot.word(0) == WORKING);
        let waited = self.answered.wait_timeout_while(set, WAIT, still_working);
        let (mut set, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match set.find(&key).map(|slot| (slot.word(0), slot.reply())) {
            Some((ANSWERED, reply)) => Seen::Answered(reply),
            _ => Seen::Working,
        }
    }

    /// Keeps the reply of a call.
    pub fn finish(&self, key: &Key, reply: &[u8]) {
        if let Some(mut slot) = self.set(key).as_mut().and_then(|set| set.find(key)) {
            slot.finish(reply);
        }
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.answered.notify_all();
        }
    }
}

/// Allocates the disk space of the whole file: writing a page without space would raise a fault.
fn take(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // A file system that cannot reserve space is used without a reservation.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}

fn map(file: &File, offset: usize, len: usize) -> io::Result<MmapMut> {
    let offset = u64::try_from(offset).unwrap_or(0);
    // SAFETY: the file is in the data directory, where only the daemon writes, and is never shortened
    // while it is mapped.
    unsafe { MmapOptions::new().offset(offset).len(len).map_mut(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        let mut key = Key([0; 32]);
        key.0[20] = n;
        key.0[31] = n;
        key
    }

    #[test]
    fn replies_outlive_the_daemon_but_not_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replies");
        let first = ReplyCache::in_file(&path, b"boot 1", 1).unwrap();
        assert_eq!(first.begin(key(1)), Seen::Never);
        first.finish(&key(1), b"answer");
        assert_eq!(first.begin(key(1)), Seen::Answered(b"answer".to_vec()));
        assert_eq!(first.begin(key(2)), Seen::Never);
        drop(first);

        let second = ReplyCache::in_file(&path, b"boot 1", 2).unwrap();
        assert_eq!(second.begin(key(1)), Seen::Answered(b"answer".to_vec()));
        assert_eq!(second.begin(key(2)), Seen::Interrupted);
        second.finish(&key(2), b"again");
        assert_eq!(second.begin(key(2)), Seen::Answered(b"again".to_vec()));
        drop(second);

        let after_crash = ReplyCache::in_file(&path, b"boot 2", 3).unwrap();
        assert_eq!(after_crash.begin(key(1)), Seen::Never);
    }

    /// Of a file with damage, only damaged slots are lost, and no reply is given that was not given before.
    #[test]
    fn damage_costs_the_damaged_replies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replies");
        let first = ReplyCache::in_file(&path, b"boot", 1).unwrap();
        for n in 0..9 {
            first.begin(key(n));
            if n < 8 {
                first.finish(&key(n), &[n; 20]);
            }
        }
        drop(first);
        let good = std::fs::read(&path).unwrap();
        let set = HEAD_BYTES + key(0).set() * SET_BYTES;
        for place in 0..SLOT_HEAD_BYTES + 20 {
            let mut bytes = good.clone();
            bytes[set + 3 * SLOT_BYTES + place] ^= 0x15;
            std::fs::write(&path, &bytes).unwrap();
            let cache = ReplyCache::in_file(&path, b"boot", 2).unwrap();
            assert_eq!(cache.damaged, 1, "{place}");
            for n in (0..8).filter(|n| *n != 3) {
                assert_eq!(cache.begin(key(n)), Seen::Answered(vec![n; 20]), "{place}");
            }
            assert_eq!(cache.begin(key(8)), Seen::Interrupted, "{place}");
            assert!(matches!(cache.begin(key(3)), Seen::Never | Seen::Interrupted), "{place}");
        }
    }

    #[test]
    fn a_repetition_waits_for_the_reply() {
        let cache = std::sync::Arc::new(ReplyCache::in_memory(1));
        assert_eq!(cache.begin(key(1)), Seen::Never);
        let waiter = cache.clone();
        let waiter = std::thread::spawn(move || waiter.begin(key(1)));
        while cache.waiting.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        cache.finish(&key(1), b"late");
        assert_eq!(waiter.join().unwrap(), Seen::Answered(b"late".to_vec()));
    }

    #[test]
    fn the_oldest_go_first() {
        let cache = ReplyCache::in_memory(1);
        for n in 0..=u8::try_from(SLOTS).unwrap() {
            assert_eq!(cache.begin(key(n)), Seen::Never);
            cache.finish(&key(n), &[n]);
        }
        assert_eq!(cache.begin(key(1)), Seen::Answered(vec![1]));
        assert_eq!(cache.begin(key(0)), Seen::Never);
    }
}
