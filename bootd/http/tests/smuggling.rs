//! Runs `smuggling.txt` against the real front over a socket: what is read as a request, and what is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dawn_http::{Application, Config, Reply, serve};
use dawn_serving::{Event, Mount, Request, RequestPath, Roots, Service, Tree};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

const CASES: &str = include_str!("smuggling.txt");
const PROBE: &[u8] = b"GET /install/probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// Most bytes of a body that the application reads.
const BODY_BYTES_MAX: usize = 1000;

/// Reads the body and answers 200, or 413 when it is too long or broken.
struct Reads;

impl Application for Reads {
    fn owns(&self, _: Service, _: Option<&RequestPath>) -> bool {
        true
    }

    fn call(&self, _: SocketAddr, _: Service, request: hyper::Request<Incoming>) -> Reply {
        Box::pin(async move {
            let read = Limited::new(request.into_body(), BODY_BYTES_MAX);
            let status = if read.collect().await.is_err() { 413 } else { 200 };
            let mut response = hyper::Response::new(Full::new(Bytes::from_static(b"read")));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            response
        })
    }
}

struct Case {
    title: &'static str,
    bytes: Vec<u8>,
    files: &'static str,
    application: &'static str,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            cases.push(Case { title, bytes: Vec::new(), files: "", application: "" });
            continue;
        }
        let case = cases.last_mut().unwrap();
        match line.split_at(1) {
            (">", text) => case.bytes.extend(unescaped(text.strip_prefix(' ').unwrap())),
            ("<", statuses) => (case.files, case.application) = (statuses.trim(), statuses.trim()),
            ("+", statuses) => case.application = statuses.trim(),
            _ => panic!("{line}"),
        }
    }
    cases
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            _ => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("\\{} in {text}", char::from(other)),
            },
        });
    }
    bytes
}

/// The status of every response until the server ends the connection.
fn statuses(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for piece in pieces {
        // The server may have ended the connection already.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A reset after the answer is how a closed connection looks to a client that is still sending.
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..count]);
    }
    let mut found = Vec::new();
    let mut rest = answer.as_slice();
    while !rest.is_empty() {
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(rest[..end].to_vec()).unwrap().to_ascii_lowercase();
        found.push(head.split(' ').nth(1).unwrap().to_owned());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        rest = &rest[end + length..];
    }
    found.join(" ")
}

async fn differences(application: Option<Arc<dyn Application>>) -> String {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for name in ["a", "probe"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let roots = Roots::new().with(Mount::new("install", Tree::open_root(dir.path()).unwrap()));
    let source = move |request: &Request<'_>| roots.find(request.path);
    let with_application = application.is_some();
    let listen = "127.0.0.1:0".parse().unwrap();
    let stop = CancellationToken::new();
    let config = Config { listen, application, ..Config::default() };
    let running = serve(config, Arc::new(source), Arc::new(|_: &Event<'_>| {}), stop.clone()).await.unwrap();
    let address = running.address();
    let mut differences = String::new();
    for case in cases() {
        let expected = if with_application { case.application } else { case.files };
        let bytes = [&case.bytes, PROBE].concat();
        for (how, pieces) in [("at once", vec![&*bytes]), ("in pieces", bytes.chunks(5).collect())] {
            let got = statuses(address, &pieces);
            if got != expected {
                let _ = writeln!(differences, "{} ({how}): {got:?}, not {expected:?}", case.title);
            }
        }
    }
    stop.cancel();
    running.finished().await;
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn files_alone() {
    assert!(cases().len() > 60);
    let found = differences(None).await;
    assert!(found.is_empty(), "\n{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_application() {
    let found = differences(Some(Arc::new(Reads))).await;
    assert!(found.is_empty(), "\n{found}");
}
