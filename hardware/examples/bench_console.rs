//! What consoles cost: thousands that are idle, over serial over LAN with simulated BMCs, and a hundred that
//! write all the time, over TCP. BMCs and machines are separate processes; CPU is that of the thread of
//! the hub, which is the only one that works. Logs are not written, but each line is checked.
//!
//! Sessions are kept alive every 25 seconds, so idle consoles need a run of minutes.
//!
//!     cargo xtask bench console --idle 2000 --busy 100 --rate 10240 --seconds 120
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench reads its own arguments and fails by panicking"
)]

#[path = "../ipmi/examples/simulated_bmcs/mod.rs"]
mod simulated_bmcs;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dawn_cluster::Snapshot;
use dawn_hardware::console::place::place;
use dawn_hardware::console::{Heard, Hub, State, Wanted};
use simulated_bmcs::{PASSWORD, Peer, USER, address, cpu};
use tokio::time::sleep;

/// The UDP port of the simulated BMCs.
const PORT: u16 = 9623;
/// Bytes of a line of a busy machine.
const LINE_BYTES: usize = 128;
/// Pause between two pieces of its output.
const PERIOD: Duration = Duration::from_millis(100);
/// Consoles must be connected in this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Counts lines, and sees that none is missing.
#[derive(Default)]
struct Counted {
    next: Mutex<HashMap<Arc<str>, u64>>,
    lost: Mutex<u64>,
}

impl Heard for Counted {
    fn line(&self, node: &Arc<str>, line: &str) {
        let Some(number) = line.split(' ').next().and_then(|word| word.parse::<u64>().ok()) else { return };
        let mut next = self.next.lock().unwrap();
        let next = next.entry(Arc::clone(node)).or_default();
        *self.lost.lock().unwrap() += number.abs_diff(*next);
        *next = number + 1;
    }

    fn event(&self, _: &str, _: &str) {}
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str, default: u64| {
        let at = words.iter().position(|word| word == name);
        at.and_then(|at| words.get(at + 1)).map_or(default, |text| text.parse().unwrap())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (idle, busy) = (u32::try_from(value("--idle", 2_000)).unwrap(), value("--busy", 100));
    let (rate, seconds) = (value("--rate", 10_240), value("--seconds", 120));
    match words.first().map(String::as_str) {
        Some("bmcs") => runtime.block_on(simulated_bmcs::serve(idle, PORT, |_| false)),
        Some("machines") => machines(busy, rate, seconds),
        _ => {
            println!("load: {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
            if cfg!(debug_assertions) {
                println!("debug build");
            }
            println!("| consoles | over | each writes | CPU of one core | resident memory | lines lost |");
            println!("|---|---|---|---|---|---|");
            if idle > 0 {
                runtime.block_on(idle_consoles(idle, seconds));
            }
            if busy > 0 {
                runtime.block_on(busy_consoles(busy, rate, seconds));
            }
        }
    }
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Consoles with these cells, once all are connected.
async fn hub(heard: Arc<Counted>, count: u64, cells: impl Fn(u64) -> [(&'static str, String); 3]) -> Hub {
    let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
    let cells: Vec<_> = (0..count).map(cells).collect();
    let mut rows = Vec::new();
    for (name, [(table, address), (method, port), (column, _)]) in names.iter().zip(&cells) {
        rows.push(("nodelist", vec![("node", name.as_str()), ("groups", "all")]));
        match *table {
            "ipmi" => {
                rows.push(("nodehm", vec![("node", name), ("cons", *method)]));
                rows.push((
                    "ipmi",
                    vec![("node", name), ("bmc", address), ("username", USER), (column, PASSWORD)],
                ));
            }
            _ => rows.push((
                "nodehm",
                vec![("node", name), ("cons", *method), ("termserver", address), (column, port)],
            )),
        }
    }
    let snapshot = Snapshot::from_rows(rows.iter().map(|(table, cells)| (*table, cells.as_slice())));
    let wanted = |node: &String| Wanted {
        node: node.clone(),
        place: place(&snapshot, node).unwrap(),
        on_demand: false,
    };
    let hub = Hub::new(heard, std::env::temp_dir());
    hub.follow(names.iter().map(wanted).collect());
    let end = Instant::now() + PATIENCE;
    let is_up = |node: &String| hub.shown(node).is_some_and(|shown| shown.state == State::Connected);
    while !names.iter().all(is_up) {
        let reason = names.iter().find(|node| !is_up(node)).and_then(|node| hub.shown(node));
        assert!(Instant::now() < end, "not all are connected: {reason:?}");
        sleep(PERIOD).await;
    }
    hub
}

/// CPU of some seconds, as a part of one core in per cent.
async fn measured(seconds: u64) -> f64 {
    let (begun, before) = (Instant::now(), cpu());
    sleep(Duration::from_secs(seconds)).await;
    100.0 * (cpu() - before).as_secs_f64() / begun.elapsed().as_secs_f64()
}

async fn idle_consoles(count: u32, seconds: u64) {
    let bmcs = Peer::start(&["bmcs", "--idle", &count.to_string()]);
    assert_eq!(bmcs.1, "ready\n", "the simulated BMCs have not started");
    let memory = resident_bytes();
    let cells = |number: u64| {
        let bmc = format!("{}:{PORT}", address(u32::try_from(number).unwrap()));
        [("ipmi", bmc), ("ipmi", String::new()), ("password", String::new())]
    };
    let _hub = hub(Arc::default(), u64::from(count), cells).await;
    let percent = measured(seconds).await;
    let used = resident_bytes().saturating_sub(memory) / 1_000_000;
    println!("| {count} idle | serial over LAN | nothing | {percent:.2} % | {used} MB | |");
}

async fn busy_consoles(count: u64, rate: u64, seconds: u64) {
    let numbers = [count, rate, seconds].map(|number| number.to_string());
    let machines =
        Peer::start(&["machines", "--busy", &numbers[0], "--rate", &numbers[1], "--seconds", &numbers[2]]);
    let memory = resident_bytes();
    let port = machines.1.trim().to_owned();
    let heard = Arc::<Counted>::default();
    let cells = |_| [("nodehm", "127.0.0.1".to_owned()), ("tcp", port.clone()), ("termport", String::new())];
    let hub = hub(Arc::clone(&heard), count, cells).await;
    let percent = measured(seconds.saturating_sub(1)).await;
    // They end by themselves; output under way still arrives.
    let end = Instant::now() + PATIENCE;
    let lines = seconds * rate / u64::try_from(LINE_BYTES).unwrap();
    let all = || heard.next.lock().unwrap().values().filter(|next| **next >= lines).count() as u64 == count;
    while !all() {
        assert!(Instant::now() < end, "lines are missing: {:?} of {lines}", heard.next.lock().unwrap());
        sleep(PERIOD).await;
    }
    let used = resident_bytes().saturating_sub(memory) / 1_000_000;
    let lost = heard.lost.lock().unwrap();
    println!("| {count} busy | TCP | {rate} bytes/s | {percent:.2} % | {used} MB | {lost} |");
    assert_eq!(*lost, 0, "lines were lost");
    drop(hub);
}

/// Machines that write numbered lines.
fn machines(count: u64, rate: u64, seconds: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let mut all: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
    let lines = seconds * rate / u64::try_from(LINE_BYTES).unwrap();
    let (begun, mut written) = (Instant::now(), 0);
    while written < lines {
        let passed = u64::try_from(begun.elapsed().as_millis()).unwrap();
        let due = (passed * rate / 1000 / u64::try_from(LINE_BYTES).unwrap()).min(lines);
        for machine in &mut all {
            let text: String = (written..due)
                .map(|number| format!("{number:<width$}\r\n", width = LINE_BYTES - 2))
                .collect();
            machine.write_all(text.as_bytes()).unwrap();
        }
        written = due;
        std::thread::sleep(PERIOD);
    }
    std::thread::sleep(PATIENCE);
}
