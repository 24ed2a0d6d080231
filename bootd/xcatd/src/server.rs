//! The command port: accepts, shakes hands, and gives each connection to a [`Session`].
//!
//! One task per connection, no process. An idle peer or a port scan holds one task until
//! [`HANDSHAKE_TIME_MAX`], or until a newcomer needs its place: the oldest unfinished handshake is ended, so
//! that the next one always begins, however many are left half done. After the handshake a connection needs
//! another place, and parts of these are kept for nodes, for peers that showed a certificate, and for this
//! machine ([`dawn_serving::shares`]). Only complete requests compete for the command slots, and those of
//! nodes never for all of them. A client whose machine is gone is noticed by keepalive probes of TCP.
//!
//! Dropping the future of [`serve`] closes the connections; commands that are running see their client
//! gone.

use crate::dispatch::{Dispatcher, Peer};
use crate::limits::*;
use crate::session::{Session, Slots};
use dawn_serving::shares::{Bytes, Callers, Kind, Limit, OnlyLocal, Place, Places};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Pause after an accept error (out of descriptors …), so that it is not a busy loop.
const ACCEPT_ERROR_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// How much the service may use, and who is who.
#[derive(Clone)]
pub struct Settings {
    /// Commands at once (`site.xcatmaxconnections`), kept between the limits.
    pub commands: usize,
    /// Connections at once; default [`CONNECTIONS_MAX`], kept between the limits.
    pub connections: usize,
    /// Bytes of requests without certificate that arrive or wait; default [`REQUESTS_ANONYMOUS_BYTES`].
    pub request_bytes: usize,
    /// Tells nodes from strangers.
    pub callers: Arc<dyn Callers>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commands: COMMANDS_DEFAULT,
            connections: CONNECTIONS_MAX,
            request_bytes: REQUESTS_ANONYMOUS_BYTES,
            callers: Arc::new(OnlyLocal),
        }
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
    let socket = new_socket(address)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Serves until the future is dropped.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    dispatcher: Arc<dyn Dispatcher>,
    settings: Settings,
) {
    let shared = Arc::new(Shared::new(tls, dispatcher, settings));
    let local = local_listeners(&listener);
    let mut loops = JoinSet::new();
    for listener in local.into_iter().chain([listener]) {
        loops.spawn(accept(listener, Arc::clone(&shared)));
    }
    while loops.join_next().await.is_some() {}
}

/// Further sockets for the loopback addresses, next to one that listens on all addresses. The kernel gives a
/// connection to the socket with the more exact address, so programs of this machine have a separate queue
/// and do not wait until thousands of strangers in front of them are accepted. Without them (an error) they
/// wait with the others.
fn local_listeners(all: &TcpListener) -> Vec<TcpListener> {
    let Ok(address) = all.local_addr() else { return Vec::new() };
    if !address.ip().is_unspecified() {
        return Vec::new();
    }
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let wanted = both.into_iter().filter(|ip| ip.is_ipv4() || address.is_ipv6());
    let bound = wanted.map(|ip| bind_beside(all, SocketAddr::new(ip, address.port())));
    bound
        .filter_map(|bound| {
            bound.inspect_err(|error| tracing::debug!(%error, "no separate socket for loopback")).ok()
        })
        .collect()
}

/// Listens on one address of those that `all` listens on. Both sockets allow it while it happens
/// (`SO_REUSEPORT` of socket(7)); afterwards the port is closed to other programs as before.
fn bind_beside(all: &TcpListener, address: SocketAddr) -> io::Result<TcpListener> {
    let all = SockRef::from(all);
    let socket = new_socket(address)?;
    all.set_reuse_port(true)?;
    socket.set_reuse_port(true)?;
    let bound = socket.bind(&address.into()).and_then(|()| socket.listen(LISTEN_BACKLOG));
    all.set_reuse_port(false)?;
    socket.set_reuse_port(false)?;
    bound?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the future is dropped.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let ip = address.ip().to_canonical();
                let leave = Arc::new(Notify::new());
                let Some(place) = enter(&shared.handshakes, shared.callers.kind(ip), ip, &leave) else {
                    continue;
                };
                let shared = Arc::clone(&shared);
                tasks.spawn(async move { shared.connection(stream, address, place, &leave).await });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the command port failed");
                tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
            }
        }
    }
}

fn enter(places: &Arc<Places>, kind: Kind, ip: IpAddr, leave: &Arc<Notify>) -> Option<Place> {
    let leave = Arc::clone(leave);
    let place = places.enter_as(kind, ip, move || leave.notify_one());
    if place.is_none() {
        tracing::debug!(peer = %ip, "too many connections");
    }
    place
}

struct Shared {
    acceptor: TlsAcceptor,
    dispatcher: Arc<dyn Dispatcher>,
    slots: Slots,
    callers: Arc<dyn Callers>,
    /// Connections whose handshake is under way.
    handshakes: Arc<Places>,
    /// Connections after their handshake.
    sessions: Arc<Places>,
    /// Requests of peers without certificate.
    requests: Arc<Bytes>,
}

impl Shared {
    fn new(tls: Arc<ServerConfig>, dispatcher: Arc<dyn Dispatcher>, settings: Settings) -> Self {
        let connections = settings.connections.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let places = |total: usize| {
            let per_source = (total / CONNECTIONS_PER_ADDRESS_PART).max(1);
            let local = (total / CONNECTIONS_LOOPBACK_PART).max(1);
            Places::new(
                Limit { total, per_stranger: per_source, per_source, local },
                Arc::clone(&settings.callers),
            )
        };
        let bytes = settings.request_bytes;
        let per_source = REQUESTS_PER_ADDRESS_BYTES_MAX;
        let request_limit = Limit { total: bytes, per_stranger: per_source, per_source, local: bytes };
        Self {
            acceptor: TlsAcceptor::from(tls),
            dispatcher,
            slots: Slots::new(settings.commands.clamp(COMMANDS_MIN, COMMANDS_MAX)),
            handshakes: places(connections / HANDSHAKES_PART),
            sessions: places(connections - connections / HANDSHAKES_PART),
            requests: Bytes::new(request_limit, Arc::clone(&settings.callers)),
            callers: settings.callers,
        }
    }

    async fn connection(&self, stream: TcpStream, address: SocketAddr, place: Place, leave: &Arc<Notify>) {
        let _ = stream.set_nodelay(true);
        watch_over(&stream);
        let handshake = timeout(HANDSHAKE_TIME_MAX, self.acceptor.accept(stream));
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = leave.notified() => return tracing::debug!(peer = %address, "TLS handshake was ended for a new one"),
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = %address, "TLS handshake took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer {
            ip: Some(address.ip().to_canonical()),
            port: address.port(),
            certificate_name: certificate.and_then(common_name),
        };
        drop(place);
        self.session(stream, peer, address).await;
    }

    async fn session(&self, stream: TlsStream<TcpStream>, peer: Peer, address: SocketAddr) {
        let ip = address.ip().to_canonical();
        let proved = peer.certificate_name.is_some();
        let by_address = self.callers.kind(ip);
        let kind = if proved { by_address.max(Kind::Certificate) } else { by_address };
        let leave = Arc::new(Notify::new());
        let Some(place) = enter(&self.sessions, kind, ip, &leave) else { return };
        let requests = (!proved).then(|| self.requests.part(ip));
        let dispatcher = Arc::clone(&self.dispatcher);
        let session = Session::new(stream, peer, dispatcher, &self.slots, place, requests);
        let ended = tokio::select! {
            ended = session.run(&self.slots) => ended,
            () = leave.notified() => Err(io::Error::other("it sent no request and was closed for another")),
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %address, %error, "connection ended");
        }
    }
}

/// A machine that lost its power sends nothing; its connection must not stay open for ever.
fn watch_over(stream: &TcpStream) {
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&probes) {
        tracing::debug!(%error, "no keepalive probes for a connection");
    }
}

/// CN of a certificate's subject, up to the next `/`.
fn common_name(certificate: &rustls_pki_types::CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.split('/').next().unwrap_or(name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;
    use crate::client::{self, ClientSettings};
    use crate::dispatch::tests::Toy;
    use crate::request::Request;
    use crate::xml::Element;
    use dawn_tls::server_config;
    use std::io::{Read, Write};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Daemon {
        directory: tempfile::TempDir,
        address: SocketAddr,
        _runtime: tokio::runtime::Runtime,
    }

    fn daemon() -> Daemon {
        daemon_with(Settings::default())
    }

    fn daemon_with(limits: Settings) -> Daemon {
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
        runtime.spawn(serve(listener, tls, Arc::new(Toy), limits));
        Daemon { directory, address, _runtime: runtime }
    }

    fn settings(daemon: &Daemon, certificates: &Path) -> ClientSettings {
        ClientSettings {
            host: daemon.address.to_string(),
            certificates: daemon.directory.path().join(certificates),
            show_source: false,
            show_xml: false,
            trace: false,
            has_terminal: false,
            bypass: false,
        }
    }

    fn echo(nodes: &str, word: &str) -> Request {
        let (command, noderange) = ("echo".into(), Some(nodes.into()));
        Request { command, noderange, args: vec![word.into()], ..Request::default() }
    }

    fn ask(settings: &ClientSettings, nodes: &str) -> (String, String, i32) {
        send(settings, &echo(nodes, "hi"))
    }

    fn send(settings: &ClientSettings, request: &Request) -> (String, String, i32) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = client::run(settings, request, &AtomicBool::new(false), &mut out, &mut err);
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

    /// `~/.xcat` of another cluster, in whole and in half: both ends name the file that is wrong and what to
    /// do.
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
    /// What cannot be answered is reported to its sender, who may still be sending.
    #[test]
    fn refused_requests_get_the_reason() {
        let daemon = daemon();
        let settings = settings(&daemon, Path::new("nothing"));
        let (_, err, code) = send(&settings, &echo("cn1", &"x".repeat(4 * REQUEST_ANONYMOUS_BYTES_MAX)));
        assert!(err.contains("the request is larger than 262144 bytes"), "{err}");
        assert_eq!(code, 1);
        let deep = Request { extra: vec![nested(100)], ..echo("cn1", "hi") };
        let (_, err, code) = send(&settings, &deep);
        assert!(err.contains("elements nested deeper than"), "{err}");
        assert_eq!(code, 1);
        let many = Element::parent("nic", vec![Element::text("a", ""); XML_ELEMENTS_ANONYMOUS_MAX]);
        let (_, err, _) = send(&settings, &Request { extra: vec![many], ..echo("cn1", "hi") });
        assert!(err.contains("elements"), "{err}");
    }

    fn nested(levels: usize) -> Element {
        (0..levels).fold(Element::text("a", ""), |inner, _| Element::parent("a", vec![inner]))
    }

    /// Sets the flag at the first output, as if the user had pressed Ctrl-C then.
    struct Impatient<'a>(&'a AtomicBool);

    impl Write for Impatient<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.store(true, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// With one slot, no other client is served until a command has ended whose output is no longer read.
    #[test]
    fn a_client_that_stops_or_goes_frees_its_slot() {
        let daemon = daemon_with(Settings { commands: 1, ..Settings::default() });
        let settings = settings(&daemon, Path::new(".xcat"));
        let endless = Request { command: "endless".into(), ..Request::default() };
        let stop = AtomicBool::new(false);
        let code = client::run(&settings, &endless, &stop, &mut Impatient(&stop), &mut Vec::new());
        assert_eq!(code, 0);
        assert_eq!(ask(&settings, "cn1").2, 0);
        // A client that is killed closes without TLS's closing message.
        let certificates = &settings.certificates;
        let tls =
            dawn_tls::client_config(&certificates.join("client-cred.pem"), &certificates.join("ca.pem"));
        let name = rustls_pki_types::ServerName::try_from("mn1").expect("name");
        let connection = rustls::ClientConnection::new(tls.expect("TLS"), name).expect("connection");
        let socket = std::net::TcpStream::connect(daemon.address).expect("connect");
        let mut stream = rustls::StreamOwned::new(connection, socket);
        stream.write_all(endless.to_xml().as_bytes()).expect("write");
        stream.read_exact(&mut [0; 100]).expect("read");
        drop(stream);
        assert_eq!(ask(&settings, "cn1").2, 0);
    }

    #[test]
    fn programs_of_this_machine_have_a_queue_of_their_own() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let all = bind(0).expect("a free port");
            let port = all.local_addr().expect("bound").port();
            let local = local_listeners(&all);
            let client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
            let (_, peer) = local.first().expect("loopback").accept().await.expect("accept");
            assert_eq!(Some(peer), client.local_addr().ok());
            for taken in [bind(port), bind_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))] {
                assert_eq!(taken.expect_err("the port is taken").kind(), io::ErrorKind::AddrInUse);
            }
        });
    }

    /// Sources 127.0.1.* are strangers, 127.0.2.* nodes, the rest this machine.
    fn by_number(ip: IpAddr) -> Kind {
        match ip {
            IpAddr::V4(ip) if ip.octets().starts_with(&[127, 0, 1]) => Kind::Stranger,
            IpAddr::V4(ip) if ip.octets().starts_with(&[127, 0, 2]) => Kind::Node,
            _ => Kind::Local,
        }
    }

    /// A connection from one of this machine's addresses.
    fn connect_from(source: [u8; 4], daemon: &Daemon) -> std::net::TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("socket");
        socket.bind(&SocketAddr::from((source, 0)).into()).expect("bind");
        socket.connect(&daemon.address.into()).expect("connect");
        socket.into()
    }

    /// Uses TLS on a connection; returns the answer to a request, or why there is none.
    fn answer_over(
        stream: std::net::TcpStream,
        tls: Arc<rustls::ClientConfig>,
        request: &[u8],
    ) -> io::Result<String> {
        let name = rustls_pki_types::ServerName::try_from("mn1").map_err(io::Error::other)?;
        let connection = rustls::ClientConnection::new(tls, name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(connection, stream);
        stream.write_all(request)?;
        let mut answer = [0; 200];
        let count = stream.read(&mut answer)?;
        Ok(String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).into_owned())
    }

    #[test]
    fn half_done_handshakes_and_idle_strangers_keep_nobody_with_proof_out() {
        let settings_of_daemon =
            Settings { connections: 64, callers: Arc::new(by_number), ..Settings::default() };
        let daemon = daemon_with(settings_of_daemon);
        let settings = settings(&daemon, Path::new(".xcat"));
        let anonymous = dawn_tls::anonymous_client_config().expect("TLS");
        // As many sources as one machine likes: some never finish the handshake, some never finish a request.
        let mut held = Vec::new();
        for number in 1..=200 {
            held.push(connect_from([127, 0, 1, number], &daemon));
            let idle = connect_from([127, 0, 1, number], &daemon);
            let name = rustls_pki_types::ServerName::try_from("mn1").expect("name");
            let connection = rustls::ClientConnection::new(Arc::clone(&anonymous), name).expect("connection");
            let copy = idle.try_clone().expect("a second handle");
            let mut stream = rustls::StreamOwned::new(connection, idle);
            let _ = stream.write_all(b"<xcatrequest>").and_then(|()| stream.flush());
            held.push(copy);
        }
        assert_eq!(ask(&settings, "cn1").2, 0, "root on this machine");
        let request = echo("cn1", "hi").to_xml();
        let node = connect_from([127, 0, 2, 1], &daemon);
        let answer =
            answer_over(node, Arc::clone(&anonymous), request.as_bytes()).expect("a node is answered");
        assert!(answer.contains("Permission denied"), "{answer}");
        let certificates = &settings.certificates;
        let (cred, ca) = (certificates.join("client-cred.pem"), certificates.join("ca.pem"));
        let tls = dawn_tls::client_config(&cred, &ca).expect("TLS");
        let elsewhere = connect_from([127, 0, 1, 1], &daemon);
        let answer = answer_over(elsewhere, tls, request.as_bytes()).expect("a certificate is answered");
        assert!(answer.contains("hi"), "{answer}");
    }
}
