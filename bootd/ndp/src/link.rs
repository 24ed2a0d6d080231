//! An interface's sockets: a raw ICMPv6 socket receives, a packet socket sends.
//!
//! Answers go out as frames to the Ethernet address that the solicitation named. Through the kernel they
//! would first ask the machine for that very address by multicast, which loaders on BIOS network drivers do
//! not receive.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::{ADVERTISEMENT, ALL_NODES, ALL_ROUTERS, SOLICITATION};

const ETHERTYPE_IPV6: u16 = 0x86dd;
const ICMP6_FILTER: libc::c_int = 1;
/// Room for ancillary data: one hop limit.
const CONTROL_BYTES: usize = 64;
/// Longest message read, in bytes; longer ones are cut and then invalid.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1500;

/// A message with its sender.
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) from: Ipv6Addr,
    pub(crate) hop_limit: u8,
}

/// Our ends of one interface.
#[derive(Debug)]
pub(crate) struct Link {
    hears: Socket,
    speaks: Socket,
    index: u32,
    /// Our link-local address and Ethernet address on it.
    pub(crate) address: Ipv6Addr,
    pub(crate) mac: [u8; 6],
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.hears.as_raw_fd()
    }
}

impl Link {
    /// Opens both sockets; an interface without a link-local address or without Ethernet is an error.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let Addresses { index, address, mac } = addresses(name)?;
        let missing =
            |what: &str| io::Error::new(io::ErrorKind::AddrNotAvailable, format!("{name} has no {what}"));
        let address = address.ok_or_else(|| missing("IPv6 link-local address"))?;
        let mac = mac.ok_or_else(|| missing("Ethernet address"))?;
        let hears = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        hears.set_nonblocking(true)?;
        hears.bind_device(Some(name.as_bytes()))?;
        set_option(&hears, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter())?;
        set_option(&hears, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1_i32)?;
        hears.join_multicast_v6(&ALL_ROUTERS, index)?;
        let speaks = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        speaks.set_nonblocking(true)?;
        Ok(Self { hears, speaks, index, address, mac })
    }

    /// Reads one message.
    pub(crate) fn receive(&self, buffer: &mut [u8; MESSAGE_BYTES_MAX]) -> io::Result<Received> {
        // SAFETY: a sockaddr_in6 and an msghdr of zeros are valid values.
        let (mut name, mut header): (libc::sockaddr_in6, libc::msghdr) = unsafe { (zeroed(), zeroed()) };
        let mut control = [MaybeUninit::<u64>::zeroed(); CONTROL_BYTES / 8];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        header.msg_name = std::ptr::from_mut(&mut name).cast();
        header.msg_namelen = socket_length::<libc::sockaddr_in6>();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES;
        // SAFETY: every pointer of the header describes a local that outlives the call.
        let length = unsafe { libc::recvmsg(self.hears.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        Ok(Received { length, from: Ipv6Addr::from(name.sin6_addr.s6_addr), hop_limit: hop_limit(&header) })
    }

    /// Sends an IPv6 packet to an Ethernet address.
    pub(crate) fn send(&self, mac: [u8; 6], packet: &[u8]) -> io::Result<()> {
        // SAFETY: a sockaddr_ll of zeros is a valid value.
        let mut to: libc::sockaddr_ll = unsafe { zeroed() };
        to.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
        to.sll_protocol = ETHERTYPE_IPV6.to_be();
        to.sll_ifindex = i32::try_from(self.index).unwrap_or(0);
        to.sll_halen = 6;
        for (place, byte) in to.sll_addr.iter_mut().zip(mac) {
            *place = byte;
        }
        // SAFETY: both pointers describe locals that outlive the call.
        let sent = unsafe {
            let name = std::ptr::from_ref(&to).cast();
            let flags = libc::MSG_DONTWAIT;
            let length = socket_length::<libc::sockaddr_ll>();
            libc::sendto(self.speaks.as_raw_fd(), packet.as_ptr().cast(), packet.len(), flags, name, length)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Ethernet address of a multicast address (RFC 2464 §7).
pub(crate) fn multicast_mac(address: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = address.octets();
    debug_assert!(address == ALL_NODES || address == ALL_ROUTERS);
    [0x33, 0x33, a, b, c, d]
}

/// Passes the two types only; a set bit blocks (RFC 3542 §3.2).
fn filter() -> [u32; 8] {
    let mut filter = [u32::MAX; 8];
    for kind in [SOLICITATION, ADVERTISEMENT] {
        if let Some(word) = filter.get_mut(usize::from(kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
    }
    filter
}

fn socket_length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn set_option<T>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        let value = std::ptr::from_ref(value).cast();
        libc::setsockopt(socket.as_raw_fd(), level, name, value, socket_length::<T>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The hop limit of a received message; 0, which is never valid, where the kernel does not say.
fn hop_limit(header: &libc::msghdr) -> u8 {
    // SAFETY: the header was filled by recvmsg, and its control buffer is alive; the macros stay inside of
    // it.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(entry) = control.as_ref() {
            if (entry.cmsg_level, entry.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) {
                let hops = libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned();
                return u8::try_from(hops).unwrap_or(0);
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    0
}

#[derive(Default)]
struct Addresses {
    index: u32,
    address: Option<Ipv6Addr>,
    mac: Option<[u8; 6]>,
}

/// What getifaddrs(3) knows of the interface.
fn addresses(name: &str) -> io::Result<Addresses> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs fills the pointer with a list that stays valid until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Addresses::default();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is an entry of the list, which has not been freed.
        let entry = unsafe { &*next };
        note(entry, name, &mut found);
        next = entry.ifa_next;
    }
    // SAFETY: the list came from getifaddrs and is freed once.
    unsafe { libc::freeifaddrs(list) };
    if found.index == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {name}")));
    }
    Ok(found)
}

fn note(entry: &libc::ifaddrs, name: &str, found: &mut Addresses) {
    // SAFETY: the name of an entry is a NUL-terminated string that lives as long as the list.
    let same = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) }.to_bytes() == name.as_bytes();
    if !same || entry.ifa_addr.is_null() {
        return;
    }
    // SAFETY: the address of an entry begins with its family, which says what it is.
    unsafe {
        found.index = libc::if_nametoindex(entry.ifa_name);
        match i32::from((*entry.ifa_addr).sa_family) {
            libc::AF_INET6 => {
                let inet = entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned();
                let address = Ipv6Addr::from(inet.sin6_addr.s6_addr);
                found.address = found.address.or(address.is_unicast_link_local().then_some(address));
            }
            libc::AF_PACKET => {
                let link = entry.ifa_addr.cast::<libc::sockaddr_ll>().read_unaligned();
                let bytes = link.sll_addr.first_chunk::<6>().copied();
                found.mac = bytes.filter(|_| link.sll_halen == 6);
            }
            _ => {}
        }
    }
}
