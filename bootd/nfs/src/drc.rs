//! The duplicate-request cache: a call that must not be carried out twice is not.
//!
//! A client that hears nothing sends the same call again, on the same or a new connection. For calls that
//! change names or attributes the second execution would fail (REMOVE: no such file) or do harm, so their
//! replies are kept and given again. A call that is still being worked on gets silence: its reply is on
//! the way, and the client asks again if that is lost too. Memory is bounded by construction: a fixed
//! number of sets by client address, a fixed number of replies in each, oldest out first.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::rpc::Call;

/// Sets of replies; clients are spread over them by address.
const SETS: usize = 256;
/// Replies per set. A Linux client has at most 65 calls outstanding unless tuned.
const REPLIES_PER_SET: usize = 160;
/// Bytes of the call that go into its fingerprint.
const FINGERPRINT_BYTES: usize = 256;

/// What makes two calls the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    client: IpAddr,
    xid: u32,
    procedure: u32,
    fingerprint: u64,
}

impl Key {
    /// The key of `call`, whose whole record is `record`.
    pub fn of(client: IpAddr, call: &Call<'_>, record: &[u8]) -> Self {
        let mut hasher = siphasher::sip::SipHasher13::new();
        hasher.write(record.get(..FINGERPRINT_BYTES).unwrap_or(record));
        hasher.write_usize(record.len());
        Self { client, xid: call.xid, procedure: call.procedure, fingerprint: hasher.finish() }
    }
}

/// Whether a call was seen before.
#[derive(Debug)]
pub enum Seen {
    /// No: carry it out and call [`ReplyCache::finish`].
    Never,
    /// It is being carried out.
    Working,
    /// It was answered with this.
    Answered(Vec<u8>),
}

#[derive(Debug)]
struct Entry {
    key: Key,
    reply: Option<Vec<u8>>,
}

/// Replies of calls that must happen once only.
#[derive(Debug)]
pub struct ReplyCache {
    sets: Vec<Mutex<VecDeque<Entry>>>,
    hasher: RandomState,
}

impl Default for ReplyCache {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn with_set<T>(&self, key: &Key, f: impl FnOnce(&mut VecDeque<Entry>) -> T) -> Option<T> {
        let index = usize::try_from(self.hasher.hash_one(key.client) >> 32).unwrap_or(0) % SETS;
        let set = self.sets.get(index)?;
        Some(f(&mut set.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Looks a call up and, if it is new, marks it as being worked on.
    pub fn begin(&self, key: Key) -> Seen {
        let seen = self.with_set(&key, |set| {
            if let Some(entry) = set.iter().rev().find(|e| e.key == key) {
                return entry.reply.clone().map_or(Seen::Working, Seen::Answered);
            }
            if set.len() >= REPLIES_PER_SET {
                set.pop_front();
            }
            set.push_back(Entry { key, reply: None });
            Seen::Never
        });
        seen.unwrap_or(Seen::Never)
    }

    /// Keeps the reply of a call.
    pub fn finish(&self, key: &Key, reply: &[u8]) {
        self.with_set(key, |set| {
            if let Some(entry) = set.iter_mut().rev().find(|e| e.key == *key) {
                entry.reply = Some(reply.to_vec());
            }
        });
    }
}
