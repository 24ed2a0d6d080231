//! The shell around the engine: one thread with its sockets and a clock.
//!
//! A separate thread, not a task: a storm of boots then cannot starve other services, nor they it, and
//! waiting, receiving and sending cost three system calls per batch of packets.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;
use crate::net::{Port, ReceiveBatch, SendBatch, Wake, interface_mtu, wait};
use crate::outbox::{Outbox, PortId, Route};
use crate::server::{Ask, Incoming, Server, Ticket};
use crate::transfer::{Piece, ReadError};
use dawn_serving::shares::{Callers, Kind, OnlyLocal};
use dawn_serving::{Answer, Content, DiskPool, Observer, OwnedRequest, Source};

/// Batches taken from one socket before the others get their turn.
const ROUNDS_MAX: usize = 64;
/// From so many transfers on, packets are gathered a moment if fewer than one in [`GATHER_SHARE`] transfers
/// sent any.
const GATHER_TRANSFERS_MIN: usize = 16;
/// See [`GATHER_TRANSFERS_MIN`].
const GATHER_SHARE: usize = 4;
/// That moment.
const GATHER_PAUSE: Duration = Duration::from_micros(100);
/// The thread's place before others (nice value): a client waits for every block, and while the server builds
/// an image on all its cores, nodes boot as before.
const NICE: libc::c_int = -10;
/// How long an interface's MTU is believed.
const MTU_MEMORY: Duration = Duration::from_secs(10);
/// The MTU if the interface's is not known.
const MTU_DEFAULT: usize = 1500;
/// Most transfer ports.
const TRANSFER_PORTS_MAX: u8 = 16;
/// Ports of transfers that the system picks, unless the settings say another number.
const TRANSFER_PORTS_DEFAULT: u8 = 2;

/// Which ports of ours carry the transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferPorts {
    /// So many ports that the system picks, shared by all transfers; 1 to 16. Two are enough to tell a
    /// client's new transfer from its old one.
    Any(u8),
    /// These ports, for firewalls; at most 16.
    Range(u16, u16),
    /// The well-known port itself carries everything, for the strictest firewalls and address translation.
    Single,
}

/// A text that is not a choice of [`TransferPorts`].
#[derive(Debug, thiserror::Error)]
#[error("it is neither 'any', 'one' nor a range of at most {TRANSFER_PORTS_MAX} ports such as 6900-6903")]
pub struct NotPorts;

impl FromStr for TransferPorts {
    type Err = NotPorts;

    /// `any`, `one`, or `FIRST-LAST`.
    fn from_str(text: &str) -> Result<Self, NotPorts> {
        let range = || {
            let (first, last) = text.split_once('-')?;
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first > 0 && (1..=usize::from(TRANSFER_PORTS_MAX)).contains(&(first..=last).len()))
                .then_some(Self::Range(first, last))
        };
        match text {
            "any" => Ok(Self::Any(TRANSFER_PORTS_DEFAULT)),
            "one" => Ok(Self::Single),
            _ => range().ok_or(NotPorts),
        }
    }
}

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port to listen on; 0.0.0.0 is right on machines with several addresses.
    pub listen: SocketAddrV4,
    /// Only these interfaces; all if empty.
    pub interfaces: Vec<String>,
    /// Ports of the transfers.
    pub transfer_ports: TransferPorts,
    /// Limits.
    pub limits: Limits,
    /// Threads for disks that may hang. Default: those of the process.
    pub disks: DiskPool,
    /// Tells nodes from strangers.
    pub callers: Arc<dyn Callers>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 69),
            interfaces: Vec::new(),
            transfer_ports: TransferPorts::Any(TRANSFER_PORTS_DEFAULT),
            limits: Limits::default(),
            disks: DiskPool::default(),
            callers: Arc::new(OnlyLocal),
        }
    }
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TftpError {
    /// A socket cannot be had.
    #[error("TFTP cannot listen on {address}{}: {error}", on(interface.as_deref()))]
    Bind {
        /// The address wanted.
        address: SocketAddrV4,
        /// The interface wanted.
        interface: Option<String>,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// Something else the system refuses.
    #[error("TFTP cannot start: {0}")]
    System(#[source] io::Error),
}

fn on(interface: Option<&str>) -> String {
    interface.map(|name| format!(" on {name}")).unwrap_or_default()
}

/// The running service.
#[derive(Debug)]
pub struct Running {
    address: SocketAddrV4,
    finished: oneshot::Receiver<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns when the service has stopped.
    pub async fn finished(self) {
        // An error means that the thread is gone, as intended.
        let _ = self.finished.await;
    }
}

/// Binds, starts the thread and returns. The service ends after `stop`.
///
/// # Errors
/// [`TftpError`] when a socket or the thread cannot be had.
pub async fn serve(
    config: Config,
    source: Arc<dyn Source>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Running, TftpError> {
    let shell = Shell::bind(&config)?;
    let address = shell.address().map_err(TftpError::System)?;
    let wake = Arc::new(Wake::new().map_err(TftpError::System)?);
    let (done, finished) = oneshot::channel();
    let (limits, callers) = (config.limits, config.callers);
    let disks = Disks::new(config.disks, source).map_err(TftpError::System)?;
    let woken = Arc::clone(&wake);
    std::thread::Builder::new()
        .name("tftp".to_owned())
        .spawn(move || {
            crate::net::set_thread_nice(NICE);
            shell.run(limits, &*callers, &disks, &*observer, &woken);
            let _ = done.send(());
        })
        .map_err(TftpError::System)?;
    tokio::spawn(async move {
        stop.cancelled().await;
        wake.wake();
    });
    Ok(Running { address, finished })
}

struct Shell {
    listeners: Vec<Port>,
    transfers: Vec<Port>,
}

impl Shell {
    fn bind(config: &Config) -> Result<Self, TftpError> {
        let mut listeners = Vec::new();
        if config.interfaces.is_empty() {
            listeners.push(bind(PortId::LISTEN, config.listen, None)?);
        }
        for (number, interface) in (0..).zip(&config.interfaces) {
            listeners.push(bind(PortId::on_interface(number), config.listen, Some(interface))?);
        }
        let ports: Vec<u16> = match config.transfer_ports {
            TransferPorts::Any(count) => vec![0; usize::from(count.clamp(1, TRANSFER_PORTS_MAX))],
            TransferPorts::Range(first, last) => {
                (first..=last).take(usize::from(TRANSFER_PORTS_MAX)).collect()
            }
            TransferPorts::Single => Vec::new(),
        };
        let mut transfers = Vec::new();
        for (id, port) in (1..).zip(ports) {
            transfers.push(bind(PortId(id), SocketAddrV4::new(*config.listen.ip(), port), None)?);
        }
        Ok(Self { listeners, transfers })
    }

    fn address(&self) -> io::Result<SocketAddrV4> {
        self.listeners.first().ok_or(io::ErrorKind::AddrNotAvailable)?.address()
    }

    fn run(self, limits: Limits, callers: &dyn Callers, disks: &Disks, observer: &dyn Observer, stop: &Wake) {
        let ids = self.transfers.iter().map(Port::id).collect();
        let mut work = Work {
            server: Server::new(limits, ids, &*disks.source, observer).with_callers(callers),
            start: Instant::now(),
            out: Outbox::default(),
            receive: ReceiveBatch::default(),
            send: SendBatch::default(),
            mtus: Mtus::default(),
        };
        let ports: Vec<&Port> = self.transfers.iter().chain(&self.listeners).collect();
        let mut set: Vec<libc::pollfd> = [stop.fd(), disks.answers.wake.fd()]
            .into_iter()
            .chain(ports.iter().map(|port| port.fd()))
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 })
            .collect();
        loop {
            let now = work.start.elapsed();
            wait(&mut set, work.server.deadline().map(|at| at.saturating_sub(now)));
            let [stopped, answered, ready @ ..] = set.as_slice() else { return };
            if stopped.revents != 0 {
                return;
            }
            if answered.revents != 0 {
                disks.take_answers(&mut work);
            }
            let mut taken = 0;
            for (port, _) in ports.iter().zip(ready).filter(|(_, entry)| entry.revents != 0) {
                taken += work.take(port, &ports);
            }
            work.server.on_timer(work.start.elapsed(), &mut work.out);
            disks.ask(&mut work);
            work.flush(&ports);
            let active = work.server.active();
            if active >= GATHER_TRANSFERS_MIN && taken < active / GATHER_SHARE {
                // Falling asleep and waking up costs more than a packet. With many transfers a moment of
                // patience brings many packets at once, and no client notices.
                wait(set.get_mut(..1).unwrap_or_default(), Some(GATHER_PAUSE));
            }
        }
    }
}

fn bind(id: PortId, address: SocketAddrV4, interface: Option<&str>) -> Result<Port, TftpError> {
    Port::bind(id, address, interface, false).map_err(|error| TftpError::Bind {
        address,
        interface: interface.map(str::to_owned),
        error,
    })
}

/// The threads for disks, and the way their answers come back.
struct Disks {
    pool: DiskPool,
    source: Arc<dyn Source>,
    answers: Arc<Answers>,
}

struct Answers {
    wake: Wake,
    ready: Mutex<Vec<Done>>,
}

/// What a thread for disks has found out.
enum Done {
    Found(Ticket, Answer),
    Read(Ticket, Piece, Result<Vec<u8>, ReadError>),
}

impl Answers {
    fn push(&self, done: Done) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        self.wake.wake();
    }
}

impl Disks {
    fn new(pool: DiskPool, source: Arc<dyn Source>) -> io::Result<Self> {
        let answers = Arc::new(Answers { wake: Wake::new()?, ready: Mutex::default() });
        Ok(Self { pool, source, answers })
    }

    /// Passes the engine's requests on to the threads for disks.
    fn ask(&self, work: &mut Work<'_>) {
        // A refused one may end a transfer, whose place goes to a request that waits and asks in its turn.
        while let Some(ask) = work.server.take_ask() {
            let refused = match ask {
                Ask::Find { ticket, kind, request } => self.find(ticket, kind, request),
                Ask::Read { ticket, kind, content, piece } => self.read(ticket, kind, content, piece),
            };
            if let Some(done) = refused {
                work.take_answer(done);
            }
        }
    }

    /// The answer, if there is no thread for it.
    fn find(&self, ticket: Ticket, kind: Kind, request: OwnedRequest) -> Option<Done> {
        let (source, answers) = (Arc::clone(&self.source), Arc::clone(&self.answers));
        let place = source.place(&request.request());
        let refused = ticket.clone();
        let find = move || {
            if ticket.is_wanted() {
                answers.push(Done::Found(ticket, source.resolve(&request.request())));
            }
        };
        let submitted = self.pool.caller(kind).submit(&place, find);
        submitted.err().map(|late| Done::Found(refused, Answer::Unavailable(late)))
    }

    /// The outcome, if there is no thread for it.
    fn read(&self, ticket: Ticket, kind: Kind, content: Content, piece: Piece) -> Option<Done> {
        let answers = Arc::clone(&self.answers);
        let refused = ticket.clone();
        let place = content.far().cloned();
        let read = move || {
            if ticket.is_wanted() {
                let mut bytes = vec![0; piece.length];
                let read = content.read_full_at(piece.offset, &mut bytes).map(|count| {
                    bytes.truncate(count);
                    bytes
                });
                answers.push(Done::Read(ticket, piece, read.map_err(ReadError::Unreadable)));
            }
        };
        let submitted = self.pool.caller(kind).submit(place.as_deref().unwrap_or(Path::new("/")), read);
        submitted.err().map(|late| Done::Read(refused, piece, Err(late.into())))
    }

    fn take_answers(&self, work: &mut Work<'_>) {
        self.answers.wake.clear();
        let ready = std::mem::take(&mut *self.answers.ready.lock().unwrap_or_else(PoisonError::into_inner));
        ready.into_iter().for_each(|done| work.take_answer(done));
    }
}

struct Work<'a> {
    server: Server<'a>,
    start: Instant,
    out: Outbox,
    receive: ReceiveBatch,
    send: SendBatch,
    mtus: Mtus,
}

impl Work<'_> {
    /// Handles what has come in by one port; returns how many datagrams.
    fn take(&mut self, port: &Port, ports: &[&Port]) -> usize {
        let mut taken = 0;
        for _ in 0..ROUNDS_MAX {
            let count = self.receive.receive(port);
            let now = self.start.elapsed();
            for index in 0..count {
                let Some((received, bytes)) = self.receive.datagram(index) else { continue };
                let Some(local) = received.local else { continue };
                let mtu = self.mtus.get(now, port, received.interface);
                let route = Route { peer: received.peer, local, port: port.id() };
                self.server.on_datagram(now, Incoming { route, mtu }, bytes, &mut self.out);
            }
            self.flush(ports);
            taken += count;
            if count < crate::net::BATCH {
                break;
            }
        }
        taken
    }

    fn take_answer(&mut self, done: Done) {
        let now = self.start.elapsed();
        match done {
            Done::Found(ticket, answer) => self.server.on_found(now, &ticket, answer, &mut self.out),
            Done::Read(ticket, piece, read) => {
                self.server.on_piece(now, &ticket, piece, read, &mut self.out);
            }
        }
    }

    fn flush(&mut self, ports: &[&Port]) {
        if self.out.is_empty() {
            return;
        }
        for port in ports {
            port.send(&self.out, &mut self.send);
        }
        self.out.clear();
    }
}

#[derive(Default)]
struct Mtus(HashMap<u32, (usize, Duration)>);

impl Mtus {
    fn get(&mut self, now: Duration, port: &Port, interface: u32) -> usize {
        if let Some((mtu, _)) = self.0.get(&interface).filter(|(_, until)| *until > now) {
            return *mtu;
        }
        let mtu = interface_mtu(port.fd(), interface).unwrap_or(MTU_DEFAULT);
        self.0.insert(interface, (mtu, now + MTU_MEMORY));
        mtu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_ports_are_read() {
        for (text, ports) in [
            ("any", Some(TransferPorts::Any(TRANSFER_PORTS_DEFAULT))),
            ("one", Some(TransferPorts::Single)),
            ("6900-6901", Some(TransferPorts::Range(6900, 6901))),
            ("6900-6900", Some(TransferPorts::Range(6900, 6900))),
            ("6901-6900", None),
            ("6900-6916", None),
            ("0-3", None),
            ("65530-65536", None),
            ("two", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), ports, "{text}");
        }
    }
}
