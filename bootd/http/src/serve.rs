//! The shell: listening sockets, one task per connection, and the limits on their number.
//!
//! Parts of the connections are kept for nodes and for this machine ([`dawn_serving::shares`]). When they
//! are short, the connection that has been idle longest gives way, an unfinished TLS handshake and an
//! unfinished head included.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use dawn_serving::shares::{Callers, Limit, OnlyLocal, Place, Places};
use dawn_serving::{DiskPool, Observer, Source};

use crate::application::Application;
use crate::connection::{Connection, Shared};
use crate::limits::{ACCEPT_ERROR_PAUSE, BACKLOG, HANDSHAKE_TIME_MAX, Limits, REFUSALS_MAX, STOP_TIME_MAX};
use crate::stream::Stream;

/// Settings of the service. HTTP and HTTPS are two services over the same source.
#[derive(Clone)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Only these interfaces; all if empty.
    pub interfaces: Vec<String>,
    /// Makes it HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// Answers what the source leaves.
    pub application: Option<Arc<dyn Application>>,
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
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80),
            interfaces: Vec::new(),
            tls: None,
            application: None,
            limits: Limits::default(),
            disks: DiskPool::default(),
            callers: Arc::new(OnlyLocal),
        }
    }
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A socket cannot be had.
    #[error("HTTP cannot listen on {address}{}: {error}", on(interface.as_deref()))]
    Bind {
        /// The address wanted.
        address: SocketAddr,
        /// The interface wanted.
        interface: Option<String>,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
}

fn on(interface: Option<&str>) -> String {
    interface.map(|name| format!(" on {name}")).unwrap_or_default()
}

/// The running service.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    listeners: Vec<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the service has stopped and its connections have ended.
    pub async fn finished(self) {
        for listener in self.listeners {
            // A panic in a listener has been reported by the runtime; the service is over either way.
            let _ = listener.await;
        }
    }
}

/// Binds, starts the tasks and returns. The service stops when `shutdown` becomes true or its sender is
/// dropped.
///
/// # Errors
/// [`HttpError`] when a socket cannot be had.
pub async fn serve(
    config: Config,
    source: Arc<dyn Source>,
    observer: Arc<dyn Observer>,
    shutdown: watch::Receiver<bool>,
) -> Result<Running, HttpError> {
    let mut sockets = Vec::new();
    if config.interfaces.is_empty() {
        sockets.push(listener(config.listen, None)?);
    }
    for interface in &config.interfaces {
        sockets.push(listener(config.listen, Some(interface))?);
    }
    let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(config.listen);
    let total = config.limits.connections_max.max(1);
    let per_source = config.limits.connections_per_address_max.max(1);
    let service = Arc::new(Service {
        shared: Arc::new(Shared { source, observer, application: config.application, disks: config.disks }),
        tls: config.tls,
        places: Places::new(
            Limit { total, per_stranger: per_source, per_source, local: per_source },
            config.callers,
        ),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
    });
    let listeners = sockets
        .into_iter()
        .map(|socket| tokio::spawn(Arc::clone(&service).accept(socket, shutdown.clone())))
        .collect();
    Ok(Running { address, listeners })
}

fn listener(address: SocketAddr, interface: Option<&str>) -> Result<TcpListener, HttpError> {
    bind(address, interface).map_err(|error| HttpError::Bind {
        address,
        interface: interface.map(str::to_owned),
        error,
    })
}

fn bind(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Service {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    places: Arc<Places>,
    /// Connections without a place that are told so.
    refusals: Arc<Semaphore>,
}

impl Service {
    async fn accept(self: Arc<Self>, socket: TcpListener, mut shutdown: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => {
                    let (stop, peer) = (shutdown.clone(), unmapped(peer));
                    let leave = Arc::new(Notify::new());
                    let asked = Arc::clone(&leave);
                    match self.places.enter(peer.ip(), move || asked.notify_one()) {
                        Some(place) => {
                            let service = Arc::clone(&self);
                            connections.spawn(async move {
                                tokio::select! {
                                    () = service.connection(stream, peer, place, stop) => {}
                                    () = leave.notified() => tracing::debug!(%peer, "idle connection gave way"),
                                }
                            });
                        }
                        None => self.refuse(stream, peer, stop, &mut connections),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the HTTP port failed");
                    tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
                }
            }
        }
        drop(socket);
        let all = async { while connections.join_next().await.is_some() {} };
        // Anyone who is not done by then is cut off: the set aborts its tasks when dropped.
        let _ = timeout(STOP_TIME_MAX, all).await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        mut stop: watch::Receiver<bool>,
    ) {
        // Fails only on a dead connection, which the first read will find.
        let _ = stream.set_nodelay(true);
        let stream = tokio::select! {
            stream = self.handshake(stream) => stream,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(stream) = stream else { return };
        Connection::new(Arc::clone(&self.shared), stream, peer, stop).run(place).await;
    }

    /// Says why there is no place, in the clear and to so many at a time; others are closed at once.
    fn refuse(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        if self.tls.is_some() {
            return;
        }
        let connection = Connection::new(Arc::clone(&self.shared), Stream::Plain(stream), peer, stop);
        connections.spawn(async move {
            connection.last_words_busy("too many connections at this moment, or from your address").await;
            drop(permit);
        });
    }

    async fn handshake(&self, stream: TcpStream) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(Stream::Plain(stream)) };
        match timeout(HANDSHAKE_TIME_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }
}

/// An IPv4 peer of an IPv6 socket is an IPv4 peer.
fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}
