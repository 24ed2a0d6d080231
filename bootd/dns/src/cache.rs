//! Answers of other servers, kept as long as their records last.
//!
//! An answer is kept as it came, for exactly the question it answers; nothing in it is used for another
//! question, so that a server can give wrong answers only to the question it was asked. The cache is cut into
//! parts with a lock each, and each part holds two generations: when the younger one is full, the older one
//! is dropped and an entry that is used again moves to the younger.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message_builder::AdditionalBuilder;
use domain::base::name::ParsedName;
use domain::base::{Header, Message, MessageBuilder, Rtype};
use domain::dep::octseq::Parser;

use crate::query::{HEADER_BYTES, Query, UDP_BYTES_MAX};

/// Memory of all answers together, bytes.
pub const CACHE_BYTES_MAX: usize = 32 << 20;
/// Largest answer that is kept, bytes.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Longest time an answer is kept, seconds.
pub const KEPT_SECONDS_MAX: u32 = 86_400;
/// Longest time it is kept that something does not exist, seconds (RFC 2308 §5).
pub const NEGATIVE_SECONDS_MAX: u32 = 3600;
/// How long it is kept that no server answered, seconds (RFC 9520 §3.2).
pub const FAILURE_SECONDS: u32 = 2;
/// Parts of the cache.
const PARTS: usize = 16;
/// Bytes of an entry in addition to its answer.
const ENTRY_BYTES: usize = 160;
/// Records of one answer that are read.
const RECORDS_MAX: usize = 2048;

/// The parts that must be equal for two questions to be the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    name: Box<[u8]>,
    rtype: u16,
    /// DO and CD.
    flags: (bool, bool),
}

impl Key {
    /// The key of a question.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        Self {
            name: query.name.as_ref().into(),
            rtype: query.rtype.to_int(),
            flags: (query.signatures, query.unchecked),
        }
    }
}

/// An answer as it is kept: without its OPT record, the identifier zero.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    bytes: Box<[u8]>,
    /// The positions of the lifetimes of records.
    lifetimes: Box<[u16]>,
    since: Duration,
    until: Duration,
}

/// Why an answer of another server cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not the answer to our question, or no message: it is passed over.
    NotOurs,
    /// The server cannot help: another one may.
    Refused,
    /// It did not fit a datagram: ask again by TCP.
    Truncated,
}

impl Stored {
    /// Checks an answer to the question with this identifier and takes it over.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn read(now: Duration, query: &Query, id: u16, bytes: &[u8]) -> Result<Self, Unusable> {
        let message = Message::from_slice(bytes).map_err(|_| Unusable::NotOurs)?;
        let header = message.header();
        let asked = message.sole_question().map_err(|_| Unusable::NotOurs)?;
        let same = header.qr()
            && header.id() == id
            && header.opcode() == Opcode::QUERY
            && asked.qtype() == query.rtype
            && asked.qclass() == Class::IN
            && !asked.qname().is_compressed()
            && bytes
                .get(HEADER_BYTES..HEADER_BYTES + query.name.len())
                .is_some_and(|name| name.eq_ignore_ascii_case(query.name.as_ref()));
        if !same {
            return Err(Unusable::NotOurs);
        }
        if header.tc() {
            return Err(Unusable::Truncated);
        }
        if !matches!(header.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN) {
            return Err(Unusable::Refused);
        }
        let records = records(bytes, query).ok_or(Unusable::NotOurs)?;
        let mut kept: Box<[u8]> = bytes.get(..records.end).unwrap_or_default().into();
        tidy_header(&mut kept, records.additional);
        let seconds = records.seconds(header.rcode());
        let until = now + Duration::from_secs(seconds.into());
        Ok(Self { bytes: kept, lifetimes: records.lifetimes.into(), since: now, until })
    }

    /// The answer when no server answers.
    #[must_use]
    pub fn failure(now: Duration, query: &Query) -> Self {
        let build = || {
            let builder = MessageBuilder::from_target(Vec::new()).ok()?;
            let mut builder = builder.question();
            let name = domain::base::Name::from_octets(query.name.as_ref()).ok()?;
            builder.push((name, query.rtype)).ok()?;
            let header = builder.header_mut();
            header.set_qr(true);
            header.set_ra(true);
            header.set_rcode(Rcode::SERVFAIL);
            Some(builder.finish())
        };
        let bytes = build().unwrap_or_default().into();
        let until = now + Duration::from_secs(FAILURE_SECONDS.into());
        Self { bytes, lifetimes: Box::default(), since: now, until }
    }

    /// Whether it may still be given out.
    #[must_use]
    pub fn lasts(&self, now: Duration) -> bool {
        now < self.until
    }

    fn size(&self) -> usize {
        self.bytes.len() + self.lifetimes.len() * 2 + ENTRY_BYTES
    }

    /// Writes the answer for a client: its identifier, its spelling, lifetimes reduced by its age.
    pub fn write(&self, now: Duration, query: &Query, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        let header = Header::for_message_slice_mut(out);
        header.set_id(query.id);
        header.set_rd(query.recursion);
        header.set_cd(query.unchecked);
        let name = HEADER_BYTES..HEADER_BYTES + query.spelling.len();
        if let Some(name) = out.get_mut(name) {
            name.copy_from_slice(query.spelling.as_ref());
        }
        let age = u32::try_from(now.saturating_sub(self.since).as_secs()).unwrap_or(u32::MAX);
        for at in &self.lifetimes {
            let at = usize::from(*at);
            if let Some(bytes) =
                out.get_mut(at..at + 4).and_then(|bytes| <&mut [u8; 4]>::try_from(bytes).ok())
            {
                *bytes = u32::from_be_bytes(*bytes).min(KEPT_SECONDS_MAX).saturating_sub(age).to_be_bytes();
            }
        }
        let room = if query.edns { OPT.len() } else { 0 };
        if out.len() + room > query.bytes_max {
            cut(out, query);
        }
        if query.edns {
            add_opt(out, query);
        }
    }
}

/// An OPT record without options (RFC 6891 §6.1.2), DO not set.
const OPT: [u8; 11] = {
    let [high, low] = UDP_BYTES_MAX.to_be_bytes();
    [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]
};

fn add_opt(out: &mut Vec<u8>, query: &Query) {
    let mut opt = OPT;
    opt[7] = if query.signatures { 0x80 } else { 0 };
    out.extend_from_slice(&opt);
    add_to_count(out, 1);
}

/// Adds to the number of additional records.
fn add_to_count(out: &mut [u8], more: u16) {
    if let Some(count) = out.get_mut(10..12).and_then(|bytes| <&mut [u8; 2]>::try_from(bytes).ok()) {
        *count = u16::from_be_bytes(*count).saturating_add(more).to_be_bytes();
    }
}

/// Leaves the question alone and marks the answer as truncated.
fn cut(out: &mut Vec<u8>, query: &Query) {
    out.truncate(HEADER_BYTES + query.name.len() + 4);
    if let Some(counts) = out.get_mut(6..12) {
        counts.fill(0);
    }
    Header::for_message_slice_mut(out).set_tc(true);
}

/// The answer is not ours: neither authoritative nor validated. `additional` records are left.
fn tidy_header(bytes: &mut [u8], additional: u16) {
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let header = Header::for_message_slice_mut(bytes);
    header.set_id(0);
    header.set_aa(false);
    header.set_ad(false);
    header.set_z(false);
    header.set_ra(true);
    if let Some(count) = bytes.get_mut(10..12) {
        count.copy_from_slice(&additional.to_be_bytes());
    }
}

/// Facts about an answer's records.
struct Records {
    /// Where the message ends without OPT and what follows it.
    end: usize,
    lifetimes: Vec<u16>,
    /// Additional records before OPT.
    additional: u16,
    /// Shortest lifetime, seconds.
    least: u32,
    /// Lifetime and last field of a SOA in the authority section, the less of the two.
    negative: Option<u32>,
    answers: u16,
}

impl Records {
    /// How long the answer lasts, seconds.
    fn seconds(&self, rcode: Rcode) -> u32 {
        if rcode == Rcode::NXDOMAIN || self.answers == 0 {
            return self.negative.unwrap_or(0).min(NEGATIVE_SECONDS_MAX).min(self.least);
        }
        self.least.min(KEPT_SECONDS_MAX)
    }
}

/// Walks all records; `None` if the message ends early or its names are broken.
fn records(bytes: &[u8], query: &Query) -> Option<Records> {
    let message = Message::from_slice(bytes).ok()?;
    let counts = message.header_counts();
    let mut parser = Parser::from_ref(bytes);
    parser.advance(HEADER_BYTES + query.name.len() + 4).ok()?;
    let sections = [counts.ancount(), counts.nscount(), counts.arcount()];
    let mut found = Records {
        end: parser.pos(),
        lifetimes: Vec::new(),
        additional: 0,
        least: u32::MAX,
        negative: None,
        answers: counts.ancount(),
    };
    for (section, count) in sections.into_iter().enumerate() {
        for _ in 0..count {
            ParsedName::<&[u8]>::parse(&mut parser).ok()?;
            let rtype = Rtype::from_int(parser.parse_u16_be().ok()?);
            parser.advance(2).ok()?;
            let at = parser.pos();
            let lifetime = parser.parse_u32_be().ok()?;
            let length = usize::from(parser.parse_u16_be().ok()?);
            let data = parser.parse_octets(length).ok()?;
            // What follows these is about the transport between us and the server.
            if section == 2 && matches!(rtype, Rtype::OPT | Rtype::TSIG | Rtype::SIG) {
                return Some(found);
            }
            if found.lifetimes.len() >= RECORDS_MAX {
                return None;
            }
            if section == 1 && rtype == Rtype::SOA {
                let last = data.last_chunk::<4>().map_or(0, |last| u32::from_be_bytes(*last));
                found.negative = Some(last.min(lifetime));
            }
            // A lifetime with the highest bit set counts as zero (RFC 2181 §8).
            let lifetime = if lifetime > u32::MAX / 2 { 0 } else { lifetime };
            found.least = found.least.min(lifetime);
            found.lifetimes.push(u16::try_from(at).ok()?);
            found.additional += u16::from(section == 2);
            found.end = parser.pos();
        }
    }
    Some(found)
}

#[derive(Debug, Default)]
struct Part {
    young: HashMap<Key, Arc<Stored>>,
    old: HashMap<Key, Arc<Stored>>,
    young_bytes: usize,
}

impl Part {
    fn insert(&mut self, bytes_max: usize, key: Key, stored: Arc<Stored>) {
        if self.young_bytes + stored.size() > bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += stored.size() + key.name.len();
        if let Some(before) = self.young.insert(key, stored) {
            self.young_bytes = self.young_bytes.saturating_sub(before.size());
        }
    }

    fn find(&mut self, bytes_max: usize, now: Duration, key: &Key) -> Option<Arc<Stored>> {
        if let Some(stored) = self.young.get(key) {
            return stored.lasts(now).then(|| Arc::clone(stored));
        }
        let stored = self.old.remove(key)?;
        if !stored.lasts(now) {
            return None;
        }
        self.insert(bytes_max, key.clone(), Arc::clone(&stored));
        Some(stored)
    }
}

/// The cache; shared by all threads.
#[derive(Debug)]
pub struct Cache {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    bytes_max: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CACHE_BYTES_MAX)
    }
}

impl Cache {
    /// A cache of at most so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { parts: Default::default(), hasher: RandomState::new(), bytes_max }
    }

    fn with<T>(&self, key: &Key, work: impl FnOnce(&mut Part, usize) -> T) -> Option<T> {
        let number = usize::try_from(self.hasher.hash_one(key) % PARTS as u64).unwrap_or(0);
        let mut part = self.parts.get(number)?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut part, self.bytes_max / PARTS))
    }

    /// Writes the answer if it is here and lasts.
    pub fn reply(&self, now: Duration, query: &Query, out: &mut Vec<u8>) -> bool {
        let key = Key::of(query);
        match self.with(&key, |part, bytes_max| part.find(bytes_max, now, &key)).flatten() {
            Some(stored) => {
                stored.write(now, query, out);
                true
            }
            None => false,
        }
    }

    /// Keeps an answer as long as it lasts; what is too large or lasts no time is not kept.
    pub fn keep(&self, now: Duration, query: &Query, stored: &Arc<Stored>) {
        if stored.lasts(now) && stored.bytes.len() <= ANSWER_BYTES_MAX {
            let key = Key::of(query);
            self.with(&key.clone(), |part, bytes_max| part.insert(bytes_max, key, Arc::clone(stored)));
        }
    }

    /// Forgets everything: the servers that are asked have changed.
    pub fn clear(&self) {
        for part in &self.parts {
            *part.lock().unwrap_or_else(PoisonError::into_inner) = Part::default();
        }
    }

    /// Bytes of the answers that are kept, older ones left out.
    #[must_use]
    pub fn young_bytes(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).young_bytes).sum()
    }
}

/// The question for another server.
#[must_use]
pub fn question(query: &Query, id: u16) -> Vec<u8> {
    let build = || -> Option<AdditionalBuilder<Vec<u8>>> {
        let mut builder = MessageBuilder::from_target(Vec::with_capacity(64)).ok()?.question();
        let name = domain::base::Name::from_octets(query.name.as_ref()).ok()?;
        builder.push((name, query.rtype)).ok()?;
        let header = builder.header_mut();
        header.set_id(id);
        header.set_rd(true);
        header.set_cd(query.unchecked);
        let mut builder = builder.additional();
        builder
            .opt(|opt| {
                opt.set_udp_payload_size(UDP_BYTES_MAX);
                opt.set_dnssec_ok(query.signatures);
                Ok(())
            })
            .ok()?;
        Some(builder)
    };
    build().map(AdditionalBuilder::finish).unwrap_or_default()
}
