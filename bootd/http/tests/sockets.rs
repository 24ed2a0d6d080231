//! The service behind real sockets on loopback, asked by curl and by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dawn_http::{Application, Config, Limits, Reply, Running, serve};
use dawn_serving::shares::Kind;
use dawn_serving::{Answer, Event, EventKind, Mount, Rendered, Request, RequestPath, Roots, Service, Tree};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

struct Host {
    running: Running,
    stop: CancellationToken,
    events: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

struct Echo;

impl Application for Echo {
    fn owns(&self, _: Service, path: Option<&RequestPath>) -> bool {
        path.is_some_and(|path| path.as_str() == "api")
    }

    fn call(&self, _: SocketAddr, _: Service, request: hyper::Request<Incoming>) -> Reply {
        Box::pin(async move {
            let method = request.method().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{method} {}", body.len());
            hyper::Response::new(Full::new(Bytes::from(text)))
        })
    }
}

impl Host {
    async fn start(application: Option<Arc<dyn Application>>, limits: Limits) -> Self {
        Self::start_with(Config { application, limits, ..Config::default() }).await
    }

    async fn start_with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for folder in ["install/repo", "tftpboot/xcat"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let mount = |name: &str| Mount::new(name, Tree::open_root(&dir.path().join(name)).unwrap());
        let roots = Roots::new().with(mount("install").listed()).with(mount("tftpboot"));
        let source = move |request: &Request<'_>| match request.path.as_str() {
            "tftpboot/view" => Answer::Bytes(Rendered::text(format!("for {}\n", request.peer.ip()))),
            "tftpboot/explained" => {
                Answer::Explained { reason: "no image".into(), shown: "#!say it\n".into() }
            }
            "tftpboot/hidden" => Answer::Hidden("it is for cn1".into()),
            _ => roots.find(request.path),
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let observer = move |event: &Event<'_>| {
            let what = match event.kind {
                EventKind::Started { .. } => return,
                EventKind::Done { bytes, .. } => format!("done {bytes}"),
                other => format!("{other:?}"),
            };
            seen.lock().unwrap().push(format!("{} {what}", event.path));
        };
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = Config { listen, ..config };
        let stop = CancellationToken::new();
        let running = serve(config, Arc::new(source), Arc::new(observer), stop.clone()).await.unwrap();
        Self { running, stop, events, dir }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    /// Status and body as curl sees them.
    fn curl(&self, path: &str, options: &[&str]) -> (String, Vec<u8>) {
        let url = format!("http://{}{path}", self.running.address());
        let output = Command::new("curl")
            .args(["-sS", "--path-as-is", "--max-time", "20", "-w", "%{stderr}%{http_code}"])
            .args(options)
            .arg(url)
            .output()
            .unwrap();
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    }

    /// Sends bytes, and gives everything that comes until the end.
    fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.running.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.running.finished().await;
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 + i / 251).to_le_bytes()[0]).collect()
}

/// A stop ends connections without a request while a transfer may still finish: the idle client notices it
/// although the service has not stopped yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_idle_connections() {
    let host = Host::start(None, Limits::default()).await;
    host.write("install/small", b"x");
    host.write("install/big", &pattern(64 << 20));
    let connect = |request: &str| {
        let mut stream = TcpStream::connect(host.running.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        stream
    };
    let mut idle = connect("GET /install/small HTTP/1.1\r\nHost: x\r\n\r\n");
    let _busy = connect("GET /install/big HTTP/1.1\r\nHost: x\r\n\r\n");
    host.stop.cancel();
    let stopped = tokio::spawn(host.running.finished());
    idle.read_to_end(&mut Vec::new()).unwrap();
    assert!(!stopped.is_finished(), "the transfer is given its time");
    stopped.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_client_that_never_pauses() {
    let host = Host::start(None, Limits::default()).await;
    host.write("install/small", b"x");
    let mut asks = TcpStream::connect(host.running.address()).unwrap();
    let mut listens = asks.try_clone().unwrap();
    let requests = "GET /install/small HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let asks = std::thread::spawn(move || while asks.write_all(requests.as_bytes()).is_ok() {});
    let mut answers = [0; 100_000];
    listens.read_exact(&mut answers).unwrap();
    let listens = std::thread::spawn(move || while matches!(listens.read(&mut answers), Ok(1..)) {});
    host.stop.cancel();
    host.running.finished().await;
    asks.join().unwrap();
    listens.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_and_part() {
    let host = Host::start(None, Limits::default()).await;
    for size in [0, 1, 1024, 65_536, 65_537, 5_000_000] {
        let body = pattern(size);
        host.write("install/file", &body);
        assert_eq!(host.curl("//install//file", &[]), ("200".to_owned(), body.clone()), "{size}");
        if size > 10 {
            let want = body[5..size - 3].to_vec();
            let range = format!("5-{}", size - 4);
            assert_eq!(host.curl("/install/file", &["-r", &range]), ("206".to_owned(), want), "{size}");
        }
        let past_end = format!("{size}-");
        assert_eq!(host.curl("/install/file", &["-r", &past_end]).0, "416", "{size}");
        let (status, head) = host.curl("/install/file", &["-I"]);
        assert!(
            status == "200"
                && String::from_utf8(head).unwrap().contains(&format!("Content-Length: {size}\r\n"))
        );
    }
    let events = host.stop().await;
    assert_eq!(events.last().map(String::as_str), Some("install/file Probed"));
    assert!(events.contains(&"install/file done 5000000".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_refusals() {
    let host = Host::start(None, Limits::default()).await;
    host.write("install/repo/a b.rpm", b"rpm");
    host.write("install/shadow", b"secret");
    std::fs::set_permissions(host.dir.path().join("install/shadow"), PermissionsExt::from_mode(0o600))
        .unwrap();
    assert!(Command::new("mkfifo").arg(host.dir.path().join("install/fifo")).status().unwrap().success());
    let cases: &[(&str, &str, &str)] = &[
        ("/tftpboot/view", "200", "for 127.0.0.1\n"),
        ("/tftpboot/explained", "200", "#!say it\n"),
        ("/install/repo/a%20b.rpm", "200", "rpm"),
        ("/install/none", "404", "not found: /install/none\n"),
        ("/tftpboot/hidden", "404", "not found: /tftpboot/hidden\n"),
        ("/elsewhere", "404", "not found: /elsewhere\n"),
        (
            "/install/../../etc/passwd",
            "403",
            "refused: the path contains '..', which would leave the served directory\n",
        ),
        (
            "/install/%2e%2e/x",
            "403",
            "refused: the path contains '..', which would leave the served directory\n",
        ),
        (
            "/install/%zz",
            "400",
            "refused: the path has a '%' that is not followed by two hexadecimal digits\n",
        ),
        ("/install/shadow", "403", "refused: it is not readable for everybody on the server\n"),
        ("/tftpboot/xcat", "403", "refused: it is a directory, not a file\n"),
        ("/install/fifo", "403", "refused: it is a FIFO, not a regular file\n"),
        ("/install/repo", "301", ""),
    ];
    for (path, status, body) in cases {
        let (got_status, got_body) = host.curl(path, &[]);
        assert_eq!(
            (got_status.as_str(), String::from_utf8_lossy(&got_body).as_ref()),
            (*status, *body),
            "{path}"
        );
    }
    let (status, page) = host.curl("/install/repo", &["-L"]);
    let page = String::from_utf8(page).unwrap();
    assert!(status == "200" && page.contains("<a href=\"a%20b.rpm\">a b.rpm</a>  3\n"), "{status} {page}");
    let (_, head) = host.curl("/install/repo/", &["-I"]);
    assert!(String::from_utf8_lossy(&head).contains("X-Frame-Options: SAMEORIGIN\r\n"), "a page in frames");
    assert_eq!(host.curl("/tftpboot/view", &["-d", "x"]).0, "405");
    let events = host.stop().await;
    let told: Vec<_> = events.iter().filter(|event| event.contains("explained")).collect();
    assert_eq!(told, [r#"tftpboot/explained Refused { reason: "no image" }"#]);
    let told: Vec<_> = events.iter().filter(|event| event.contains("hidden")).collect();
    assert_eq!(told, [r#"tftpboot/hidden Refused { reason: "it is for cn1" }"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditional_requests_save_the_transfer() {
    let host = Host::start(None, Limits::default()).await;
    host.write("install/file", b"content");
    let (_, head) = host.curl("/install/file", &["-I"]);
    let head = String::from_utf8(head).unwrap();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let none_match = format!("If-None-Match: {}", value("ETag:"));
    let since = format!("If-Modified-Since: {}", value("Last-Modified:"));
    assert_eq!(host.curl("/install/file", &["-H", &none_match]), ("304".to_owned(), Vec::new()));
    assert_eq!(host.curl("/install/file", &["-H", &since]), ("304".to_owned(), Vec::new()));
    host.write("install/file", b"changed!");
    assert_eq!(host.curl("/install/file", &["-H", &none_match]), ("200".to_owned(), b"changed!".to_vec()));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_connection() {
    let host = Host::start(None, Limits::default()).await;
    host.write("install/a", b"first");
    host.write("install/b", &pattern(200_000).iter().map(|b| b % 64 + 32).collect::<Vec<_>>());
    let answer = host.raw(concat!(
        "GET /install/a HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /install/b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /install/b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /install/a HTTP/1.0\r\n\r\n",
        "GET /never HTTP/1.0\r\n\r\n",
    ));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 4);
    assert_eq!(answer.matches("HTTP/1.1 404 Not Found").count(), 1);
    assert!(answer.ends_with("Connection: close\r\n\r\nfirst") && answer.len() > 200_000);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_heads_get_an_answer_and_the_door() {
    let host = Host::start(None, Limits::default()).await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    for (request, status) in [("\x16\x03\x01 hello\r\n\r\n", "400"), (long.as_str(), "431")] {
        let answer = host.raw(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_reach_the_application() {
    let host = Host::start(Some(Arc::new(Echo)), Limits::default()).await;
    host.write("install/file", b"static");
    let big = "x".repeat(100_000);
    assert_eq!(host.curl("/api", &["-d", &big]), ("200".to_owned(), b"POST 100000".to_vec()));
    assert_eq!(host.curl("/api", &["-X", "DELETE"]), ("200".to_owned(), b"DELETE 0".to_vec()));
    assert_eq!(host.curl("/api", &[]), ("200".to_owned(), b"GET 0".to_vec()));
    assert_eq!(host.curl("/install/file", &[]), ("200".to_owned(), b"static".to_vec()));
    // What it does not own is the front's, events included.
    assert_eq!(host.curl("/none", &[]).0, "404");
    assert_eq!(host.curl("/none", &["-d", "x"]).0, "405");
    let events = host.stop().await;
    assert!(events.iter().any(|event| event.starts_with("none ")), "{events:?}");
}

/// Asks for a large file and reads only its beginning: such a connection is busy. None if it does not
/// come.
fn slow_reader(host: &Host, source: [u8; 4]) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&host.running.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /install/big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut start = [0; 12];
    (stream.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 200").then_some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_address_are_bounded() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let host = Host::start(None, limits).await;
    host.write("install/big", &pattern(30_000_000));
    let idle: Vec<_> = (0..2).map(|_| TcpStream::connect(host.running.address()).unwrap()).collect();
    let busy = [slow_reader(&host, [127, 0, 0, 1]), slow_reader(&host, [127, 0, 0, 1])];
    for mut stream in idle {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "idle connections are closed");
    }
    let answer = host.raw("GET /tftpboot/view HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("your address"), "{answer}");
    drop(busy);
    let served = || host.raw("GET /tftpboot/view HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 ");
    while !served() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_work_leave_places_for_nodes_and_for_this_machine() {
    let callers = |ip: IpAddr| match ip {
        IpAddr::V4(ip) if ip.octets().starts_with(&[127, 0, 1]) => Kind::Stranger,
        IpAddr::V4(ip) if ip.octets().starts_with(&[127, 0, 2]) => Kind::Node,
        _ => Kind::Local,
    };
    let limits = Limits { connections_max: 16, connections_per_address_max: 8, ..Limits::default() };
    let host = Host::start_with(Config { limits, callers: Arc::new(callers), ..Config::default() }).await;
    host.write("install/big", &pattern(30_000_000));
    let strangers: Vec<_> = (1..=20).filter_map(|number| slow_reader(&host, [127, 0, 1, number])).collect();
    let nodes: Vec<_> = (1..=9).filter_map(|number| slow_reader(&host, [127, 0, 2, number])).collect();
    assert!(host.raw("GET /tftpboot/view HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert_eq!((strangers.len(), nodes.len()), (8, 6));
    host.stop().await;
}

/// The runtime has one thread here, which this test keeps busy. Each connection is made only when there is
/// room for it in the kernel's queue of one.
#[tokio::test]
async fn connections_are_accepted_while_the_runtime_is_busy() {
    const TIME_MAX: Duration = Duration::from_secs(60);
    let limits = Limits { connections_max: 16, backlog: 1, ..Limits::default() };
    let host = Host::start_with(Config { limits, ..Config::default() }).await;
    let connect = || TcpStream::connect_timeout(&host.running.address(), TIME_MAX).unwrap();
    let connections: Vec<_> = (0..40).map(|_| connect()).collect();
    drop(connections);
    host.stop().await;
}

/// A certificate for 127.0.0.1 that signs itself, and what a service needs to show it.
fn tls() -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tree_inside_tls() {
    let (certificate, acceptor) = tls();
    let host = Host::start_with(Config { tls: Some(acceptor), ..Config::default() }).await;
    host.write("ca.pem", certificate.as_bytes());
    let ca = host.dir.path().join("ca.pem").display().to_string();
    let big = pattern(3_000_000);
    host.write("install/big", &big);
    let get = |path: &str, options: &[&str]| {
        let url = format!("https://{}{path}", host.running.address());
        Command::new("curl").args(["-sS", "--cacert", &ca]).args(options).arg(url).output().unwrap()
    };
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let (name, value) = version.split_once('=').unwrap_or((version, ""));
        let options: Vec<&str> = [name, value].into_iter().filter(|word| !word.is_empty()).collect();
        let answer = get("/install/big", &options);
        assert!(answer.stdout == big, "{version}: {}", String::from_utf8_lossy(&answer.stderr));
    }
    assert_eq!(get("/install/big", &["-r", "5-9"]).stdout, &big[5..10]);
    assert_eq!(get("/install/none", &[]).stdout, b"not found: /install/none\n");
    // A client without TLS is turned away and does not disturb other clients.
    let mut stranger = TcpStream::connect(host.running.address()).unwrap();
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(get("/tftpboot/view", &[]).status.success());
    host.stop().await;
}

/// Types of TLS records.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

#[tokio::test(flavor = "multi_thread")]
async fn no_tls_before_1_2() {
    let host = Host::start_with(Config { tls: Some(tls().1), ..Config::default() }).await;
    // A hello with one cipher suite and the extensions it needs; the same of TLS 1.2 gets a hello back.
    for (minor, answer) in [(2, ALERT), (3, HANDSHAKE)] {
        let extensions = [
            &[0, 10, 0, 4, 0, 2, 0, 29][..], // groups: x25519
            &[0, 13, 0, 4, 0, 2, 4, 3],      // signatures: ECDSA P-256
            &[0, 11, 0, 2, 1, 0],            // points: uncompressed
        ]
        .concat();
        let rest = [0, 0, 2, 0xc0, 0x2b, 1, 0, 0, u8::try_from(extensions.len()).unwrap()];
        let body = [&[3, minor][..], &[7; 32], &rest, &extensions].concat();
        let length = u8::try_from(body.len()).unwrap();
        let hello = [&[HANDSHAKE, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat();
        let mut stream = TcpStream::connect(host.running.address()).unwrap();
        stream.write_all(&hello).unwrap();
        let mut first = [0; 1];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first, [answer], "TLS 1.{}", minor - 1);
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_while_it_is_sent_is_sent_as_it_was() {
    let host = Host::start(None, Limits::default()).await;
    let old = pattern(50_000_000);
    host.write("install/file", &old);
    let mut stream = TcpStream::connect(host.running.address()).unwrap();
    stream.write_all(b"GET /install/file HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = vec![0; 1000];
    stream.read_exact(&mut answer).unwrap();
    host.write("install/new", b"other");
    std::fs::rename(host.dir.path().join("install/new"), host.dir.path().join("install/file")).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&old), "the old content to its end");
    assert_eq!(host.curl("/install/file", &[]).1, b"other");
    host.stop().await;
}

/// Clients that stopped reading, and clients that stopped in the middle of a head, do not delay others.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_keep_nobody_waiting() {
    let host = Host::start(None, Limits::default()).await;
    let big = pattern(20_000_000);
    host.write("install/big", &big);
    let connect = |request: &str| {
        let mut stream = TcpStream::connect(host.running.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let readers: Vec<_> = (0..200).map(|_| connect("GET /install/big HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    let heads: Vec<_> = (0..200).map(|_| connect("GET /install/big HT")).collect();
    assert_eq!(host.curl("/install/big", &[]), ("200".to_owned(), big));
    // The server waits for the rest of a head up to the limit, and then sends its client an error.
    for mut head in heads.into_iter().take(3) {
        let mut answer = String::new();
        head.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("longer than 10 seconds"), "{answer}");
    }
    drop(readers);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_shorter_ends_the_connection_and_is_told() {
    let host = Host::start(None, Limits::default()).await;
    let name = host.dir.path().join("install/shrinks");
    std::fs::File::create(&name).unwrap().set_len(200_000_000).unwrap();
    let mut stream = TcpStream::connect(host.running.address()).unwrap();
    stream.write_all(b"GET /install/shrinks HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    std::fs::OpenOptions::new().write(true).open(&name).unwrap().set_len(100).unwrap();
    let rest = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert!(rest < 200_000_000);
    let events = host.stop().await;
    assert!(events.iter().any(|event| event.contains("became shorter")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_told_apart() {
    let host = Host::start(None, Limits::default()).await;
    std::fs::File::create(host.dir.path().join("install/big")).unwrap().set_len(200_000_000).unwrap();
    let mut stream = TcpStream::connect(host.running.address()).unwrap();
    stream.write_all(b"GET /install/big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let events = host.stop().await;
    assert!(events.iter().any(|event| event.contains("the client closed the connection")), "{events:?}");
}
