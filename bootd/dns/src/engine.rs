//! Answers to messages.
//!
//! Answers from our zones and from the cache are written at once; a question for other servers and the
//! transfer of a zone are handed back to the shell ([`Verdict::Ask`]). The engine holds no socket and no
//! clock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::base::iana::{ExtendedErrorCode, OptRcode, Rcode};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder, PushError, StaticCompressor};
use domain::base::opt::ExtendedError;
use domain::base::{Message, MessageBuilder, Rtype, Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ns, Ptr, Soa};

use crate::cache::Cache;
use crate::name::DomainName;
use crate::query::{NameBytes, Query, Transport, UDP_BYTES_MAX, UDP_BYTES_PLAIN, read};
use crate::rate::{Allowed, Rate};
use crate::view::{Client, View};
use crate::zones::{
    Data, EXPIRE_SECONDS, Lookup, NEGATIVE_TTL_SECONDS, REFRESH_SECONDS, RETRY_SECONDS, TTL_SECONDS, Zone,
};

/// CNAMEs that are followed for one question.
const CHAIN_MAX: usize = 8;
/// Room that is kept for the OPT record, bytes (RFC 6891 §6.1.2).
const OPT_BYTES: usize = 11;
pub(crate) type Out = StaticCompressor<Vec<u8>>;

/// What to do about a message.
#[derive(Debug)]
pub enum Verdict {
    /// Send what is in the buffer.
    Reply,
    /// Send nothing.
    Silence,
    /// Ask other servers and answer then.
    Ask(Box<Query>),
    /// Send the zone of this number.
    Transfer(u32),
}

/// Answers messages; each thread has its own.
#[derive(Debug)]
pub struct Engine {
    cache: Arc<Cache>,
    rate: Rate,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// Address of the client.
    pub ip: IpAddr,
    /// How it came.
    pub transport: Transport,
}

impl Engine {
    /// An engine over a cache that others use too.
    #[must_use]
    pub fn new(cache: Arc<Cache>) -> Self {
        Self { cache, rate: Rate::default() }
    }

    /// Answers one message. With [`Verdict::Reply`] the answer is in `out`, whose old content is gone.
    pub fn answer(
        &mut self,
        now: Duration,
        view: &View,
        origin: Origin,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Verdict {
        let Ok(message) = Message::from_slice(bytes) else { return Verdict::Silence };
        if message.header().qr() {
            return Verdict::Silence;
        }
        let client = view.client(origin.ip);
        if client == Client::Stranger && origin.transport == Transport::Udp {
            match self.rate.allow(now, origin.ip) {
                Allowed::Answer => {}
                Allowed::Nothing => return Verdict::Silence,
                Allowed::Truncated => return truncated(message, out),
            }
        }
        let query = match read(message, origin.transport) {
            Ok(query) => query,
            Err(rcode) => return refusal(message, None, rcode, None, out),
        };
        if matches!(query.rtype, Rtype::AXFR | Rtype::IXFR) {
            return transfer(view, origin, message, &query, out);
        }
        if !matches!(view.zones.find(query.name.as_ref()), Lookup::Foreign) {
            return written(own_answer(view, message, &query, out));
        }
        self.foreign(now, view, client, message, query, out)
    }

    /// A name outside our zones.
    fn foreign(
        &self,
        now: Duration,
        view: &View,
        client: Client,
        message: &Message<[u8]>,
        query: Query,
        out: &mut Vec<u8>,
    ) -> Verdict {
        if client == Client::Stranger {
            return refusal(message, Some(&query), Rcode::REFUSED, Some(ExtendedErrorCode::PROHIBITED), out);
        }
        if is_single_label(query.name.as_ref()) {
            // A host name without a domain, from the end of a search list: no server elsewhere knows it.
            return refusal(message, Some(&query), Rcode::NXDOMAIN, None, out);
        }
        if self.cache.reply(now, &query, out) {
            return Verdict::Reply;
        }
        if !query.recursion || view.forwarders.is_empty() {
            let code = ExtendedErrorCode::NOT_AUTHORITATIVE;
            return refusal(message, Some(&query), Rcode::REFUSED, Some(code), out);
        }
        Verdict::Ask(Box::new(query))
    }
}

fn is_single_label(name: &[u8]) -> bool {
    let length = name.first().copied().unwrap_or(0);
    length != 0 && name.len() == usize::from(length) + 2
}

fn transfer(
    view: &View,
    origin: Origin,
    message: &Message<[u8]>,
    query: &Query,
    out: &mut Vec<u8>,
) -> Verdict {
    let zone = view.zones.at_apex(query.name.as_ref());
    match zone {
        // By UDP a secondary only learns the serial number, or comes by TCP (RFC 1995 §2).
        Some(_) if !view.may_transfer(origin.ip) => refusal(message, Some(query), Rcode::REFUSED, None, out),
        Some((number, _)) if origin.transport == Transport::Tcp => Verdict::Transfer(number),
        Some(_) => truncated(message, out),
        None => refusal(message, Some(query), Rcode::NOTAUTH, None, out),
    }
}

fn written(result: Result<(), PushError>) -> Verdict {
    // A message whose answer cannot be written in 512 bytes or more is not answered.
    if result.is_ok() { Verdict::Reply } else { Verdict::Silence }
}

/// The start of an answer: header and question.
pub(crate) fn start(
    message: &Message<[u8]>,
    rcode: Rcode,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<AnswerBuilder<Out>, PushError> {
    let mut target = std::mem::take(out);
    target.clear();
    let mut builder =
        MessageBuilder::from_target(StaticCompressor::new(target)).map_err(|_| PushError::ShortBuf)?;
    builder.set_push_limit(bytes_max);
    if message.header_counts().qdcount() != 1 {
        // There is no question that could be repeated: the header alone.
        let header = builder.header_mut();
        header.set_id(message.header().id());
        header.set_qr(true);
        header.set_opcode(message.header().opcode());
        header.set_rd(message.header().rd());
        header.set_rcode(rcode);
        return Ok(builder.answer());
    }
    builder.start_answer(message, rcode)
}

/// Ends an answer with the OPT record, if the client sent one.
fn finish(
    mut builder: AdditionalBuilder<Out>,
    opt: Option<&Query>,
    explanation: Option<ExtendedErrorCode>,
    out: &mut Vec<u8>,
) -> Result<(), PushError> {
    if let Some(query) = opt.filter(|query| query.edns) {
        builder.set_push_limit(query.bytes_max);
        let rcode: OptRcode = builder.header().rcode().into();
        builder.opt(|opt| {
            opt.set_udp_payload_size(UDP_BYTES_MAX);
            opt.set_dnssec_ok(query.signatures);
            opt.set_rcode(rcode);
            match explanation.and_then(|code| ExtendedError::<Vec<u8>>::new(code, None).ok()) {
                Some(error) => opt.push(&error),
                None => Ok(()),
            }
        })?;
    }
    *out = builder.finish().into_target();
    Ok(())
}

/// An answer without records.
fn refusal(
    message: &Message<[u8]>,
    query: Option<&Query>,
    rcode: Rcode,
    explanation: Option<ExtendedErrorCode>,
    out: &mut Vec<u8>,
) -> Verdict {
    let build = |out: &mut Vec<u8>| {
        let limit = query.map_or(UDP_BYTES_PLAIN.into(), |query| query.bytes_max);
        let mut builder = start(message, rcode, limit, out)?;
        builder.header_mut().set_ra(true);
        finish(builder.additional(), query, explanation, out)
    };
    written(build(out))
}

/// An empty answer that asks the client to come by TCP.
fn truncated(message: &Message<[u8]>, out: &mut Vec<u8>) -> Verdict {
    let build = |out: &mut Vec<u8>| {
        let mut builder = start(message, Rcode::NOERROR, UDP_BYTES_PLAIN.into(), out)?;
        builder.header_mut().set_tc(true);
        finish(builder.additional(), None, None, out)
    };
    written(build(out))
}

/// The answer from our zones.
fn own_answer(
    view: &View,
    message: &Message<[u8]>,
    query: &Query,
    out: &mut Vec<u8>,
) -> Result<(), PushError> {
    let room = query.bytes_max.saturating_sub(if query.edns { OPT_BYTES } else { 0 });
    let mut builder = start(message, Rcode::NOERROR, room, out)?;
    let header = builder.header_mut();
    header.set_aa(true);
    header.set_ra(true);
    let end = match fill(&mut builder, view, query) {
        Ok(end) => end,
        Err(_) => {
            let builder = builder.tc_rewind_into();
            return finish(builder.additional(), Some(query), None, out);
        }
    };
    builder.header_mut().set_rcode(end.rcode);
    let mut builder = builder.authority();
    if let Some(zone) = end.negative {
        // The zone's SOA says how long the client may believe it (RFC 2308 §3).
        let soa = soa(zone, view.zones.serial);
        let added = builder.push((zone.apex.to_name(), NEGATIVE_TTL_SECONDS, soa));
        if added.is_err() {
            builder.header_mut().set_tc(true);
        }
    }
    finish(builder.additional(), Some(query), None, out)
}

/// How an answer ends.
struct End<'a> {
    rcode: Rcode,
    /// The zone whose SOA is in the negative answer.
    negative: Option<&'a Zone>,
}

/// Writes the records of the answer, CNAMEs followed as far as they stay in our zones.
fn fill<'a>(builder: &mut AnswerBuilder<Out>, view: &'a View, query: &Query) -> Result<End<'a>, PushError> {
    let mut owner: Option<&DomainName> = None;
    for _ in 0..CHAIN_MAX {
        let name = owner.map_or(query.name.as_ref(), DomainName::as_wire);
        let (zone, entry) = match view.zones.find(name) {
            Lookup::Name(zone, entry) => (zone, entry),
            Lookup::Missing(zone) => return Ok(End { rcode: Rcode::NXDOMAIN, negative: Some(zone) }),
            Lookup::Foreign => break,
        };
        let mut found = false;
        let mut next = None;
        for data in entry.data() {
            let rtype = data.rtype();
            if rtype == query.rtype || query.rtype == Rtype::ANY {
                push(builder, owner, query, zone, view.zones.serial, data)?;
                found = true;
                // One record set is enough of an answer to "any" (RFC 8482 §4.1).
                if query.rtype == Rtype::ANY && query.bytes_max <= UDP_BYTES_MAX.into() {
                    break;
                }
            } else if let Data::Cname(target) = data {
                push(builder, owner, query, zone, view.zones.serial, data)?;
                next = Some(target);
            }
        }
        match next {
            Some(target) => owner = Some(target),
            None if found => break,
            None => return Ok(End { rcode: Rcode::NOERROR, negative: Some(zone) }),
        }
    }
    Ok(End { rcode: Rcode::NOERROR, negative: None })
}

fn push(
    builder: &mut AnswerBuilder<Out>,
    owner: Option<&DomainName>,
    query: &Query,
    zone: &Zone,
    serial: u32,
    data: &Data,
) -> Result<(), PushError> {
    let name = owner.map_or_else(|| name_of(&query.name), |owner| owner.to_name());
    push_record(builder, name, zone, serial, data)
}

fn name_of(bytes: &NameBytes) -> domain::base::Name<&[u8]> {
    domain::base::Name::from_octets(bytes.as_ref()).unwrap_or_else(|_| domain::base::Name::root_ref())
}

/// Writes one record of a zone.
pub(crate) fn push_record(
    builder: &mut AnswerBuilder<Out>,
    owner: domain::base::Name<&[u8]>,
    zone: &Zone,
    serial: u32,
    data: &Data,
) -> Result<(), PushError> {
    match data {
        Data::Soa => builder.push((owner, TTL_SECONDS, soa(zone, serial))),
        Data::Ns(server) => builder.push((owner, TTL_SECONDS, Ns::new(server.to_name()))),
        Data::A(ip) => builder.push((owner, TTL_SECONDS, A::new(*ip))),
        Data::Aaaa(ip) => builder.push((owner, TTL_SECONDS, Aaaa::new(*ip))),
        Data::Cname(target) => builder.push((owner, TTL_SECONDS, Cname::new(target.to_name()))),
        Data::Ptr(host) => builder.push((owner, TTL_SECONDS, Ptr::new(host.to_name()))),
    }
}

fn soa(zone: &Zone, serial: u32) -> Soa<domain::base::Name<&[u8]>> {
    let seconds = Ttl::from_secs;
    Soa::new(
        zone.server.to_name(),
        zone.mailbox.to_name(),
        Serial(serial),
        seconds(REFRESH_SECONDS),
        seconds(RETRY_SECONDS),
        seconds(EXPIRE_SECONDS),
        seconds(NEGATIVE_TTL_SECONDS),
    )
}
