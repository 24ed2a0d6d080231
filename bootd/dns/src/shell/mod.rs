//! Sockets around the engine.
//!
//! | module | what it is |
//! |---|---|
//! | `udp` | threads that answer datagrams, many per system call |
//! | `tcp` | connections: a task each, with limits and shares |
//! | `upstream` | one task with the questions that wait for other servers, and a socket for each attempt |
//!
//! Each served address of this machine has a separate socket, so that an answer leaves from the address that
//! was asked, and other name servers may have the port on other addresses. [`Server::listen`] follows the
//! addresses of the machine; [`Server::publish`] changes what is answered. Neither makes a question wait.

mod tcp;
mod udp;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dawn_serving::shares::{Callers, Limit, Places};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::cache::Cache;
use crate::view::View;
use upstream::Asked;

/// Threads for datagrams at most; more would only wait for each other.
pub const WORKERS_MAX: usize = 4;
/// Addresses that are served at most.
pub const ADDRESSES_MAX: usize = 64;
/// Questions on their way to the task that asks other servers.
const ASKED_MAX: usize = 1024;

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads for datagrams, 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Connections.
    pub connections: Limit,
    /// Questions to other servers that wait at once, at most [`crate::forward::WAITING_MAX`].
    pub waiting: usize,
    /// Who has an address.
    pub callers: Arc<dyn Callers>,
}

/// What all threads and tasks share.
struct Shared {
    view: ArcSwap<View>,
    cache: Arc<Cache>,
    sockets: ArcSwap<Vec<Arc<UdpSocket>>>,
    start: Instant,
    stop: AtomicBool,
    asked: mpsc::Sender<Asked>,
    places: Arc<Places>,
    questions: AtomicU64,
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

struct Listening {
    udp: Arc<UdpSocket>,
    tcp: AbortHandle,
}

/// The running server; dropping it ends it.
pub struct Server {
    shared: Arc<Shared>,
    listening: Mutex<BTreeMap<SocketAddr, Listening>>,
    upstream: AbortHandle,
    runtime: Handle,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({} addresses)", self.addresses().len())
    }
}

impl Server {
    /// Starts threads and tasks; nothing is served before [`listen`](Self::listen). Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(config: &Config, view: View) -> io::Result<Self> {
        let (asked, questions) = mpsc::channel(ASKED_MAX);
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(view),
            cache: Arc::default(),
            sockets: ArcSwap::default(),
            start: Instant::now(),
            stop: AtomicBool::new(false),
            asked,
            places: Places::new(config.connections, Arc::clone(&config.callers)),
            questions: AtomicU64::new(0),
        });
        let upstream = tokio::spawn(upstream::run(Arc::clone(&shared), questions, config.waiting));
        let upstream = upstream.abort_handle();
        let server = Self { shared, listening: Mutex::default(), upstream, runtime: Handle::current() };
        for number in 0..config.workers.clamp(1, WORKERS_MAX) {
            let shared = Arc::clone(&server.shared);
            std::thread::Builder::new().name(format!("dns-{number}")).spawn(move || udp::work(&shared))?;
        }
        Ok(server)
    }

    /// Serves exactly these addresses from now on. Returns those that cannot be had, with the reason.
    pub fn listen(&self, addresses: &[SocketAddr]) -> Vec<(SocketAddr, io::Error)> {
        let mut failed = Vec::new();
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        listening.retain(|address, kept| {
            let stays = addresses.contains(address);
            if !stays {
                kept.tcp.abort();
            }
            stays
        });
        for address in addresses.iter().take(ADDRESSES_MAX) {
            if listening.contains_key(address) {
                continue;
            }
            match self.bind(*address) {
                Ok(bound) => {
                    listening.insert(*address, bound);
                }
                Err(error) => failed.push((*address, error)),
            }
        }
        let sockets = listening.values().map(|bound| Arc::clone(&bound.udp)).collect();
        self.shared.sockets.store(Arc::new(sockets));
        failed
    }

    fn bind(&self, address: SocketAddr) -> io::Result<Listening> {
        let _runtime = self.runtime.enter();
        let udp = Arc::new(udp::bind(address)?);
        let listener = tcp::bind(udp.local_addr()?)?;
        let tcp = tokio::spawn(tcp::serve(Arc::clone(&self.shared), listener)).abort_handle();
        Ok(Listening { udp, tcp })
    }

    /// The addresses that are served.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        listening.values().filter_map(|bound| bound.udp.local_addr().ok()).collect()
    }

    /// Answers from another view from now on.
    pub fn publish(&self, view: View) {
        let before = self.shared.view.swap(Arc::new(view));
        if before.forwarders != self.shared.view.load().forwarders {
            self.shared.cache.clear();
        }
    }

    /// The data that answers come from now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Messages that have come.
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.shared.questions.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// Ends threads and tasks within a second; connections end with their clients.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.upstream.abort();
        self.listen(&[]);
    }
}
