//! The shell: listening sockets, one task per connection, and the limits on their number.
//!
//! Parts of the connections are kept for nodes and for this machine ([`dawn_serving::shares`]). When they
//! are short, the connection that has been idle longest is closed, an unfinished TLS handshake and an
//! unfinished head included.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use dawn_serving::shares::{Callers, Limit, OnlyLocal, Place, Places};
use dawn_serving::{DiskPool, Observer, Source};

use crate::accept::{Acceptor, Admission, Door};
use crate::application::Beyond;
use crate::connection::{Caller, Connection, Shared};
use crate::limits::{HANDSHAKE_TIME_MAX, Limits, REFUSALS_MAX, STOP_TIME_MAX};
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
    /// Answers requests that the source does not serve.
    pub application: Option<Beyond>,
    /// Limits.
    pub limits: Limits,
    /// Threads for disks that may hang. Default: those of the process.
    pub disks: DiskPool,
    /// Knows nodes from strangers.
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
    /// There is no thread to accept connections.
    #[error("HTTP cannot start: {0}")]
    Thread(#[source] io::Error),
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

/// Binds, starts the tasks and returns. The service ends after `stop`.
///
/// # Errors
/// [`HttpError`] when a socket cannot be had.
pub async fn serve(
    config: Config,
    source: Arc<dyn Source>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Running, HttpError> {
    let backlog = config.limits.backlog;
    let mut sockets = Vec::new();
    if config.interfaces.is_empty() {
        sockets.push(listener(config.listen, None, backlog)?);
    }
    for interface in &config.interfaces {
        sockets.push(listener(config.listen, Some(interface), backlog)?);
    }
    let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(config.listen);
    let total = config.limits.connections_max.max(1);
    let per_source = config.limits.connections_per_address_max.max(1);
    let limit = Limit { total, per_stranger: per_source, per_source, local: per_source };
    let door = Door {
        places: Places::new(limit, Arc::clone(&config.callers)),
        callers: config.callers,
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
    };
    let service = Arc::new(Service {
        shared: Arc::new(Shared { source, observer, application: config.application, disks: config.disks }),
        tls: config.tls,
    });
    let mut listeners = Vec::new();
    for socket in sockets {
        let acceptor = Acceptor::start(socket, door.clone()).map_err(HttpError::Thread)?;
        listeners.push(tokio::spawn(Arc::clone(&service).run(acceptor, stop.clone())));
    }
    Ok(Running { address, listeners })
}

fn listener(address: SocketAddr, interface: Option<&str>, backlog: i32) -> Result<TcpListener, HttpError> {
    bind(address, interface, backlog).map_err(|error| HttpError::Bind {
        address,
        interface: interface.map(str::to_owned),
        error,
    })
}

fn bind(address: SocketAddr, interface: Option<&str>, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

struct Service {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
}

impl Service {
    async fn run(self: Arc<Self>, mut acceptor: Acceptor, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            let arrival = tokio::select! {
                arrival = acceptor.next() => arrival,
                () = stop.cancelled() => None,
            };
            while connections.try_join_next().is_some() {}
            let Some(arrival) = arrival else { break };
            let stop = stop.clone();
            let Ok(stream) = TcpStream::from_std(arrival.stream) else { continue };
            let caller = Caller { peer: arrival.peer, kind: arrival.kind };
            match arrival.admission {
                Admission::Placed(place, leave) => {
                    let service = Arc::clone(&self);
                    connections.spawn(async move {
                        tokio::select! {
                            // First: without a place no request is begun, only to be cut off.
                            biased;
                            () = leave.notified() => {
                                tracing::debug!(peer = %caller.peer, "idle connection was closed for a new one");
                            }
                            () = service.connection(stream, caller, place, stop) => {}
                        }
                    });
                }
                Admission::Refused(permit) => self.refuse(stream, caller, permit, &mut connections),
            }
        }
        drop(acceptor);
        let all = async { while connections.join_next().await.is_some() {} };
        // Anyone who is not done by then is cut off: the set aborts its tasks when dropped.
        let _ = timeout(STOP_TIME_MAX, all).await;
    }

    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        caller: Caller,
        place: Place,
        stop: CancellationToken,
    ) {
        // Fails only on a dead connection, which the first read will find.
        let _ = stream.set_nodelay(true);
        let stream = tokio::select! {
            stream = self.handshake(stream) => stream,
            () = stop.cancelled() => None,
        };
        let Some(stream) = stream else { return };
        Connection::new(Arc::clone(&self.shared), stream, caller).run(place, stop).await;
    }

    /// Says why there is no place, in the clear.
    fn refuse(
        &self,
        stream: TcpStream,
        caller: Caller,
        permit: OwnedSemaphorePermit,
        connections: &mut JoinSet<()>,
    ) {
        if self.tls.is_some() {
            return;
        }
        let connection = Connection::new(Arc::clone(&self.shared), Stream::Plain(stream), caller);
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
