//! A storm of booting nodes: the calls of one boot, made by 1, 10, 100 and 1,000 nodes at once.
//!
//! `cargo xtask bench nfs_storm [--tree DIR] [--nodes N,N,…] [--slowest N]`. The calls are those of a real
//! statelite boot, recorded in `storm/boot.trace` and replayed in a tree of the same names and sizes; with
//! `--tree`, what a kernel would ask for while it reads part of a real tree: a LOOKUP for every new name,
//! ACCESS and GETATTR for every file, READLINK for links, and the first 256 KiB of every file in READs of 128
//! KiB. Every node is one TCP connection with one call in flight, as a booting kernel mostly is. Server and
//! client run on one processor each.
//!
//! `--capture FILE` prints a trace instead, made from what a test with `DAWN_CAPTURE=1` leaves as
//! `traffic.pcap`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods)]

#[path = "storm/capture.rs"]
mod capture;
#[path = "storm/trace.rs"]
mod trace;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3;
use dawn_nfs::xdr::Writer;
use dawn_nfs::{Export, ExportId, FixedExports, LogObserver, Server, ServerConfig};
use rustix::event::epoll;

const PORT: u16 = 22_249;
/// The calls of a real boot.
const BOOT: &str = include_str!("storm/boot.trace");
/// Files a node touches.
const FILES_MAX: usize = 500;
const READ_BYTES: u64 = 128 << 10;
const READ_BYTES_PER_FILE: u64 = 256 << 10;
/// Most of the slowest calls that can be shown.
const SLOWEST_MAX: usize = 1000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    if let Some(file) = value("--capture") {
        print!("{}", trace::of_capture(&capture::read(&std::fs::read(file).expect("the capture"))));
        return;
    }
    let planted = tempfile::tempdir().expect("temporary directory");
    let tree = PathBuf::from(value("--tree").map_or(planted.path(), Path::new));
    if let Some(state) = value("--serve") {
        return serve(Path::new(state), &tree);
    }
    let state = tempfile::tempdir().expect("temporary directory");
    if value("--tree").is_none() {
        trace::plant(BOOT, &tree);
    }
    let server = start(state.path(), &tree);
    pin(1);
    dawn_nfs::sys::raise_descriptor_limit();
    let trace = match value("--tree") {
        Some(_) => record(&tree),
        None => {
            let mut client = Client::connect(([127, 0, 0, 1], PORT).into()).unwrap();
            let root = client.mount("/storm").unwrap();
            trace::calls(BOOT, &mut client, root)
        }
    };
    let bytes: u64 = trace.iter().map(|call| call.reply_bytes).sum();
    println!("{} calls and {} MB of file data a node", trace.len(), bytes >> 20);
    println!(
        "| nodes | seconds | calls/s | server CPU s/node | µs/call | median ms | 99.9 % ms | slowest ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    let slow = value("--slowest").map_or(0, |n| n.parse().expect("a number"));
    let nodes = value("--nodes").map_or("1,10,100,1000", String::as_str);
    for nodes in nodes.split(',').filter_map(|n| n.parse().ok()) {
        storm(nodes, &trace, server.0.id(), slow);
    }
}

/// A server process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(state: &Path, tree: &Path) {
    pin(0);
    let export = Export::read_only(ExportId::of(&["storm"]), tree);
    let exports = Arc::new(FixedExports::default().with("/storm", export));
    let config = ServerConfig { nfs_port: PORT, ..ServerConfig::loopback(state) };
    let _server = Server::start(&config, exports, Arc::new(LogObserver)).expect("server");
    loop {
        std::thread::park();
    }
}

fn start(state: &Path, tree: &Path) -> Running {
    let exe = std::env::current_exe().unwrap();
    let child = Command::new(exe).arg("--serve").arg(state).arg("--tree").arg(tree).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
        assert!(Instant::now() < until, "the server does not start");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Running(child)
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// One call of the trace, ready to be sent.
struct Traced {
    bytes: Vec<u8>,
    reply_bytes: u64,
}

impl Traced {
    /// Number of the procedure, after record mark, xid, message type and versions (RFC 5531 §9).
    fn procedure(&self) -> u32 {
        self.bytes.get(24..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b))
    }
}

/// Makes the calls once, one after the other, and keeps them.
fn record(tree: &Path) -> Vec<Traced> {
    let mut client = Client::connect(([127, 0, 0, 1], PORT).into()).unwrap();
    let root = client.mount("/storm").unwrap();
    let mut recorder =
        Recorder { client, handles: HashMap::from([(PathBuf::new(), root)]), trace: Vec::new() };
    let mut files = Vec::new();
    collect(tree, Path::new(""), &mut files);
    files.iter().for_each(|path| recorder.file(tree, path));
    recorder.trace
}

fn collect(tree: &Path, dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(tree.join(dir)) else { return };
    let mut names: Vec<_> = entries.flatten().map(|e| e.file_name()).collect();
    names.sort();
    for name in names {
        let path = dir.join(name);
        match std::fs::symlink_metadata(tree.join(&path)) {
            _ if files.len() >= FILES_MAX => return,
            Ok(meta) if meta.is_dir() => collect(tree, &path, files),
            Ok(meta) if meta.is_file() || meta.is_symlink() => files.push(path),
            _ => (),
        }
    }
}

struct Recorder {
    client: Client,
    handles: HashMap<PathBuf, FileHandle>,
    trace: Vec<Traced>,
}

impl Recorder {
    fn call(&mut self, procedure: u32, reply_bytes: u64, args: impl FnOnce(&mut Writer)) {
        let mut w = Writer::default();
        args(&mut w);
        let bytes = self.client.encode(nfs3::PROGRAM, 3, procedure, w.bytes()).1;
        self.trace.push(Traced { bytes, reply_bytes });
    }

    fn file(&mut self, tree: &Path, path: &Path) {
        let Some(handle) = self.walk(path) else { return };
        self.call(1, 0, |w| w.opaque(handle.as_bytes()));
        self.call(4, 0, |w| {
            w.opaque(handle.as_bytes());
            w.u32(0x3f);
        });
        let Ok(meta) = std::fs::symlink_metadata(tree.join(path)) else { return };
        if meta.is_symlink() {
            return self.call(5, 0, |w| w.opaque(handle.as_bytes()));
        }
        let wanted = meta.len().min(READ_BYTES_PER_FILE);
        for at in (0..wanted).step_by(READ_BYTES as usize) {
            self.call(6, READ_BYTES.min(wanted - at), |w| {
                w.opaque(handle.as_bytes());
                w.u64(at);
                w.u32(READ_BYTES as u32);
            });
        }
    }

    fn walk(&mut self, path: &Path) -> Option<FileHandle> {
        if let Some(known) = self.handles.get(path) {
            return Some(*known);
        }
        let dir = self.walk(path.parent()?)?;
        let name = path.file_name()?.to_str()?.to_owned();
        let (handle, _) = self.client.lookup(&dir, &name).ok()?;
        self.call(3, 0, |w| {
            w.opaque(dir.as_bytes());
            w.opaque(name.as_bytes());
        });
        self.handles.insert(path.to_owned(), handle);
        Some(handle)
    }
}

/// One booting node.
struct Node {
    stream: TcpStream,
    next: usize,
    sent: Instant,
    missing: usize,
    header: Vec<u8>,
}

fn storm(nodes: usize, trace: &[Traced], server: u32, slow: usize) {
    // Every node has a different address in 127.0.0.0/8.
    let connect = |n: usize| {
        let at = [127, 1, (n >> 8) as u8, (n & 255) as u8];
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((at, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], PORT)).into()).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        let stream = TcpStream::from(socket);
        Node { stream, next: 0, sent: Instant::now(), missing: 0, header: Vec::new() }
    };
    let mut all: Vec<Node> = (0..nodes).map(|n| connect(n + 1)).collect();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    for (n, node) in all.iter().enumerate() {
        epoll::add(&poll, &node.stream, epoll::EventData::new_u64(n as u64), epoll::EventFlags::IN).unwrap();
    }
    let cpu_before = cpu_seconds(server);
    let start = Instant::now();
    all.iter_mut().for_each(|node| node.send(trace));
    let mut latencies: Vec<f32> = Vec::with_capacity(nodes * trace.len());
    let mut slowest = Slowest::default();
    let mut buffer = vec![0; 1 << 20];
    let mut events = Vec::with_capacity(256);
    let mut running = nodes;
    while running > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let data = event.data;
            let node = &mut all[data.u64() as usize];
            if node.receive(&mut buffer) {
                let took = node.sent.elapsed();
                latencies.push(took.as_secs_f32() * 1e3);
                slowest.note(Slow {
                    took,
                    procedure: trace[node.next - 1].procedure(),
                    call: node.next,
                    node: data.u64() as usize,
                    sent: node.sent - start,
                });
                if node.next < trace.len() {
                    node.send(trace);
                } else {
                    epoll::delete(&poll, &node.stream).unwrap();
                    running -= 1;
                }
            }
        }
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(server) - cpu_before);
    latencies.sort_by(f32::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "| {nodes} | {wall:.1} | {:.0} | {:.3} | {:.1} | {:.2} | {:.1} | {:.1} |",
        latencies.len() as f64 / wall,
        cpu / nodes as f64,
        cpu / latencies.len() as f64 * 1e6,
        at(0.5),
        at(0.999),
        at(1.0),
    );
    if slow > 0 {
        slowest.print(slow);
    }
}

/// One call and when it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slow {
    took: Duration,
    procedure: u32,
    /// Its number in the trace, from 1.
    call: usize,
    node: usize,
    /// Since the storm began.
    sent: Duration,
}

/// The calls that took longest.
#[derive(Default)]
struct Slowest(std::collections::BinaryHeap<std::cmp::Reverse<Slow>>);

impl Slowest {
    fn note(&mut self, call: Slow) {
        self.0.push(std::cmp::Reverse(call));
        if self.0.len() > SLOWEST_MAX {
            self.0.pop();
        }
    }

    fn print(self, count: usize) {
        for std::cmp::Reverse(call) in self.0.into_sorted_vec().into_iter().take(count) {
            println!(
                "  {:7.1} ms: procedure {:2}, call {} of node {}, sent after {:.3} s",
                call.took.as_secs_f64() * 1e3,
                call.procedure,
                call.call,
                call.node,
                call.sent.as_secs_f64()
            );
        }
    }
}

impl Node {
    fn send(&mut self, trace: &[Traced]) {
        self.sent = Instant::now();
        self.stream.write_all(&trace[self.next].bytes).unwrap();
        self.next += 1;
    }

    /// Takes the bytes that have arrived; returns whether the reply is complete.
    fn receive(&mut self, buffer: &mut [u8]) -> bool {
        let got = self.stream.read(buffer).unwrap();
        assert!(got > 0, "the server closed a connection");
        let mut bytes = &buffer[..got];
        if self.missing == 0 {
            let take = bytes.len().min(4 - self.header.len());
            self.header.extend(&bytes[..take]);
            bytes = &bytes[take..];
            let Some(header) = self.header.first_chunk::<4>() else { return false };
            self.missing = (u32::from_be_bytes(*header) & 0x7fff_ffff) as usize;
            self.header.clear();
        }
        self.missing -= bytes.len();
        self.missing == 0
    }
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
