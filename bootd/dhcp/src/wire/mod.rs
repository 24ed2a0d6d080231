//! Packets on the wire: reading what clients send, writing what they accept.
//!
//! We read and write packets ourselves, because firmware depends on things that a map of options loses: the
//! order of options, `file` and `sname` used for options (option 52), values cut into pieces (RFC 3396),
//! options inside options (43, 82, 175), and a message that must stay below the size the client named. Tests
//! and fuzz targets hold the encoder against dhcproto's decoder, so both must agree on every message.

pub mod code;
pub mod message_type;
pub mod options;
pub mod packet;
pub mod writer;

pub use options::Options;
pub use packet::{Packet, PacketError};
pub use writer::Writer;

use std::net::Ipv4Addr;

/// The first IPv4 address in an option value, if there is a whole one.
pub fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    value.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes))
}

/// The first big-endian 16-bit number in an option value.
pub fn u16_be(value: &[u8]) -> Option<u16> {
    value.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}
