//! A received BOOTP/DHCP request (RFC 2131 §2, RFC 951).

use std::net::Ipv4Addr;

use super::message_type::MessageType;
use super::options::{Options, Walk};
use super::{code, ipv4, u16_be};
use crate::hwaddr::{HTYPE_ETHERNET, HTYPE_INFINIBAND, HwAddr};

/// Bytes before the options: fixed fields and the magic cookie.
pub const HEADER_BYTES: usize = 240;
/// Bytes of the fixed fields without the cookie, the least a BOOTP packet has.
pub const BOOTP_HEADER_BYTES: usize = 236;
/// Largest packet that is looked at: more than any client sends.
pub const PACKET_BYTES_MAX: usize = 4096;
/// The magic cookie that starts the options (RFC 1497).
pub const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Relays beyond this are a loop (RFC 1542 §4.1.1).
const HOPS_MAX: u8 = 16;
/// `flags`: the client cannot take unicast before it is configured.
pub const FLAG_BROADCAST: u16 = 0x8000;

/// Why a packet was dropped without a look at its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Shorter than the fixed fields.
    #[error("only {0} bytes")]
    Short(usize),
    /// Longer than any link carries.
    #[error("{0} bytes are more than a link carries")]
    Long(usize),
    /// `op` is not BOOTREQUEST: another server's answer, or noise.
    #[error("op {0} is not a request")]
    NotRequest(u8),
    /// No link-layer address to know the client by.
    #[error("no usable link-layer address (htype {0}, hlen {1})")]
    NoHwAddr(u8, u8),
    /// The packet went through too many relays.
    #[error("{0} relay hops")]
    Hops(u8),
    /// The address belongs to a group of machines or to all.
    #[error("link-layer address {0} is a group's")]
    GroupAddress(HwAddr),
    /// Options end in the middle of one, and none before it says what the client wants.
    #[error("options are cut off")]
    Options,
    /// Option 53 holds a type that clients do not send.
    #[error("message type {0} is not a client's")]
    MessageType(u8),
}

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A BOOTP request: no option 53.
    Bootp,
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST in any of its four forms.
    Request,
    /// DHCPDECLINE.
    Decline,
    /// DHCPRELEASE.
    Release,
    /// DHCPINFORM.
    Inform,
}

/// One request, borrowed from the receive buffer.
#[derive(Debug, Clone)]
pub struct Packet<'a> {
    /// What it asks for.
    pub kind: Kind,
    /// Relay hops.
    pub hops: u8,
    /// Transaction id.
    pub xid: [u8; 4],
    /// Seconds since the client began.
    pub secs: u16,
    /// Flags; only [`FLAG_BROADCAST`] is defined.
    pub flags: u16,
    /// The client's address, when it has one and can answer ARP for it.
    pub ciaddr: Ipv4Addr,
    /// The relay's address on the client's link, 0.0.0.0 without relay.
    pub giaddr: Ipv4Addr,
    /// The machine.
    pub hw: HwAddr,
    /// `htype`, `hlen` and `chaddr` as sent, for the answer.
    pub chaddr: &'a [u8],
    /// `file` as sent without trailing zeros; empty when it holds options.
    pub file: &'a [u8],
    /// The options.
    pub options: Options<'a>,
}

impl<'a> Packet<'a> {
    /// Reads a request.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let header = Header::split(bytes)?;
        let options = match header.rest.split_first_chunk::<4>() {
            Some((cookie, area)) if *cookie == COOKIE => Options::read(area, header.file, header.sname),
            None if !header.rest.is_empty() => return Err(PacketError::Short(bytes.len())),
            _ => Options::default(),
        };
        let kind = match options.get(code::MESSAGE_TYPE) {
            None if options.is_cut() => return Err(PacketError::Options),
            None => Kind::Bootp,
            Some(value) => kind(value.first().copied().unwrap_or(0))?,
        };
        let overload = options.get(code::OVERLOAD).and_then(<[u8]>::first).copied().unwrap_or(0);
        let file = if overload & 1 == 0 { text(header.file) } else { &[] };
        let hw = header.hw(options.get(code::CLIENT_ID))?;
        Ok(Self {
            kind,
            hops: header.hops,
            xid: header.xid,
            secs: header.secs,
            flags: header.flags,
            ciaddr: header.ciaddr,
            giaddr: header.giaddr,
            hw,
            chaddr: header.chaddr,
            file,
            options,
        })
    }

    /// `chaddr` of a request without reading the rest: enough to ration a client that floods.
    pub fn peek_hw(bytes: &[u8]) -> Option<HwAddr> {
        let (htype, hlen) = (*bytes.get(1)?, *bytes.get(2)?);
        let chaddr = bytes.get(28..44)?;
        HwAddr::new(htype, chaddr.get(..usize::from(hlen))?).ok()
    }

    /// Whether the client or relay asked for a broadcast answer.
    pub fn broadcast(&self) -> bool {
        self.flags & FLAG_BROADCAST != 0
    }

    /// Option 50, the address the client would like.
    pub fn requested_ip(&self) -> Option<Ipv4Addr> {
        self.options.get(code::REQUESTED_IP).and_then(ipv4).filter(|ip| !ip.is_unspecified())
    }

    /// Option 54, the server the client chose.
    pub fn server_id(&self) -> Option<Ipv4Addr> {
        self.options.get(code::SERVER_ID).and_then(ipv4)
    }

    /// Option 93, the first architecture the client names.
    pub fn architecture(&self) -> Option<u16> {
        self.options.get(code::ARCHITECTURE).and_then(u16_be)
    }

    /// A sub-option of option 82.
    pub fn relay_option(&self, sub: u8) -> Option<&[u8]> {
        Walk::find(self.options.get(code::RELAY_INFO)?, sub)
    }

    /// Option 97 without its type byte, when it is a UUID.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        match self.options.get(code::CLIENT_UUID)?.split_first()? {
            (0, uuid) => uuid.try_into().ok(),
            _ => None,
        }
    }
}

/// The fixed fields, cut but not judged.
struct Header<'a> {
    htype: u8,
    hlen: u8,
    hops: u8,
    xid: [u8; 4],
    secs: u16,
    flags: u16,
    ciaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    chaddr: &'a [u8],
    sname: &'a [u8],
    file: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Header<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let short = PacketError::Short(bytes.len());
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(PacketError::Long(bytes.len()));
        }
        let (fixed, rest) = bytes.split_first_chunk::<BOOTP_HEADER_BYTES>().ok_or(short)?;
        let [op, htype, hlen, hops, x0, x1, x2, x3, s0, s1, f0, f1, after @ ..] = fixed;
        if *op != 1 {
            return Err(PacketError::NotRequest(*op));
        }
        if *hops > HOPS_MAX {
            return Err(PacketError::Hops(*hops));
        }
        let (addresses, after) = after.split_at_checked(16).ok_or(short)?;
        let (chaddr, after) = after.split_at_checked(16).ok_or(short)?;
        let (sname, file) = after.split_at_checked(64).ok_or(short)?;
        Ok(Self {
            htype: *htype,
            hlen: *hlen,
            hops: *hops,
            xid: [*x0, *x1, *x2, *x3],
            secs: u16::from_be_bytes([*s0, *s1]),
            flags: u16::from_be_bytes([*f0, *f1]),
            ciaddr: ipv4(addresses).ok_or(short)?,
            giaddr: addresses.get(12..).and_then(ipv4).ok_or(short)?,
            chaddr,
            sname,
            file,
            rest,
        })
    }

    fn hw(&self, client_id: Option<&[u8]>) -> Result<HwAddr, PacketError> {
        let error = PacketError::NoHwAddr(self.htype, self.hlen);
        if self.htype == HTYPE_INFINIBAND && self.hlen == 0 {
            return client_id.and_then(HwAddr::infiniband).ok_or(error);
        }
        let bytes = self.chaddr.get(..usize::from(self.hlen)).ok_or(error)?;
        // An address of zeros would make all broken machines one.
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(error);
        }
        let hw = HwAddr::new(self.htype, bytes).map_err(|_| error)?;
        // A lease of such an address would be everybody's (IEEE 802: lowest bit of the first byte).
        match self.htype == HTYPE_ETHERNET && bytes.first().is_some_and(|byte| byte & 1 == 1) {
            true => Err(PacketError::GroupAddress(hw)),
            false => Ok(hw),
        }
    }
}

/// What a client asks for. Messages of servers are not for us.
fn kind(message_type: u8) -> Result<Kind, PacketError> {
    let kinds = [
        (MessageType::Discover, Kind::Discover),
        (MessageType::Request, Kind::Request),
        (MessageType::Decline, Kind::Decline),
        (MessageType::Release, Kind::Release),
        (MessageType::Inform, Kind::Inform),
    ];
    let found = kinds.into_iter().find(|(number, _)| u8::from(*number) == message_type);
    found.map(|(_, kind)| kind).ok_or(PacketError::MessageType(message_type))
}

/// A field of text up to its first zero.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(&[])
}
