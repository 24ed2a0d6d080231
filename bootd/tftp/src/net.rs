//! UDP sockets that move many datagrams per system call and know which address of ours was asked.
//!
//! `recvmmsg` and `sendmmsg` carry batches; `IP_PKTINFO` tells the address a request was sent to and sets the
//! source of the answer, so a machine with several addresses answers from the right one; `UDP_SEGMENT` lets
//! the kernel cut a window into packets. Everything `unsafe` of this crate is in this file.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::outbox::{Outbox, Outgoing, PortId};
use crate::packet::REQUEST_BYTES_MAX;

/// Datagrams per system call.
pub(crate) const BATCH: usize = 64;
/// Room for one datagram from a client, bytes.
const DATAGRAM_BYTES: usize = REQUEST_BYTES_MAX + 64;
/// Room for the control messages of one datagram, bytes.
const CONTROL_BYTES: usize = 128;
/// Receive buffer asked for, bytes: ten thousand requests at one moment.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Send buffer asked for, bytes (the kernel doubles it for its own records). Fewer packets than the queue of
/// an interface holds by default (1,000): when the link is full we wait here and nothing is dropped there.
const SEND_BUFFER_BYTES: usize = 768 * 1024;
/// Longest wait for room in the send buffer before packets are dropped; timers will repeat them.
const SEND_WAIT_MAX: Duration = Duration::from_millis(100);

/// One UDP socket.
#[derive(Debug)]
pub(crate) struct Port {
    socket: UdpSocket,
    id: PortId,
    segmentation: std::cell::Cell<bool>,
}

/// Who sent a datagram and where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// The sender.
    pub peer: SocketAddrV4,
    /// Our address it was sent to; none for broadcasts and multicasts.
    pub local: Option<Ipv4Addr>,
    /// The interface it came in by.
    pub interface: u32,
}

impl Port {
    /// Binds a socket, to one interface if named.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the interface does not exist.
    pub(crate) fn bind(
        id: PortId,
        address: SocketAddrV4,
        interface: Option<&str>,
        shared: bool,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if let Some(interface) = interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        let fd = socket.as_raw_fd();
        set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        // Fragment rather than fail where a path is narrower than our interface.
        set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        // The forced form needs a privilege that tests may not have.
        for (force, plain, bytes) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES),
        ] {
            let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
            if set_option(fd, libc::SOL_SOCKET, force, bytes).is_err() {
                set_option(fd, libc::SOL_SOCKET, plain, bytes)?;
            }
        }
        socket.bind(&address.into())?;
        Ok(Self { socket: socket.into(), id, segmentation: std::cell::Cell::new(true) })
    }

    /// The port's name in the engine.
    pub(crate) fn id(&self) -> PortId {
        self.id
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn address(&self) -> io::Result<SocketAddrV4> {
        match self.socket.local_addr()? {
            std::net::SocketAddr::V4(address) => Ok(address),
            std::net::SocketAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// The descriptor, to wait on.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Sends everything in `out` that belongs to this port.
    pub(crate) fn send(&self, out: &Outbox, batch: &mut SendBatch) {
        let mut mine = out.packets().iter().filter(|packet| packet.route.port == self.id);
        loop {
            batch.clear();
            for packet in mine.by_ref().take(BATCH) {
                if self.segmentation.get() || packet.segment.is_none() {
                    batch.push(packet, out.bytes_of(packet), packet.segment);
                } else {
                    self.send_cut(packet, out, batch);
                }
            }
            if batch.is_empty() {
                return;
            }
            self.send_batch(out, batch);
        }
    }

    /// Sends a train as single packets, where the kernel cannot cut it.
    fn send_cut(&self, packet: &Outgoing, out: &Outbox, batch: &mut SendBatch) {
        for piece in out.split(packet) {
            if batch.is_full() {
                self.send_batch(out, batch);
                batch.clear();
            }
            batch.push(packet, piece, None);
        }
    }

    fn send_batch(&self, out: &Outbox, batch: &mut SendBatch) {
        let mut from = 0;
        while from < batch.len() {
            match batch.send(self.fd(), from) {
                Ok(count) => from += count.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !wait_writable(self.fd()) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.segmentation.get() && batch.is_train(from) => {
                    // No segmentation here (some virtual devices): do it ourselves from now on.
                    self.segmentation.set(false);
                    tracing::info!("this interface cannot cut UDP trains; sending packets one by one");
                    let rest: Vec<Outgoing> = batch.packets.get(from..).unwrap_or_default().to_vec();
                    batch.clear();
                    for packet in rest {
                        self.send_cut(&packet, out, batch);
                    }
                    from = 0;
                }
                Err(error) => {
                    tracing::debug!(%error, "a TFTP packet could not be sent");
                    from += 1;
                }
            }
        }
    }
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a live c_int and the length is its size.
    let result = unsafe {
        libc::setsockopt(fd, level, name, (&raw const value).cast(), socklen(mem::size_of::<libc::c_int>()))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn socklen(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or(0)
}

fn wait_writable(fd: RawFd) -> bool {
    let mut set = [libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }];
    wait(&mut set, Some(SEND_WAIT_MAX)) > 0
}

/// Waits until a descriptor of `set` is ready or the time is over; returns how many are.
pub(crate) fn wait(set: &mut [libc::pollfd], timeout: Option<Duration>) -> usize {
    let spec = timeout.map(|t| libc::timespec {
        tv_sec: libc::time_t::try_from(t.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(t.subsec_nanos().cast_signed()),
    });
    let spec_pointer = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `set` is a live slice of that length; the time is null or lives until the call returns.
    let ready =
        unsafe { libc::ppoll(set.as_mut_ptr(), set.len() as libc::nfds_t, spec_pointer, ptr::null()) };
    usize::try_from(ready).unwrap_or(0)
}

/// Gives the calling thread a nice value; without the privilege it keeps what it has.
pub(crate) fn set_thread_nice(nice: libc::c_int) {
    // SAFETY: integers only; on Linux a process of 0 means the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result != 0 {
        tracing::debug!("the TFTP thread keeps its priority");
    }
}

/// MTU of an interface, bytes.
pub(crate) fn interface_mtu(fd: RawFd, index: u32) -> Option<usize> {
    // SAFETY: ifreq is plain data; zero is a valid value of it.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // SAFETY: ifr_name has IF_NAMESIZE bytes, as if_indextoname requires.
    let name = unsafe { libc::if_indextoname(index, request.ifr_name.as_mut_ptr()) };
    if name.is_null() {
        return None;
    }
    // SAFETY: SIOCGIFMTU reads the name and writes ifru_mtu of a live ifreq.
    let result = unsafe { libc::ioctl(fd, libc::SIOCGIFMTU, &raw mut request) };
    // SAFETY: after success the kernel has set ifru_mtu.
    (result == 0).then(|| usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()).flatten()
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Memory for one `recvmmsg`.
pub(crate) struct ReceiveBatch {
    buffers: Box<[[u8; DATAGRAM_BYTES]]>,
    controls: Box<[Control]>,
    names: Box<[libc::sockaddr_in]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        // SAFETY: these are C structures for which all-zero bytes are valid.
        let (name, iovec, header) = unsafe {
            (mem::zeroed::<libc::sockaddr_in>(), mem::zeroed::<libc::iovec>(), mem::zeroed::<libc::mmsghdr>())
        };
        Self {
            buffers: vec![[0; DATAGRAM_BYTES]; BATCH].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into(),
            names: vec![name; BATCH].into(),
            iovecs: vec![iovec; BATCH].into(),
            headers: vec![header; BATCH].into(),
        }
    }
}

impl ReceiveBatch {
    /// Receives waiting datagrams, up to [`BATCH`]; 0 if there are none.
    pub(crate) fn receive(&mut self, port: &Port) -> usize {
        let parts =
            self.buffers.iter_mut().zip(&mut self.controls).zip(&mut self.names).zip(&mut self.iovecs);
        for ((((buffer, control), name), iovec), header) in parts.zip(&mut self.headers) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
            iovec.iov_len = buffer.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = socklen(mem::size_of::<libc::sockaddr_in>());
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: every header points to live memory of this batch, set just above, with its true length.
        let count = unsafe {
            libc::recvmmsg(
                port.fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// The datagram at `index` below the count that [`ReceiveBatch::receive`] returned.
    pub(crate) fn datagram(&self, index: usize) -> Option<(Received, &[u8])> {
        let header = self.headers.get(index)?;
        let name = self.names.get(index)?;
        let length = usize::try_from(header.msg_len).ok()?;
        let bytes = self.buffers.get(index)?.get(..length)?;
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        let (local, interface) = packet_info(&header.msg_hdr);
        let received =
            Received { peer: SocketAddrV4::new(ip, u16::from_be(name.sin_port)), local, interface };
        Some((received, bytes))
    }
}

/// The address and interface of `IP_PKTINFO`.
fn packet_info(header: &libc::msghdr) -> (Option<Ipv4Addr>, u32) {
    // SAFETY: the header was filled by recvmmsg and its control memory is live; CMSG_* walk within
    // msg_controllen.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(one) = message.as_ref() {
            if one.cmsg_level == libc::IPPROTO_IP && one.cmsg_type == libc::IP_PKTINFO {
                let info: libc::in_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(one).cast());
                // The two differ for a broadcast or multicast; RFC 1123 4.2.3.4 says not to answer those.
                let to_us = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                let local = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                return (to_us.then_some(local), info.ipi_ifindex.cast_unsigned());
            }
            message = libc::CMSG_NXTHDR(header, one);
        }
    }
    (None, 0)
}

/// Memory for one `sendmmsg`.
#[derive(Default)]
pub(crate) struct SendBatch {
    packets: Vec<Outgoing>,
    names: Vec<libc::sockaddr_in>,
    controls: Vec<Control>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl SendBatch {
    fn clear(&mut self) {
        self.packets.clear();
        self.names.clear();
        self.controls.clear();
        self.iovecs.clear();
        self.headers.clear();
    }

    fn len(&self) -> usize {
        self.packets.len()
    }

    fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    fn is_full(&self) -> bool {
        self.packets.len() >= BATCH
    }

    fn is_train(&self, index: usize) -> bool {
        self.packets.get(index).is_some_and(|packet| packet.segment.is_some())
    }

    /// Notes a packet; `bytes` must stay where they are until [`SendBatch::send`].
    fn push(&mut self, packet: &Outgoing, bytes: &[u8], segment: Option<u16>) {
        let peer = packet.route.peer;
        let mut packet = *packet;
        packet.segment = segment;
        self.packets.push(packet);
        self.names.push(libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: peer.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*peer.ip()).to_be() },
            sin_zero: [0; 8],
        });
        self.iovecs.push(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        self.controls.push(Control([0; CONTROL_BYTES]));
    }

    /// Sends the noted packets from `from` on; returns how many left.
    fn send(&mut self, fd: RawFd, from: usize) -> io::Result<usize> {
        self.headers.clear();
        let parts = self.packets.iter().zip(&mut self.names).zip(&mut self.controls).zip(&mut self.iovecs);
        for (((packet, name), control), iovec) in parts {
            let length = put_control(control, packet.route.local, packet.segment);
            // SAFETY: zero is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = socklen(mem::size_of::<libc::sockaddr_in>());
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = length;
            self.headers.push(header);
        }
        let headers = self.headers.get_mut(from..).unwrap_or_default();
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
        // SAFETY: every header points to memory of this batch or of the outbox, both live and unchanged.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Writes the control messages of one packet; returns their length.
fn put_control(control: &mut Control, local: Ipv4Addr, segment: Option<u16>) -> usize {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(local).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let mut used = put_message(control, 0, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
    if let Some(segment) = segment {
        used += put_message(control, used, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    used
}

fn put_message<T>(control: &mut Control, at: usize, level: i32, kind: i32, value: T) -> usize {
    let size = libc::c_uint::try_from(mem::size_of::<T>()).unwrap_or(0);
    // SAFETY: pure arithmetic on sizes.
    let (space, length) = unsafe { (libc::CMSG_SPACE(size) as usize, libc::CMSG_LEN(size) as usize) };
    assert!(at + space <= CONTROL_BYTES, "the control messages of one packet fit their room");
    // SAFETY: `at` is a multiple of the alignment (sums of CMSG_SPACE), Control is aligned to 8, and the
    // message fits as asserted.
    unsafe {
        let header: *mut libc::cmsghdr = control.0.as_mut_ptr().add(at).cast();
        (*header).cmsg_len = length;
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast::<T>(), value);
    }
    space
}

/// A descriptor that wakes a waiting thread.
#[derive(Debug)]
pub(crate) struct Wake(std::os::fd::OwnedFd);

impl Wake {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn new() -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: eventfd takes two integers and returns a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is new and ours alone.
        Ok(Self(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }))
    }

    /// The descriptor, to wait on.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Takes back all wakes so far.
    pub(crate) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }

    /// Wakes the thread that waits, now and until [`Wake::clear`].
    pub(crate) fn wake(&self) {
        // Fails only when the counter is full, and then it is awake already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}
