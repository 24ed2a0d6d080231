//! The command port: accepts, shakes hands, and gives each connection to a [`Session`].
//!
//! One task per connection, no process. A silent peer or a port scan holds one task until
//! [`HANDSHAKE_TIME_MAX`]; only complete requests compete for the command slots, and those of nodes never for
//! all of them. No source has more than its share of the connections, so that it takes sixteen to take them
//! all. A client whose machine is gone is noticed by keepalive probes of TCP.
//!
//! Dropping the future of [`serve`] closes the connections; commands that are running see their client
//! gone.

use crate::dispatch::{Dispatcher, Peer};
use crate::limits::*;
use crate::places::{Places, plain_ip};
use crate::session::{Session, Slots};
use crate::tls::common_name;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

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
        slots: Slots::new(settings.commands.clamp(COMMANDS_MIN, COMMANDS_MAX)),
    });
    let places = Places::new(CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_LOOPBACK_MAX);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(place) = places.enter(plain_ip(address.ip())) else { continue };
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

struct Shared {
    acceptor: TlsAcceptor,
    dispatcher: Arc<dyn Dispatcher>,
    slots: Slots,
}

impl Shared {
    async fn connection(&self, stream: TcpStream, address: SocketAddr) {
        let _ = stream.set_nodelay(true);
        watch_over(&stream);
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
        let session = Session::new(stream, peer, Arc::clone(&self.dispatcher), &self.slots);
        if let Err(error) = session.run(&self.slots).await {
            tracing::debug!(peer = %address, %error, "connection ended");
        }
    }
}

/// A machine that lost its power says nothing; its connection must not stay for ever.
fn watch_over(stream: &TcpStream) {
    let probes = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&probes) {
        tracing::debug!(%error, "no keepalive probes for a connection");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::Authority;
    use crate::client::{self, ClientSettings};
    use crate::dispatch::tests::Toy;
    use crate::request::Request;
    use crate::tls::server_config;
    use crate::xml::Element;
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
    /// What cannot be answered is told to its sender, who may still be sending.
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

    /// With one slot, nobody else is served before a command has ended that nobody reads any more.
    #[test]
    fn a_client_that_stops_or_goes_frees_its_slot() {
        let daemon = daemon_with(Settings { commands: 1 });
        let settings = settings(&daemon, Path::new(".xcat"));
        let endless = Request { command: "endless".into(), ..Request::default() };
        let stop = AtomicBool::new(false);
        let code = client::run(&settings, &endless, &stop, &mut Impatient(&stop), &mut Vec::new());
        assert_eq!(code, 0);
        assert_eq!(ask(&settings, "cn1").2, 0);
        // A client that is killed closes without a word of TLS.
        let certificates = &settings.certificates;
        let tls =
            crate::tls::client_config(&certificates.join("client-cred.pem"), &certificates.join("ca.pem"));
        let name = rustls_pki_types::ServerName::try_from("mn1").expect("name");
        let connection = rustls::ClientConnection::new(tls.expect("TLS"), name).expect("connection");
        let socket = std::net::TcpStream::connect(daemon.address).expect("connect");
        let mut stream = rustls::StreamOwned::new(connection, socket);
        stream.write_all(endless.to_xml().as_bytes()).expect("write");
        stream.read_exact(&mut [0; 100]).expect("read");
        drop(stream);
        assert_eq!(ask(&settings, "cn1").2, 0);
    }
}
