//! Packet sockets: frames to machines that have no address yet, ARP probes and their answers; and ICMP echo
//! for addresses behind a relay.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{frame, udp};
use crate::hwaddr::HwAddr;

const ETHERTYPE_IP: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
/// Answers to probes read from a socket before packets get their turn again.
const ANSWERS_PER_TURN_MAX: usize = 256;

/// A socket that only sends: protocol 0 receives nothing.
pub(super) fn sender() -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A socket that gets only the ARP replies of one interface.
pub(super) fn arp_listener(interface: u32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    attach_reply_filter(socket.as_raw_fd())?;
    let address = link_address(interface, ETHERTYPE_ARP, &[]);
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // SAFETY: the pointer and length describe `address`, which outlives the call.
    match unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), len) } {
        0 => Ok(socket.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Passes ARP replies only: a link in a boot storm is full of requests that mean nothing here.
fn attach_reply_filter(fd: RawFd) -> io::Result<()> {
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    };
    let mut program = [
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 0, 0, 6),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 2),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let len = u16::try_from(program.len()).unwrap_or(0);
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    udp::set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// A raw ICMP socket.
pub(super) fn icmp() -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A datagram for a machine that cannot answer ARP yet.
pub(super) struct Direct<'a> {
    pub bytes: &'a [u8],
    pub hw: HwAddr,
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub interface: u32,
}

/// Sends frames; returns how many were refused.
pub(super) fn send(fd: RawFd, directs: &[Direct<'_>]) -> usize {
    let mut frames: Vec<(Vec<u8>, libc::sockaddr_ll)> = directs
        .iter()
        .filter_map(|direct| {
            let bytes = frame::udp(direct.from, direct.to, direct.bytes)?;
            Some((bytes, link_address(direct.interface, ETHERTYPE_IP, direct.hw.bytes())))
        })
        .collect();
    let mut iovecs: Vec<libc::iovec> = frames
        .iter_mut()
        .map(|(bytes, _)| libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = frames
        .iter_mut()
        .zip(&mut iovecs)
        .map(|((_, address), iovec)| {
            // SAFETY: an mmsghdr of zeros is a valid value.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as _;
            header
        })
        .collect();
    directs.len() - headers.len() + udp::send_headers(fd, &mut headers)
}

/// Asks the link who has the address.
pub(super) fn send_arp_probe(fd: RawFd, interface: u32, mac: [u8; 6], address: Ipv4Addr) {
    let packet = frame::arp_probe(mac, address);
    let to = link_address(interface, ETHERTYPE_ARP, &[0xff; 6]);
    let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // A probe that is not sent is a probe without an answer.
    // SAFETY: both pointers describe locals that outlive the call.
    unsafe {
        let name = std::ptr::from_ref(&to).cast();
        libc::sendto(fd, packet.as_ptr().cast(), packet.len(), libc::MSG_DONTWAIT, name, len);
    }
}

/// Sends an ICMP echo request.
pub(super) fn send_echo(socket: &Socket, address: Ipv4Addr, id: u16) {
    let to = SockAddr::from(SocketAddrV4::new(address, 0));
    let _ = socket.send_to(&frame::echo_request(id), &to);
}

/// Reads the ARP replies that are waiting.
pub(super) fn read_arp(fd: RawFd, mut each: impl FnMut(HwAddr, Ipv4Addr)) {
    let mut buffer = [0; 64];
    for _ in 0..ANSWERS_PER_TURN_MAX {
        let Some(len) = read(fd, &mut buffer) else { break };
        if let Some((mac, address)) = frame::arp_reply(buffer.get(..len).unwrap_or(&[])) {
            each(HwAddr::ethernet(mac), address);
        }
    }
}

/// Reads the echo replies that are waiting.
pub(super) fn read_echo(fd: RawFd, id: u16, mut each: impl FnMut(Ipv4Addr)) {
    let mut buffer = [0; 128];
    for _ in 0..ANSWERS_PER_TURN_MAX {
        let Some(len) = read(fd, &mut buffer) else { break };
        let packet = buffer.get(..len).unwrap_or(&[]);
        if let Some(source) = packet.get(12..16).and_then(crate::wire::ipv4)
            && frame::is_echo_reply(packet, id)
        {
            each(source);
        }
    }
}

fn read(fd: RawFd, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: the pointer and length describe `buffer`.
    let len = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    usize::try_from(len).ok()
}

fn link_address(interface: u32, ethertype: u16, hw: &[u8]) -> libc::sockaddr_ll {
    // SAFETY: a sockaddr_ll of zeros is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = i32::try_from(interface).unwrap_or(0);
    address.sll_halen = u8::try_from(hw.len().min(8)).unwrap_or(0);
    for (to, from) in address.sll_addr.iter_mut().zip(hw) {
        *to = *from;
    }
    address
}
