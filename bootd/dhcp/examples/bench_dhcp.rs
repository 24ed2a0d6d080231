//! DHCP bench: perfdhcp against this server, kea-dhcp4 (memfile) and dnsmasq, one after the other, in one run
//! and in separate network namespaces. `cargo xtask bench dhcp [--seconds N] [--clients N] [--rates A,B,…]`,
//! as root, with the Debian packages kea-dhcp4-server, kea-admin and dnsmasq-base.
//!
//! Prints a table for docs/performance.md: rate asked for and reached, drops, delays, and the server's CPU
//! time (all threads, user and system) for one exchange of four messages. Every server starts with no leases,
//! leases for an hour from the same /15, and stores leases in its usual way: this one syncs each group of
//! leases before it answers, Kea and dnsmasq write without a sync.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use dawn_dhcp::directory::{Network, Range};
use dawn_dhcp::engine::{Engine, Incoming, Interface, Output, Settings};
use dawn_dhcp::fixed::FixedDirectory;
use dawn_dhcp::lease::journal::Journal;
use dawn_dhcp::lease::record::Record;
use dawn_dhcp::lease::{Lease, State, Table};
use dawn_dhcp::{HwAddr, Time};
use dhcproto::{Encodable, v4};

const SERVER_NS: &str = "dawnbds";
const CLIENT_NS: &str = "dawnbdc";
const SERVER_IF: &str = "dawnbd0";
const CLIENT_IF: &str = "dawnbd1";
const FIRST: &str = "10.99.0.0";
const LAST: &str = "10.99.255.254";
/// How long a server may take to listen.
const START_SECONDS_MAX: u64 = 15;

struct Options {
    seconds: u32,
    clients: u32,
    rates: Vec<u32>,
}

fn main() -> Result<()> {
    let options = options()?;
    println!("engine alone: {:.2} µs for one exchange of four messages", engine_alone()?);
    println!("restart with 100,000 leases: {:.0} ms", reload()?);
    for tool in ["perfdhcp", "kea-dhcp4", "dnsmasq", "ip"] {
        ensure!(on_path(tool), "{tool} is missing: apt-get install kea-dhcp4-server kea-admin dnsmasq-base");
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let build = ["build", "--quiet", "--release", "--example", "dhcp_server", "--manifest-path", manifest];
    ensure!(Command::new("cargo").args(build).status()?.success(), "the server under test does not build");
    let folder = PathBuf::from("/run/dawn-bench-dhcp");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let _net = Net::make()?;
    let mut table = String::from(
        "| server | asked/s | done/s | drops | discover ms avg/max | request ms avg/max | CPU µs/exchange |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut cpu: Vec<(String, u32, f64)> = Vec::new();
    for rate in &options.rates {
        for kind in ["dawn", "dawn, probing", "kea", "dnsmasq"] {
            let result = round(kind, *rate, &options, &folder)?;
            println!("{}", result.row(kind, *rate));
            writeln!(table, "{}", result.row(kind, *rate))?;
            cpu.push((kind.into(), *rate, result.cpu_us));
        }
    }
    println!("\n{table}");
    for rate in &options.rates {
        let of = |kind: &str| {
            cpu.iter().find(|(k, r, _)| k == kind && r == rate).map_or(f64::NAN, |(_, _, us)| *us)
        };
        println!(
            "at {rate}/s: kea/dawn = {:.1}, dnsmasq/dawn = {:.1}",
            of("kea") / of("dawn"),
            of("dnsmasq") / of("dawn")
        );
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options { seconds: 10, clients: 20_000, rates: vec![500, 2000, 5000] };
    #[allow(clippy::disallowed_methods, reason = "an example is its own main")]
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args.next().context("an option needs a value")?;
        match arg.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--clients" => options.clients = value.parse()?,
            "--rates" => options.rates = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            other => bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

fn on_path(tool: &str) -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| Path::new(folder).join(tool).exists())
}

/// CPU time of the engine for DISCOVER, OFFER, REQUEST, ACK of machines that come for the first time, in µs.
fn engine_alone() -> Result<f64> {
    const CLIENTS: u32 = 60_000;
    let mut network = Network::new("bench", [10, 98, 0, 0].into(), 15);
    network.ranges = Range::new(FIRST.parse()?, LAST.parse()?).into_iter().collect();
    let interface = Interface { index: 2, name: "eth0".into(), addresses: vec![([10, 98, 0, 1].into(), 15)] };
    let settings = Settings { probe: false, ..Settings::default() };
    let mut engine = Engine::new(settings, Arc::new(FixedDirectory::new(vec![network], [])), vec![interface]);
    let packets = (0..CLIENTS).map(exchange).collect::<Result<Vec<_>>>()?;
    let mut out = Output::default();
    let start = Instant::now();
    for (n, pair) in packets.iter().enumerate() {
        for bytes in pair {
            let incoming = Incoming {
                bytes,
                interface: 2,
                local: std::net::Ipv4Addr::BROADCAST,
                port: 67,
                source: "0.0.0.0:68".parse()?,
            };
            engine.handle(Time::from_millis(1_700_000_000_000 + n as u64), &incoming, &mut out);
        }
        ensure!(out.send.len() == 2, "client {n} was not answered");
        out.clear();
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(CLIENTS))
}

/// Milliseconds to read a journal of 100,000 leases and have them in the table.
fn reload() -> Result<f64> {
    let path = std::env::temp_dir().join("dawn-bench-leases");
    let _ = fs::remove_file(&path);
    let (mut journal, _) = Journal::open(&path)?;
    let end = Time::from_millis(1 << 42);
    let lease = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        Record::Lease(Lease {
            address: (0x0a00_0000 + n).into(),
            hw: HwAddr::ethernet([2, 0, a, b, c, d]),
            state: State::Bound,
            since: end,
            expires: end,
            promised: end,
            node: None,
            hostname: Some(format!("node{n}").into()),
        })
    };
    journal.commit(&(0..100_000).map(lease).collect::<Vec<_>>())?;
    drop(journal);
    let start = Instant::now();
    let (_, leases) = Journal::open(&path)?;
    let mut table = Table::default();
    leases.into_iter().for_each(|lease| table.put(lease));
    let ms = start.elapsed().as_secs_f64() * 1e3;
    ensure!(table.len() == 100_000, "leases are missing");
    fs::remove_file(&path)?;
    Ok(ms)
}

/// DISCOVER and REQUEST of one machine; the addresses are given in order, so the REQUEST is known beforehand.
fn exchange(n: u32) -> Result<[Vec<u8>; 2]> {
    let [a, b, c, d] = n.to_be_bytes();
    let hw = HwAddr::ethernet([2, 0, a, b, c, d]);
    let wanted = [1, 3, 6, 12, 15, 28, 42, 54, 58, 59].map(v4::OptionCode::from).to_vec();
    let message = |kind| {
        let mut message = v4::Message::default();
        message.set_chaddr(hw.bytes()).set_xid(n);
        message.opts_mut().insert(v4::DhcpOption::MessageType(kind));
        message.opts_mut().insert(v4::DhcpOption::ParameterRequestList(wanted.clone()));
        message
    };
    let mut request = message(v4::MessageType::Request);
    let address = u32::from(FIRST.parse::<std::net::Ipv4Addr>()?) + n;
    request.opts_mut().insert(v4::DhcpOption::RequestedIpAddress(address.into()));
    Ok([message(v4::MessageType::Discover).to_vec()?, request.to_vec()?])
}

/// Two namespaces joined by a pair of virtual Ethernet interfaces; gone when dropped.
struct Net;

impl Net {
    fn make() -> Result<Self> {
        let net = Self;
        net.remove();
        for line in [
            format!("netns add {SERVER_NS}"),
            format!("netns add {CLIENT_NS}"),
            format!(
                "link add {SERVER_IF} netns {SERVER_NS} type veth peer name {CLIENT_IF} netns {CLIENT_NS}"
            ),
            format!("-n {SERVER_NS} addr add 10.98.0.1/15 dev {SERVER_IF}"),
            format!("-n {CLIENT_NS} addr add 10.98.0.2/15 dev {CLIENT_IF}"),
            format!("-n {SERVER_NS} link set {SERVER_IF} up"),
            format!("-n {SERVER_NS} link set lo up"),
            format!("-n {CLIENT_NS} link set {CLIENT_IF} up"),
        ] {
            let done = Command::new("ip").args(line.split(' ')).status()?;
            ensure!(done.success(), "ip {line} failed");
        }
        Ok(net)
    }

    fn remove(&self) {
        for namespace in [SERVER_NS, CLIENT_NS] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A server under test; stopped when dropped.
struct Server(Child);

impl Server {
    fn start(kind: &str, folder: &Path) -> Result<Self> {
        let words = match kind {
            "kea" => kea(folder)?,
            "dnsmasq" => dnsmasq(folder),
            _ => dawn(folder, kind == "dawn, probing")?,
        };
        let child = Command::new("ip")
            .args(["netns", "exec", SERVER_NS])
            .args(&words)
            .env("KEA_PIDFILE_DIR", folder)
            .env("KEA_LOCKFILE_DIR", "none")
            .stdout(fs::File::create(folder.join("server.log"))?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self(child);
        let start = Instant::now();
        while !listening()? {
            if let Some(status) = server.0.try_wait()? {
                bail!("{kind} ended with {status}: {}", fs::read_to_string(folder.join("server.log"))?);
            }
            ensure!(start.elapsed() < Duration::from_secs(START_SECONDS_MAX), "{kind} does not listen");
            nap(100);
        }
        nap(300);
        Ok(server)
    }

    /// CPU seconds of all threads, user and system.
    fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        // SAFETY: sysconf has no preconditions.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        Ok((ticks(11) + ticks(12)) / per_second)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether someone has UDP port 67 in the server's namespace.
fn listening() -> Result<bool> {
    let words = ["netns", "exec", SERVER_NS, "cat", "/proc/net/udp", "/proc/net/packet"];
    let out = Command::new("ip").args(words).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).contains(":0043 "))
}

fn dawn(folder: &Path, probe: bool) -> Result<Vec<String>> {
    let own = std::env::current_exe()?;
    let server = own.with_file_name("dhcp_server");
    ensure!(server.exists(), "{} was not built", server.display());
    let _ = fs::remove_file(folder.join("journal"));
    let range = format!("{FIRST}-{LAST}");
    let journal = folder.join("journal").display().to_string();
    let mut words: Vec<String> =
        vec![server.display().to_string(), SERVER_IF.into(), "10.98.0.0/15".into(), range];
    words.extend(["--journal".into(), journal]);
    words.extend((!probe).then(|| "--no-probe".into()));
    Ok(words)
}

fn kea(folder: &Path) -> Result<Vec<String>> {
    let leases = folder.join("kea.csv");
    let _ = fs::remove_file(&leases);
    let config = format!(
        r#"{{"Dhcp4": {{
            "interfaces-config": {{"interfaces": ["{SERVER_IF}"]}},
            "lease-database": {{"type": "memfile", "persist": true, "lfc-interval": 0, "name": "{}"}},
            "match-client-id": false, "valid-lifetime": 3600,
            "subnet4": [{{"subnet": "10.98.0.0/15", "pools": [{{"pool": "{FIRST} - {LAST}"}}],
                "option-data": [{{"name": "routers", "data": "10.98.0.1"}}]}}],
            "loggers": [{{"name": "kea-dhcp4", "severity": "FATAL"}}]
        }}}}"#,
        leases.display()
    );
    let file = folder.join("kea.json");
    fs::write(&file, config)?;
    Ok(vec!["kea-dhcp4".into(), "-c".into(), file.display().to_string()])
}

fn dnsmasq(folder: &Path) -> Vec<String> {
    let leases = folder.join("dnsmasq.leases");
    let _ = fs::remove_file(&leases);
    [
        "dnsmasq --no-daemon --conf-file=/dev/null --port=0 --no-ping --quiet-dhcp --log-facility=/dev/null",
        &format!("--interface={SERVER_IF} --bind-interfaces --dhcp-authoritative --dhcp-lease-max=100000"),
        &format!("--dhcp-range={FIRST},{LAST},255.254.0.0,1h --dhcp-leasefile={}", leases.display()),
    ]
    .join(" ")
    .split(' ')
    .map(str::to_owned)
    .collect()
}

/// The result of one run of perfdhcp, and its cost for the server.
struct Round {
    rate: f64,
    asked: [f64; 2],
    drops: [f64; 2],
    average_ms: [f64; 2],
    worst_ms: [f64; 2],
    cpu_us: f64,
}

impl Round {
    fn row(&self, kind: &str, rate: u32) -> String {
        let percent = 100.0 * (self.drops[0] + self.drops[1]) / self.asked[0].max(1.0);
        format!(
            "| {kind} | {rate} | {:.0} | {percent:.1} % | {:.1} / {:.0} | {:.1} / {:.0} | {:.1} |",
            self.rate,
            self.average_ms[0],
            self.worst_ms[0],
            self.average_ms[1],
            self.worst_ms[1],
            self.cpu_us
        )
    }
}

fn round(kind: &str, rate: u32, options: &Options, folder: &Path) -> Result<Round> {
    let server = Server::start(kind, folder)?;
    let before = server.cpu()?;
    let out = Command::new("ip")
        .args(["netns", "exec", CLIENT_NS, "perfdhcp", "-4", "-l", CLIENT_IF])
        .args(["-r", &rate.to_string(), "-R", &options.clients.to_string()])
        .args(["-p", &options.seconds.to_string(), "-W", "2000000"])
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let cpu = server.cpu()? - before;
    let all = |label: &str| -> [f64; 2] {
        let mut values = text.lines().filter_map(|line| number_after(line, label));
        [values.next().unwrap_or(0.0), values.next().unwrap_or(0.0)]
    };
    let (asked, drops) = (all("sent packets:"), all("drops:"));
    let done = (asked[1] - drops[1]).max(1.0);
    ensure!(asked[0] > 0.0, "perfdhcp said: {text}{}", String::from_utf8_lossy(&out.stderr));
    Ok(Round {
        rate: all("Rate:")[0],
        asked,
        drops,
        average_ms: all("avg delay:"),
        worst_ms: all("max delay:"),
        cpu_us: cpu * 1e6 / done,
    })
}

fn number_after(line: &str, label: &str) -> Option<f64> {
    line.strip_prefix(label)?.split_whitespace().next()?.parse().ok()
}

#[allow(clippy::disallowed_methods, reason = "the bench waits for other programs")]
fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
