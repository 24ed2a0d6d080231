//! Packets that the kernel does not make for us: UDP to a machine without an address, and ARP probes.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of an ARP packet for Ethernet and IPv4 (RFC 826).
pub(super) const ARP_BYTES: usize = 28;
const IP_HEADER_BYTES: u16 = 20;
const UDP_HEADER_BYTES: u16 = 8;
const TTL: u8 = 64;
const PROTOCOL_UDP: u8 = 17;

/// An IPv4 packet with a UDP datagram (RFC 791, RFC 768); `None` when the payload is too long for one.
pub(super) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_len = UDP_HEADER_BYTES.checked_add(u16::try_from(payload.len()).ok()?)?;
    let total = IP_HEADER_BYTES.checked_add(udp_len)?;
    let mut packet = Vec::with_capacity(usize::from(total));
    packet.extend_from_slice(&ip_header(total, *from.ip(), *to.ip()));
    let mut header = [0; 8];
    let fields = [from.port(), to.port(), udp_len, 0].map(u16::to_be_bytes);
    fill(&mut header, fields.as_flattened());
    let pseudo = pseudo_header(*from.ip(), *to.ip(), udp_len);
    // A sum of zero would mean "no checksum".
    let sum = match checksum(&[&pseudo, &header, payload]) {
        0 => 0xffff,
        sum => sum,
    };
    packet.extend_from_slice(header.get(..6)?);
    packet.extend_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    Some(packet)
}

fn ip_header(total: u16, from: Ipv4Addr, to: Ipv4Addr) -> [u8; 20] {
    let mut header = [0; 20];
    let [len_high, len_low] = total.to_be_bytes();
    fill(&mut header, &[0x45, 0x10, len_high, len_low, 0, 0, 0, 0, TTL, PROTOCOL_UDP, 0, 0]);
    fill(header.get_mut(12..).unwrap_or(&mut []), &from.octets());
    fill(header.get_mut(16..).unwrap_or(&mut []), &to.octets());
    let sum = checksum(&[&header]).to_be_bytes();
    fill(header.get_mut(10..12).unwrap_or(&mut []), &sum);
    header
}

fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, udp_len: u16) -> [u8; 12] {
    let mut header = [0; 12];
    let ([a, b, c, d], [e, f, g, h], [i, j]) = (from.octets(), to.octets(), udp_len.to_be_bytes());
    fill(&mut header, &[a, b, c, d, e, f, g, h, 0, PROTOCOL_UDP, i, j]);
    header
}

/// The Internet checksum (RFC 1071) over parts, all but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let (words, rest) = part.as_chunks::<2>();
        sum += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
        sum += rest.first().map_or(0, |last| u64::from(*last) << 8);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// An ARP probe (RFC 5227 §2.1.1): the sender address is zero, so that no machine's cache changes.
pub(super) fn arp_probe(mac: [u8; 6], address: Ipv4Addr) -> [u8; ARP_BYTES] {
    let mut packet = [0; ARP_BYTES];
    fill(&mut packet, &[0, 1, 8, 0, 6, 4, 0, 1]);
    fill(packet.get_mut(8..).unwrap_or(&mut []), &mac);
    fill(packet.get_mut(24..).unwrap_or(&mut []), &address.octets());
    packet
}

/// Who says in this ARP reply that it has which address.
pub(super) fn arp_reply(packet: &[u8]) -> Option<([u8; 6], Ipv4Addr)> {
    let is_reply = packet.starts_with(&[0, 1, 8, 0, 6, 4, 0, 2]);
    let mac = packet.get(8..14)?.first_chunk::<6>()?;
    let address = packet.get(14..18)?.first_chunk::<4>()?;
    is_reply.then_some((*mac, Ipv4Addr::from(*address)))
}

/// An ICMP echo request (RFC 792).
pub(super) fn echo_request(id: u16) -> [u8; 8] {
    let [high, low] = id.to_be_bytes();
    let mut packet = [8, 0, 0, 0, high, low, 0, 1];
    let sum = checksum(&[&packet]).to_be_bytes();
    fill(packet.get_mut(2..4).unwrap_or(&mut []), &sum);
    packet
}

/// Whether an IPv4 packet is the answer to our [`echo_request`].
pub(super) fn is_echo_reply(packet: &[u8], id: u16) -> bool {
    let header = packet.first().map_or(0, |byte| usize::from(byte & 15) * 4);
    let [high, low] = id.to_be_bytes();
    match packet.get(header..) {
        Some([0, _, _, _, a, b, ..]) => [*a, *b] == [high, low],
        _ => false,
    }
}

fn fill(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_a_whole_packet_come_out_as_zero() {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 67);
        let to = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 68);
        for payload in [&b""[..], b"odd", b"even"] {
            let packet = udp(from, to, payload).unwrap();
            assert_eq!(checksum(&[&packet[..20]]), 0);
            let pseudo = pseudo_header(*from.ip(), *to.ip(), u16::try_from(8 + payload.len()).unwrap());
            assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
        }
        assert!(udp(from, to, &[0; 65_535]).is_none());
    }

    #[test]
    fn arp() {
        let probe = arp_probe([2, 0, 0, 0, 0, 1], Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(arp_reply(&probe), None);
        let mut reply = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9].to_vec();
        assert_eq!(arp_reply(&reply), Some(([2, 0, 0, 0, 0, 9], Ipv4Addr::new(10, 0, 0, 9))));
        reply.truncate(17);
        assert_eq!(arp_reply(&reply), None);
    }
}
