//! LLDP neighbours (IEEE 802.1AB): which switch and port each interface is plugged into.
//!
//! Switches send a frame every half minute; a thread keeps the last one of each interface. Nothing is sent.

use dawn_wire::text::without_control;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use crate::log;
use crate::nic;

/// Ethernet type of LLDP.
const ETHERTYPE: u16 = 0x88cc;
/// The address that bridges do not pass on: what is heard there was sent by the other end of the cable.
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
/// Longest frame that is read, in bytes.
const FRAME_BYTES_MAX: usize = 1600;
/// Interfaces of which neighbours are kept.
const NEIGHBOURS_MAX: usize = 64;
/// Management addresses kept of one neighbour.
const ADDRESSES_MAX: usize = 8;
/// Characters kept of one text.
const TEXT_CHARS_MAX: usize = 255;
/// Ethernet header before the first TLV, in bytes.
const HEADER_BYTES: usize = 14;

/// What a switch says of itself and of the port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// System name.
    pub name: String,
    /// System description.
    pub description: String,
    /// Port description, or the port's identifier if there is none.
    pub port: String,
    /// What the switch calls the port, if its identifier is that.
    pub port_name: String,
    /// Management addresses.
    pub addresses: Vec<IpAddr>,
}

impl Neighbour {
    /// For the console.
    pub(crate) fn line(&self, nic: &str) -> String {
        format!("{nic} is plugged into {} of {}", or_dash(&self.port), or_dash(&self.name))
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Neighbours by interface.
pub(super) type Neighbours = BTreeMap<String, Neighbour>;

/// The thread that listens.
pub(super) struct Listener {
    heard: Arc<Mutex<Neighbours>>,
}

impl Listener {
    /// Starts to listen on all interfaces. Without it the packet has no neighbours.
    pub(super) fn start() -> Self {
        let heard = Arc::new(Mutex::new(Neighbours::new()));
        let store = Arc::clone(&heard);
        match socket() {
            Ok(socket) => drop(std::thread::spawn(move || listen(&socket, &store))),
            Err(cause) => log::problem(&format!("cannot listen to switches (LLDP): {cause}")),
        }
        Self { heard }
    }

    /// What has been heard so far.
    pub(super) fn heard(&self) -> Neighbours {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn listen(socket: &OwnedFd, store: &Mutex<Neighbours>) {
    let mut frame = [0; FRAME_BYTES_MAX];
    loop {
        join_all(socket);
        let (length, interface) = match receive(socket, &mut frame) {
            Ok(received) => received,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => continue,
            Err(cause) => {
                log::problem(&format!("LLDP: {cause}"));
                return;
            }
        };
        let body = frame.get(HEADER_BYTES..length).unwrap_or_default();
        if let Some(neighbour) = parse(body) {
            let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
            if store.len() < NEIGHBOURS_MAX || store.contains_key(&interface) {
                store.insert(interface, neighbour);
            }
        }
    }
}

fn socket() -> io::Result<OwnedFd> {
    let protocol = i32::from(ETHERTYPE.to_be());
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is an open descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // Now and then new interfaces are joined.
    let time = libc::timeval { tv_sec: 5, tv_usec: 0 };
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)?;
    Ok(socket)
}

/// Joining twice is an error that means nothing.
fn join_all(socket: &OwnedFd) {
    for nic in nic::present() {
        let Some(index) = nic::index(&nic.name) else { continue };
        let mut address = [0; 8];
        address.iter_mut().zip(NEAREST_BRIDGE).for_each(|(to, from)| *to = from);
        let request = libc::packet_mreq {
            mr_ifindex: index,
            mr_type: u16::try_from(libc::PACKET_MR_MULTICAST).unwrap_or_default(),
            mr_alen: 6,
            mr_address: address,
        };
        if let Err(cause) = set_option(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request) {
            log::debug(&format!("LLDP on {}: {cause}", nic.name));
        }
    }
}

fn set_option<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the value is plain data, lives until the call returns and has the length given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn receive(socket: &OwnedFd, frame: &mut [u8]) -> io::Result<(usize, String)> {
    // SAFETY: `sockaddr_ll` is plain data for which all zeroes is a valid value.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: buffer and address live until the call returns and have the lengths given.
    let length = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            frame.as_mut_ptr().cast(),
            frame.len(),
            0,
            std::ptr::from_mut(&mut from).cast(),
            &raw mut size,
        )
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok((length, name_of(from.sll_ifindex).unwrap_or_default()))
}

fn name_of(index: i32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call requires.
    let found = unsafe { libc::if_indextoname(u32::try_from(index).ok()?, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: the call has written a terminated text into the buffer.
    let text = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(text.to_string_lossy().into_owned())
}

/// Reads the TLVs of a frame, after the Ethernet header. No value for a frame that says neither a name nor a
/// port.
pub(crate) fn parse(mut bytes: &[u8]) -> Option<Neighbour> {
    let mut found = Neighbour::default();
    let mut port = String::new();
    while let Some((kind, value, rest)) = next_tlv(bytes) {
        match kind {
            0 => break,
            2 => {
                port = port_id(value);
                found.port_name = port_name(value);
            }
            4 => found.port = text(value),
            5 => found.name = text(value),
            6 => found.description = text(value),
            8 if found.addresses.len() < ADDRESSES_MAX => found.addresses.extend(address(value)),
            _ => {}
        }
        bytes = rest;
    }
    if found.port.is_empty() {
        found.port = port;
    }
    (!found.name.is_empty() || !found.port.is_empty()).then_some(found)
}

/// Seven bits of type and nine of length, then the value (§8.4).
fn next_tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let head = u16::from_be_bytes(*head);
    let length = usize::from(head & 0x1ff);
    let kind = u8::try_from(head >> 9).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((kind, value, rest))
}

/// Subtype 3 is a MAC, the others are texts (§8.5.3).
fn port_id(value: &[u8]) -> String {
    match value.split_first() {
        Some((3, mac)) => mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"),
        Some((_, name)) => text(name),
        None => String::new(),
    }
}

/// Subtypes 5 and 7 are a name of the switch's own; 1 is a text of an administrator's (§8.5.3).
fn port_name(value: &[u8]) -> String {
    match value.split_first() {
        Some((5 | 7, name)) => text(name),
        _ => String::new(),
    }
}

/// Length with the family in it, family (1: IPv4, 2: IPv6), address (§8.5.9).
fn address(value: &[u8]) -> Option<IpAddr> {
    let (length, rest) = value.split_first()?;
    let (family, rest) = rest.split_first()?;
    let bytes = rest.get(..usize::from(*length).checked_sub(1)?)?;
    match family {
        1 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        2 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    without_control(&text).chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(kind: u16, value: &[u8]) -> Vec<u8> {
        let head = (kind << 9) | u16::try_from(value.len()).unwrap();
        [&head.to_be_bytes(), value].concat()
    }

    #[test]
    fn a_switch() {
        let frame = [
            tlv(1, &[4, 2, 0, 0, 0, 0, 1]),
            tlv(2, b"\x05swp7"),
            tlv(3, &[0, 120]),
            tlv(4, b"to rack 3\x07"),
            tlv(5, b"sw1"),
            tlv(8, &[5, 1, 10, 3, 0, 1, 2, 0, 0, 0, 1, 0]),
            tlv(0, &[]),
            tlv(5, b"after the end"),
        ]
        .concat();
        let found = parse(&frame).unwrap();
        assert_eq!((found.name.as_str(), found.port.as_str()), ("sw1", "to rack 3"));
        assert_eq!(found.port_name, "swp7");
        assert_eq!(found.addresses, [IpAddr::from([10, 3, 0, 1])]);
        assert_eq!(found.line("eno1"), "eno1 is plugged into to rack 3 of sw1");
    }

    #[test]
    fn the_identifier_stands_in_for_a_description() {
        assert_eq!(parse(&tlv(2, b"\x05swp7")).unwrap().port, "swp7");
        assert_eq!(parse(&tlv(2, &[3, 2, 0, 0, 0, 0, 9])).unwrap().port, "02:00:00:00:00:09");
        assert_eq!(parse(&tlv(2, &[3, 2, 0, 0, 0, 0, 9])).unwrap().port_name, "");
    }

    #[test]
    fn nonsense_says_nothing() {
        for frame in [&b""[..], b"\x02", &[0x0a, 0xff, 1], &tlv(8, &[9, 1]), &tlv(8, &[0]), &tlv(2, &[])] {
            assert_eq!(parse(frame), None, "{frame:?}");
        }
    }
}
