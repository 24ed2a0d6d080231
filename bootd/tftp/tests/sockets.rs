//! The service behind real sockets on loopback, asked by curl.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dawn_serving::{Event, EventKind, Mount, Roots, Tree};
use dawn_tftp::{Config, Running, TransferPorts, serve};
use tokio_util::sync::CancellationToken;

struct Service {
    running: Running,
    stop: CancellationToken,
    events: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Service {
    async fn start(transfer_ports: TransferPorts) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let observer = move |event: &Event<'_>| {
            let what = match event.kind {
                EventKind::Started { size } => format!("started {size}"),
                EventKind::Done { bytes, .. } => format!("done {bytes}"),
                EventKind::NotFound => "not found".to_owned(),
                EventKind::Refused { reason } => format!("refused: {reason}"),
                other => format!("{other:?}"),
            };
            seen.lock().unwrap().push(format!("{} {what}", event.path));
        };
        let source = Roots::new().with(Mount::new("", Tree::open_root(dir.path()).unwrap()));
        let config = Config {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            transfer_ports,
            ..Config::default()
        };
        let stop = CancellationToken::new();
        let running = serve(config, Arc::new(source), Arc::new(observer), stop.clone()).await.unwrap();
        Self { running, stop, events, dir }
    }

    fn curl(&self, host: &str, name: &str, options: &[&str]) -> (bool, Vec<u8>, String) {
        let url = format!("tftp://{host}:{}/{name}", self.running.address().port());
        let output = Command::new("curl").arg("-sSv").args(options).arg(url).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), output.stdout, text)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_files_of_every_size() {
    for ports in [TransferPorts::Any(2), TransferPorts::Single] {
        let service = Service::start(ports).await;
        for size in [0, 1, 511, 512, 513, 1468, 2936, 100_000, 1_000_000] {
            service.write("file", &pattern(size));
            for options in
                [&[][..], &["--tftp-blksize", "1468"], &["--tftp-blksize", "8192"], &["--tftp-no-options"]]
            {
                let (ok, body, text) = service.curl("127.0.0.1", "file", options);
                assert!(ok && body == pattern(size), "{ports:?} {size} {options:?}: {text}");
            }
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn block_numbers_roll_over() {
    let service = Service::start(TransferPorts::Any(2)).await;
    let big = pattern(36 * 1024 * 1024);
    service.write("big", &big);
    let (ok, body, text) = service.curl("127.0.0.1", "big", &[]);
    assert!(ok && body == big, "{text}");
    assert_eq!(service.stop().await, ["big started 37748736", "big done 37748736"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_from_the_address_that_was_asked() {
    // curl checks the source of every packet: all of 127/8 is ours, so a wrong source would hang it.
    let service = Service::start(TransferPorts::Any(2)).await;
    service.write("file", b"hello");
    for host in ["127.0.0.1", "127.0.0.9", "127.3.2.1"] {
        let (ok, body, text) = service.curl(host, "file", &["--max-time", "5"]);
        assert!(ok && body == b"hello", "{host}: {text}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why() {
    let service = Service::start(TransferPorts::Any(2)).await;
    std::fs::create_dir(service.dir.path().join("dir")).unwrap();
    make_fifo(&service.dir.path().join("fifo"));
    for (name, words) in [
        ("nothing", "no file nothing here"),
        ("dir", "it is a directory, not a file"),
        ("fifo", "it is a FIFO, not a regular file"),
    ] {
        let (ok, _, text) = service.curl("127.0.0.1", name, &["--max-time", "5"]);
        assert!(!ok && text.contains(words), "{name}: {text}");
    }
    let events = service.stop().await;
    assert_eq!(
        events,
        [
            "nothing not found",
            "dir refused: it is a directory, not a file",
            "fifo refused: it is a FIFO, not a regular file"
        ]
    );
}

/// A client over a plain socket, for what curl cannot do.
fn ask(service: &Service, packet: &[u8]) -> (UdpSocket, SocketAddr, Vec<u8>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(packet, ("127.0.0.1", service.running.address().port())).unwrap();
    let mut buffer = vec![0; 70_000];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(length);
    (socket, from, buffer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_or_cut_while_it_is_sent() {
    let service = Service::start(TransferPorts::Any(2)).await;
    let name = service.dir.path().join("file");
    for cut in [false, true] {
        std::fs::write(&name, pattern(300_000)).unwrap();
        let (socket, from, first) = ask(&service, b"\0\x01file\0octet\0blksize\x001024\0");
        assert_eq!(&first[..2], b"\0\x06");
        if cut {
            std::fs::OpenOptions::new().write(true).open(&name).unwrap().set_len(10).unwrap();
        } else {
            std::fs::write(service.dir.path().join("new"), b"other").unwrap();
            std::fs::rename(service.dir.path().join("new"), &name).unwrap();
        }
        let mut buffer = vec![0; 2000];
        let mut got = Vec::new();
        let answer = loop {
            let block = u16::try_from(got.len() / 1024).unwrap();
            socket.send_to(&[&[0, 4], block.to_be_bytes().as_slice()].concat(), from).unwrap();
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[4..length]);
            if buffer[1] == 5 || length < 1028 {
                break buffer[..length].to_vec();
            }
        };
        if cut {
            let text = String::from_utf8_lossy(&answer[4..]).into_owned();
            assert!(answer[1] == 5 && text.contains("became shorter"), "{text}");
        } else {
            assert!(got == pattern(300_000), "the old content to its end");
        }
    }
    service.stop().await;
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
