//! Router Solicitations and Advertisements (RFC 4861 §4.1, §4.2) in ICMPv6 (RFC 4443) in IPv6 (RFC 8200).

use std::net::Ipv6Addr;

/// All nodes of a link (RFC 4291 §2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers of a link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Hop limit of every packet of neighbour discovery: it proves that no router forwarded it.
pub const HOP_LIMIT: u8 = 255;
/// ICMPv6 types.
pub const SOLICITATION: u8 = 133;
/// See [`SOLICITATION`].
pub const ADVERTISEMENT: u8 = 134;

const SOLICITATION_BYTES: usize = 8;
const ADVERTISEMENT_BYTES: usize = 16;
const OPTION_SOURCE_LINK: u8 = 1;
const OPTION_PREFIX: u8 = 3;
/// Options are counted in units of this many bytes.
const OPTION_UNIT_BYTES: usize = 8;
const FLAG_MANAGED: u8 = 0x80;
const FLAG_OTHER: u8 = 0x40;
const NEXT_HEADER_ICMPV6: u8 = 58;

/// A message that concerns us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A machine looks for a router.
    Solicitation {
        /// Ethernet address of the asking machine, if the packet has it.
        mac: Option<[u8; 6]>,
    },
    /// A machine is a router, or pretends to be one as we do.
    Advertisement {
        /// For how many seconds it is a default router.
        lifetime_s: u16,
        /// Whether it has something to configure: prefixes, or DHCPv6.
        configures: bool,
    },
}

impl Message {
    /// Reads an ICMPv6 message, checked as RFC 4861 §6.1 asks; `None` for what is invalid or something else.
    pub fn parse(from: Ipv6Addr, hop_limit: u8, bytes: &[u8]) -> Option<Self> {
        let [kind, code, ..] = *bytes else { return None };
        if hop_limit != HOP_LIMIT || code != 0 {
            return None;
        }
        match kind {
            SOLICITATION => {
                let options = Options::parse(bytes.get(SOLICITATION_BYTES..)?)?;
                let mac = options.source_link;
                // A machine without an address must not name its link address.
                let valid = from.is_unicast_link_local() || (from.is_unspecified() && mac.is_none());
                valid.then_some(Self::Solicitation { mac })
            }
            ADVERTISEMENT => {
                let options = Options::parse(bytes.get(ADVERTISEMENT_BYTES..)?)?;
                let lifetime_s = u16::from_be_bytes(*bytes.get(6..)?.first_chunk()?);
                let flags = *bytes.get(5)?;
                let configures = options.prefix || flags & (FLAG_MANAGED | FLAG_OTHER) != 0;
                from.is_unicast_link_local().then_some(Self::Advertisement { lifetime_s, configures })
            }
            _ => None,
        }
    }
}

#[derive(Default)]
struct Options {
    source_link: Option<[u8; 6]>,
    prefix: bool,
}

impl Options {
    /// An option of length 0, or one that is cut off, makes the whole message invalid.
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while let [kind, units, ..] = *bytes {
            let length = usize::from(units) * OPTION_UNIT_BYTES;
            let option = bytes.get(..length).filter(|option| !option.is_empty())?;
            match kind {
                OPTION_SOURCE_LINK if units == 1 => {
                    options.source_link = option.get(2..)?.first_chunk().copied()
                }
                OPTION_PREFIX => options.prefix = true,
                _ => {}
            }
            bytes = bytes.get(length..)?;
        }
        bytes.is_empty().then_some(options)
    }
}

/// An IPv6 packet with the advertisement that there is no router: hop limit unspecified, no flags, lifetime
/// 0.
pub fn no_router(mac: [u8; 6], from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![0; ADVERTISEMENT_BYTES];
    put_source_link(&mut icmp, mac);
    packet(ADVERTISEMENT, icmp, from, to)
}

/// An IPv6 packet that asks for routers.
pub fn solicitation(mac: [u8; 6], from: Ipv6Addr) -> Vec<u8> {
    let mut icmp = vec![0; SOLICITATION_BYTES];
    put_source_link(&mut icmp, mac);
    packet(SOLICITATION, icmp, from, ALL_ROUTERS)
}

fn put_source_link(icmp: &mut Vec<u8>, mac: [u8; 6]) {
    icmp.extend_from_slice(&[OPTION_SOURCE_LINK, 1]);
    icmp.extend_from_slice(&mac);
}

/// Sets type and checksum, and puts the IPv6 header before it.
fn packet(kind: u8, mut icmp: Vec<u8>, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let length = u16::try_from(icmp.len()).unwrap_or(0).to_be_bytes();
    if let Some(first) = icmp.first_mut() {
        *first = kind;
    }
    let sum = checksum(from, to, &icmp).to_be_bytes();
    for (to, from) in icmp.iter_mut().skip(2).zip(sum) {
        *to = from;
    }
    let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], NEXT_HEADER_ICMPV6, HOP_LIMIT];
    bytes.extend_from_slice(&from.octets());
    bytes.extend_from_slice(&to.octets());
    bytes.append(&mut icmp);
    bytes
}

/// The Internet checksum over pseudo header and message (RFC 8200 §8.1); 0 over a message that carries the
/// right one.
pub fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let pseudo = [u32::try_from(icmp.len()).unwrap_or(u32::MAX), u32::from(NEXT_HEADER_ICMPV6)];
    let numbers = pseudo.iter().flat_map(|number| number.to_be_bytes());
    let header = from.octets().into_iter().chain(to.octets()).chain(numbers);
    let all: Vec<u8> = header.chain(icmp.iter().copied()).collect();
    let mut sum: u32 = all
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn local(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
    }

    #[test]
    fn messages() {
        let link = [1, 1, 2, 0, 0, 0, 0, 1];
        let bare = [133, 0, 0, 0, 0, 0, 0, 0];
        let with_link = [&bare[..], &link].concat();
        let asks = |mac| Some(Message::Solicitation { mac });
        let mut router = [0; 16];
        (router[0], router[6], router[7]) = (134, 7, 8);
        let mut managed = [0; 16];
        (managed[0], managed[5]) = (134, 0x80);
        let mut prefix = vec![0; 16 + 32];
        (prefix[0], prefix[16], prefix[17]) = (134, 3, 4);
        let zero_length = [&bare[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let advertises = |lifetime_s, configures| Some(Message::Advertisement { lifetime_s, configures });
        for (name, from, hops, bytes, want) in [
            ("bare", local(9), 255, &bare[..], asks(None)),
            ("with its address", local(9), 255, &with_link, asks(Some(MAC))),
            ("nobody", Ipv6Addr::UNSPECIFIED, 255, &bare, asks(None)),
            ("nobody with an address", Ipv6Addr::UNSPECIFIED, 255, &with_link, None),
            ("from elsewhere", local(9), 254, &bare, None),
            ("a global address", Ipv6Addr::LOCALHOST, 255, &bare, None),
            ("cut", local(9), 255, &bare[..7], None),
            ("empty", local(9), 255, &[], None),
            ("an option of no length", local(9), 255, &zero_length, None),
            ("a cut option", local(9), 255, &with_link[..12], None),
            ("code", local(9), 255, &[133, 1, 0, 0, 0, 0, 0, 0], None),
            ("router", local(1), 255, &router, advertises(0x0708, false)),
            ("DHCPv6", local(1), 255, &managed, advertises(0, true)),
            ("prefix", local(1), 255, &prefix, advertises(0, true)),
            ("router from afar", Ipv6Addr::LOCALHOST, 255, &router, None),
            ("echo", local(9), 255, &[128, 0, 0, 0, 0, 0, 0, 0], None),
        ] {
            assert_eq!(Message::parse(from, hops, bytes), want, "{name}");
        }
    }

    #[test]
    fn what_we_send_says_nothing_and_is_valid() {
        let bytes = no_router(MAC, local(1), local(9));
        assert_eq!(bytes.len(), 40 + 24);
        assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 24, 58, 255]);
        assert_eq!(checksum(local(1), local(9), &bytes[40..]), 0);
        let read = Message::parse(local(1), 255, &bytes[40..]);
        assert_eq!(read, Some(Message::Advertisement { lifetime_s: 0, configures: false }));
        let bytes = solicitation(MAC, local(1));
        assert_eq!(checksum(local(1), ALL_ROUTERS, &bytes[40..]), 0);
        assert_eq!(
            Message::parse(local(1), 255, &bytes[40..]),
            Some(Message::Solicitation { mac: Some(MAC) })
        );
    }
}
