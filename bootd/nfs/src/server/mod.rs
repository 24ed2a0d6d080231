//! The thin shell around the engine: sockets, threads, time, and the files of the data directory.
//!
//! [`serve`] binds everything before it returns, so its caller can say "ready" at once. What fails while
//! starting is one [`ServeError`]; afterwards nothing ends the service but its shutdown.

mod away;
mod conn;
mod poll;
mod worker;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

use dawn_serving::DiskPool;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::cred;
use crate::drc::ReplyCache;
use crate::engine::{Engine, EngineConfig};
use crate::export::Exports;
use crate::handle::HandleKey;
use crate::observe::{Dropped, Observer};
use crate::portmap::Ports;
use crate::sys;
use conn::Service;
use worker::{Endpoint, Shared};

pub use conn::{CALLS_MAX, PENDING_BYTES_MAX, REPLY_BYTES_MAX};
pub use worker::{CONNECTIONS_MAX, CONNECTIONS_PER_CLIENT_MAX, CONNECTIONS_PER_STRANGER_MAX};

/// File of the handle key within the state directory.
const KEY_FILE: &str = "nfs-handle.key";
/// Directory of the stand-ins within the state directory.
const STAND_INS_DIR: &str = "nfs-stand-ins";
/// File of replies within the state directory.
const REPLIES_FILE: &str = "nfs-replies";
/// What the kernel calls a worker thread.
const WORKER_NAME: &str = "nfs-worker";
/// Time between two looks of the monitor.
const TICK_MS: u64 = 50;
/// Ticks between two closings of unused files: a file that no client asks for is closed after 10 to 20 s.
const TIDY_TICKS: u64 = 200;
/// Ticks after which a client that takes no replies, or does not finish a call it began, is dropped: 120 s.
const STALLED_TICKS_MAX: u64 = 2400;
/// Connections waiting to be accepted; a whole cluster may come back at the same moment.
const BACKLOG: i32 = 4096;

/// The ports to listen on, and the limits.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to listen on; all by default.
    pub address: IpAddr,
    /// Port of NFS and MOUNT; 0 takes a free one. Default 2049.
    pub nfs_port: u16,
    /// A separate port for MOUNT (which stays available on the NFS port too). Default none.
    pub mount_port: Option<u16>,
    /// Port of the port mapper. Default 111; none if the machine runs one already.
    pub portmap_port: Option<u16>,
    /// Whether to serve datagrams too. Default yes.
    pub udp: bool,
    /// Directory for the handle key.
    pub state_dir: PathBuf,
    /// Threads at the start. Default 16.
    pub workers: usize,
    /// Most threads, reached only while many calls wait for disks. Default 128.
    pub workers_max: usize,
    /// Most files kept open between calls. Default 16,384; lowered to half of the descriptor limit.
    pub open_objects_max: usize,
    /// Most connections at once. Default and most [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Threads for disks that may hang. Default those of the process.
    pub disks: DiskPool,
    /// Most bytes of calls and replies of slow clients, all together; a sixteenth of it for one client.
    /// Default 512 MiB.
    pub waiting_bytes_max: usize,
}

impl ServerConfig {
    /// The usual ports, with the key in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            nfs_port: 2049,
            mount_port: None,
            portmap_port: Some(111),
            udp: true,
            state_dir: state_dir.into(),
            workers: 16,
            workers_max: 128,
            open_objects_max: 16_384,
            connections_max: CONNECTIONS_MAX,
            disks: DiskPool::default(),
            waiting_bytes_max: 512 << 20,
        }
    }

    /// Free ports on the loopback address and no port mapper, for tests.
    pub fn loopback(state_dir: impl Into<PathBuf>) -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), nfs_port: 0, portmap_port: None, ..Self::new(state_dir) }
    }
}

/// Why the service did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket could not be bound.
    #[error("cannot listen for {what} on {address}: {source}")]
    Bind {
        /// Which service.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The handle key could not be read or made.
    #[error("cannot read or create the file handle key {path}: {source}")]
    Key {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The stand-ins of overlays could not be made.
    #[error("cannot create {path}: {source}")]
    StandIns {
        /// Their directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Threads or the poll set could not be made.
    #[error("cannot start NFS workers: {0}")]
    Start(#[source] io::Error),
}

/// A running service. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    monitor: Option<JoinHandle<()>>,
    bell: Arc<(Mutex<bool>, Condvar)>,
}

/// Starts the service; it ends after `stop`, or when the returned server is dropped.
pub async fn serve(
    config: ServerConfig,
    exports: Arc<dyn Exports>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Arc<Server>, ServeError> {
    let server = Arc::new(Server::start(&config, exports, observer)?);
    let until = server.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        until.stop();
    });
    Ok(server)
}

impl Server {
    /// Binds all sockets and starts the workers.
    pub fn start(
        config: &ServerConfig,
        exports: Arc<dyn Exports>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, ServeError> {
        if !cred::switching() {
            tracing::warn!("not root: NFS acts as the daemon's own user for everybody");
        }
        let (endpoints, ports) = bind_all(config)?;
        let affordable = usize::try_from(sys::raise_descriptor_limit() / 2).unwrap_or(usize::MAX);
        let verifier = start_verifier();
        let engine = Engine::new(EngineConfig {
            replies: open_replies(&config.state_dir, verifier),
            exports,
            observer,
            key: load_key(&config.state_dir)?,
            verifier,
            open_objects_max: config.open_objects_max.min(affordable),
            disks: config.disks.clone(),
            stand_ins: make_stand_ins(&config.state_dir)?,
        });
        let shared = Arc::new(Shared::new(engine, endpoints, ports, config).map_err(ServeError::Start)?);
        let bell = Arc::new((Mutex::new(false), Condvar::new()));
        let mut workers = Vec::new();
        for _ in 0..config.workers.max(2) {
            workers.push(spawn_worker(&shared).map_err(ServeError::Start)?);
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let monitor =
            Monitor { shared: shared.clone(), workers, workers_max: config.workers_max, processors };
        let ring = bell.clone();
        let thread = std::thread::Builder::new().name("nfs-monitor".to_owned());
        let monitor = thread.spawn(move || monitor.run(&ring)).map_err(ServeError::Start)?;
        Ok(Self { shared, monitor: Some(monitor), bell })
    }

    /// The ports in use.
    pub fn ports(&self) -> Ports {
        self.shared.ports
    }

    /// Has all threads end after the call they are at. Returns at once.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.poll.stop();
        *self.bell.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.1.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(monitor) = self.monitor.take() {
            let _ = monitor.join();
        }
        for conn in self.shared.connections() {
            conn.close();
        }
    }
}

fn spawn_worker(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    std::thread::Builder::new().name(WORKER_NAME.to_owned()).spawn(move || shared.work())
}

/// How many workers run or could, were there a processor for them: state R in proc(5). None if that cannot be
/// read.
fn running_workers() -> usize {
    let runs = |stat: &str| {
        let (head, state) = stat.split_once(") ")?;
        Some(head.ends_with(WORKER_NAME) && state.starts_with('R'))
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stats.filter(|stat| runs(stat) == Some(true)).count()
}

/// Looks after time: unused files, stalled clients, calls stuck behind a slow one.
struct Monitor {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    workers_max: usize,
    /// Processors this process may use.
    processors: usize,
}

impl Monitor {
    fn run(mut self, bell: &(Mutex<bool>, Condvar)) {
        let mut stopped = bell.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let tick = Duration::from_millis(TICK_MS);
            (stopped, _) = bell.1.wait_timeout(stopped, tick).unwrap_or_else(PoisonError::into_inner);
            self.look();
        }
        drop(stopped);
        for worker in self.workers {
            let _ = worker.join();
        }
    }

    fn look(&mut self) {
        let now = self.shared.tick.fetch_add(1, Ordering::Relaxed);
        self.shared.engine.set_time(seconds_now());
        if now.is_multiple_of(TIDY_TICKS) {
            self.shared.engine.tidy();
            self.drop_stalled(now);
        }
        self.shared.give_up_late();
        let busy = self.shared.busy.load(Ordering::Relaxed);
        if busy == 0 {
            return;
        }
        for conn in self.shared.connections() {
            if conn.has_calls() && !conn.is_clogged() {
                self.shared.enlist(&conn);
            }
        }
        // Another worker helps if these wait for disks; if they wait for a processor it only takes turns from
        // them.
        let few = busy >= self.workers.len() && self.workers.len() < self.workers_max;
        if few && running_workers() < self.processors {
            match spawn_worker(&self.shared) {
                Ok(worker) => self.workers.push(worker),
                Err(error) => tracing::warn!(%error, "no further NFS worker"),
            }
        }
    }

    fn drop_stalled(&self, now: u64) {
        for conn in self.shared.connections() {
            let idle_ticks = now.saturating_sub(conn.progress.load(Ordering::Relaxed));
            if idle_ticks > STALLED_TICKS_MAX && (conn.is_unsent() || conn.is_mid_record()) {
                self.shared.drop_connection(conn.token, Dropped::NoProgress);
            }
        }
    }
}

fn bind_all(config: &ServerConfig) -> Result<(Vec<Endpoint>, Ports), ServeError> {
    let at = |port| SocketAddr::new(config.address, port);
    let nfs = bind_tcp("NFS", at(config.nfs_port))?;
    let nfs_port = nfs.local_addr().map_or(config.nfs_port, |a| a.port());
    let mut ports = Ports { nfs: nfs_port, nfs_udp: None, mount: nfs_port };
    let mut endpoints = vec![Endpoint::Tcp(nfs, Service::Nfs)];
    if config.udp {
        ports.nfs_udp = Some(nfs_port);
        endpoints.push(Endpoint::Udp(bind_udp("NFS", at(nfs_port))?, Service::Nfs));
    }
    if let Some(port) = config.mount_port.filter(|port| *port != config.nfs_port) {
        ports.mount = port;
        endpoints.push(Endpoint::Tcp(bind_tcp("MOUNT", at(port))?, Service::Nfs));
        endpoints.push(Endpoint::Udp(bind_udp("MOUNT", at(port))?, Service::Nfs));
    }
    if let Some(port) = config.portmap_port {
        endpoints.push(Endpoint::Tcp(bind_tcp("portmap", at(port))?, Service::Portmap));
        endpoints.push(Endpoint::Udp(bind_udp("portmap", at(port))?, Service::Portmap));
    }
    Ok((endpoints, ports))
}

fn bind_tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // Without it a restart would wait a minute for the connections of its predecessor.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|source| ServeError::Bind { what, address, source })
}

fn bind_udp(what: &'static str, address: SocketAddr) -> Result<UdpSocket, ServeError> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|source| ServeError::Bind { what, address, source })
}

/// Different in every run: nanoseconds do not repeat.
fn start_verifier() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970, as the wire has them.
fn seconds_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(0)
}

/// The replies of the last run, if the machine has not been restarted since. Where the file cannot be had,
/// replies are remembered until the daemon ends.
fn open_replies(state_dir: &Path, run: u64) -> ReplyCache {
    let path = state_dir.join(REPLIES_FILE);
    let boot_id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let file = path.display();
    match ReplyCache::in_file(&path, &boot_id, run) {
        Ok(cache) => {
            if cache.damaged > 0 {
                tracing::warn!(%file, damaged = cache.damaged, "NFS replies of the last run were damaged and are left out");
            }
            cache
        }
        Err(error) => {
            tracing::warn!(%file, %error, "NFS replies are kept in memory only; a restart forgets them");
            ReplyCache::in_memory(run)
        }
    }
}

/// The empty directory and the empty file that represent what exists in overlays only.
fn make_stand_ins(state_dir: &Path) -> Result<PathBuf, ServeError> {
    let path = state_dir.join(STAND_INS_DIR);
    // Nothing is written where both are: the file system may be read-only.
    let make = || -> io::Result<()> {
        std::fs::create_dir_all(path.join("dir"))?;
        if !path.join("file").is_file() {
            std::fs::OpenOptions::new().create(true).append(true).mode(0o644).open(path.join("file"))?;
        }
        Ok(())
    };
    match make() {
        Ok(()) => Ok(path),
        Err(source) => Err(ServeError::StandIns { path, source }),
    }
}

/// Reads the handle key of the data directory, or makes it at the first start.
pub fn load_key(state_dir: &Path) -> Result<HandleKey, ServeError> {
    let path = state_dir.join(KEY_FILE);
    read_or_make_key(&path).map(HandleKey::new).map_err(|source| ServeError::Key { path, source })
}

/// It is not silently replaced by a new one, because that would break every running node.
const KEY_DAMAGED: &str = "it is not 16 bytes long; put it back from a backup, or remove it for a new one \
                           (nodes that run from an NFS root must then be rebooted: their handles are void)";

/// A key in memory alone would make the handles of all nodes stale at each restart.
const KEY_NEVER_MADE: &str = "the file system is read-only, and this directory has not been served before; make it \
                              writable for the first start, or leave NFS out (--services dhcp,tftp,http,xcatd)";

/// Reads a private file; if other users may read it, its mode is set to private, with a warning.
fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        tracing::warn!(
            path = %path.display(),
            mode = format_args!("{mode:04o}"),
            "the key of NFS file handles could be read by other users of this machine and is closed to them now; \
             one who has read it can forge handles until the file is removed and the nodes are rebooted"
        );
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok(bytes)
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; 16]> {
    match read_private(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other(KEY_DAMAGED)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            // Whole or not at all: a torn key would make every handle stale.
            match dawn_serving::whole::write(path, &key, 0o600) {
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                    Err(io::Error::other(KEY_NEVER_MADE))
                }
                written => written.map(|()| key),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Client;
    use crate::export::{Export, ExportId, FixedExports};
    use crate::observe::LogObserver;
    use crate::overlay::OverlaySpec;
    use crate::types::Time;
    use std::net::TcpStream;

    /// Clients that take no replies: each has a sixteenth at most.
    const SLOW_CLIENTS: u8 = 18;
    /// Listings asked for by each of them: more than the buffers of a socket hold, even if they are cut
    /// small.
    const LISTINGS: usize = 700;
    const WAITING_BYTES_MAX: usize = 1 << 20;
    const LISTING_BYTES: u32 = 1 << 20;
    /// Names in the directory.
    const NAMES: usize = 200;
    /// One READ, and how many one client sends at once.
    const READ_BYTES: u32 = 1 << 20;
    const READS: usize = 48;
    /// What a reply has besides its data.
    const HEAD_BYTES_MAX: usize = 256;

    fn client_from(source: u8, server: &Server) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(256 << 10).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, source], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], server.ports().nfs)).into()).unwrap();
        Client::over(TcpStream::from(socket)).unwrap()
    }

    /// Asks for the whole directory many times and reads nothing.
    fn ask_and_read_nothing(client: &mut Client, dir: &crate::handle::FileHandle) -> Vec<u32> {
        let mut args = crate::xdr::Writer::default();
        args.opaque(dir.as_bytes());
        args.u64(0);
        args.u64(0);
        args.u32(LISTING_BYTES);
        args.u32(LISTING_BYTES);
        let args = args.into_bytes();
        let mut ask = || {
            let (xid, call) = client.encode(crate::nfs3::PROGRAM, 3, 17, &args);
            client.send(&call).unwrap();
            xid
        };
        (0..LISTINGS).map(|_| ask()).collect()
    }

    /// Threads for disks read data into memory, where a worker would leave them in the file.
    #[test]
    fn data_that_other_threads_read_count_before_they_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let area = dir.path().join("area");
        std::fs::create_dir(&area).unwrap();
        std::fs::write(area.join("large"), vec![7; READ_BYTES as usize]).unwrap();
        let far = Some(area.clone());
        let overlay = OverlaySpec { generation: 1, changed: Time::default(), far, entries: Vec::new() };
        let export = Export::read_only(ExportId::of(&["area"]), &area);
        let export = Export { overlay: Some(Arc::new(overlay)), ..export };
        let exports = FixedExports::default().with("/area", export);
        let config =
            ServerConfig { waiting_bytes_max: WAITING_BYTES_MAX, ..ServerConfig::loopback(dir.path()) };
        let server = Server::start(&config, Arc::new(exports), Arc::new(LogObserver)).unwrap();
        let mut clients: Vec<_> = (0..4).map(|_| client_from(2, &server)).collect();
        for client in &mut clients {
            let root = client.mount("/area").unwrap();
            let file = client.walk(&root, "large").unwrap();
            let mut args = crate::xdr::Writer::default();
            args.opaque(file.as_bytes());
            args.u64(0);
            args.u32(READ_BYTES);
            let args = args.into_bytes();
            for _ in 0..READS {
                let (_, call) = client.encode(crate::nfs3::PROGRAM, 3, 6, &args);
                client.send(&call).unwrap();
            }
        }
        // Each has one reply at once, because the share of their address is used up: the one that the socket
        // takes, or that another thread makes. Workers that look at the same moment see room each.
        let replies = clients.len() + config.workers;
        let most = replies * (usize::try_from(READ_BYTES).unwrap() + HEAD_BYTES_MAX);
        assert!(most < clients.len() * READS * usize::try_from(READ_BYTES).unwrap() / 4);
        for client in &mut clients {
            for _ in 0..READS {
                let unsent: usize = server.shared.connections().iter().map(|conn| conn.unsent_bytes()).sum();
                assert!(unsent <= most, "{unsent} bytes of replies are in memory");
                client.receive().unwrap();
            }
        }
        while server.shared.waiting.held() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn clients_that_take_no_replies_leave_memory_and_turns_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let area = dir.path().join("area");
        std::fs::create_dir(&area).unwrap();
        for number in 0..NAMES {
            std::fs::write(area.join(format!("a-file-with-a-longer-name-{number:04}")), "").unwrap();
        }
        let exports =
            FixedExports::default().with("/area", Export::read_only(ExportId::of(&["area"]), &area));
        let config = ServerConfig {
            waiting_bytes_max: WAITING_BYTES_MAX,
            workers: 4,
            workers_max: 4,
            ..ServerConfig::loopback(dir.path())
        };
        let server = Server::start(&config, Arc::new(exports), Arc::new(LogObserver)).unwrap();
        let mut slow: Vec<_> = (0..SLOW_CLIENTS)
            .map(|number| {
                let mut client = client_from(2 + number, &server);
                let root = client.mount("/area").unwrap();
                let asked = ask_and_read_nothing(&mut client, &root);
                (client, asked)
            })
            .collect();
        while server.shared.connections().iter().any(|conn| !conn.is_clogged()) {
            std::thread::yield_now();
        }
        // Replies that workers made at the same moment, before they were counted, may exceed it.
        let at_once = config.workers * 2 * usize::try_from(LISTING_BYTES).unwrap();
        assert!(server.shared.waiting.held() <= WAITING_BYTES_MAX + at_once);

        let mut other = client_from(1, &server);
        let root = other.mount("/area").unwrap();
        let (page, _) = other.readdir_page(&root, 0, LISTING_BYTES, true).unwrap();
        assert!(page.len() < 100, "cut small while memory is short: {}", page.len());
        assert_eq!(other.readdir(&root, LISTING_BYTES, true).unwrap().len(), NAMES + 2);

        // Each gets all it asked for as soon as it reads on.
        for (client, asked) in &mut slow {
            for _ in 0..LISTINGS {
                let reply = client.receive().unwrap();
                let xid = u32::from_be_bytes(*reply.first_chunk().unwrap());
                let before = asked.len();
                asked.retain(|wanted| *wanted != xid);
                assert_eq!(asked.len() + 1, before);
            }
        }
        while server.shared.waiting.held() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(other.readdir_page(&root, 0, LISTING_BYTES, true).unwrap().0.len(), NAMES + 2);
    }
}
