//! Writing an answer: options in the order given, cut into pieces where long, spread over `file` and
//! `sname` where the client's size limit asks for it, and the least important left out where even that
//! is not enough.
//!
//! The order in which options are put is their importance. Option 82 is echoed last and always fits,
//! since its room is set aside first (RFC 3046 §2.2).

use std::net::Ipv4Addr;

use super::code;
use super::packet::{COOKIE, Packet};

/// Least size of a DHCP message every client takes, with 28 bytes of IP and UDP headers (RFC 2131 §2).
pub const MESSAGE_BYTES_MIN: usize = 576;
/// Largest message sent, even if the client accepts larger ones: one Ethernet frame, no fragments towards
/// firmware.
pub const MESSAGE_BYTES_MAX: usize = 1500;
/// IP and UDP headers, counted in option 57.
const IP_UDP_BYTES: usize = 28;
/// Relays and old firmware drop messages shorter than BOOTP's 300 bytes (RFC 1542 §2.1).
const BOOTP_BYTES_MIN: usize = 300;
const FILE_BYTES: usize = 128;
const SNAME_BYTES: usize = 64;
/// Longest value of one piece.
const PIECE_BYTES_MAX: usize = 255;
/// Longest option 82 that is echoed: one option (RFC 3046 §2.0). No relay makes a longer one, which would
/// have to be sent in pieces and would take the room of all other options.
const RELAY_INFO_BYTES_MAX: usize = PIECE_BYTES_MAX;

/// An answer under construction.
#[derive(Debug)]
pub struct Writer<'a> {
    request: &'a Packet<'a>,
    /// Address given to the client.
    pub yiaddr: Ipv4Addr,
    /// Address of the next server (TFTP).
    pub siaddr: Ipv4Addr,
    /// The client's own address, echoed.
    pub ciaddr: Ipv4Addr,
    /// Flags; the request's to begin with.
    pub flags: u16,
    file: Vec<u8>,
    sname: Vec<u8>,
    /// Options as `code, length (16 bit), value`, one after the other, and where each begins.
    values: Vec<u8>,
    index: Vec<(u8, usize, usize)>,
}

impl<'a> Writer<'a> {
    /// An answer to `request` without options.
    pub fn new(request: &'a Packet<'a>) -> Self {
        Self {
            request,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            flags: request.flags,
            file: Vec::new(),
            sname: Vec::new(),
            values: Vec::with_capacity(256),
            index: Vec::with_capacity(24),
        }
    }

    /// Puts an option after those already there; a second value for the same code is ignored.
    pub fn put(&mut self, code: u8, value: &[u8]) {
        if !self.has(code) {
            let start = self.values.len();
            self.values.extend_from_slice(value);
            self.index.push((code, start, self.values.len()));
        }
    }

    /// Puts a list of addresses; nothing when it is empty, since an empty option is malformed.
    pub fn put_addresses(&mut self, code: u8, addresses: &[Ipv4Addr]) {
        if !addresses.is_empty() && !self.has(code) {
            let start = self.values.len();
            self.values.extend(addresses.iter().flat_map(Ipv4Addr::octets));
            self.index.push((code, start, self.values.len()));
        }
    }

    /// Puts a 32-bit number.
    pub fn put_u32(&mut self, code: u8, value: u32) {
        self.put(code, &value.to_be_bytes());
    }

    /// Whether the option is there already.
    pub fn has(&self, code: u8) -> bool {
        self.index.iter().any(|(have, _, _)| *have == code)
    }

    /// The boot file: in the `file` field, or in option 67 when it is too long for the field.
    pub fn boot_file(&mut self, name: &str) {
        if name.len() < FILE_BYTES {
            self.file = name.as_bytes().to_vec();
        } else {
            self.put(code::BOOT_FILE, name.as_bytes());
        }
    }

    /// The server host name field; left out when it does not fit.
    pub fn server_name(&mut self, name: &str) {
        if name.len() < SNAME_BYTES {
            self.sname = name.as_bytes().to_vec();
        }
    }

    /// The bytes to send.
    pub fn finish(self) -> Vec<u8> {
        let mut area = Vec::with_capacity(320);
        let mut file = [0; FILE_BYTES];
        let mut sname = [0; SNAME_BYTES];
        self.fill(&mut area, &mut file, &mut sname);
        let mut out = Vec::with_capacity(super::packet::HEADER_BYTES + area.len());
        let request = self.request;
        let (htype, hlen) = (request.hw.htype(), u8::try_from(request.hw.bytes().len()).unwrap_or(0));
        // An InfiniBand client has no chaddr: it knows its answer by the identifier (RFC 4390 §2.2).
        let hlen = if request.chaddr.iter().all(|byte| *byte == 0) { 0 } else { hlen };
        out.extend_from_slice(&[2, htype, hlen, 0]);
        out.extend_from_slice(&request.xid);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, request.giaddr] {
            out.extend_from_slice(&address.octets());
        }
        out.extend_from_slice(request.chaddr);
        out.extend_from_slice(&sname);
        out.extend_from_slice(&file);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(&area);
        if out.len() < BOOTP_BYTES_MIN {
            out.resize(BOOTP_BYTES_MIN, code::PAD);
        }
        out
    }

    /// Distributes the options over the three areas.
    fn fill(&self, area: &mut Vec<u8>, file: &mut [u8; FILE_BYTES], sname: &mut [u8; SNAME_BYTES]) {
        let relay = self.request.options.get(code::RELAY_INFO);
        let relay = relay.filter(|info| info.len() <= RELAY_INFO_BYTES_MAX).unwrap_or(&[]);
        let relay_bytes = encoded_len(relay.len());
        let room = size_limit(self.request)
            .saturating_sub(super::packet::HEADER_BYTES + 1)
            .saturating_sub(if relay.is_empty() { 0 } else { relay_bytes });
        let total: usize = self.index.iter().map(|(_, start, end)| encoded_len(end - start)).sum();
        if total <= room {
            self.index.iter().for_each(|entry| put_pieces(area, entry.0, self.value(entry)));
        } else {
            self.spread(room, area, file, sname);
        }
        if !relay.is_empty() {
            put_pieces(area, code::RELAY_INFO, relay);
        }
        area.push(code::END);
        copy(file, &self.file);
        copy(sname, &self.sname);
    }

    /// Used when not everything fits after the cookie: free fields take options, the rest is dropped.
    fn spread(&self, room: usize, area: &mut Vec<u8>, file: &mut [u8], sname: &mut [u8]) {
        let file_free = self.file.is_empty();
        let sname_free = self.sname.is_empty();
        let overload = u8::from(file_free) | (u8::from(sname_free) << 1);
        let room = if overload == 0 { room } else { room.saturating_sub(3) };
        let mut in_file = Vec::new();
        let mut in_sname = Vec::new();
        let mut used = 0;
        for entry in &self.index {
            let value = self.value(entry);
            let bytes = encoded_len(value.len());
            // Pieces of one option over several areas are legal, but firmware joins them badly: keep
            // each option whole, and in the first area that holds it.
            if used + bytes <= room {
                put_pieces(area, entry.0, value);
                used += bytes;
            } else if file_free && in_file.len() + bytes < FILE_BYTES {
                put_pieces(&mut in_file, entry.0, value);
            } else if sname_free && in_sname.len() + bytes < SNAME_BYTES {
                put_pieces(&mut in_sname, entry.0, value);
            }
        }
        let flags = u8::from(!in_file.is_empty()) | (u8::from(!in_sname.is_empty()) << 1);
        if flags != 0 {
            area.extend_from_slice(&[code::OVERLOAD, 1, flags]);
        }
        for (field, options) in [(file, &mut in_file), (sname, &mut in_sname)] {
            if !options.is_empty() {
                options.push(code::END);
                copy(field, options);
            }
        }
    }

    fn value(&self, (_, start, end): &(u8, usize, usize)) -> &[u8] {
        self.values.get(*start..*end).unwrap_or(&[])
    }
}

/// Largest DHCP message for this client, without IP and UDP headers.
fn size_limit(request: &Packet<'_>) -> usize {
    let asked = request.options.get(code::MAX_SIZE).and_then(super::u16_be).map_or(0, usize::from);
    asked.clamp(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX).saturating_sub(IP_UDP_BYTES)
}

fn encoded_len(value: usize) -> usize {
    value + 2 * value.div_ceil(PIECE_BYTES_MAX).max(1)
}

fn put_pieces(area: &mut Vec<u8>, code: u8, value: &[u8]) {
    if value.is_empty() {
        area.extend_from_slice(&[code, 0]);
    }
    for piece in value.chunks(PIECE_BYTES_MAX) {
        area.extend_from_slice(&[code, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
        area.extend_from_slice(piece);
    }
}

fn copy(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}
