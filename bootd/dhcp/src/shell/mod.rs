//! Sockets, clock and disk around the engine.
//!
//! Two separate threads, so that no other service of the daemon can delay an answer: `worker` reads
//! packets in batches, runs the engine and sends what may go at once; `committer` writes each batch of lease
//! records, syncs once, and sends the answers that waited for it. While the disk is busy with one batch, the
//! next gathers, so a storm costs few syncs.
//!
//! What fails and what then: a journal that cannot be written stops only new dynamic leases; an interface
//! that goes away is served again within seconds when it comes back; a socket that cannot be bound at start
//! is an error.

mod committer;
mod frame;
mod interfaces;
mod ports;
mod raw;
mod udp;
mod wake;
mod worker;

pub use interfaces::of_this_machine;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::engine::{Counters, Engine, Settings};
use crate::event::Observer;
use crate::lease::Lease;
use crate::lease::journal::{Journal, JournalError};
use crate::time::Time;

/// What the shell has to know besides the engine's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Interfaces to serve; empty means every one that is up and has an IPv4 address, loopback excepted.
    pub interfaces: Vec<String>,
    /// The engine's settings, ports included.
    pub settings: Settings,
    /// Whether to listen on port 4011 too. Default yes.
    pub pxe_port: bool,
    /// File of the lease journal; `None` keeps leases in memory alone (tests, proxyDHCP).
    pub journal: Option<PathBuf>,
    /// Receive buffer of each socket in bytes: what a storm may queue while the engine works. Default
    /// 8 MiB, least 64 KiB, most 256 MiB.
    pub receive_buffer_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            settings: Settings::default(),
            pxe_port: true,
            journal: None,
            receive_buffer_bytes: 8 << 20,
        }
    }
}

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No such interface, or none at all.
    #[error("DHCP: {0}")]
    Interface(String),
    /// A socket could not be opened or bound.
    #[error("DHCP on {interface}: cannot {what}: {source}")]
    Socket {
        /// The interface.
        interface: String,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A thread could not be started.
    #[error("DHCP: cannot start a thread: {0}")]
    Thread(io::Error),
}

/// The running service.
#[derive(Clone)]
pub struct Server {
    engine: Arc<Mutex<Engine>>,
    stopped: watch::Receiver<bool>,
    clock: Clock,
}

impl Server {
    /// All leases, sorted by address. Expired ones that are remembered are among them as idle.
    pub fn leases(&self) -> Vec<Lease> {
        let mut leases: Vec<Lease> = lock(&self.engine).leases().cloned().collect();
        leases.sort_by_key(|lease| lease.address);
        leases
    }

    /// Numbers since the start.
    pub fn counters(&self) -> Counters {
        lock(&self.engine).counters()
    }

    /// The service's time, to compare with the ends of leases.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Returns when the service has stopped and every lease is on disk.
    pub async fn stopped(&self) {
        let mut stopped = self.stopped.clone();
        // An error means that the worker is gone, which is what we wait for.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// Binds the sockets, reads the journal, and serves until `stop`. Returns when clients are
/// answered.
pub async fn serve(
    config: Config,
    directory: Arc<dyn Directory>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Server, ServeError> {
    let clock = Clock::start();
    let interfaces = interfaces::find(&config.interfaces)?;
    let ports = ports::Ports::open(&config, &interfaces)?;
    let known = interfaces.into_iter().map(|found| found.interface).collect();
    let mut engine = Engine::new(config.settings.clone(), directory, known);
    let journal = match &config.journal {
        None => None,
        Some(path) => {
            let (journal, leases) = Journal::open(path)?;
            engine.restore(leases);
            Some(journal)
        }
    };
    let engine = Arc::new(Mutex::new(engine));
    let (stopped_tx, stopped) = watch::channel(false);
    let wake = worker::start(config, ports, engine.clone(), observer, journal, clock, stopped_tx)?;
    tokio::spawn(async move {
        stop.cancelled().await;
        wake.stop();
    });
    Ok(Server { engine, stopped, clock })
}

/// A panic while the lock is held leaves the engine as consistent as its last finished packet.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wall clock at the start, monotonic from there on.
#[derive(Debug, Clone, Copy)]
struct Clock {
    epoch: Duration,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { epoch, start: Instant::now() }
    }

    fn now(&self) -> Time {
        let millis = (self.epoch + self.start.elapsed()).as_millis();
        Time::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
