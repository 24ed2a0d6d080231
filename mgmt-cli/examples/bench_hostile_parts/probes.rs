//! What must keep working during an attack: commands of root on the server, and boots of a node.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use dawn_nfs::client::Client;
use socket2::{Domain, Socket, Type};

use super::world::{GOOD_NODE, SERVER, World};
use super::{LOCAL_WAIT_MAX, NODE_WAIT_MAX};

/// Between two tries of one kind.
const PAUSE: Duration = Duration::from_millis(100);
/// A try that takes longer counts as so long.
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long a loader repeats a TFTP request that was not answered.
const TFTP_REPEAT: Duration = Duration::from_secs(1);

/// The longest wait of each kind.
pub(crate) struct Waits([(&'static str, Duration, Duration); 4]);

impl Waits {
    /// Those longer than they may be.
    pub(crate) fn missed(&self) -> impl Iterator<Item = String> {
        let over = self.0.iter().filter(|(_, wait, limit)| wait > limit);
        over.map(|(name, wait, limit)| format!("{name} took {wait:.2?}, more than {limit:?}"))
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> =
            self.0.iter().map(|(_, wait, _)| format!("{:.3} s", wait.as_secs_f64())).collect();
        f.write_str(&texts.join(" | "))
    }
}

/// Tries all kinds side by side for some time.
pub(crate) fn run(world: &World, time: Duration) -> Waits {
    let end = Instant::now() + time;
    std::thread::scope(|scope| {
        let nodels = scope.spawn(|| longest(end, || nodels(world)));
        let tftp = scope.spawn(|| longest(end, tftp));
        let http = scope.spawn(|| longest(end, http));
        let nfs = scope.spawn(|| longest(end, || nfs(world)));
        let wait = |probe: std::thread::ScopedJoinHandle<'_, Duration>| probe.join().expect("a probe");
        Waits([
            ("nodels", wait(nodels), LOCAL_WAIT_MAX),
            ("TFTP", wait(tftp), NODE_WAIT_MAX),
            ("HTTP", wait(http), NODE_WAIT_MAX),
            ("NFS", wait(nfs), NODE_WAIT_MAX),
        ])
    })
}

/// The longest of many tries; one that fails counts as [`PATIENCE`].
fn longest(end: Instant, mut attempt: impl FnMut() -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        let start = Instant::now();
        let worked = attempt();
        longest = longest.max(if worked { start.elapsed() } else { PATIENCE });
        std::thread::sleep(PAUSE);
    }
    longest
}

fn nodels(world: &World) -> bool {
    let output = world.dawn(&["nodels", "cn1"]).output().expect("nodels");
    output.status.success() && output.stdout == b"cn1\n"
}

fn tftp() -> bool {
    let socket = UdpSocket::bind((GOOD_NODE, 0)).expect("a socket");
    socket.set_read_timeout(Some(TFTP_REPEAT)).expect("a time limit");
    let start = Instant::now();
    let mut answer = [0; 600];
    while start.elapsed() < PATIENCE {
        socket.send_to(b"\x00\x01kernel\x00octet\x00", (SERVER, 69)).expect("a request");
        if let Ok((_, from)) = socket.recv_from(&mut answer) {
            // The rest of the file is not wanted.
            let _ = socket.send_to(b"\x00\x05\x00\x00done\x00", from);
            return answer.starts_with(b"\x00\x03\x00\x01");
        }
    }
    false
}

fn connect(port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((GOOD_NODE, 0)).into()).expect("the node's address");
    socket.connect_timeout(&SocketAddr::from((SERVER, port)).into(), PATIENCE).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(socket.into())
}

fn http() -> bool {
    let Some(mut stream) = connect(80) else { return false };
    let mut start = [0; 12];
    let asked = stream.write_all(b"GET /install/big HTTP/1.1\r\nHost: mn\r\n\r\n");
    asked.and_then(|()| stream.read_exact(&mut start)).is_ok() && &start == b"HTTP/1.1 200"
}

/// Mounts and lists the beginning of a large directory.
fn nfs(world: &World) -> bool {
    let Some(mut client) = connect(2049).and_then(|stream| Client::over(stream).ok()) else { return false };
    let Ok(root) = client.mount(&world.listed().display().to_string()) else { return false };
    client.getattr(&root).is_ok() && client.readdir_page(&root, 0, 32 << 10, true).is_ok()
}
