//! The running name server: follows the tables and the machine's addresses.
//!
//! A separate thread rebuilds the zones when a table that they come from has changed, and never while a
//! question waits. Changes that touch no name, such as the status of a node that boots, cost a look at the
//! list of nodes.

use super::listen::{self, LocalIpv6};
use super::records::{self, Frame, Host};
use crate::address::{NameServerAddresses, host_name};
use dawn_cluster::{Model, Snapshot, col};
use dawn_dns::shell::{Config, Server};
use dawn_dns::view::{Prefix, View};
use dawn_plan::{CurrentAddresses, LocalAddresses};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time until addresses of the machine that came or went are noticed.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// After zones were made, the thread rests this many times as long: it never takes more than a fifth of a
/// processor.
const REST: u32 = 4;
/// Longest rest.
const REST_MAX: Duration = Duration::from_secs(3);
/// Tables that names come from, besides the list of nodes.
const TABLES: [&str; 6] = ["hosts", "networks", "nics", "nodegroup", "servicenode", "site"];

/// What the zones were made from.
#[derive(Clone, PartialEq, Eq)]
struct Source {
    versions: [u64; TABLES.len()],
    /// Fingerprint of the nodes and their groups.
    nodes: u64,
    ipv6: BTreeSet<LocalIpv6>,
}

/// An address that the name server cannot have.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    error: io::Error,
}

/// The running name server. Dropping it ends it.
pub struct NameService {
    model: Arc<Model>,
    addresses: Arc<CurrentAddresses>,
    served: Arc<NameServerAddresses>,
    server: Server,
    port: u16,
    host: String,
    hasher: RandomState,
    made_from: Mutex<Option<(Source, Arc<LocalAddresses>)>>,
    wanted: Mutex<Vec<SocketAddr>>,
    stop: AtomicBool,
}

impl std::fmt::Debug for NameService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NameService({:?})", self.server)
    }
}

impl NameService {
    /// A name server that does not listen yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn new(
        model: Arc<Model>,
        addresses: Arc<CurrentAddresses>,
        served: Arc<NameServerAddresses>,
        config: &Config,
        port: u16,
    ) -> io::Result<Self> {
        Ok(Self {
            model,
            addresses,
            served,
            server: Server::start(config, View::default())?,
            port,
            host: host_name(),
            hasher: RandomState::new(),
            made_from: Mutex::default(),
            wanted: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// Makes the zones and the list of addresses if something has changed; whether it has. Takes as long as
    /// all nodes take; not for an async worker.
    pub fn refresh(&self) -> bool {
        let (snapshot, addresses) = (self.model.snapshot(), self.addresses.now());
        let source = Source {
            versions: TABLES.map(|table| snapshot.version(table)),
            nodes: self.fingerprint(&snapshot),
            ipv6: listen::ipv6_of_this_machine(),
        };
        let mut made_from = self.made_from.lock().unwrap_or_else(PoisonError::into_inner);
        if made_from.as_ref().is_some_and(|(made, at)| *made == source && Arc::ptr_eq(at, &addresses)) {
            return false;
        }
        let began = Instant::now();
        let host = Host { name: &self.host, addresses: &addresses };
        let frame = Frame::read(&snapshot, host);
        let view = view(&snapshot, host, &frame);
        let names = view.zones.len();
        self.server.publish(view);
        let wanted = listen::addresses(&snapshot, host, &frame, &source.ipv6, self.port);
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        *made_from = Some((source, addresses));
        tracing::debug!(names, ms = began.elapsed().as_millis(), "the name server answers from new tables");
        true
    }

    /// Listens where it should. A loopback address that another resolver has is done without.
    ///
    /// # Errors
    /// The first address that cannot be had, and why; the others are served.
    pub fn listen(&self) -> Result<(), ListenError> {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed = self.server.listen(&wanted);
        self.served.set(self.server.addresses().iter().map(SocketAddr::ip).collect());
        let (local, lost): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(at, _)| at.ip().is_loopback());
        for (address, error) in local {
            tracing::info!(%address, %error, "the name server cannot use this address");
        }
        let lost = lost.into_iter().next();
        lost.map_or(Ok(()), |(address, error)| Err(ListenError { address, error }))
    }

    /// Follows tables and addresses until [`stop`](Self::stop) or the model is gone. Runs on a separate
    /// thread.
    pub fn follow(&self) {
        let changes = self.model.subscribe();
        while !self.stop.load(Ordering::Relaxed) {
            if matches!(changes.recv_timeout(LOOK_PERIOD), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            while changes.try_next().is_some() {}
            let began = Instant::now();
            if !self.refresh() || self.stop.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.listen() {
                tracing::warn!("the name server cannot listen there: {error}");
            }
            std::thread::park_timeout((began.elapsed() * REST).min(REST_MAX));
        }
    }

    /// Ends [`follow`](Self::follow) within a second.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.server.stop();
        self.served.set(BTreeSet::new());
    }

    /// Addresses that are served.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.server.addresses()
    }

    /// What is answered from now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.server.view()
    }

    /// A number that stays the same while nodes and their groups do.
    fn fingerprint(&self, snapshot: &Snapshot) -> u64 {
        let (node, groups) = (col::nodelist::NODE, col::nodelist::GROUPS);
        let mut hasher = self.hasher.build_hasher();
        for row in snapshot.enabled_rows("nodelist") {
            for col in [node, groups] {
                hasher.write(row.get(col).map(|text| text.as_bytes()).unwrap_or_default());
                hasher.write_u8(0);
            }
        }
        hasher.finish()
    }
}

/// Everything the name server knows, from the tables and the machine's addresses.
#[must_use]
pub fn view(snapshot: &Snapshot, host: Host<'_>, frame: &Frame) -> View {
    let zones = records::zones(snapshot, host, frame, &mut |_| {});
    let own = host.addresses.iter().filter_map(|local| Prefix::new(local.address.into(), 32));
    let networks = frame.nets.iter().map(|net| net.prefix).chain(own).collect();
    View {
        zones,
        networks,
        secondaries: records::secondaries(snapshot),
        forwarders: records::forwarders(snapshot, host),
    }
}
