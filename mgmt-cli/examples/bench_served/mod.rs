//! A daemon in a network namespace and the bench in another one, on a wire between them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

/// The daemon's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The first address of the bench.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The two namespaces, by a short word that is in their names.
#[derive(Clone, Copy)]
pub(crate) struct Namespaces(pub &'static str);

fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status().expect("ip of iproute2");
    assert!(done.success(), "ip {line} failed; are you root?");
}

impl Namespaces {
    fn server(self) -> String {
        format!("dawn-{}-server", self.0)
    }

    fn outside(self) -> String {
        format!("dawn-{}-outside", self.0)
    }

    fn remove(self) {
        for namespace in [self.server(), self.outside()] {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).stderr(Stdio::null()).status();
        }
    }

    /// Makes the namespaces and runs this program in the outer one. `at_server` and `outside` are lines of
    /// ip(8) for either; `DEV` stands for the wire's end there.
    pub(crate) fn run(self, words: &[String], at_server: &[&str], outside: &[&str]) -> ExitCode {
        let (server, outer) = (self.server(), self.outside());
        let [near, far] = ["0", "1"].map(|end| format!("{}{end}", self.0));
        self.remove();
        for namespace in [&server, &outer] {
            ip(&format!("netns add {namespace}"));
        }
        ip(&format!("link add {near} netns {server} type veth peer name {far} netns {outer}"));
        for (namespace, device, address, lines) in
            [(&server, &near, SERVER, at_server), (&outer, &far, OUTSIDE, outside)]
        {
            ip(&format!("-n {namespace} addr add {address}/16 dev {device}"));
            ip(&format!("-n {namespace} link set {device} up"));
            ip(&format!("-n {namespace} link set lo up"));
            lines.iter().for_each(|line| ip(&format!("-n {namespace} {}", line.replace("DEV", device))));
        }
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &outer]).arg(this).args(words).arg("--outside");
        let status = command.status();
        self.remove();
        if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// A data directory, and the program that serves it.
pub(crate) struct Served {
    namespaces: Namespaces,
    dawn: PathBuf,
    /// Everything of the run; the data directory is `data` below it.
    pub dir: tempfile::TempDir,
}

impl Served {
    /// A directory that `dawn init` is still to make; without `dawn` it is the program next to the folder of
    /// this one.
    pub(crate) fn new(namespaces: Namespaces, dawn: Option<PathBuf>) -> Self {
        let beside = || std::env::current_exe().unwrap().with_file_name("../dawn");
        let served =
            Self { namespaces, dawn: dawn.unwrap_or_else(beside), dir: tempfile::tempdir().unwrap() };
        assert!(served.dawn.exists(), "{} is missing: cargo build --release", served.dawn.display());
        served
    }

    /// Makes the data directory.
    pub(crate) fn init(&self) {
        self.done(&["init", "--data", &self.data(), "--master", &SERVER.to_string()]);
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    /// A command in the server's namespace.
    pub(crate) fn dawn(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespaces.server()]).arg(&self.dawn).args(words);
        command.stdin(Stdio::null()).env("HOME", self.dir.path()).env("XCATHOST", "127.0.0.1:3001");
        command
    }

    /// The output of one that must succeed.
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.dawn(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the daemon with these services and options, and waits until it is ready.
    pub(crate) fn launch(&self, options: &[&str]) -> Daemon {
        let data = self.data();
        let log = self.dir.path().join("log");
        let mut command = self.dawn(&[&["serve", "--data", &data], options].concat());
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut daemon = Daemon(command.spawn().unwrap());
        let mut lines = BufReader::new(daemon.0.stdout.take().unwrap()).lines();
        let is_ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
        assert!(is_ready, "{}", fs::read_to_string(log).unwrap());
        daemon
    }
}

/// The running daemon; ended when dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// What proc(5) has of it under this name.
    pub(crate) fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0.id()).into()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
