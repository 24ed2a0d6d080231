//! Host names: an address as it is, else one A question to the lease's name servers (RFC 1035).
//!
//! Names without a dot are tried with the lease's domain first. No cache, no search list, no IPv6: the boot
//! asks for one or two names.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::dhcp::Lease;
use crate::error::{Error, Result};
use crate::lease::literal;

/// Wait for one answer, in seconds.
const ANSWER_SECONDS_MAX: u64 = 2;
/// Questions per server.
const TRIES: usize = 2;
/// Compression pointers followed or records read in one answer.
const RECORDS_MAX: usize = 64;

/// Address of a host.
pub(crate) fn resolve(name: &str, lease: &Lease) -> Result<Ipv4Addr> {
    if let Some(address) = literal(name) {
        return Ok(address);
    }
    let fail = |why: &str| Error::Name { name: name.to_owned(), why: why.to_owned() };
    if lease.dns.is_empty() {
        return Err(fail("the DHCP lease names no name server"));
    }
    for full in candidates(name, lease.domain.as_deref()) {
        for server in lease.dns.iter().cycle().take(lease.dns.len() * TRIES) {
            match ask(&full, *server) {
                Answer::Address(address) => return Ok(address),
                Answer::NoSuchName => break,
                Answer::Silence => {}
            }
        }
    }
    Err(fail("no name server knows it"))
}

fn candidates(name: &str, domain: Option<&str>) -> Vec<String> {
    let with_domain = domain.filter(|_| !name.contains('.')).map(|domain| format!("{name}.{domain}"));
    with_domain.into_iter().chain([name.to_owned()]).collect()
}

enum Answer {
    Address(Ipv4Addr),
    NoSuchName,
    Silence,
}

fn ask(name: &str, server: Ipv4Addr) -> Answer {
    let id = 0x4441;
    let (Some(question), Ok(socket)) = (encode(name, id), UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))) else {
        return Answer::NoSuchName;
    };
    let mut buffer = [0; 1500];
    let exchange = || {
        socket.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
        socket.connect((server, 53))?;
        socket.send(&question)?;
        socket.recv(&mut buffer)
    };
    let mut exchange = exchange;
    let Ok(length) = exchange() else { return Answer::Silence };
    let packet = buffer.get(..length).unwrap_or_default();
    match decode(packet, id) {
        Some(address) => Answer::Address(address),
        None => Answer::NoSuchName,
    }
}

fn encode(name: &str, id: u16) -> Option<Vec<u8>> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        packet.push(length);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    Some(packet)
}

/// First A record of an answer.
pub(crate) fn decode(packet: &[u8], id: u16) -> Option<Ipv4Addr> {
    let number = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    if number(0)? != id || number(2)? & 0x800f != 0x8000 {
        return None;
    }
    let mut at = skip_name(packet, 12)? + 4;
    for _ in 0..usize::from(number(6)?).min(RECORDS_MAX) {
        at = skip_name(packet, at)?;
        let length = usize::from(number(at + 8)?);
        if number(at)? == 1 && length == 4 {
            let four: [u8; 4] = packet.get(at + 10..at + 14)?.try_into().ok()?;
            return Some(Ipv4Addr::from(four));
        }
        at += 10 + length;
    }
    None
}

fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..128 {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_behind_an_alias() {
        let mut packet = encode("mgt.d", 5).unwrap();
        packet[2] = 0x81;
        packet[3] = 0x80;
        packet[7] = 2;
        packet.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 0, 1]);
        assert_eq!(decode(&packet, 5), Some(Ipv4Addr::new(10, 1, 0, 1)));
        assert_eq!(decode(&packet, 6), None);
        for length in 0..packet.len() {
            let _ = decode(&packet[..length], 5);
        }
    }

    #[test]
    fn short_names_try_the_domain_first() {
        assert_eq!(candidates("mgt", Some("c.d")), ["mgt.c.d", "mgt"]);
        assert_eq!(candidates("a.b", Some("c.d")), ["a.b"]);
        assert!(encode("a..b", 1).is_none());
    }
}
