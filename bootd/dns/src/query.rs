//! A question as it came: what is asked, how, and how large the answer may be.

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::ToName;
use domain::base::{Message, Rtype};
use domain::dep::octseq::Array;

use crate::name::NAME_BYTES_MAX;

/// Largest answer by UDP, bytes: what passes every path without fragments (DNS flag day 2020).
pub const UDP_BYTES_MAX: u16 = 1232;
/// Largest answer by UDP without EDNS, bytes (RFC 1035 §4.2.1).
pub const UDP_BYTES_PLAIN: u16 = 512;
/// Header of a message, bytes.
pub const HEADER_BYTES: usize = 12;
/// Longest question that is read, records in its additional section.
const ADDITIONAL_MAX: u16 = 16;

/// A name in wire form, held in place.
pub type NameBytes = Array<NAME_BYTES_MAX>;

/// How the message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// On a connection, whose peer's address is no forgery.
    Tcp,
}

/// A question that could be read.
#[derive(Clone, Debug)]
pub struct Query {
    /// Identifier of the message.
    pub id: u16,
    /// The name in lower case.
    pub name: NameBytes,
    /// The name as it was written; answers repeat it.
    pub spelling: NameBytes,
    /// What is asked for.
    pub rtype: Rtype,
    /// RD: other servers may be asked.
    pub recursion: bool,
    /// CD: other servers need not validate.
    pub unchecked: bool,
    /// The client uses EDNS (RFC 6891).
    pub edns: bool,
    /// DO: signatures are wanted.
    pub signatures: bool,
    /// Largest answer, bytes.
    pub bytes_max: usize,
}

/// Reads the question, or says which error it is answered with.
pub fn read(message: &Message<[u8]>, transport: Transport) -> Result<Query, Rcode> {
    let (header, counts) = (message.header(), message.header_counts());
    if header.opcode() != Opcode::QUERY {
        return Err(Rcode::NOTIMP);
    }
    // IXFR has the client's SOA in its authority section (RFC 1995 §3).
    if header.tc() || counts.ancount() != 0 || counts.nscount() > 1 || counts.arcount() > ADDITIONAL_MAX {
        return Err(Rcode::FORMERR);
    }
    let question = message.sole_question().map_err(|_| Rcode::FORMERR)?;
    let asked = question.qname();
    if asked.is_compressed() {
        return Err(Rcode::FORMERR);
    }
    if question.qclass() != Class::IN {
        return Err(Rcode::REFUSED);
    }
    let (mut name, mut spelling) = (NameBytes::new(), NameBytes::new());
    asked.compose_canonical(&mut name).map_err(|_| Rcode::FORMERR)?;
    asked.compose(&mut spelling).map_err(|_| Rcode::FORMERR)?;
    let opt = if counts.arcount() == 0 { None } else { message.opt() };
    if opt.as_ref().is_some_and(|opt| opt.version() != 0) {
        return Err(Rcode::FORMERR);
    }
    let udp = opt
        .as_ref()
        .map_or(UDP_BYTES_PLAIN, |opt| opt.udp_payload_size().clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX));
    Ok(Query {
        id: header.id(),
        name,
        spelling,
        rtype: question.qtype(),
        recursion: header.rd(),
        unchecked: header.cd(),
        edns: opt.is_some(),
        signatures: opt.is_some_and(|opt| opt.dnssec_ok()),
        bytes_max: match transport {
            Transport::Udp => udp.into(),
            Transport::Tcp => u16::MAX.into(),
        },
    })
}
