//! DHCP packets of a client (RFC 2131, options of RFC 2132, 3396, 3442): bytes in, bytes out.
//!
//! No client identifier is sent: firmware and boot loader send none we could repeat, so a server that knows
//! machines by hardware address sees one client during the whole boot.

use std::net::Ipv4Addr;

/// Largest packet that is read, in bytes.
pub(crate) const PACKET_BYTES_MAX: usize = 4096;
/// Smallest packet that is sent, in bytes: old relays drop shorter ones.
const PACKET_BYTES_MIN: usize = 300;
const FIXED_BYTES: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const FLAG_BROADCAST: u16 = 0x8000;

const OPT_MASK: u8 = 1;
const OPT_ROUTER: u8 = 3;
const OPT_DNS: u8 = 6;
const OPT_HOSTNAME: u8 = 12;
const OPT_DOMAIN: u8 = 15;
const OPT_MTU: u8 = 26;
const OPT_REQUESTED: u8 = 50;
const OPT_LEASE: u8 = 51;
const OPT_OVERLOAD: u8 = 52;
const OPT_KIND: u8 = 53;
const OPT_SERVER: u8 = 54;
const OPT_PARAMETERS: u8 = 55;
const OPT_MESSAGE: u8 = 56;
const OPT_SIZE_MAX: u8 = 57;
const OPT_T1: u8 = 58;
const OPT_T2: u8 = 59;
const OPT_ROUTES: u8 = 121;
const OPT_END: u8 = 255;

/// Lease time when the server names none, in seconds.
const LEASE_SECONDS_DEFAULT: u32 = 43_200;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Who has an address for me?
    Discover,
    /// I take this one from this server.
    Request {
        /// The offered address.
        address: Ipv4Addr,
        /// The offering server.
        server: Ipv4Addr,
    },
    /// I keep using mine (renewing and rebinding differ only in the destination).
    Renew {
        /// The address in use.
        address: Ipv4Addr,
    },
}

/// Kind of a server's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// DHCPOFFER
    Offer,
    /// DHCPACK
    Ack,
    /// DHCPNAK
    Nak,
}

/// A server's message for this client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// Offer, acknowledgement or refusal.
    pub kind: Kind,
    /// The server's words, mostly with a refusal.
    pub message: String,
    /// The lease; addresses are zero in a refusal.
    pub lease: Lease,
}

/// Addresses and times a server gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Address of this node.
    pub address: Ipv4Addr,
    /// Length of the network prefix, in bits.
    pub prefix: u8,
    /// Server that gave the lease.
    pub server: Ipv4Addr,
    /// Default router.
    pub router: Option<Ipv4Addr>,
    /// More routes: network, prefix length, gateway.
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// Host name of this node.
    pub hostname: Option<String>,
    /// Domain name.
    pub domain: Option<String>,
    /// Interface MTU, in bytes.
    pub mtu: Option<u16>,
    /// Life of the lease, in seconds; all ones means for ever.
    pub lease_seconds: u32,
    /// When to renew, in seconds after the acknowledgement.
    pub t1_seconds: u32,
    /// When to ask any server, in seconds after the acknowledgement.
    pub t2_seconds: u32,
}

/// Builds a client message.
pub(crate) fn encode(ask: Ask, mac: [u8; 6], xid: u32, seconds: u16) -> Vec<u8> {
    let mut packet = vec![BOOTREQUEST, 1, 6, 0];
    packet.extend(xid.to_be_bytes());
    packet.extend(seconds.to_be_bytes());
    let (ciaddr, flags) = match ask {
        Ask::Renew { address } => (address, 0),
        Ask::Discover | Ask::Request { .. } => (Ipv4Addr::UNSPECIFIED, FLAG_BROADCAST),
    };
    packet.extend(flags.to_be_bytes());
    packet.extend(ciaddr.octets());
    packet.resize(28, 0);
    packet.extend(mac);
    packet.resize(FIXED_BYTES, 0);
    packet.extend(MAGIC);
    let kind = if ask == Ask::Discover { 1 } else { 3 };
    packet.extend([OPT_KIND, 1, kind]);
    if let Ask::Request { address, server } = ask {
        packet.extend([OPT_REQUESTED, 4]);
        packet.extend(address.octets());
        packet.extend([OPT_SERVER, 4]);
        packet.extend(server.octets());
    }
    packet.extend([OPT_SIZE_MAX, 2, 0x05, 0xdc]);
    let wanted = [
        OPT_MASK,
        OPT_ROUTER,
        OPT_DNS,
        OPT_HOSTNAME,
        OPT_DOMAIN,
        OPT_MTU,
        OPT_LEASE,
        OPT_SERVER,
        OPT_T1,
        OPT_T2,
        OPT_ROUTES,
    ];
    packet.extend([OPT_PARAMETERS, 11]);
    packet.extend(wanted);
    packet.push(OPT_END);
    packet.resize(packet.len().max(PACKET_BYTES_MIN), 0);
    packet
}

/// Reads a server message; no value if it is not one for this exchange.
pub(crate) fn decode(packet: &[u8], mac: [u8; 6], xid: u32) -> Option<Reply> {
    let ours = packet.first() == Some(&BOOTREPLY)
        && packet.get(4..8)? == xid.to_be_bytes()
        && packet.get(28..34)? == mac
        && packet.get(FIXED_BYTES..FIXED_BYTES + 4)? == MAGIC;
    if !ours {
        return None;
    }
    let options = Options::collect(packet);
    let kind = match options.get(OPT_KIND)?.first()? {
        2 => Kind::Offer,
        5 => Kind::Ack,
        6 => Kind::Nak,
        _ => return None,
    };
    let address = address_at(packet, 16)?;
    if kind != Kind::Nak && (address.is_unspecified() || address.is_broadcast() || address.is_multicast()) {
        return None;
    }
    let message = options.text(OPT_MESSAGE).unwrap_or_default();
    let siaddr = address_at(packet, 20)?;
    Some(Reply { kind, message, lease: options.lease(address, siaddr) })
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(Ipv4Addr::from(four))
}

/// Options by code; parts of a long option are joined (RFC 3396).
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    fn collect(packet: &[u8]) -> Self {
        let mut options = Self(Vec::new());
        options.walk(packet.get(FIXED_BYTES + 4..).unwrap_or_default());
        let overload = options.get(OPT_OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
        if overload & 1 != 0 {
            options.walk(packet.get(108..FIXED_BYTES).unwrap_or_default());
        }
        if overload & 2 != 0 {
            options.walk(packet.get(44..108).unwrap_or_default());
        }
        options
    }

    fn walk(&mut self, mut bytes: &[u8]) {
        while let Some((&code, rest)) = bytes.split_first() {
            match code {
                0 => bytes = rest,
                OPT_END => return,
                _ => {
                    let Some((&length, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(usize::from(length)) else { return };
                    self.add(code, value);
                    bytes = rest;
                }
            }
        }
    }

    fn add(&mut self, code: u8, value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| *known == code) {
            Some((_, joined)) => joined.extend_from_slice(value),
            None => self.0.push((code, value.to_vec())),
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }

    fn text(&self, code: u8) -> Option<String> {
        let text = String::from_utf8_lossy(self.get(code)?).trim_matches('\0').trim().to_owned();
        (!text.is_empty() && !text.contains(char::is_control)).then_some(text)
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let value = self.get(code).unwrap_or_default();
        value.chunks_exact(4).filter_map(|four| address_at(four, 0)).collect()
    }

    fn lease(&self, address: Ipv4Addr, siaddr: Ipv4Addr) -> Lease {
        let mask = self.addresses(OPT_MASK).first().copied();
        let lease_seconds = self.number(OPT_LEASE).unwrap_or(LEASE_SECONDS_DEFAULT);
        Lease {
            address,
            prefix: mask.map_or_else(|| class_prefix(address), ones),
            server: self.addresses(OPT_SERVER).first().copied().unwrap_or(siaddr),
            router: self.addresses(OPT_ROUTER).first().copied(),
            routes: self.get(OPT_ROUTES).map(classless_routes).unwrap_or_default(),
            dns: self.addresses(OPT_DNS),
            hostname: self.text(OPT_HOSTNAME),
            domain: self.text(OPT_DOMAIN),
            mtu: self.get(OPT_MTU).and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?))),
            lease_seconds,
            t1_seconds: self.number(OPT_T1).unwrap_or(lease_seconds / 2),
            t2_seconds: self.number(OPT_T2).unwrap_or(lease_seconds / 8 * 7),
        }
    }
}

fn ones(mask: Ipv4Addr) -> u8 {
    u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32)
}

/// Prefix length of the old address classes, for servers that name no mask.
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        _ => 24,
    }
}

fn classless_routes(mut value: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = value.split_first() {
        let used = usize::from(prefix).div_ceil(8);
        let (Some(network), Some(gateway)) = (rest.get(..used), address_at(rest, used)) else { break };
        let mut octets = [0; 4];
        for (octet, byte) in octets.iter_mut().zip(network) {
            *octet = *byte;
        }
        if prefix > 32 {
            break;
        }
        routes.push((Ipv4Addr::from(octets), prefix, gateway));
        value = rest.get(used + 4..).unwrap_or_default();
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    fn reply(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut packet = encode(Ask::Discover, MAC, 7, 0);
        packet.truncate(FIXED_BYTES + 4);
        packet[0] = BOOTREPLY;
        packet[16..20].copy_from_slice(&[10, 1, 0, 11]);
        packet.extend([OPT_KIND, 1, kind]);
        packet.extend(options);
        packet.push(OPT_END);
        packet
    }

    #[test]
    fn discover_is_broadcast_without_client_id() {
        let packet = encode(Ask::Discover, MAC, 0x0102_0304, 9);
        assert_eq!(&packet[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 9, 0x80, 0]);
        assert_eq!(&packet[28..34], MAC);
        assert_eq!(&packet[240..243], [53, 1, 1]);
        assert!(packet.len() >= PACKET_BYTES_MIN);
        let options = Options::collect(&packet);
        assert_eq!(options.get(61), None);
    }

    #[test]
    fn request_names_address_and_server() {
        let ask = Ask::Request { address: Ipv4Addr::new(10, 1, 0, 11), server: Ipv4Addr::new(10, 1, 0, 1) };
        let options = Options::collect(&encode(ask, MAC, 1, 0));
        assert_eq!(options.get(OPT_REQUESTED), Some([10, 1, 0, 11].as_slice()));
        assert_eq!(options.get(OPT_SERVER), Some([10, 1, 0, 1].as_slice()));
    }

    #[test]
    fn renewal_carries_the_address_in_the_header() {
        let packet = encode(Ask::Renew { address: Ipv4Addr::new(10, 1, 0, 11) }, MAC, 1, 0);
        assert_eq!(&packet[10..16], [0, 0, 10, 1, 0, 11]);
        assert_eq!(Options::collect(&packet).get(OPT_REQUESTED), None);
    }

    #[test]
    fn acknowledgement() {
        let options = [
            &[1, 4, 255, 255, 0, 0][..],
            &[3, 4, 10, 1, 0, 254],
            &[6, 8, 10, 1, 0, 1, 10, 1, 0, 2],
            &[12, 3, b'c', b'n', b'1'],
            &[15, 2, b'd', b'.'],
            &[26, 2, 0x23, 0x28],
            &[51, 4, 0, 0, 0, 80],
            &[54, 4, 10, 1, 0, 1],
            &[121, 9, 16, 192, 168, 10, 1, 0, 5, 0, 10],
            &[121, 3, 1, 0, 6],
        ]
        .concat();
        let reply = decode(&reply(5, &options), MAC, 7).unwrap();
        assert_eq!(reply.kind, Kind::Ack);
        let lease = reply.lease;
        assert_eq!((lease.address, lease.prefix), (Ipv4Addr::new(10, 1, 0, 11), 16));
        assert_eq!(lease.dns.len(), 2);
        assert_eq!((lease.hostname.as_deref(), lease.mtu), (Some("cn1"), Some(9000)));
        assert_eq!((lease.lease_seconds, lease.t1_seconds, lease.t2_seconds), (80, 40, 70));
        assert_eq!(
            lease.routes,
            [
                (Ipv4Addr::new(192, 168, 0, 0), 16, Ipv4Addr::new(10, 1, 0, 5)),
                (Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 1, 0, 6)),
            ]
        );
    }

    #[test]
    fn other_peoples_packets_are_ignored() {
        let good = reply(2, &[]);
        assert!(decode(&good, MAC, 7).is_some());
        assert_eq!(decode(&good, MAC, 8), None);
        assert_eq!(decode(&good, [0; 6], 7), None);
        assert_eq!(decode(&encode(Ask::Discover, MAC, 7, 0), MAC, 7), None);
        for length in 0..good.len() - 1 {
            let _ = decode(&good[..length], MAC, 7);
        }
    }

    #[test]
    fn refusal_has_words() {
        let reply = decode(&reply(6, &[56, 4, b'n', b'o', b'p', b'e']), MAC, 7).unwrap();
        assert_eq!((reply.kind, reply.message.as_str()), (Kind::Nak, "nope"));
    }

    #[test]
    fn overload_and_broken_lengths() {
        let mut packet = reply(2, &[OPT_OVERLOAD, 1, 1, 77, 200, 1]);
        packet[108..114].copy_from_slice(&[12, 2, b'h', b'i', 255, 0]);
        assert_eq!(decode(&packet, MAC, 7).unwrap().lease.hostname.as_deref(), Some("hi"));
    }
}
