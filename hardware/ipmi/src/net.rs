//! UDP sockets that also report what ICMP says about addresses that were written to.
//!
//! One socket serves all BMCs of an address family. The kernel reports an ICMP error to such a socket
//! only if asked to (`IP_RECVERR`), through a queue that names the address. Everything `unsafe` of this
//! crate is in this file.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::engine::error::Unreachable;
use crate::limits::{DATAGRAM_BYTES_MAX, RECEIVE_BATCH, RECEIVE_BUFFER_BYTES, SEND_WAIT_MAX};

/// Room for the control messages of one error, bytes.
const CONTROL_BYTES: usize = 512;

/// Something that came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A datagram: from whom, and its bytes.
    Datagram(SocketAddr, Vec<u8>),
    /// An ICMP error about a datagram of ours.
    Unreachable(SocketAddr, Unreachable),
}

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct Port(AsyncFd<UdpSocket>);

impl Port {
    /// A socket with any free port for IPv4, or for IPv6.
    pub(crate) fn bind(ipv6: bool) -> io::Result<Self> {
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let fd = socket.as_raw_fd();
        let address: SocketAddr = if ipv6 {
            socket.set_only_v6(true)?;
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
            (Ipv6Addr::UNSPECIFIED, 0).into()
        } else {
            set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
            (Ipv4Addr::UNSPECIFIED, 0).into()
        };
        // The forced form needs a privilege that tests may not have.
        let bytes = libc::c_int::try_from(RECEIVE_BUFFER_BYTES).unwrap_or(libc::c_int::MAX);
        if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
            set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
        }
        socket.bind(&address.into())?;
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        // SAFETY: a `UdpSocket` owns one descriptor, open until it is dropped; nothing here takes it out.
        Ok(Self(unsafe { AsyncFd::register_with_interest(socket.into(), interest) }?))
    }

    /// Waits until something comes in, and takes a batch of it.
    pub(crate) async fn receive(&self) -> io::Result<Vec<Incoming>> {
        loop {
            let mut guard = self.0.ready(Interest::READABLE | Interest::ERROR).await?;
            let mut taken = Vec::new();
            let drained = self.take(&mut taken);
            if drained {
                guard.clear_ready();
            }
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    /// Takes errors and datagrams. Whether nothing is left.
    fn take(&self, taken: &mut Vec<Incoming>) -> bool {
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        while taken.len() < RECEIVE_BATCH {
            match self.0.get_ref().recv_from(&mut buffer) {
                Ok((length, peer)) => {
                    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                    taken.push(Incoming::Datagram(peer, bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return !self.take_errors(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The error of some datagram that was sent earlier; its address is in the queue.
                Err(_) => drop(self.take_errors(taken)),
            }
        }
        false
    }

    /// Takes errors out of the queue. Whether there were any.
    fn take_errors(&self, taken: &mut Vec<Incoming>) -> bool {
        let before = taken.len();
        let mut any = false;
        while taken.len() - before < RECEIVE_BATCH {
            match receive_error(self.0.get_ref().as_raw_fd()) {
                Ok(Some((peer, why))) => taken.push(Incoming::Unreachable(peer, why)),
                Ok(None) => {}
                Err(_) => return any,
            }
            any = true;
        }
        any
    }

    /// Sends a datagram. One that finds no room in the send buffer for a while is dropped, and one that
    /// cannot be sent at all, too: timers repeat it, and report the BMC as unresponsive in the end.
    pub(crate) async fn send(&self, peer: SocketAddr, bytes: &[u8]) -> Result<(), Unreachable> {
        // A pending error of another datagram is reported by the first call.
        for _ in 0..3 {
            match self.0.get_ref().send_to(bytes, peer) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match tokio::time::timeout(SEND_WAIT_MAX, self.0.writable()).await {
                        Ok(Ok(mut guard)) => guard.clear_ready(),
                        _ => return Ok(()),
                    }
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENETUNREACH | libc::EINVAL | libc::EADDRNOTAVAIL) => {
                        return Err(Unreachable::Host);
                    }
                    Some(libc::EPERM | libc::EACCES) => return Err(Unreachable::Prohibited),
                    _ => {}
                },
            }
        }
        Ok(())
    }
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of_val(&value)).unwrap_or(0);
    // SAFETY: `value` lives through the call and has the length that is given.
    let result = unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(&value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes one entry out of a socket's queue of errors: the address that the datagram was sent to, and what is
/// wrong there. `None` for errors that say nothing about the address.
fn receive_error(fd: RawFd) -> io::Result<Option<(SocketAddr, Unreachable)>> {
    let mut control = [0_u64; CONTROL_BYTES / 8];
    let mut error = None;
    // SAFETY: every pointer of the header points to memory that lives through the call, with its length;
    // the kernel writes an address of the socket's family and says how long it is. The control messages are
    // walked by the system's own macros, which stay inside of the length that the kernel wrote, and the
    // data of one is read only after its level and type said what it is; it may be unaligned.
    let address = unsafe {
        SockAddr::try_init(|name, name_length| {
            let mut header: libc::msghdr = mem::zeroed();
            header.msg_name = name.cast();
            header.msg_namelen = *name_length;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&control) as _;
            if libc::recvmsg(fd, &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) < 0 {
                return Err(io::Error::last_os_error());
            }
            *name_length = header.msg_namelen;
            let mut message = libc::CMSG_FIRSTHDR(&raw const header);
            while let Some(entry) = message.as_ref() {
                let kind = (entry.cmsg_level, entry.cmsg_type);
                if kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
                    || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
                {
                    let data = libc::CMSG_DATA(message).cast::<libc::sock_extended_err>();
                    error = i32::try_from(data.read_unaligned().ee_errno).ok();
                }
                message = libc::CMSG_NXTHDR(&raw const header, message);
            }
            Ok(())
        })
    };
    let ((), address) = address?;
    Ok(address.as_socket().zip(error.and_then(meaning)))
}

fn meaning(errno: i32) -> Option<Unreachable> {
    match errno {
        libc::ECONNREFUSED => Some(Unreachable::Port),
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN => Some(Unreachable::Host),
        libc::EACCES | libc::EPERM => Some(Unreachable::Prohibited),
        _ => None,
    }
}
