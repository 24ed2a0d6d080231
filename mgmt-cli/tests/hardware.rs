//! The real executable and simulated BMCs: passwords stay inside, and a client that stops stops what has not
//! begun.
//!
//! Traffic stays on loopback. Waits have a bound and end with the condition; nothing is asserted about how
//! long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[path = "../../hardware/ipmi/tests/support/mod.rs"]
mod support;

use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::{Credentials, Secret, Seed};
use dawn_xcatd::Request;
use dawn_xcatd::client::{self, ClientSettings};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::Served;

/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// The password of the BMC, and a wrong one.
const PASSWORD: &str = "hunter2-of-bmc";
const WRONG: &str = "hunter2-wrong";

/// A management node with its daemon.
struct Site {
    directory: tempfile::TempDir,
    daemon: Child,
    settings: ClientSettings,
}

fn dawn(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dawn"));
    command.env_clear().env("HOME", home).env("USER", "root").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null());
    command
}

impl Site {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (home, data) = (directory.path().join("home"), directory.path().join("data"));
        std::fs::create_dir_all(&home).unwrap();
        let init = dawn(&home).args(["init", "--master", "127.0.0.1", "--data"]).arg(&data).output().unwrap();
        assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
        // Two ports that were free a moment ago.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [commands, status] = ports.map(|socket| socket.local_addr().unwrap().port().to_string());
        let mut serve = dawn(&home);
        serve.env("DAWN_LOG", "debug");
        serve.args(["serve", "--services", "xcatd", "--xcatd-port", &commands, "--status-port", &status]);
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut daemon = serve.arg("--data").arg(&data).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let settings = ClientSettings {
            host: format!("127.0.0.1:{commands}"),
            certificates: home.join(".xcat"),
            show_source: false,
            show_xml: false,
            trace: false,
            has_terminal: false,
            bypass: false,
        };
        Self { directory, daemon, settings }
    }

    fn run_until(&self, line: &str, stop: &AtomicBool) -> String {
        let mut words = line.split(' ').map(str::to_owned);
        let command = words.next().unwrap();
        let request = Request { command, args: words.collect(), ..Request::default() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let _code = client::run(&self.settings, &request, stop, &mut out, &mut err);
        out.append(&mut err);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn run(&self, line: &str) -> String {
        self.run_until(line, &AtomicBool::new(false))
    }

    fn commands_log(&self) -> String {
        let path = self.directory.path().join("data/log/commands.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn simulated(seed: u8) -> Served {
    let credentials = Credentials::new("ADMIN", Secret::new(PASSWORD.as_bytes())).unwrap();
    Served::start(Bmc::new(credentials, Habits::default(), Seed([seed; 32])))
}

/// Processes other than this one whose arguments or environment have the text.
fn holders(text: &str) -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let numbered = processes.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.bytes().all(|byte| byte.is_ascii_digit()) && name != own
    });
    let files = numbered.flat_map(|path| ["cmdline", "environ"].map(|file| path.join(file)));
    let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
    files.filter(|file| std::fs::read(file).is_ok_and(|bytes| has(&bytes))).collect()
}

#[test]
fn passwords_stay_inside() {
    let site = Site::start();
    let (good, other) = (simulated(1), simulated(2));
    for (node, bmc, password) in [("cn1", good.address, PASSWORD), ("cn2", other.address, WRONG)] {
        site.run(&format!("nodeadd {node} groups=all nodehm.mgt=ipmi"));
        site.run(&format!("chdef {node} bmc={bmc} bmcusername=ADMIN bmcpassword={password}"));
    }
    let finished = AtomicBool::new(false);
    let mut told = String::new();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut found = Vec::new();
            while !finished.load(Ordering::Acquire) && found.is_empty() {
                found = holders("hunter2");
            }
            found
        });
        for line in [
            "rpower all stat",
            "rpower all on -V",
            "rpower all stat --json",
            "rinv all",
            "rvitals all",
            "reventlog all",
            "rspconfig all userid=3 password=hunter2-new",
            "rspconfig all password=hunter2-much-too-long",
            "ripmi all 6 1",
            "tabdump auditlog",
            "log",
        ] {
            told.push_str(&site.run(line));
        }
        finished.store(true, Ordering::Release);
        assert_eq!(watcher.join().unwrap(), Vec::<PathBuf>::new());
    });
    assert!(told.contains("cn1: off") && told.contains("cn1: on"), "{told}");
    assert!(told.contains("cn2: ") && told.contains("ERROR: Incorrect password provided"), "{told}");
    let log = std::fs::read_to_string(site.directory.path().join("log")).unwrap();
    for (place, text) in [("answers", told), ("log", log), ("commands.log", site.commands_log())] {
        assert!(!text.contains("hunter2"), "{place}: {text}");
    }
}

/// The second machine would be switched on a minute after the first.
#[test]
fn a_client_that_stops() {
    let site = Site::start();
    let (first, second) = (simulated(3), simulated(4));
    for (node, bmc) in [("cn1", first.address), ("cn2", second.address)] {
        site.run(&format!("nodeadd {node} groups=all nodehm.mgt=ipmi"));
        site.run(&format!("chdef {node} bmc={bmc} bmcusername=ADMIN bmcpassword={PASSWORD}"));
    }
    site.run("chtab key=syspowerinterval site.value=3600");
    site.run("chtab key=syspowermaxnodes site.value=1");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| site.run_until("rpower cn1,cn2 on", &stop));
        let status = || site.run("nodels cn1 nodelist.status") + &site.run("rpower cn1 stat");
        wait_for("the first machine is not switched on", || status().contains("cn1: on"));
        stop.store(true, Ordering::Release);
        client.join().unwrap();
    });
    // The record of a command is written at its end.
    wait_for("the command goes on", || site.commands_log().contains("rpower 'cn1,cn2' on"));
    assert!(site.run("nodels cn1 nodelist.status").contains("powering-on"), "what was done is written");
    assert!(site.run("rpower cn2 stat").contains("cn2: off"));
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
