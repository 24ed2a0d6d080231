//! Who answers DHCP on a link: one DHCPDISCOVER, and the offers that come within a time.
//!
//! For an administrator's checks, with or without a running server of ours. The address is not requested, so
//! no lease is made; a server reserves its offer only for a moment. The question always comes from the same
//! invented MAC address, so that it takes one address of a server however often it is asked.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::hwaddr::HTYPE_ETHERNET;
use crate::wire::message_type::MessageType;
use crate::wire::packet::{COOKIE, FLAG_BROADCAST, HEADER_BYTES, PACKET_BYTES_MAX};
use crate::wire::{Options, code, ipv4};

/// The machine that asks: a locally administered address.
pub const MAC: [u8; 6] = [0x02, b'p', b'r', b'o', b'b', b'e'];
/// Offers that are listened to at most.
const OFFERS_MAX: usize = 64;
/// `op` of a request and of an answer.
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
/// The option that ends all others (RFC 2132 §3.2).
const END: u8 = 255;
/// Smallest packet that old servers and relays take (RFC 1542 §2.1).
const BYTES_MIN: usize = 300;

/// What a server offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The server (option 54).
    pub server: Ipv4Addr,
    /// The address for the machine; 0.0.0.0 from a proxy, which offers a boot file alone.
    pub address: Ipv4Addr,
}

/// The DHCPDISCOVER.
pub fn question(xid: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![REQUEST, HTYPE_ETHERNET, 6, 0];
    bytes.extend(xid);
    bytes.extend([0, 0]);
    bytes.extend(FLAG_BROADCAST.to_be_bytes());
    // ciaddr, yiaddr, siaddr, giaddr.
    bytes.extend([0; 16]);
    bytes.extend(MAC);
    bytes.resize(HEADER_BYTES - COOKIE.len(), 0);
    bytes.extend(COOKIE);
    bytes.extend([code::MESSAGE_TYPE, 1, MessageType::Discover.into(), END]);
    bytes.resize(bytes.len().max(BYTES_MIN), 0);
    bytes
}

/// Reads an answer to the question with that `xid`; `None` for every other packet.
pub fn offer(bytes: &[u8], xid: [u8; 4]) -> Option<Offer> {
    let (header, area) = bytes.split_at_checked(HEADER_BYTES)?;
    let is_answer = header.first() == Some(&ANSWER) && header.get(4..8) == Some(xid.as_slice());
    let (fixed, cookie) = header.split_at_checked(HEADER_BYTES - COOKIE.len())?;
    if !is_answer || cookie != COOKIE {
        return None;
    }
    let options = Options::read(area, fixed.get(108..236)?, fixed.get(44..108)?);
    let kind = options.get(code::MESSAGE_TYPE)?.first().copied()?;
    if kind != u8::from(MessageType::Offer) {
        return None;
    }
    Some(Offer { server: ipv4(options.get(code::SERVER_ID)?)?, address: ipv4(fixed.get(16..20)?)? })
}

/// Asks on an interface and listens for `wait`. `ports` are the server's and the client's.
///
/// # Errors
/// The system's: no such interface, no right to the port, or a port that another client holds.
pub fn who_answers(interface: &str, ports: (u16, u16), wait: Duration) -> io::Result<Vec<Offer>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, ports.1).into())?;
    let socket = std::net::UdpSocket::from(socket);
    // Two askers on one link do not take each other's answers.
    let xid = std::process::id().to_be_bytes();
    socket.send_to(&question(xid), (Ipv4Addr::BROADCAST, ports.0))?;
    let deadline = Instant::now() + wait;
    let mut offers = Vec::new();
    let mut buffer = [0; PACKET_BYTES_MAX];
    while offers.len() < OFFERS_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(bytes) => offers.extend(buffer.get(..bytes).and_then(|bytes| offer(bytes, xid))),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    offers.dedup();
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::Kind;
    use crate::wire::{Packet, Writer};

    const XID: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn the_question_is_a_discover_and_an_offer_is_read() {
        let question = question(XID);
        let packet = Packet::read(&question).unwrap();
        assert_eq!((packet.kind, packet.xid, packet.broadcast()), (Kind::Discover, XID, true));
        let server = Ipv4Addr::new(10, 1, 0, 1);
        let mut answer = Writer::new(&packet);
        answer.put(code::MESSAGE_TYPE, &[MessageType::Offer.into()]);
        answer.put_addresses(code::SERVER_ID, &[server]);
        let answer = answer.finish();
        let expected = Offer { server, address: Ipv4Addr::UNSPECIFIED };
        assert_eq!(offer(&answer, XID), Some(expected));
        assert_eq!(offer(&answer, [0; 4]), None);
        assert_eq!(offer(&question, XID), None);
        assert!(
            (0..answer.len()).all(|len| offer(&answer[..len], XID).is_none_or(|found| found == expected))
        );
    }
}
