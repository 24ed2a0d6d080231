//! UDP sockets bound to one interface, read and written in batches (recvmmsg, sendmmsg): under a storm
//! the system calls cost more than the protocol.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::wire::packet::PACKET_BYTES_MAX;

/// Packets taken from a socket at once.
pub(super) const BATCH_PACKETS: usize = 64;
const CONTROL_BYTES: usize = 64;

/// Opens a UDP socket for one interface and port.
pub(super) fn bind(interface: &str, port: u16, buffer_bytes: usize) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    enlarge(&socket, buffer_bytes.clamp(64 << 10, 256 << 20));
    set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, &1_i32)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
    Ok(socket.into())
}

/// Root may exceed the system's limit; others get what the system allows.
fn enlarge(socket: &Socket, bytes: usize) {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &value).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// setsockopt(2) with a plain value.
pub(super) fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    match unsafe { libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Buffers for one batch.
pub(super) struct Receiver {
    buffers: Vec<[u8; PACKET_BYTES_MAX]>,
    controls: Vec<[u64; CONTROL_BYTES / 8]>,
    names: Vec<libc::sockaddr_in>,
}

/// One received packet.
pub(super) struct Received<'a> {
    pub bytes: &'a [u8],
    pub source: SocketAddrV4,
    /// Destination address of the packet.
    pub local: Ipv4Addr,
}

impl Receiver {
    pub(super) fn new() -> Self {
        // SAFETY: a sockaddr_in of zeros is a valid value.
        let name = unsafe { zeroed() };
        Self {
            buffers: vec![[0; PACKET_BYTES_MAX]; BATCH_PACKETS],
            controls: vec![[0; CONTROL_BYTES / 8]; BATCH_PACKETS],
            names: vec![name; BATCH_PACKETS],
        }
    }

    /// Takes what is waiting, at most a batch, and calls `each` for every packet; returns how many there
    /// were.
    pub(super) fn receive(&mut self, fd: RawFd, mut each: impl FnMut(Received<'_>)) -> io::Result<usize> {
        let mut iovecs: Vec<libc::iovec> = self
            .buffers
            .iter_mut()
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = iovecs
            .iter_mut()
            .zip(&mut self.controls)
            .zip(&mut self.names)
            .map(|((iovec, control), name)| header(iovec, control.as_mut_ptr().cast(), CONTROL_BYTES, name))
            .collect();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
        // SAFETY: every header points to its own buffer, control area and name, which live in `self`
        // and in `iovecs` until after the last use of `headers`.
        let got = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        for ((header, buffer), name) in headers.iter().take(got).zip(&self.buffers).zip(&self.names) {
            let len = usize::try_from(header.msg_len).unwrap_or(0);
            let source = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            each(Received {
                bytes: buffer.get(..len).unwrap_or(&[]),
                source: SocketAddrV4::new(source, u16::from_be(name.sin_port)),
                local: destination(&header.msg_hdr),
            });
        }
        Ok(got)
    }
}

fn header(
    iovec: &mut libc::iovec,
    control: *mut libc::c_void,
    control_bytes: usize,
    name: &mut libc::sockaddr_in,
) -> libc::mmsghdr {
    // SAFETY: an mmsghdr of zeros is a valid value; musl and glibc differ in padding, so fields are set one
    // by one.
    let mut header: libc::mmsghdr = unsafe { zeroed() };
    header.msg_hdr.msg_iov = iovec;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control;
    header.msg_hdr.msg_controllen = control_bytes as _;
    header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
    header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as _;
    header
}

/// Destination address from the packet's control messages (IP_PKTINFO).
fn destination(header: &libc::msghdr) -> Ipv4Addr {
    // SAFETY: the kernel filled the control area; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside it.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::IPPROTO_IP && (*message).cmsg_type == libc::IP_PKTINFO {
                let info = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast::<libc::in_pktinfo>());
                return Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    Ipv4Addr::UNSPECIFIED
}

/// A datagram to send, with the source address that it is to have.
pub(super) struct Datagram<'a> {
    pub bytes: &'a [u8],
    pub to: SocketAddrV4,
    pub from: Ipv4Addr,
    pub interface: u32,
}

/// Sends a batch; what the kernel refuses is left out, since a client asks again. Returns how many were
/// refused.
pub(super) fn send(fd: RawFd, datagrams: &[Datagram<'_>]) -> usize {
    let mut iovecs: Vec<libc::iovec> = datagrams
        .iter()
        .map(|d| libc::iovec { iov_base: d.bytes.as_ptr().cast_mut().cast(), iov_len: d.bytes.len() })
        .collect();
    let mut names: Vec<libc::sockaddr_in> = datagrams.iter().map(|d| sockaddr(d.to)).collect();
    let mut controls = vec![[0_u64; CONTROL_BYTES / 8]; datagrams.len()];
    let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(datagrams.len());
    for (((datagram, iovec), name), control) in
        datagrams.iter().zip(&mut iovecs).zip(&mut names).zip(&mut controls)
    {
        let bytes = control_bytes();
        let mut header = header(iovec, control.as_mut_ptr().cast(), bytes, name);
        put_source(&mut header.msg_hdr, datagram);
        headers.push(header);
    }
    send_headers(fd, &mut headers)
}

/// sendmmsg(2) over all headers, stepping over the ones the kernel refuses.
pub(super) fn send_headers(fd: RawFd, headers: &mut [libc::mmsghdr]) -> usize {
    let (mut at, mut refused) = (0, 0);
    while let Some(rest) = headers.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let count = libc::c_uint::try_from(rest.len()).unwrap_or(0);
        // SAFETY: the headers point to iovecs, names and control areas that the callers keep alive.
        let sent = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => at += sent,
            _ => {
                at += 1;
                refused += 1;
            }
        }
    }
    refused
}

fn control_bytes() -> usize {
    let info = u32::try_from(size_of::<libc::in_pktinfo>()).unwrap_or(0);
    // SAFETY: CMSG_SPACE is arithmetic.
    usize::try_from(unsafe { libc::CMSG_SPACE(info) }).unwrap_or(0)
}

fn put_source(header: &mut libc::msghdr, datagram: &Datagram<'_>) {
    let info = libc::in_pktinfo {
        ipi_ifindex: i32::try_from(datagram.interface).unwrap_or(0),
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(datagram.from).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let bytes = u32::try_from(size_of::<libc::in_pktinfo>()).unwrap_or(0);
    // SAFETY: the control area is larger than CMSG_SPACE of an in_pktinfo, so the first header and its
    // data lie inside it.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::IPPROTO_IP;
        (*message).cmsg_type = libc::IP_PKTINFO;
        (*message).cmsg_len = libc::CMSG_LEN(bytes) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(message).cast(), info);
    }
}

fn sockaddr(to: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*to.ip()).to_be() },
        sin_zero: [0; 8],
    }
}
