//! Consoles of real programs: a telnet server (busybox's), an sshd, a plain TCP port; and `virsh` as a
//! stand-in that shows what it was called with.
//!
//! Needs root and the Debian packages `busybox-static` and `openssh-server`; without them the tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_hardware::console::frames::{Decoder, Frame};
use dawn_hardware::console::place::Place;
use dawn_hardware::console::{Heard, Hub, Mode, Wanted};
use dawn_hardware::target::{Known, Peer};
use dawn_test_ports::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Nobody;

impl Heard for Nobody {
    fn line(&self, _: &Arc<str>, _: &str) {}

    fn event(&self, _: &str, _: &str) {}
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let server = Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{command:?} does not listen");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        server
    }
}

fn script(path: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

fn peer(port: u16) -> Peer {
    let known_address = Known::At(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Peer { host: "ts1".to_owned(), port, known_address }
}

/// A hub with one console, and a viewer who writes.
struct Seen {
    hub: Hub,
    stream: DuplexStream,
    decoder: Decoder,
    text: String,
}

impl Seen {
    fn of(place: Place, directory: &Path) -> Self {
        Self::with(Hub::new(Arc::new(Nobody), directory.to_owned()), place)
    }

    fn with(hub: Hub, place: Place) -> Self {
        hub.follow(vec![Wanted { node: "cn1".to_owned(), place, on_demand: false }]);
        let (stream, other) = tokio::io::duplex(64 << 10);
        hub.attach("cn1", "alice", Mode::Write, other).unwrap();
        Self { hub, stream, decoder: Decoder::default(), text: String::new() }
    }

    /// Reads until the text has been shown.
    async fn shows(&mut self, text: &str) {
        let mut chunk = [0; 4096];
        while !self.text.contains(text) {
            let read = timeout(PATIENCE, self.stream.read(&mut chunk)).await;
            let count = read.unwrap_or_else(|_| panic!("{text:?} is not in {:?}", self.text)).unwrap();
            assert!(count > 0, "{text:?} is not in {:?}", self.text);
            self.decoder.push(&chunk[..count]);
            while let Some(frame) = self.decoder.next_frame().unwrap() {
                match frame {
                    Frame::Data(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes)),
                    Frame::Notice(notice) => self.text.push_str(&format!("[{notice}]")),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    async fn types(&mut self, bytes: &[u8]) {
        self.stream.write_all(&Frame::Data(bytes.to_vec()).bytes()).await.unwrap();
    }
}

/// busybox asks for window sizes and echo; the machine is a shell script.
#[tokio::test]
async fn a_telnet_server() {
    let dir = tempfile::tempdir().unwrap();
    let machine = script(
        &dir.path().join("machine"),
        "#!/bin/sh\necho machine here\nread line\necho \"got <$line>\"\nread x\n",
    );
    let port = free_port();
    let mut command = Command::new("/usr/bin/busybox");
    command.args(["telnetd", "-F", "-b", "127.0.0.1", "-p", &port.to_string(), "-l"]).arg(machine);
    let _server = Server::start(&mut command, port);
    let mut seen = Seen::of(Place::Terminal { peer: peer(port), telnet: true }, dir.path());
    seen.shows("machine here\r\n").await;
    seen.types(b"a word\r").await;
    seen.shows("got <a word>\r\n").await;
    assert!(!seen.text.contains('\u{fffd}'), "no option is shown: {:?}", seen.text);
}

/// A port without telnet: all bytes are the machine's.
#[tokio::test]
async fn a_plain_port() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut seen = Seen::of(Place::Terminal { peer: peer(port), telnet: false }, Path::new("/nonexistent"));
    let (mut machine, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    machine.write_all(b"raw\r\0 port\n").await.unwrap();
    seen.shows("raw\r\0 port\n").await;
    seen.types(b"\xff\r").await;
    let mut typed = [0; 2];
    timeout(PATIENCE, machine.read_exact(&mut typed)).await.unwrap().unwrap();
    assert_eq!(&typed, b"\xff\r");
    // It ends, and the hub connects again.
    drop(machine);
    let (mut machine, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    machine.write_all(b"back").await.unwrap();
    seen.shows("back").await;
    assert!(
        seen.text.contains("[not connected (the terminal server has closed the connection)"),
        "{}",
        seen.text
    );
}

/// Key and known hosts as `dawn init` and the first connection make them.
#[tokio::test]
async fn an_sshd() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all("/run/sshd").unwrap();
    let (keys, port) = (dir.path().join("with blank"), free_port());
    std::fs::create_dir(&keys).unwrap();
    for path in [keys.join("id_ed25519"), dir.path().join("host_key"), dir.path().join("other_key")] {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
        assert!(made.unwrap().success());
    }
    std::fs::copy(keys.join("id_ed25519.pub"), dir.path().join("authorized")).unwrap();
    let shows = script(
        &dir.path().join("shows"),
        "#!/bin/sh\ntest -t 0 || exit 3\nstty size\necho console here\nread line\necho \"got <$line>\"\nread x\n",
    );
    let serve = |key: &str| {
        let config = dir.path().join("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/{key}\nAuthorizedKeysFile {0}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nForceCommand {1}\n",
            dir.path().display(),
            shows.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(config);
        Server::start(&mut command, port)
    };
    let place = || Place::Ssh { peer: peer(port), user: "root".to_owned() };
    let server = serve("host_key");
    let mut seen = Seen::of(place(), &keys);
    seen.shows("24 80\r\nconsole here\r\n").await;
    seen.types(b"a ~. word\r").await;
    seen.shows("got <a ~. word>\r\n").await;
    let known = std::fs::read_to_string(keys.join("known_hosts")).unwrap();
    assert!(known.starts_with("ts1 ssh-ed25519 "), "{known}");
    // Another host at that address is not logged in to.
    seen.hub.stop();
    drop(server);
    let _server = serve("other_key");
    Seen::of(place(), &keys).shows("[not connected (Host key verification failed.)").await;
}

#[tokio::test]
async fn nobody_listens() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut seen = Seen::of(Place::Ssh { peer: peer(port), user: "root".to_owned() }, dir.path());
    seen.shows("Connection refused").await;
    let mut seen = Seen::of(Place::Terminal { peer: peer(port), telnet: true }, dir.path());
    seen.shows("Connection refused").await;
}

/// The program gets words as they are, a terminal that echoes nothing, and no process of it stays.
#[tokio::test]
async fn a_virtual_machine_of_libvirt() {
    let dir = tempfile::tempdir().unwrap();
    let virsh = script(
        &dir.path().join("virsh"),
        "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nprintf '%s|' \"$@\" | od -An -c | tr -d ' \\n' >>calls\n\
         if [ -e fails ]; then rm fails; echo 'error: Domain not found' >&2; exit 1; fi\n\
         test -t 0 && test -t 1 || exit 3\nsleep 1000 &\necho $$ $! >pids\necho connected\ncat\n",
    );
    std::fs::write(dir.path().join("fails"), "").unwrap();
    let hub = Hub::with_virsh(Arc::new(Nobody), dir.path().to_owned(), virsh.to_str().unwrap());
    let mut seen = Seen::with(hub, Place::Virsh { host: "kvm1".to_owned(), domain: "cn1".to_owned() });
    seen.shows("[not connected (Domain not found); next attempt in ").await;
    seen.shows("connected\n").await;
    seen.types(b"typed\x03\n").await;
    seen.shows("typed\x03\n").await;
    assert_eq!(seen.text.matches("typed").count(), 1, "{}", seen.text);
    let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
    // The first attempts take the console from others.
    let call = "--connect|qemu+ssh://root@kvm1/system|--quiet|--escape|377|console|--force|--domain|cn1|";
    assert_eq!(calls.replace('\\', ""), call.repeat(2));
    let pids = std::fs::read_to_string(dir.path().join("pids")).unwrap();
    seen.hub.stop();
    let runs = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    let end = Instant::now() + PATIENCE;
    while pids.split_whitespace().any(runs) {
        assert!(Instant::now() < end, "{pids} still run");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
