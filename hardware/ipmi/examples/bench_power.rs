//! The power state of many machines: this crate's client compared to FreeIPMI's `ipmipower` and to
//! `ipmitool`.
//!
//! Simulated BMCs live in a separate process, each with an address of loopback (FreeIPMI knows one port
//! only), so it runs as root. Of those that are "dead" the port is open and nothing answers. Times are wall
//! clock, from the first packet to the last line; CPU is user and system time of the asking program.
//!
//!     cargo xtask bench power --bmcs 100,1000,10000 --dead 5
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench reads its own arguments and fails by panicking"
)]

#[path = "simulated_bmcs/mod.rs"]
mod simulated_bmcs;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dawn_ipmi::command::Transport;
use dawn_ipmi::command::chassis::GetStatus;
use dawn_ipmi::limits::PORT;
use dawn_ipmi::{Client, SessionOptions, Suite};
use simulated_bmcs::{PASSWORD, PER_NET, Peer, USER, address, cpu, credentials, serve};
use tokio::task::JoinSet;

/// Most BMCs that `ipmitool` is run for: it is a process for each.
const IPMITOOL_MAX: u32 = 100;
/// Sessions that are set up at the same time.
const WIDTH: usize = 4_096;

/// Every `100 / percent`th is dead.
fn is_dead(number: u32, percent: u32) -> bool {
    percent > 0 && number.is_multiple_of(100 / percent)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value =
        |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)).cloned();
    let percent: u32 = value("--dead").map_or(0, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if words.first().is_some_and(|word| word == "serve") {
        return runtime
            .block_on(serve(value("--count").unwrap().parse().unwrap(), PORT, |bmc| is_dead(bmc, percent)));
    }
    let counts = value("--bmcs").unwrap_or_else(|| "100,1000".to_owned());
    println!("load: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    println!("| BMCs | dead | program | all answers | last live answer | CPU for one |");
    println!("|---|---|---|---|---|---|");
    for count in counts.split(',').map(|text| text.parse::<u32>().unwrap()) {
        let _bmcs = start(count, percent);
        let dead = (0..count).filter(|number| is_dead(*number, percent)).count();
        for (name, suites) in
            [("dawn, suite 17", vec![Suite::Sha256, Suite::Sha1]), ("dawn, suite 3", vec![Suite::Sha1])]
        {
            let figures = runtime.block_on(ask(count, suites));
            assert_eq!(figures.silent, dead, "silent BMCs");
            show(count, dead, name, &figures);
        }
        peers(count, percent, dead);
    }
}

/// The result of a run.
struct Figures {
    all: Duration,
    last_live: Option<Duration>,
    silent: usize,
    cpu: Duration,
}

fn show(count: u32, dead: usize, name: &str, figures: &Figures) {
    let ms = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let live = figures.last_live.map_or_else(|| "-".to_owned(), ms);
    let each = figures.cpu.as_secs_f64() * 1e6 / f64::from(count);
    println!("| {count} | {dead} | {name} | {} | {live} | {each:.0} µs |", ms(figures.all));
}

async fn ask(count: u32, suites: Vec<Suite>) -> Figures {
    let client = Client::start().unwrap();
    let options = SessionOptions { suites, ..SessionOptions::default() };
    let (start, cpu_before) = (Instant::now(), cpu());
    let (mut jobs, mut next) = (JoinSet::new(), 0);
    let (mut last_live, mut silent) = (None, 0);
    loop {
        while jobs.len() < WIDTH && next < count {
            let (client, options, peer) =
                (client.clone(), options.clone(), SocketAddr::from((address(next), PORT)));
            next += 1;
            jobs.spawn(async move {
                let session = client.connect(peer, &credentials(), &options).await.ok()?;
                session.run(GetStatus).await.ok().map(|status| status.is_on())
            });
        }
        match jobs.join_next().await {
            Some(Ok(Some(_))) => last_live = Some(start.elapsed()),
            Some(_) => silent += 1,
            None => break,
        }
    }
    Figures { all: start.elapsed(), last_live, silent, cpu: cpu() - cpu_before }
}

/// The process of the BMCs.
fn start(count: u32, dead: u32) -> Peer {
    let peer = Peer::start(&["serve", "--count", &count.to_string(), "--dead", &dead.to_string()]);
    assert_eq!(peer.1, "ready\n", "the simulated BMCs have not started: root is needed for port {PORT}");
    peer
}

/// The other programs, as far as they are installed.
fn peers(count: u32, percent: u32, dead: usize) {
    let hosts: Vec<String> = (0..count.div_ceil(PER_NET))
        .map(|net| {
            let last = (count - net * PER_NET).min(PER_NET);
            format!("127.9.{net}.[1-{last}]")
        })
        .collect();
    let freeipmi = format!(
        "ipmipower -D LAN_2_0 -I 3 -u {USER} -p {PASSWORD} -h '{}' --stat --fanout={count}",
        hosts.join(",")
    );
    peer(count, dead, "ipmipower, suite 3", &freeipmi);
    if count > IPMITOOL_MAX || percent > 0 {
        return;
    }
    let list: Vec<String> = (0..count).map(|number| address(number).to_string()).collect();
    let one = format!("ipmitool -I lanplus -C 3 -H {{}} -U {USER} -P {PASSWORD} chassis power status");
    let all = format!("printf '%s\\n' {} | xargs -P 16 -I{{}} {one}", list.join(" "));
    peer(count, dead, "ipmitool -C 3, 16 at a time", &all);
}

fn peer(count: u32, dead: usize, name: &str, line: &str) {
    let program = line.split(' ').find(|word| word.starts_with("ipmi")).unwrap();
    if Command::new("which").arg(program).stdout(Stdio::null()).status().is_ok_and(|status| !status.success())
    {
        println!("| {count} | {dead} | {name} | not installed | | |");
        return;
    }
    // The redirection of a subshell would take the times with it.
    let script = format!("TIMEFORMAT='%R %U %S'; time {{ {line}; }} >/dev/null 2>&1");
    let output = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system] = numbers[..] else { panic!("{text}") };
    let figures = Figures {
        all: Duration::from_secs_f64(wall),
        last_live: None,
        silent: dead,
        cpu: Duration::from_secs_f64(user + system),
    };
    show(count, dead, name, &figures);
}
