//! The command port: accepts, shakes hands, reads requests, runs them on blocking threads, writes
//! answers.
//!
//! One task per connection, no process. A silent peer or a port scan holds one task until
//! [`HANDSHAKE_TIME_MAX`]; only complete requests compete for the command slots. Answers pass through a
//! short queue, so that a client that does not read makes its own command wait, not the daemon. While a
//! command runs the connection is read on, for `abortcommand` and for further requests; a half-closed
//! connection still gets its answer.
//!
//! Dropping the future of [`serve`] closes the connections; commands that are running see their client
//! gone.

use crate::dispatch::{AbortFlag, Dispatcher, Gone, Peer, Sink, handle};
use crate::framing::Framer;
use crate::limits::*;
use crate::request::Request;
use crate::response::Response;
use crate::tls::common_name;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// Requests read ahead on one connection while a command runs.
const READ_AHEAD_MAX: usize = 8;
/// Pause after an accept error (out of descriptors …), so that it is not a busy loop.
const ACCEPT_ERROR_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What an administrator may set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Commands at a time (`site.xcatmaxconnections`), kept between the limits.
    pub commands: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { commands: COMMANDS_DEFAULT }
    }
}

/// Listens on all addresses, both families; IPv4 only where the kernel has no IPv6.
pub fn bind(port: u16) -> io::Result<TcpListener> {
    match bind_at(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        // A port that another program holds in one family is not ours in the other.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_at(SocketAddr::from(([0, 0, 0, 0], port)))
        }
        bound => bound,
    }
}

/// Listens on one address. Needs a tokio runtime.
pub fn bind_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until the future is dropped.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    dispatcher: Arc<dyn Dispatcher>,
    settings: Settings,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let shared = Arc::new(Shared {
        acceptor: TlsAcceptor::from(tls),
        dispatcher,
        commands: Arc::new(Semaphore::new(settings.commands.clamp(COMMANDS_MIN, COMMANDS_MAX))),
    });
    let book = Arc::new(Book::default());
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = book.enter(plain_ip(address.ip())) else { continue };
                let shared = Arc::clone(&shared);
                tasks.spawn(async move {
                    shared.connection(stream, address).await;
                    drop((place, permit));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the command port failed");
                tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
            }
        }
    }
}

/// Connections of each address, so that one peer cannot take all of [`CONNECTIONS_MAX`].
#[derive(Debug, Default)]
struct Book(Mutex<HashMap<IpAddr, usize>>);

/// One connection in the [`Book`]; dropping it frees the place.
#[derive(Debug)]
struct Place {
    book: Arc<Book>,
    ip: IpAddr,
}

impl Book {
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(ip).or_insert(0);
        if *count >= CONNECTIONS_PER_ADDRESS_MAX {
            tracing::debug!(peer = %ip, "too many connections of one address");
            return None;
        }
        *count += 1;
        Some(Place { book: Arc::clone(self), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.book.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.ip);
            }
        }
    }
}

struct Shared {
    acceptor: TlsAcceptor,
    dispatcher: Arc<dyn Dispatcher>,
    commands: Arc<Semaphore>,
}

type Tls = tokio_rustls::server::TlsStream<TcpStream>;

impl Shared {
    async fn connection(&self, stream: TcpStream, address: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let stream = match timeout(HANDSHAKE_TIME_MAX, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %address, "TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer {
            ip: Some(plain_ip(address.ip())),
            port: address.port(),
            certificate_name: certificate.and_then(common_name),
        };
        let mut session = Session::new(stream, peer);
        match session.run(self).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(peer = %address, %error, "connection ended"),
        }
        let _ = timeout(WRITE_STALL_MAX, session.writer.shutdown()).await;
    }
}

/// `::ffff:10.0.0.1` is the dual-stack socket's name for 10.0.0.1.
pub(crate) fn plain_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

struct Session<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    framer: Framer,
    pending: VecDeque<Request>,
    peer: Peer,
    input_ended: bool,
}

impl Session<Tls> {
    fn new(stream: Tls, peer: Peer) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let bytes_max = match peer.certificate_name {
            Some(_) => REQUEST_BYTES_MAX,
            None => REQUEST_ANONYMOUS_BYTES_MAX,
        };
        let framer = Framer::new(bytes_max);
        Self { reader, writer, framer, pending: VecDeque::new(), peer, input_ended: false }
    }
}

impl<S: AsyncRead + AsyncWrite> Session<S> {
    async fn run(&mut self, shared: &Shared) -> io::Result<()> {
        while let Some(request) = self.next_request().await? {
            if request.abort {
                continue;
            }
            self.answer(shared, request).await?;
            // Shell clients (`openssl s_client -quiet`) hang on until we close.
            let more = !self.pending.is_empty() || !self.framer.is_empty();
            if self.peer.certificate_name.is_none() && !more {
                break;
            }
        }
        Ok(())
    }

    async fn next_request(&mut self) -> io::Result<Option<Request>> {
        let idle = async {
            while self.pending.is_empty() && self.framer.is_empty() && !self.input_ended {
                self.read_some().await?;
            }
            io::Result::Ok(())
        };
        match timeout(REQUEST_IDLE_MAX, idle).await {
            Ok(result) => result?,
            Err(_) => return Ok(None),
        }
        let complete = async {
            while self.pending.is_empty() && !self.input_ended {
                self.read_some().await?;
            }
            io::Result::Ok(())
        };
        timeout(REQUEST_READ_MAX, complete).await.map_err(|_| too_slow())??;
        Ok(self.pending.pop_front())
    }

    /// Reads what has come and moves complete requests to `pending`. Cancel safe.
    async fn read_some(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let count = self.reader.read(&mut chunk).await?;
        self.input_ended = count == 0;
        self.framer.push(chunk.get(..count).unwrap_or_default()).map_err(io::Error::other)?;
        while let Some(document) = self.framer.next_document() {
            let request = Request::parse(&document).map_err(io::Error::other)?;
            if self.pending.len() >= READ_AHEAD_MAX {
                return Err(io::Error::other("too many requests in a row"));
            }
            self.pending.push_back(request);
        }
        Ok(())
    }

    async fn answer(&mut self, shared: &Shared, request: Request) -> io::Result<()> {
        let Ok(slot) = Arc::clone(&shared.commands).acquire_owned().await else { return Ok(()) };
        let (sender, mut chunks) = mpsc::channel(RESPONSE_QUEUE_MAX);
        let abort = AbortFlag::default();
        let (dispatcher, peer, flag) = (Arc::clone(&shared.dispatcher), self.peer.clone(), abort.clone());
        tokio::task::spawn_blocking(move || {
            run_command(dispatcher.as_ref(), request, peer, flag, sender);
            drop(slot);
        });
        let result = self.pump(&mut chunks, &abort).await;
        if result.is_err() {
            abort.set();
        }
        result
    }

    /// Moves the answer to the client while listening for an abort.
    async fn pump(&mut self, chunks: &mut mpsc::Receiver<String>, abort: &AbortFlag) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                chunk = chunks.recv() => {
                    let Some(mut chunk) = chunk else { return Ok(()) };
                    while chunk.len() < RESPONSE_BATCH_BYTES
                        && let Ok(more) = chunks.try_recv()
                    {
                        chunk.push_str(&more);
                    }
                    self.send(chunk.as_bytes()).await?;
                }
                result = self.read_some(), if !self.input_ended => {
                    result?;
                    if self.pending.iter().any(|request| request.abort) {
                        abort.set();
                    }
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(RESPONSE_BATCH_BYTES) {
            timeout(WRITE_STALL_MAX, self.writer.write_all(part)).await.map_err(|_| too_slow())??;
        }
        timeout(WRITE_STALL_MAX, self.writer.flush()).await.map_err(|_| too_slow())?
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the peer is too slow")
}

/// The blocking side of one request; always ends with `serverdone`.
fn run_command(
    dispatcher: &dyn Dispatcher,
    request: Request,
    peer: Peer,
    abort: AbortFlag,
    sender: mpsc::Sender<String>,
) {
    let mut sink = QueueSink { sender, abort: abort.clone() };
    let command = request.command.clone();
    let result = catch_unwind(AssertUnwindSafe(|| handle(dispatcher, request, peer, abort, &mut sink)));
    if result.is_err() {
        tracing::error!(command, "a command panicked; its caller was told");
        let text = format!("internal error in {command}; see the daemon's log");
        let _ = sink.send(Response::error(text, Some(1)));
    }
    let _ = sink.send(Response::done());
}

struct QueueSink {
    sender: mpsc::Sender<String>,
    abort: AbortFlag,
}

impl Sink for QueueSink {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        let mut text = String::new();
        response.write(&mut text);
        self.sender.blocking_send(text).map_err(|_| {
            self.abort.set();
            Gone
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;
    use crate::client::{self, ClientSettings};
    use crate::dispatch::tests::Toy;
    use crate::tls::server_config;
    use std::io::{Read, Write};
    use std::path::Path;
    use std::sync::atomic::AtomicBool;

    struct Daemon {
        directory: tempfile::TempDir,
        address: SocketAddr,
        _runtime: tokio::runtime::Runtime,
    }

    fn daemon() -> Daemon {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new(directory.path());
        authority.ensure_server("mn1", &["mn1".to_owned()], &[]).expect("server certificate");
        authority.ensure_client(&directory.path().join(".xcat"), "root").expect("client certificate");
        let tls = server_config(&authority.server_cred(), &authority.ca_certificate()).expect("TLS");
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let listener = {
            let _inside = runtime.enter();
            bind_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind")
        };
        let address = listener.local_addr().expect("address");
        runtime.spawn(serve(listener, tls, Arc::new(Toy), Settings::default()));
        Daemon { directory, address, _runtime: runtime }
    }

    fn settings(daemon: &Daemon, certificates: &Path) -> ClientSettings {
        ClientSettings {
            host: daemon.address.to_string(),
            certificates: daemon.directory.path().join(certificates),
            show_source: false,
            show_xml: false,
            trace: false,
            bypass: false,
        }
    }

    fn ask(settings: &ClientSettings, nodes: &str) -> (String, String, i32) {
        let request = Request {
            command: "echo".into(),
            noderange: Some(nodes.into()),
            args: vec!["hi".into()],
            ..Request::default()
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = client::run(settings, &request, &AtomicBool::new(false), &mut out, &mut err);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(out), text(err), code)
    }

    #[test]
    fn a_command_over_tls() {
        let daemon = daemon();
        let settings = settings(&daemon, Path::new(".xcat"));
        assert_eq!(ask(&settings, "cn1,cn2"), ("cn1: hi\ncn2: hi\n".into(), String::new(), 0));
        let (out, err, code) = ask(&settings, "cn9");
        assert_eq!((out.as_str(), code), ("", 1));
        assert_eq!(err, "Error: Invalid nodes and/or groups in noderange: cn9\n");
    }

    #[test]
    fn without_certificate_policy_decides() {
        let daemon = daemon();
        let settings = settings(&daemon, Path::new("nothing"));
        let (_, err, code) = ask(&settings, "cn1");
        assert_eq!((err.as_str(), code), ("Error: [mn1]: Permission denied for request\n", 1));
    }

    #[test]
    fn nobody_there() {
        let daemon = daemon();
        let mut settings = settings(&daemon, Path::new(".xcat"));
        settings.host = "127.0.0.1:1".into();
        let (out, err, code) = ask(&settings, "cn1");
        assert!(
            out.starts_with("Unable to open socket connection to xcatd daemon on 127.0.0.1:1.\n"),
            "{out}"
        );
        assert!(err.starts_with("Connection failure: "), "{err}");
        assert_ne!(code, 0);
    }

    /// `~/.xcat` of another cluster, in whole and in half: both ends name the file that is wrong and what to do.
    #[test]
    fn credentials_of_another_cluster() {
        let (here, other) = (daemon(), daemon());
        let mut mine = settings(&other, Path::new(".xcat"));
        mine.host = here.address.to_string();
        let (_, err, code) = ask(&mine, "cn1");
        assert!(err.contains("belong to another cluster") && err.contains("Hint: "), "{err}");
        assert_eq!(code, 1);
        let authority = here.directory.path().join(".xcat/ca.pem");
        std::fs::copy(authority, mine.certificates.join("ca.pem")).expect("copy");
        let (_, err, code) = ask(&mine, "cn1");
        assert!(err.contains("does not accept the certificate") && err.contains("Hint: "), "{err}");
        assert_eq!(code, 1);
    }

    #[test]
    fn one_address_cannot_take_all_connections() {
        let book = Arc::new(Book::default());
        let (loud, quiet) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = std::iter::from_fn(|| book.enter(loud)).take(CONNECTIONS_MAX).collect();
        assert_eq!(held.len(), CONNECTIONS_PER_ADDRESS_MAX);
        assert!(book.enter(quiet).is_some());
        drop(held);
        assert!(book.enter(loud).is_some());
        assert!(book.0.lock().expect("lock").is_empty(), "nothing is remembered of those who left");
    }

    #[test]
    fn strangers_cost_nothing() {
        let daemon = daemon();
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(std::net::TcpStream::connect(daemon.address).expect("connect"));
        }
        let mut garbage = std::net::TcpStream::connect(daemon.address).expect("connect");
        garbage.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
        let mut rest = Vec::new();
        let _ = garbage.read_to_end(&mut rest);
        let settings = settings(&daemon, Path::new(".xcat"));
        assert_eq!(ask(&settings, "cn1").2, 0);
    }
}
