//! What strangers and a hostile node do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3;
use dawn_nfs::xdr::Writer;
use socket2::{Domain, Socket, Type};

use super::world::{HOSTILE_NODE, LARGE_FILE, SERVER, World, stranger};

/// How long an attacker waits for a connection before it tries the next one.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(200);
/// Time between two checks of an attacker that keeps its connections.
const PAUSE: Duration = Duration::from_millis(50);
/// READ and READDIRPLUS (RFC 1813).
const READ: u32 = 6;
const READDIRPLUS: u32 = 17;
/// Calls of an NFS connection that reads no reply.
const CALLS: usize = 100;
/// Bytes that each asks for.
const CALL_BYTES: u32 = 1 << 20;

/// Begins an attack that lasts until it is stopped.
type Run = fn(&World, &Arc<AtomicBool>) -> Vec<JoinHandle<()>>;

/// One attack.
pub(crate) struct Attack {
    /// For the table.
    pub name: &'static str,
    /// Begins it.
    pub run: Run,
}

/// All of them.
pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "18 strangers × 1,024 slow readers of HTTP", run: http_readers },
    Attack { name: "1 node × 1,024 slow readers of HTTP", run: http_readers_of_node },
    Attack { name: "40 strangers × 256 half TLS handshakes on 3001", run: half_handshakes },
    Attack { name: "32 strangers × 64 unfinished requests of 255 KB on 3001", run: unfinished_requests },
    Attack { name: "forged TFTP requests", run: forged_tftp },
    Attack { name: "forged TFTP requests of one node", run: forged_tftp_of_node },
    Attack { name: "1 node × 64 NFS connections that read no listing", run: nfs_listings },
    Attack { name: "1 node × 64 NFS connections that read no data", run: nfs_reads },
    Attack { name: "1 node × 16 sessions of reports on 3002", run: reports },
];

fn connect(from: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    let _ = socket.set_recv_buffer_size(4096);
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    socket.connect_timeout(&SocketAddr::from((SERVER, port)).into(), CONNECT_TIME_MAX).ok()?;
    Some(socket.into())
}

fn is_gone(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    match stream.peek(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Holds connections of some addresses, as many as can be had, and opens those again that the server closed.
fn hold(
    stop: &Arc<AtomicBool>,
    addresses: Range<u16>,
    per_address: usize,
    open: impl Fn(u16) -> Option<TcpStream> + Send + Clone + 'static,
) -> Vec<JoinHandle<()>> {
    let of_address = |number: u16| {
        let (stop, open) = (Arc::clone(stop), open.clone());
        std::thread::spawn(move || {
            let mut held: Vec<Option<TcpStream>> = (0..per_address).map(|_| None).collect();
            while !stop.load(Ordering::Relaxed) {
                for place in &mut held {
                    if place.as_ref().is_none_or(is_gone) && !stop.load(Ordering::Relaxed) {
                        *place = open(number);
                    }
                }
                std::thread::sleep(PAUSE);
            }
        })
    };
    addresses.map(of_address).collect()
}

fn slow_reader(from: Ipv4Addr) -> Option<TcpStream> {
    let mut stream = connect(from, 80)?;
    stream.write_all(b"GET /install/big HTTP/1.1\r\nHost: mn\r\n\r\n").ok()?;
    Some(stream)
}

fn http_readers(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    hold(stop, 0..18, 1024, |number| slow_reader(stranger(number)))
}

fn http_readers_of_node(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    hold(stop, 0..4, 256, |_| slow_reader(HOSTILE_NODE))
}

fn half_handshakes(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    hold(stop, 0..40, 256, |number| {
        let mut stream = connect(stranger(number), 3001)?;
        // The head of a record with a ClientHello that does not come.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).ok()?;
        Some(stream)
    })
}

fn unfinished_requests(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let tls = dawn_tls::anonymous_client_config().expect("TLS");
    hold(stop, 0..32, 64, move |number| {
        let stream = connect(stranger(number), 3001)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let copy = stream.try_clone().ok()?;
        let name = "mn".try_into().ok()?;
        let connection = rustls::ClientConnection::new(Arc::clone(&tls), name).ok()?;
        let mut stream = rustls::StreamOwned::new(connection, stream);
        stream.write_all(b"<xcatrequest><arg>").ok()?;
        stream.write_all(&vec![b'x'; 255_000]).ok()?;
        stream.flush().ok()?;
        Some(copy)
    })
}

fn forged_tftp(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let forge = |first: u16| {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            let mut number = first;
            while !stop.load(Ordering::Relaxed) {
                number = number.wrapping_add(2);
                let socket = UdpSocket::bind((stranger(number), 0)).expect("a stranger's address");
                let _ = socket.send_to(b"\x00\x01kernel\x00octet\x00", (SERVER, 69));
            }
        })
    };
    vec![forge(0), forge(1)]
}

/// A socket each: the request of a machine that begins again comes from a new port.
fn forged_tftp_of_node(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let forge = |request: &'static [u8]| {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let socket = UdpSocket::bind((HOSTILE_NODE, 0)).expect("the node's address");
                let _ = socket.send_to(request, (SERVER, 69));
            }
        })
    };
    vec![
        forge(b"\x00\x01kernel\x00octet\x00blksize\x001468\x00windowsize\x0064\x00"),
        forge(b"\x00\x01no such file\x00octet\x00"),
    ]
}

fn nfs_listings(world: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    unread(world, stop, READDIRPLUS, |_, root, args| {
        args.opaque(root.as_bytes());
        args.u64(0);
        args.u64(0);
        args.u32(CALL_BYTES);
        args.u32(CALL_BYTES);
        Some(())
    })
}

fn nfs_reads(world: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    unread(world, stop, READ, |client, root, args| {
        args.opaque(client.walk(root, LARGE_FILE).ok()?.as_bytes());
        args.u64(0);
        args.u32(CALL_BYTES);
        Some(())
    })
}

/// Sends a call many times on each connection and reads no reply; `arguments` writes those of the call.
fn unread(
    world: &World,
    stop: &Arc<AtomicBool>,
    procedure: u32,
    arguments: fn(&mut Client, &FileHandle, &mut Writer) -> Option<()>,
) -> Vec<JoinHandle<()>> {
    let path = world.listed().display().to_string();
    hold(stop, 0..4, 16, move |_| {
        let stream = connect(HOSTILE_NODE, 2049)?;
        let copy = stream.try_clone().ok()?;
        let mut client = Client::over(stream).ok()?;
        let root = client.mount(&path).ok()?;
        let mut args = Writer::default();
        arguments(&mut client, &root, &mut args)?;
        let args = args.into_bytes();
        for _ in 0..CALLS {
            let (_, call) = client.encode(nfs3::PROGRAM, 3, procedure, &args);
            client.send(&call).ok()?;
        }
        Some(copy)
    })
}

fn reports(_: &World, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let report = |number: u16| {
        let stop = Arc::clone(stop);
        std::thread::spawn(move || {
            let mut serial = u64::from(number) << 32;
            while !stop.load(Ordering::Relaxed) {
                let Some(mut stream) = connect(HOSTILE_NODE, 3002) else { continue };
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let mut line = String::from("hpcbootstatus ");
                while line.len() < 4000 {
                    serial += 1;
                    line.push_str(&format!("app{serial}=up,"));
                }
                line.push_str("end=up\n");
                let _ = stream.read(&mut [0; 16]);
                let _ = stream.write_all(line.as_bytes());
                let _ = stream.read(&mut [0; 16]);
            }
        })
    };
    (0..16).map(report).collect()
}
