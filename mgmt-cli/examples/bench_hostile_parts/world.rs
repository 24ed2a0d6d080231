//! Two network namespaces, a data directory, and the daemon.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

const SERVER_NS: &str = "dawn-hostile-server";
const OUTSIDE_NS: &str = "dawn-hostile-outside";
const SERVER_IF: &str = "hostile0";
const OUTSIDE_IF: &str = "hostile1";
/// The daemon's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The node that attacks.
pub(crate) const HOSTILE_NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 11);
/// The node that boots.
pub(crate) const GOOD_NODE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 12);
/// A file next to the names, for READ.
pub(crate) const LARGE_FILE: &str = "large";
const LARGE_FILE_BYTES: usize = 1 << 20;
/// Names in the directory that NFS lists.
const NAMES: usize = 6000;
/// Length of the file that nodes fetch, bytes.
const FILE_BYTES: usize = 8 << 20;

/// The address of a stranger.
pub(crate) fn stranger(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 78, high, low)
}

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
        format!("-n {OUTSIDE_NS} addr add {HOSTILE_NODE}/16 dev {OUTSIDE_IF}"),
        format!("-n {OUTSIDE_NS} addr add {GOOD_NODE}/16 dev {OUTSIDE_IF}"),
        format!("-n {SERVER_NS} link set {SERVER_IF} up"),
        format!("-n {SERVER_NS} link set lo up"),
        format!("-n {OUTSIDE_NS} link set {OUTSIDE_IF} up"),
        format!("-n {OUTSIDE_NS} link set lo up"),
        format!("-n {OUTSIDE_NS} route add local 10.78.0.0/16 dev lo"),
        format!("-n {SERVER_NS} route add 10.78.0.0/16 via 10.77.0.2"),
    ] {
        ip(&line);
    }
    let this = std::env::current_exe().expect("this program");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", OUTSIDE_NS]).arg(this).args(words).arg("--outside");
    let status = command.status();
    remove_namespaces();
    if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The data directory and the files to be fetched.
pub(crate) struct World {
    dawn: PathBuf,
    dir: tempfile::TempDir,
}

impl World {
    /// Two nodes, a large file, a large directory.
    pub(crate) fn new(dawn: Option<PathBuf>) -> Self {
        let beside = || std::env::current_exe().unwrap().with_file_name("../dawn");
        let world = Self { dawn: dawn.unwrap_or_else(beside), dir: tempfile::tempdir().unwrap() };
        assert!(world.dawn.exists(), "{} is missing: cargo build --release", world.dawn.display());
        // NFS calls of nodes are carried out for users who must get there.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(world.dir.path(), open).unwrap();
        for name in ["install", "tftpboot", "listed"] {
            fs::create_dir(world.dir.path().join(name)).unwrap();
        }
        fs::write(world.dir.path().join("install/big"), vec![7; FILE_BYTES]).unwrap();
        fs::write(world.dir.path().join("tftpboot/kernel"), vec![7; 100_000]).unwrap();
        for number in 0..NAMES {
            fs::write(world.listed().join(format!("a-file-with-a-longer-name-{number}")), "").unwrap();
        }
        fs::write(world.listed().join(LARGE_FILE), vec![7; LARGE_FILE_BYTES]).unwrap();
        let data = world.data();
        world.done(&["init", "--data", &data, "--master", &SERVER.to_string()]);
        let exports = format!("{} 10.77.0.0/16(ro,insecure,no_root_squash)\n", world.listed().display());
        fs::write(world.dir.path().join("data/exports"), exports).unwrap();
        world
    }

    /// The exported directory.
    pub(crate) fn listed(&self) -> PathBuf {
        self.dir.path().join("listed")
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    /// A command in the server's namespace.
    pub(crate) fn dawn(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", SERVER_NS]).arg(&self.dawn).args(words).stdin(Stdio::null());
        command.env("HOME", self.dir.path()).env("XCATHOST", "127.0.0.1:3001");
        command
    }

    fn done(&self, words: &[&str]) {
        let output = self.dawn(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The running daemon; ended when dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Defines the nodes in a first run, and serves them in a second one, with the directories of `site`.
    pub(crate) fn start(world: &World) -> Self {
        let first = Self::launch(world);
        let place = |name: &str| world.dir.path().join(name).display().to_string();
        let (install, tftp) = (place("install"), place("tftpboot"));
        world.done(&["chdef", "-t", "site", &format!("installdir={install}"), &format!("tftpdir={tftp}")]);
        for (name, address) in [("cn1", HOSTILE_NODE), ("cn2", GOOD_NODE)] {
            world.done(&["mkdef", "-t", "node", "-o", name, "groups=all", &format!("ip={address}")]);
        }
        drop(first);
        Self::launch(world)
    }

    fn launch(world: &World) -> Self {
        let (data, memory) = (world.data(), format!("{}M", super::MEMORY_MAX_MIB));
        let words = ["serve", "--data", &data, "--memory-max", &memory, "--services", "tftp,http,nfs,xcatd"];
        let log = world.dir.path().join("log");
        let mut command = world.dawn(&words);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut daemon = Self(command.spawn().unwrap());
        let mut lines = BufReader::new(daemon.0.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.is_ok_and(|line| line == "ready"));
        assert!(ready, "{}", fs::read_to_string(log).unwrap());
        daemon
    }

    fn end(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }

    fn status_mib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of proc(5)");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("kB") >> 10
    }

    /// Resident memory, MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.status_mib("VmRSS")
    }

    /// The most since [`Daemon::forget_peak`], MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.status_mib("VmHWM")
    }

    /// The peak begins with what is in use now (`clear_refs` of proc(5)).
    pub(crate) fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}
