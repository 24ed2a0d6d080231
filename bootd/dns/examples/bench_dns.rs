//! Questions per second and per processor second, compared to bind9, unbound and dnsmasq: `cargo xtask bench
//! dns`.
//!
//! Needs root (for a network namespace) and the Debian packages bind9, bind9-dnsutils, unbound,
//! dnsmasq-base and dnsperf. Each server has the same 10,000 hosts with address and name back, and asks the
//! same other server for 1,000 further names. One after the other answers dnsperf: its own names, then the
//! others' after each has been asked once. Processor time is the server's alone, from /proc. The order of the
//! servers changes from round to round. Arguments: rounds (2) and seconds (5) of each measurement.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::disallowed_methods)]

use dawn_dns::name::DomainName;
use dawn_dns::shell::{Config, Server};
use dawn_dns::view::View;
use dawn_dns::zones::{Builder, Data, Zone};
use dawn_serving::shares::{Limit, OnlyLocal};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOSTS: u32 = 10_000;
const OTHERS: u32 = 1000;
const SERVERS: [&str; 4] = ["dawn", "bind9", "unbound", "dnsmasq"];
const START_TIME_MAX: Duration = Duration::from_secs(60);

fn host(number: u32) -> (DomainName, Ipv4Addr) {
    (format!("n{number}.c.example").parse().unwrap(), Ipv4Addr::from_bits(0x0a01_0000 + number + 1))
}

fn other(number: u32) -> (DomainName, Ipv4Addr) {
    (format!("h{number}.other.example").parse().unwrap(), Ipv4Addr::from_bits(0xc633_6400 + number % 250))
}

fn view(
    zones: &[&str],
    hosts: impl Iterator<Item = (DomainName, Ipv4Addr)>,
    forwarder: Option<&str>,
) -> View {
    let mut builder = Builder::new(1, 20_000);
    for apex in zones {
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        builder.zone(Zone {
            apex: name(apex),
            server: name("ns.c.example"),
            mailbox: name("root.c.example"),
        });
    }
    for (name, ip) in hosts {
        builder.record(&name, Data::A(ip));
        builder.record(&DomainName::reverse(ip.into()), Data::Ptr(name));
    }
    let forwarders = forwarder.map(|ip| SocketAddr::new(ip.parse().unwrap(), 53)).into_iter().collect();
    View { zones: builder.finish(), forwarders, ..View::default() }
}

/// Serves until it is killed.
fn serve(what: &str, address: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let view = match what {
        "other" => view(&["other.example"], (0..OTHERS).map(other), None),
        _ => view(&["c.example", "1.10.in-addr.arpa"], (0..HOSTS).map(host), Some("127.0.0.9")),
    };
    let connections = Limit { total: 8, per_stranger: 8, per_source: 8, local: 8 };
    let config = Config { workers: 2, connections, waiting: 512, callers: Arc::new(OnlyLocal) };
    let server = Server::start(&config, view).unwrap();
    let failed = server.listen(&[SocketAddr::new(address.parse().unwrap(), 53)]);
    assert!(failed.is_empty(), "{failed:?}");
    loop {
        std::thread::park();
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, words: &[&str]) -> Running {
    let child = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(child.unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Starts a server on 127.0.0.1 with its files in `dir`.
fn launch(server: &str, own: &Path, dir: &Path) -> Running {
    match server {
        "dawn" => start(own, &["--serve", "own", "127.0.0.1"]),
        "bind9" => bind9(dir),
        "unbound" => unbound(dir),
        _ => dnsmasq(dir),
    }
}

fn bind9(dir: &Path) -> Running {
    let head = "$TTL 300\n@ IN SOA ns.c.example. root.c.example. ( 1 900 300 604800 30 )\n\
                @ IN NS ns.c.example.\n";
    let (mut forward, mut back) = (head.to_owned() + "ns.c.example. IN A 10.1.0.1\n", head.to_owned());
    for (name, ip) in (0..HOSTS).map(host) {
        let _ = writeln!(forward, "{name}. IN A {ip}");
        let _ = writeln!(back, "{}. IN PTR {name}.", DomainName::reverse(IpAddr::V4(ip)));
    }
    write(dir, "db.forward", &forward);
    write(dir, "db.back", &back);
    let conf = format!(
        "options {{ directory \"{0}\"; forwarders {{ 127.0.0.9; }}; forward only; dnssec-validation no;\n\
         listen-on {{ 127.0.0.1; }}; pid-file none; session-keyfile \"{0}/session.key\"; }};\n\
         zone \"c.example\" {{ type master; file \"db.forward\"; }};\n\
         zone \"1.10.in-addr.arpa\" {{ type master; file \"db.back\"; }};\n",
        dir.display()
    );
    let conf = write(dir, "named.conf", &conf);
    start(Path::new("/usr/sbin/named"), &["-g", "-n", "2", "-u", "root", "-c", &conf])
}

fn unbound(dir: &Path) -> Running {
    let mut conf = format!(
        "server:\n num-threads: 2\n interface: 127.0.0.1\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
         use-syslog: no\n logfile: \"{0}/log\"\n pidfile: \"\"\n directory: \"{0}\"\n do-not-query-localhost: no\n \
         module-config: \"iterator\"\n so-reuseport: yes\n access-control: 127.0.0.0/8 allow\n \
         local-zone: \"c.example.\" static\n local-zone: \"1.10.in-addr.arpa.\" static\n",
        dir.display()
    );
    for (name, ip) in (0..HOSTS).map(host) {
        let _ = writeln!(conf, " local-data: \"{name}. 300 IN A {ip}\"");
        let back = DomainName::reverse(IpAddr::V4(ip));
        let _ = writeln!(conf, " local-data: \"{back}. 300 IN PTR {name}.\"");
    }
    conf.push_str("forward-zone:\n name: \".\"\n forward-addr: 127.0.0.9\n");
    start(Path::new("/usr/sbin/unbound"), &["-d", "-c", &write(dir, "unbound.conf", &conf)])
}

fn dnsmasq(dir: &Path) -> Running {
    let text: String = (0..HOSTS).map(host).map(|(name, ip)| format!("{ip} {name}\n")).collect();
    let hosts = format!("--addn-hosts={}", write(dir, "hosts", &text));
    let words = [
        "-k",
        "-C",
        "/dev/null",
        "--no-hosts",
        "--no-resolv",
        "-u",
        "root",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--server=127.0.0.9",
        "--cache-size=10000",
        "--dns-forward-max=1000",
        &hosts,
        "--pid-file=",
    ];
    start(Path::new("/usr/sbin/dnsmasq"), &words)
}

fn answers(name: &str) -> bool {
    let words = ["@127.0.0.1", "+time=1", "+tries=1", "+short", name, "A"];
    let output = Command::new("dig").args(words).output();
    output.is_ok_and(|output| output.stdout.first().is_some_and(u8::is_ascii_digit))
}

/// User and system time of a process, seconds (proc_pid_stat(5)).
fn cpu(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn resident_mib(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / f64::from(1 << 20)
}

/// Answers that dnsperf counts, and its seconds.
fn dnsperf(questions: &str, seconds: &str) -> (f64, f64) {
    let words = ["-s", "127.0.0.1", "-d", questions, "-c", "8", "-q", "200", "-l", seconds];
    let output = Command::new("dnsperf").args(words).output().expect("dnsperf is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |label: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(label));
        let word =
            line.and_then(|line| line.split(':').nth(1)?.split_whitespace().next()?.parse::<f64>().ok());
        word.unwrap_or_else(|| panic!("{label} is not in {text}"))
    };
    let codes = text.lines().find(|line| line.contains("Response codes")).unwrap_or_default();
    assert!(codes.contains("NOERROR") && !codes.contains("REFUSED") && !codes.contains("NXDOMAIN"), "{text}");
    (number("Queries completed"), number("Run time (s)"))
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, what, address] = words.as_slice()
        && flag == "--serve"
    {
        return serve(what, address);
    }
    let rounds: usize = words.get(1).map_or(2, |word| word.parse().expect("a number of rounds"));
    let seconds = words.get(2).map_or("5", String::as_str);
    // SAFETY: the process has one thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("root");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    let own = std::env::current_exe().unwrap();
    let _other = start(&own, &["--serve", "other", "127.0.0.9"]);
    let dir = tempfile::tempdir().unwrap();
    let pairs = (0..HOSTS).map(host);
    let own_names: String =
        pairs.map(|(name, ip)| format!("{name} A\n{} PTR\n", DomainName::reverse(ip.into()))).collect();
    let own_names = write(dir.path(), "own", &own_names);
    let others: String = (0..OTHERS).map(other).map(|(name, _)| format!("{name} A\n")).collect();
    let others = write(dir.path(), "others", &others);
    println!("load before: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    println!(
        "| round | server | what | questions/s | µs of CPU each | resident MiB |\n|---|---|---|---|---|---|"
    );
    for round in 0..rounds {
        for at in 0..SERVERS.len() {
            let server = SERVERS[(at + round) % SERVERS.len()];
            let place = dir.path().join(format!("{server}-{round}"));
            std::fs::create_dir(&place).unwrap();
            let running = launch(server, &own, &place);
            let began = Instant::now();
            while !answers("n1.c.example") {
                assert!(began.elapsed() < START_TIME_MAX, "{server} does not answer");
                std::thread::sleep(Duration::from_millis(100));
            }
            for (what, questions) in [("own names", &own_names), ("others, cached", &others)] {
                dnsperf(questions, "1");
                let before = cpu(running.0.id());
                let (count, time) = dnsperf(questions, seconds);
                let used = cpu(running.0.id()) - before;
                let (rate, each, size) = (count / time, used * 1e6 / count, resident_mib(running.0.id()));
                println!("| {} | {server} | {what} | {rate:.0} | {each:.2} | {size:.0} |", round + 1);
            }
        }
    }
    println!("load after: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
}
