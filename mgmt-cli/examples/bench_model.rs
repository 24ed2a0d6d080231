//! Whole commands on a cluster of many nodes, through TLS, process start included: `cargo xtask bench model`.
//!
//! A daemon of the release binary serves a new data directory; every command is run several times and
//! the middle one counts. The daemon's memory and the time to `ready` with all nodes are measured too.
//! Arguments: numbers of nodes (default 1000, 10000, 100000) and `--dawn PATH` for a binary other than the
//! one in the release folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a measuring program may stop at the first surprise, reads its arguments, and passes its environment on"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PORT: &str = "127.0.0.1:39301";
const RUNS: usize = 5;

/// What the goals of the project say for 10,000 and for 100,000 nodes, milliseconds; zero: there is none.
const GOALS: &[(&str, [u32; 2])] = &[
    ("nodeadd of all", [1000, 1000]),
    ("nodels", [30, 100]),
    ("lsdef of all: mac, ip", [300, 500]),
    ("lsdef of all: everything", [1500, 0]),
    ("tabdump nodelist", [100, 0]),
    ("chdef of all", [1000, 500]),
    ("gettab one value", [10, 0]),
    ("start to ready", [300, 300]),
    ("noderm of all", [0, 2000]),
];

struct Bench {
    dawn: PathBuf,
    directory: tempfile::TempDir,
    results: Vec<(&'static str, Duration)>,
}

impl Bench {
    fn dawn(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.dawn);
        command.args(words).env("HOME", self.directory.path()).env("XCATHOST", PORT).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Duration {
        let start = Instant::now();
        let output = self.dawn(words).output().unwrap();
        let time = start.elapsed();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        time
    }

    fn measure(&mut self, name: &'static str, runs: usize, words: impl Fn(usize) -> Vec<String>) {
        let mut times: Vec<Duration> = (0..runs)
            .map(|run| self.run(&words(run).iter().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        times.sort();
        self.results.push((name, times[times.len() / 2]));
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    /// Starts the daemon; returns when it says `ready`.
    fn serve(&mut self, measured: bool) -> Child {
        let data = self.data();
        let start = Instant::now();
        let ports = ["--xcatd-port", "39301", "--status-port", "39302"];
        let mut command = self.dawn(&["serve", "--data", &data, "--services", "xcatd"]);
        let mut child = command.args(ports).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line == "ready");
        assert!(ready, "the daemon ended before it was ready");
        if measured {
            self.results.push(("start to ready", start.elapsed()));
        }
        child
    }
}

fn stop(mut child: Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
}

/// Resident memory, MiB.
fn resident_mib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn mac_table(nodes: usize) -> String {
    let mut text = String::from("#node,mac\n");
    for n in 1..=nodes {
        let _ =
            writeln!(text, "\"cn{n:06}\",\"52:54:{:02x}:{:02x}:{:02x}:00\"", n >> 16, n >> 8 & 255, n & 255);
    }
    text
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// All measurements for one size; resident memory at the end.
fn one_size(dawn: &Path, nodes: usize) -> (Vec<(&'static str, Duration)>, u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = Bench { dawn: dawn.to_owned(), directory, results: Vec::new() };
    let data = bench.data();
    bench.run(&["init", "--data", &data, "--master", "127.0.0.1"]);
    let daemon = bench.serve(false);
    let all = format!("cn[000001-{nodes:06}]");
    bench.measure("nodeadd of all", 1, |_| words(&format!("nodeadd {all} groups=compute,all")));
    let macs = bench.directory.path().join("mac.csv");
    fs::write(&macs, mac_table(nodes)).unwrap();
    bench.run(&["tabrestore", &macs.display().to_string()]);
    let ip = "hosts.ip=|10.($1/65536).(($1/256)%256).($1%256)|";
    bench.run(&[
        "chtab",
        "node=compute",
        ip,
        "nodehm.mgt=ipmi",
        r"ipmi.bmc=/\z/-bmc/",
        "ipmi.username=admin",
    ]);
    let shared = "chtab node=all noderes.netboot=xnba noderes.installnic=mac nodetype.os=debian12 nodetype.arch=x86_64 \
                  nodetype.profile=compute nodetype.provmethod=img chain.currstate=netboot";
    bench.run(&words(shared).iter().map(String::as_str).collect::<Vec<_>>());
    bench.measure("nodels", RUNS, |_| words("nodels"));
    bench.measure("lsdef of all: mac, ip", RUNS, |_| words("lsdef all -i mac,ip -c"));
    bench.measure("lsdef of all: everything", RUNS, |_| words("lsdef all"));
    bench.measure("tabdump nodelist", RUNS, |_| words("tabdump nodelist"));
    bench.measure("chdef of all", RUNS, |run| words(&format!("chdef all currchain=boot{run}")));
    bench.measure("gettab one value", RUNS, |_| words("gettab key=master site.value"));
    let resident = resident_mib(&daemon);
    stop(daemon);
    let daemon = bench.serve(true);
    bench.measure("noderm of all", 1, |_| words("noderm all"));
    stop(daemon);
    (bench.results, resident)
}

fn main() {
    let mut sizes = Vec::new();
    let mut dawn = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("dawn");
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--dawn" => dawn = words.next().expect("a path").into(),
            number => sizes.push(number.parse().expect("a number of nodes")),
        }
    }
    assert!(dawn.exists(), "{} is missing: cargo build --release", dawn.display());
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 100_000];
    }
    let columns: Vec<_> = sizes.iter().map(|nodes| one_size(&dawn, *nodes)).collect();
    let head: Vec<String> = sizes.iter().map(|nodes| format!("{nodes} nodes, ms")).collect();
    println!("| command | {} | goal at 10,000 | goal at 100,000 |", head.join(" | "));
    println!("|---|{}---:|---:|", "---:|".repeat(sizes.len()));
    for (name, _) in &columns[0].0 {
        let time = |(results, _): &(Vec<(&'static str, Duration)>, u64)| {
            let found =
                results.iter().find(|(n, _)| n == name).map_or(0.0, |(_, t)| t.as_secs_f64() * 1000.0);
            format!("{found:.0}")
        };
        let goals = GOALS.iter().find(|(n, _)| n == name).map_or([0; 2], |(_, goals)| *goals);
        let [small, large] = goals.map(|ms| if ms == 0 { String::new() } else { ms.to_string() });
        let times = columns.iter().map(time).collect::<Vec<_>>().join(" | ");
        println!("| {name} | {times} | {small} | {large} |");
    }
    let memory: Vec<String> = columns.iter().map(|(_, mib)| format!("{mib} MiB")).collect();
    println!("| memory of the daemon | {} | 150 MiB | |", memory.join(" | "));
}
