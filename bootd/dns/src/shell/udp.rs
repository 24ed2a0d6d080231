//! Datagrams: threads that read many per system call, answer them and send the answers in another call.
//!
//! The threads share the sockets, one for each address. Everything `unsafe` of this crate is in this file.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::{Domain, Protocol, Socket, Type};

use super::Shared;
use super::upstream::{Asked, Client};
use crate::engine::{Engine, Origin, Verdict};
use crate::query::Transport;

/// Datagrams per system call.
const BATCH: usize = 32;
/// Longest question by UDP, bytes; longer ones are cut by the kernel and dropped.
const DATAGRAM_BYTES_MAX: usize = 1280;
/// Buffers asked for, bytes: a thousand nodes that start at one moment.
const BUFFER_BYTES: usize = 4 << 20;
/// How soon a thread notices other sockets or the end, milliseconds.
const LOOK_MS: libc::c_int = 250;
/// Batches read from one socket before the others have their turn.
const BATCHES_PER_TURN: usize = 8;

/// A socket on an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Without the privilege the kernel gives as much as it allows.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    if address.is_ipv4() {
        ignore_path_mtu(&socket)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Answers never believe a forged message about a narrow path: it would have them cut into fragments, which
/// can be forged in turn (RFC 9715 §3.1).
fn ignore_path_mtu(socket: &Socket) -> io::Result<()> {
    let value: libc::c_int = libc::IP_PMTUDISC_OMIT;
    // SAFETY: the pointer is to a live c_int and the length is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a thread does until the server ends.
pub(super) fn work(shared: &Shared) {
    let mut worker = Worker { engine: Engine::new(Arc::clone(&shared.cache)), batch: Batch::new() };
    while !shared.stop.load(Ordering::Relaxed) {
        let sockets = shared.sockets.load_full();
        let mut set: Vec<libc::pollfd> = sockets
            .iter()
            .map(|socket| libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: `set` is a live slice of that length; its descriptors are open while `sockets` is held.
        let ready = unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, LOOK_MS) };
        if ready <= 0 {
            continue;
        }
        for (socket, polled) in sockets.iter().zip(&set) {
            if polled.revents != 0 {
                worker.take(shared, socket);
            }
        }
    }
}

struct Worker {
    engine: Engine,
    batch: Batch,
}

impl Worker {
    fn take(&mut self, shared: &Shared, socket: &Arc<UdpSocket>) {
        for _ in 0..BATCHES_PER_TURN {
            let count = self.batch.receive(socket);
            let (now, view) = (shared.now(), shared.view.load());
            for number in 0..count {
                let Some(slot) = self.batch.slots.get_mut(number) else { continue };
                slot.answer.clear();
                let Some(peer) = slot.peer else { continue };
                let origin = Origin { ip: peer.ip(), transport: Transport::Udp };
                let bytes = slot.buffer.get(..slot.length).unwrap_or_default();
                match self.engine.answer(now, &view, origin, bytes, &mut slot.answer) {
                    Verdict::Reply => {}
                    // Only connections get transfers.
                    Verdict::Silence | Verdict::Transfer(_) => slot.answer.clear(),
                    Verdict::Ask(query) => {
                        slot.answer.clear();
                        let client = Client::Udp(Arc::clone(socket), peer);
                        // A full queue is as a lost datagram: the client asks again.
                        let _ = shared.asked.try_send(Asked { ip: peer.ip(), query, client });
                    }
                }
            }
            shared.questions.fetch_add(count as u64, Ordering::Relaxed);
            self.batch.send(socket, count);
            if count < BATCH {
                return;
            }
        }
    }
}

/// One datagram and its answer.
struct Slot {
    buffer: Box<[u8; DATAGRAM_BYTES_MAX]>,
    length: usize,
    peer: Option<SocketAddr>,
    answer: Vec<u8>,
}

/// Memory for the calls.
struct Batch {
    slots: Vec<Slot>,
    names: Vec<libc::sockaddr_storage>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new() -> Self {
        let slot = || Slot {
            buffer: Box::new([0; DATAGRAM_BYTES_MAX]),
            length: 0,
            peer: None,
            answer: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        };
        // SAFETY: these are C structures for which all-zero bytes are valid.
        let (name, iovec, header) = unsafe {
            (
                mem::zeroed::<libc::sockaddr_storage>(),
                mem::zeroed::<libc::iovec>(),
                mem::zeroed::<libc::mmsghdr>(),
            )
        };
        Self {
            slots: (0..BATCH).map(|_| slot()).collect(),
            names: vec![name; BATCH],
            iovecs: vec![iovec; BATCH],
            headers: vec![header; BATCH],
        }
    }

    /// Reads waiting datagrams, up to [`BATCH`].
    fn receive(&mut self, socket: &UdpSocket) -> usize {
        let parts = self.slots.iter_mut().zip(&mut self.names).zip(&mut self.iovecs);
        for (((slot, name), iovec), header) in parts.zip(&mut self.headers) {
            iovec.iov_base = slot.buffer.as_mut_ptr().cast();
            iovec.iov_len = DATAGRAM_BYTES_MAX;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = ptr::null_mut();
            header.msg_hdr.msg_controllen = 0;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: every header points to live memory of this batch, set just above, with its true length.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        for ((slot, name), header) in self.slots.iter_mut().zip(&self.names).zip(&self.headers).take(count) {
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            slot.length = usize::try_from(header.msg_len).unwrap_or(0);
            slot.peer = peer(name).filter(|peer| whole && peer.port() != 0);
        }
        count
    }

    /// Sends the answers of the first `count` datagrams. A packet that does not fit into the socket's buffer
    /// is lost, as on any network.
    fn send(&mut self, socket: &UdpSocket, count: usize) {
        let mut used = 0;
        let parts = self.slots.iter_mut().zip(&mut self.names).take(count);
        for (slot, name) in parts.filter(|(slot, _)| !slot.answer.is_empty()) {
            let (Some(iovec), Some(header)) = (self.iovecs.get_mut(used), self.headers.get_mut(used)) else {
                break;
            };
            iovec.iov_base = slot.answer.as_mut_ptr().cast();
            iovec.iov_len = slot.answer.len();
            let v4 = i32::from(name.ss_family) == libc::AF_INET;
            let length =
                if v4 { mem::size_of::<libc::sockaddr_in>() } else { mem::size_of::<libc::sockaddr_in6>() };
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = length as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
            used += 1;
        }
        let mut from = 0;
        while from < used {
            let Some(rest) = self.headers.get_mut(from..used) else { return };
            // SAFETY: each of the headers points to an answer, a name and an iovec of this batch, set just
            // above.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => from += sent,
                // This one cannot be sent: the next may.
                _ => from += 1,
            }
        }
    }
}

/// The sender of a datagram.
fn peer(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let storage: *const libc::sockaddr_storage = name;
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger, holds a sockaddr_in.
            let name = unsafe { ptr::read(storage.cast::<libc::sockaddr_in>()) };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage, which is larger, holds a sockaddr_in6.
            let name = unsafe { ptr::read(storage.cast::<libc::sockaddr_in6>()) };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}
