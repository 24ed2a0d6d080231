//! Getting and keeping the lease: the DHCP exchange over a UDP socket bound to one interface.
//!
//! At boot: DISCOVER, REQUEST, with growing pauses and a message each time, up to a deadline. Later the mode
//! `renew` of this program keeps the lease alive from the running system; the address is never taken away
//! from a node whose root depends on it; a refusal is only reported.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::dhcp::{self, Ask, Kind, Lease, Reply};
use crate::error::{Error, Result};
use crate::log;
use crate::nic::Nic;
use crate::sys;

/// Time for one lease at boot, in seconds.
pub(crate) const LEASE_SECONDS_MAX: u64 = 300;
/// First wait for an answer, in seconds; doubled up to [`WAIT_SECONDS_MAX`].
const WAIT_SECONDS_MIN: u64 = 2;
/// Longest wait for an answer, in seconds.
const WAIT_SECONDS_MAX: u64 = 16;
/// How long an offer of a foreign server is held back in favour of the boot server's, in milliseconds.
const FOREIGN_OFFER_WAIT_MS: u64 = 1500;
/// How often a REQUEST is repeated before starting over.
const REQUEST_TRIES: u32 = 3;

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// A client on one interface.
#[derive(Debug)]
pub(crate) struct Client {
    nic: Nic,
    socket: UdpSocket,
    xid: u32,
    started: Instant,
}

impl Client {
    /// Opens the client port on the interface.
    pub(crate) fn open(nic: &Nic) -> Result<Self> {
        let fail = |what| move |cause| Error::Nic { nic: nic.name.clone(), what, cause };
        let socket = bound_socket(&nic.name).map_err(fail("open DHCP socket"))?;
        socket.set_broadcast(true).map_err(fail("allow broadcast"))?;
        Ok(Self { nic: nic.clone(), socket, xid: seed(nic), started: Instant::now() })
    }

    /// Gets a lease. `boot_server` is the server the kernel line names: its offer is preferred.
    pub(crate) fn acquire(&mut self, boot_server: Option<Ipv4Addr>) -> Result<Lease> {
        let deadline = self.started + Duration::from_secs(LEASE_SECONDS_MAX);
        let mut wait = WAIT_SECONDS_MIN;
        let mut refusal = String::new();
        while Instant::now() < deadline {
            self.xid = self.xid.wrapping_add(1);
            if let Some(offer) = self.discover(boot_server, Duration::from_secs(wait))? {
                match self.request(&offer)? {
                    Some(Reply { kind: Kind::Ack, lease, .. }) => return Ok(lease),
                    Some(reply) => refusal = format!("; {} refused: {}", reply.lease.server, reply.message),
                    None => refusal = format!("; {} offered an address but did not confirm it", offer.server),
                }
                log::problem(&format!("DHCP on {}{refusal}, starting over", self.nic.name));
                sys::pause(Duration::from_secs(1));
            } else {
                log::problem(&format!("DHCP: no offer on {} after {wait} s, trying again", self.nic.name));
            }
            wait = (wait * 2).min(WAIT_SECONDS_MAX);
        }
        Err(Error::NoLease { nic: self.nic.name.clone(), seconds: LEASE_SECONDS_MAX, detail: refusal })
    }

    fn discover(&mut self, boot_server: Option<Ipv4Addr>, wait: Duration) -> Result<Option<Lease>> {
        self.send(Ask::Discover, Ipv4Addr::BROADCAST)?;
        let mut deadline = Instant::now() + wait;
        let mut foreign = None;
        while let Some(reply) = self.receive(deadline)? {
            if reply.kind != Kind::Offer {
                continue;
            }
            if boot_server.is_none_or(|server| server == reply.lease.server) {
                return Ok(Some(reply.lease));
            }
            deadline = deadline.min(Instant::now() + Duration::from_millis(FOREIGN_OFFER_WAIT_MS));
            foreign = foreign.or(Some(reply.lease));
        }
        Ok(foreign)
    }

    fn request(&mut self, offer: &Lease) -> Result<Option<Reply>> {
        for _ in 0..REQUEST_TRIES {
            self.send(Ask::Request { address: offer.address, server: offer.server }, Ipv4Addr::BROADCAST)?;
            let deadline = Instant::now() + Duration::from_secs(WAIT_SECONDS_MIN);
            while let Some(reply) = self.receive(deadline)? {
                if reply.kind != Kind::Offer {
                    return Ok(Some(reply));
                }
            }
        }
        Ok(None)
    }

    /// Asks for more time: one message to `to`, one wait.
    pub(crate) fn renew(&mut self, address: Ipv4Addr, to: Ipv4Addr) -> Result<Option<Reply>> {
        self.xid = self.xid.wrapping_add(1);
        self.send(Ask::Renew { address }, to)?;
        self.receive(Instant::now() + Duration::from_secs(WAIT_SECONDS_MAX))
    }

    fn send(&self, ask: Ask, to: Ipv4Addr) -> Result<()> {
        let seconds = u16::try_from(self.started.elapsed().as_secs()).unwrap_or(u16::MAX);
        let packet = dhcp::encode(ask, self.nic.mac, self.xid, seconds);
        log::debug(&format!("DHCP {ask:?} to {to} on {}", self.nic.name));
        match self.socket.send_to(&packet, (to, SERVER_PORT)) {
            Ok(_) => Ok(()),
            // A link that has just come up may need a moment; the next round tries again.
            Err(cause) if transient(&cause) => {
                log::debug(&format!("DHCP: {cause}"));
                Ok(())
            }
            Err(cause) => Err(Error::Nic { nic: self.nic.name.clone(), what: "send DHCP message", cause }),
        }
    }

    fn receive(&self, deadline: Instant) -> Result<Option<Reply>> {
        let mut buffer = vec![0; dhcp::PACKET_BYTES_MAX];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let fail = |cause| Error::Nic { nic: self.nic.name.clone(), what: "receive DHCP message", cause };
            self.socket.set_read_timeout(Some(left)).map_err(fail)?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if let Some(reply) = dhcp::decode(packet, self.nic.mac, self.xid) {
                        return Ok(Some(reply));
                    }
                }
                Err(cause) if transient(&cause) => {}
                Err(cause) => return Err(fail(cause)),
            }
        }
    }
}

fn transient(cause: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NetworkDown, NetworkUnreachable, TimedOut, WouldBlock};
    matches!(cause.kind(), Interrupted | NetworkDown | NetworkUnreachable | TimedOut | WouldBlock)
        || cause.raw_os_error() == Some(libc::ENOBUFS)
}

/// Transaction ids must differ between nodes that start in the same second.
fn seed(nic: &Nic) -> u32 {
    let [_, _, a, b, c, d] = nic.mac;
    let time = u32::try_from(log::uptime_ms() & u64::from(u32::MAX)).unwrap_or(0);
    u32::from_be_bytes([a, b, c, d]).rotate_left(7) ^ time.wrapping_mul(0x9e37_79b9)
}

/// The option must be set before the port is bound, so that several interfaces can have a client.
fn bound_socket(nic: &str) -> io::Result<UdpSocket> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: no pointers are passed.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` is an open descriptor that is not owned elsewhere.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    set_option(&socket, libc::SO_REUSEADDR, &1_i32.to_ne_bytes())?;
    set_option(&socket, libc::SO_BINDTODEVICE, nic.as_bytes())?;
    let address = libc::sockaddr_in {
        sin_family: 2, // AF_INET
        sin_port: CLIENT_PORT.to_be(),
        sin_addr: libc::in_addr { s_addr: 0 },
        sin_zero: [0; 8],
    };
    // SAFETY: the address is a whole `sockaddr_in` of the length given (16 bytes).
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), 16) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

fn set_option(socket: &UdpSocket, option: libc::c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the value lives until the call returns and has the length given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value.as_ptr().cast(), length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Address of a server given as text, if it is one.
pub(crate) fn literal(host: &str) -> Option<Ipv4Addr> {
    host.parse::<Ipv4Addr>().ok().filter(|address| !SocketAddr::from((*address, 0)).ip().is_unspecified())
}
