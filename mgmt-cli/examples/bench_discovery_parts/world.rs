//! Two network namespaces, the tables, and the daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use super::plan::{self, Plan};

const SERVER_NS: &str = "dawn-discover-server";
const OUTSIDE_NS: &str = "dawn-discover-outside";
const SERVER_IF: &str = "discover0";
const OUTSIDE_IF: &str = "discover1";
/// The daemon's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Ticks of the processor time in proc(5) that make a second.
const TICKS_PER_SECOND: u64 = 100;

fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status().expect("ip of iproute2");
    assert!(done.success(), "ip {line} failed; are you root?");
}

fn remove_namespaces() {
    for namespace in [SERVER_NS, OUTSIDE_NS] {
        let _ = Command::new("ip").args(["netns", "del", namespace]).stderr(Stdio::null()).status();
    }
}

/// Makes the namespaces and runs this program in the outer one.
pub(crate) fn run_outside(words: &[String]) -> ExitCode {
    remove_namespaces();
    for line in [
        format!("netns add {SERVER_NS}"),
        format!("netns add {OUTSIDE_NS}"),
        format!("link add {SERVER_IF} netns {SERVER_NS} type veth peer name {OUTSIDE_IF} netns {OUTSIDE_NS}"),
        format!("-n {SERVER_NS} addr add {SERVER}/16 dev {SERVER_IF}"),
        format!("-n {OUTSIDE_NS} addr add 10.77.0.2/16 dev {OUTSIDE_IF}"),
        format!("-n {SERVER_NS} link set {SERVER_IF} up"),
        format!("-n {SERVER_NS} link set lo up"),
        format!("-n {OUTSIDE_NS} link set {OUTSIDE_IF} up"),
        format!("-n {OUTSIDE_NS} link set lo up"),
        // Machines and switches: one process may be any of them.
        format!("-n {OUTSIDE_NS} route add local 10.78.0.0/16 dev lo"),
        format!("-n {OUTSIDE_NS} route add local 10.79.0.0/24 dev lo"),
        format!("-n {SERVER_NS} route add 10.78.0.0/15 via 10.77.0.2"),
    ] {
        ip(&line);
    }
    // A silent switch is a network where nothing answers.
    ip(&format!("-n {OUTSIDE_NS} route add blackhole 10.79.1.0/24"));
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", OUTSIDE_NS]).arg(this).args(words).arg("--outside");
    let status = command.status();
    remove_namespaces();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The data directory.
pub(crate) struct World {
    dawn: PathBuf,
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let beside = || std::env::current_exe().unwrap().with_file_name("../dawn");
        let dawn = plan.dawn.as_ref().map_or_else(beside, PathBuf::from);
        let world = Self { dawn, dir: tempfile::tempdir().unwrap() };
        assert!(world.dawn.exists(), "{} is missing: cargo build --release", world.dawn.display());
        world.done(&["init", "--data", &world.data(), "--master", &SERVER.to_string()]);
        world
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    /// A command in the server's namespace.
    fn dawn(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", SERVER_NS]).arg(&self.dawn).args(words).stdin(Stdio::null());
        command.env("HOME", self.dir.path()).env("XCATHOST", "127.0.0.1:3001");
        command
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.dawn(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Networks, switches, and nodes with a port each and without a MAC, by templates of their groups.
    fn define(&self, plan: &Plan) {
        for (name, net) in [("machines", "10.78.0.0"), ("switches", "10.79.0.0")] {
            self.done(&["mkdef", "-t", "network", "-o", name, &format!("net={net}"), "mask=255.255.0.0"]);
        }
        let of_port = plan.per_switch();
        let nodes = format!("cn[{:04}-{:04}]", 1, plan.machines);
        self.done(&["mkdef", "-t", "node", "-o", &nodes, "groups=compute,all"]);
        let compute = [
            r"ip=|cn(\d+)|10.77.(($1-1)/200+1).(($1-1)%200+1)|".to_owned(),
            format!(r"switch=|cn(\d+)|sw(($1-1)/{of_port}+1)|"),
            format!(r"switchport=|cn(\d+)|(($1-1)%{of_port}+1)|"),
        ];
        let mut words = vec!["chdef", "-t", "group", "-o", "compute"];
        words.extend(compute.iter().map(String::as_str));
        self.done(&words);
        let last = plan.switches + plan.silent;
        self.done(&[
            "mkdef",
            "-t",
            "node",
            "-o",
            &format!("sw[1-{last}]"),
            "groups=switch,all",
            "nodetype=switch",
        ]);
        for number in 1..=last {
            let address = match number.checked_sub(plan.switches + 1) {
                None => plan::switch(number).to_string(),
                Some(silent) => format!("10.79.1.{}", silent + 1),
            };
            self.done(&["chdef", &format!("sw{number}"), &format!("ip={address}"), "snmpversion=2c"]);
        }
        // A node at each silent switch, or it would not be asked.
        for silent in 1..=plan.silent {
            let (name, at) = (format!("cx{silent}"), plan.switches + silent);
            self.done(&[
                "mkdef",
                "-t",
                "node",
                "-o",
                &name,
                "groups=all",
                &format!("switch=sw{at}"),
                "switchport=1",
            ]);
        }
    }

    /// Machines whose MAC is not the one of the node at their port.
    pub(crate) fn wrong_nodes(&self, plan: &Plan) -> usize {
        let table = self.done(&["tabdump", "mac"]);
        let is_right = |machine: &u32| {
            let start = format!("\"{}\",", plan::node(*machine));
            let mac = format!("\"{}\"", plan::mac_text(*machine));
            table.lines().filter(|line| line.contains(&mac)).count() == 1
                && table.lines().any(|line| line.starts_with(&start) && line.contains(&mac))
        };
        (0..plan.machines).filter(|machine| !is_right(machine)).count()
    }
}

/// The running daemon; ended when dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it and defines the cluster.
    pub(crate) fn start(world: &World, plan: &Plan) -> Self {
        let data = world.data();
        let log = world.dir.path().join("log");
        let mut command = world.dawn(&["serve", "--data", &data, "--services", "xcatd"]);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut daemon = Self(command.spawn().unwrap());
        let mut lines = BufReader::new(daemon.0.stdout.take().unwrap()).lines();
        let is_ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
        assert!(is_ready, "{}", fs::read_to_string(log).unwrap());
        world.define(plan);
        daemon
    }

    /// Processor time of all threads, of user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("the daemon runs");
        let (_, after) = stat.rsplit_once(')').expect("proc(5)");
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
