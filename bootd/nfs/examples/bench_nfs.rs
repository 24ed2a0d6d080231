//! Measures the server against nfs-ganesha on the same files, the server pinned to one processor and the
//! client to another.
//!
//! `cargo xtask bench nfs -- [--seconds N] [--only WORDS] [--ganesha]`, as root. With
//! `--ganesha` Debian's nfs-ganesha (FSAL VFS) and rpcbind are run too, in a network namespace that the
//! bench enters first, so that nothing of the machine is touched. Processor time is the server's, user and
//! system, from /proc.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dawn_nfs::client::Client;
use dawn_nfs::handle::FileHandle;
use dawn_nfs::nfs3::{self, SetAttributes};
use dawn_nfs::xdr::Writer;
use dawn_nfs::{Export, ExportId, FixedExports, LogObserver, Server, ServerConfig};

const BIG_FILE_BYTES: u64 = 512 << 20;
const ENTRIES: usize = 10_000;
const DAWN_PORT: u16 = 22_049;
const GANESHA_PORT: u16 = 22_149;
const GANESHA_MOUNT_PORT: u16 = 22_150;
const SERVER_CPU: usize = 0;
const CLIENT_CPU: usize = 1;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|a| a == "--serve") {
        return serve(Path::new(&args[at + 1]));
    }
    let has = |name: &str| args.iter().any(|a| a == name);
    if has("--ganesha") && !has("--in-namespace") {
        return run_in_namespace(&args);
    }
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
    let seconds: u64 = value("--seconds").and_then(|s| s.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path().canonicalize().expect("temporary directory");
    prepare(&dir);
    // Files of an image are not a moment old.
    std::thread::sleep(Duration::from_secs(4));
    let mut servers = Vec::new();
    if has("--ganesha") {
        wait_for(111);
        servers.push(start_ganesha(&dir));
    }
    servers.push(start_dawn(&dir));
    pin(CLIENT_CPU);
    println!("| measurement | server | per second | server CPU |");
    println!("|---|---|---:|---:|");
    let only = value("--only").map_or("", String::as_str);
    for measure in MEASURES.iter().filter(|m| m.name.contains(only)) {
        for server in &servers {
            let run = run(server, measure, Duration::from_secs(seconds));
            println!("| {} | {} | {} | {} |", measure.name, server.name, run.rate, run.cpu);
        }
    }
}

struct Running {
    name: &'static str,
    child: Child,
    port: u16,
    mount_port: u16,
    path: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prepare(dir: &Path) {
    for name in ["state", "export/many"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
    }
    let mut big = std::fs::File::create(dir.join("export/big")).unwrap();
    let block: Vec<u8> = (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for _ in 0..BIG_FILE_BYTES >> 20 {
        big.write_all(&block).unwrap();
    }
    for i in 0..ENTRIES {
        std::fs::write(dir.join(format!("export/many/entry-{i:05}")), b"").unwrap();
    }
}

fn serve(dir: &Path) {
    pin(SERVER_CPU);
    let export = Export::read_write(ExportId::of(&["bench"]), dir.join("export"));
    let exports = Arc::new(FixedExports::default().with("/bench", export));
    let config = ServerConfig { nfs_port: DAWN_PORT, ..ServerConfig::loopback(dir.join("state")) };
    let _server = Server::start(&config, exports, Arc::new(LogObserver)).expect("server");
    loop {
        std::thread::park();
    }
}

fn start_dawn(dir: &Path) -> Running {
    let exe = std::env::current_exe().unwrap();
    let child = Command::new(exe).arg("--serve").arg(dir).spawn().expect("own executable");
    wait_for(DAWN_PORT);
    Running { name: "dawn", child, port: DAWN_PORT, mount_port: DAWN_PORT, path: "/bench".to_owned() }
}

/// Runs this program again in a network namespace: rpcbind has to answer on port 111, or ganesha does not
/// serve NFSv3, and the machine's own must not be touched.
fn run_in_namespace(args: &[String]) {
    let script = "mount -t tmpfs none /run; ip link set lo up; rpcbind -f & rpcbind=$!; \"$@\"; status=$?; kill $rpcbind; exit $status";
    let exe = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["-n", "-m", "sh", "-c", script, "sh"])
        .arg(exe)
        .args(args)
        .arg("--in-namespace")
        .status()
        .expect("unshare is installed");
    std::process::exit(status.code().unwrap_or(1));
}

fn start_ganesha(dir: &Path) -> Running {
    let export = dir.join("export");
    let config = format!(
        "NFS_CORE_PARAM {{ Protocols = 3; NFS_Port = {GANESHA_PORT}; MNT_Port = {GANESHA_MOUNT_PORT}; \
         Enable_NLM = false; Enable_RQUOTA = false; }}\n\
         EXPORT {{ Export_Id = 1; Path = {path}; Pseudo = /bench; Access_Type = RW; Squash = none; \
         SecType = sys; Protocols = 3; Transports = TCP; MaxRead = 1048576; MaxWrite = 1048576; \
         FSAL {{ Name = VFS; }} }}\n",
        path = export.display(),
    );
    let file = dir.join("ganesha.conf");
    std::fs::write(&file, config).unwrap();
    let log = dir.join("ganesha.log");
    std::fs::create_dir_all("/var/run/ganesha").unwrap();
    let child = Command::new("taskset")
        .args(["-c", &SERVER_CPU.to_string(), "ganesha.nfsd"])
        .args([Path::new("-F"), Path::new("-f"), &file, Path::new("-L"), &log, Path::new("-p")])
        .arg(dir.join("ganesha.pid"))
        .stdin(Stdio::null())
        .spawn()
        .expect("nfs-ganesha is installed");
    let running = Running {
        name: "ganesha",
        child,
        port: GANESHA_PORT,
        mount_port: GANESHA_MOUNT_PORT,
        path: export.display().to_string(),
    };
    wait_for(GANESHA_PORT);
    running
}

fn wait_for(port: u16) {
    let until = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nothing listens on port {port}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// One thing to measure: calls of one procedure, several in flight.
struct Measure {
    name: &'static str,
    depth: usize,
    unit: Unit,
    /// Procedure and arguments of call number `n`.
    call: fn(&Files, u64) -> (u32, Writer),
}

#[derive(Clone, Copy)]
enum Unit {
    Calls,
    Megabytes,
    Listings,
}

struct Files {
    root: FileHandle,
    big: FileHandle,
    many: FileHandle,
}

const MEASURES: &[Measure] = &[
    Measure { name: "sequential read, 1 MiB, 8 in flight", depth: 8, unit: Unit::Megabytes, call: read_seq },
    Measure { name: "random read, 4 KiB, 16 in flight", depth: 16, unit: Unit::Calls, call: read_random },
    Measure { name: "random read, 32 KiB, 16 in flight", depth: 16, unit: Unit::Calls, call: read_32k },
    Measure { name: "GETATTR, 16 in flight", depth: 16, unit: Unit::Calls, call: getattr },
    Measure { name: "GETATTR, 1 in flight", depth: 1, unit: Unit::Calls, call: getattr },
    Measure { name: "LOOKUP, 16 in flight", depth: 16, unit: Unit::Calls, call: lookup },
    Measure { name: "ACCESS, 16 in flight", depth: 16, unit: Unit::Calls, call: access },
    Measure { name: "SETATTR mode, 16 in flight", depth: 16, unit: Unit::Calls, call: setattr },
    Measure { name: "READDIRPLUS of 10,000 entries", depth: 1, unit: Unit::Listings, call: getattr },
];

fn read(of: &FileHandle, offset: u64, count: u32) -> (u32, Writer) {
    let mut w = Writer::default();
    w.opaque(of.as_bytes());
    w.u64(offset);
    w.u32(count);
    (6, w)
}

fn scatter(n: u64, size: u64) -> u64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % (BIG_FILE_BYTES / size) * size
}

fn read_seq(files: &Files, n: u64) -> (u32, Writer) {
    read(&files.big, (n << 20) % BIG_FILE_BYTES, 1 << 20)
}

fn read_random(files: &Files, n: u64) -> (u32, Writer) {
    read(&files.big, scatter(n, 4096), 4096)
}

fn read_32k(files: &Files, n: u64) -> (u32, Writer) {
    read(&files.big, scatter(n, 32 << 10), 32 << 10)
}

fn getattr(files: &Files, _n: u64) -> (u32, Writer) {
    let mut w = Writer::default();
    w.opaque(files.big.as_bytes());
    (1, w)
}

fn lookup(files: &Files, n: u64) -> (u32, Writer) {
    let mut w = Writer::default();
    w.opaque(files.many.as_bytes());
    w.opaque(format!("entry-{:05}", scatter(n, 1) % 1000).as_bytes());
    (3, w)
}

fn access(files: &Files, _n: u64) -> (u32, Writer) {
    let mut w = Writer::default();
    w.opaque(files.root.as_bytes());
    w.u32(0x3f);
    (4, w)
}

fn setattr(files: &Files, n: u64) -> (u32, Writer) {
    let mut w = Writer::default();
    w.opaque(files.big.as_bytes());
    SetAttributes { mode: Some(0o600 | (n & 0o77) as u32), ..SetAttributes::default() }.write(&mut w);
    w.u32(0);
    (2, w)
}

struct Run {
    rate: String,
    cpu: String,
}

fn run(server: &Running, measure: &Measure, time: Duration) -> Run {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut client = Client::connect(at(server.mount_port)).unwrap();
    let root = client.mount(&server.path).expect("mount");
    let mut client = Client::connect(at(server.port)).unwrap();
    client.next_xid = 1 + std::process::id() * 65_536;
    let files =
        Files { root, big: client.walk(&root, "big").unwrap(), many: client.walk(&root, "many").unwrap() };
    let cpu_before = cpu_seconds(server.child.id());
    let start = Instant::now();
    let count = match measure.unit {
        Unit::Listings => listings(&mut client, &files, time),
        _ => flight(&mut client, server.port, &files, measure, time),
    };
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(server.child.id()) - cpu_before);
    let rate = count as f64 / wall;
    match measure.unit {
        Unit::Megabytes => Run {
            rate: format!("{:.0} MB", rate * 1.048_576),
            cpu: format!("{:.2} s/GB", cpu / (count as f64 * 1.048_576e-3)),
        },
        Unit::Listings => {
            Run { rate: format!("{rate:.1}"), cpu: format!("{:.1} ms each", cpu / count as f64 * 1e3) }
        }
        Unit::Calls => {
            Run { rate: format!("{rate:.0}"), cpu: format!("{:.1} µs/call", cpu / count as f64 * 1e6) }
        }
    }
}

fn listings(client: &mut Client, files: &Files, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < until {
        let entries = client.readdir(&files.many, 64 << 10, true).unwrap();
        assert_eq!(entries.len(), ENTRIES + 2);
        count += 1;
    }
    count
}

/// Keeps `depth` calls in flight and counts the answers.
fn flight(client: &mut Client, port: u16, files: &Files, measure: &Measure, time: Duration) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0u8; 4 << 20];
    let (mut have, mut sent, mut answered) = (0, 0u64, 0u64);
    let mut out = Vec::new();
    let until = Instant::now() + time;
    loop {
        let more = Instant::now() < until;
        out.clear();
        while more && sent - answered < measure.depth as u64 {
            let (procedure, args) = (measure.call)(files, sent);
            out.extend(client.encode(nfs3::PROGRAM, 3, procedure, args.bytes()).1);
            sent += 1;
        }
        if sent == answered {
            return answered;
        }
        stream.write_all(&out).unwrap();
        let got = stream.read(&mut buffer[have..]).unwrap();
        assert!(got > 0, "server closed the connection");
        have += got;
        let mut at = 0;
        while let Some(header) = buffer[at..have].first_chunk::<4>() {
            let len = (u32::from_be_bytes(*header) & 0x7fff_ffff) as usize;
            if have - at < 4 + len {
                break;
            }
            // Accepted, successful, and the procedure's own status is good.
            assert!(buffer[at + 12..at + 32].iter().all(|b| *b == 0), "{}: failed call", measure.name);
            at += 4 + len;
            answered += 1;
        }
        buffer.copy_within(at..have, 0);
        have -= at;
    }
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat"))).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}
