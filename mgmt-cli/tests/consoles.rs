//! The real executable: a daemon, a virtual machine's serial port (a socket of this test), a BMC (`ipmi_sim`
//! of the Debian package openipmi), and `rcons` on a terminal.
//!
//! Waits have a bound and end with the condition; nothing is asserted about how long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;
#[path = "../../hardware/ipmi/tests/support/mod.rs"]
mod support;

use common::{Daemon, PATIENCE, Site, wait_for};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// `rcons` on a new terminal.
struct Terminal {
    keys: File,
    screen: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn rcons(site: &Site, daemon: &Daemon, words: &[&str]) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave =
            || Stdio::from(OwnedFd::from(File::options().read(true).write(true).open(&name).unwrap()));
        let mut command = site.command();
        command.arg("rcons").args(words).env("XCATHOST", &daemon.settings.host);
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let keys = File::from(master);
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut output, seen) = (keys.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                seen.lock().unwrap().extend_from_slice(chunk.get(..count).unwrap());
            }
        });
        Self { keys, screen, child }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn shows(&self, text: &str) {
        let end = std::time::Instant::now() + PATIENCE;
        while !self.screen().contains(text) {
            assert!(std::time::Instant::now() < end, "{text} is not in {}", self.screen());
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
    }

    fn types(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        let mut code = None;
        wait_for("rcons does not end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn accept(listener: &UnixListener) -> UnixStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn typed(machine: &mut UnixStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    machine.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn start(directory: &Path, site: &Site) -> (Daemon, UnixListener) {
    let daemon = site.start_with_services("xcatd,console", Some(&directory.join("log")));
    let listener = UnixListener::bind(directory.join("cn1.serial")).unwrap();
    daemon.run("nodeadd cn1 groups=all nodehm.cons=qemu");
    daemon.run(&format!("chtab node=cn1 vm.cfgstore={}", directory.display()));
    daemon.run("nodeadd cn2 groups=all");
    (daemon, listener)
}

#[test]
fn a_console_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let (daemon, listener) = start(directory.path(), &site);
    let mut machine = accept(&listener);
    machine.write_all(b"\x1b[1mcn1\x1b[0m login: ").unwrap();

    let mut alice = Terminal::rcons(&site, &daemon, &["cn1"]);
    alice.shows("\x1b[1mcn1\x1b[0m login: ");
    alice.shows("[you write]");
    // Control characters are the machine's: ^C does not end rcons.
    alice.types(b"root\r\x03\x05\x05");
    typed(&mut machine, "root\r\x03\x05");
    machine.write_all(b"root\r\n").unwrap();
    alice.shows("root\r\n");

    let mut eve = Terminal::rcons(&site, &daemon, &["cn1", "-s"]);
    eve.shows("login: root");
    eve.shows("[read only]");
    eve.types(b"x");
    eve.shows("[read only: nothing was sent]");
    let mut bob = Terminal::rcons(&site, &daemon, &["-f", "cn1"]);
    bob.shows("[you write]");
    alice.shows("has taken over]");
    bob.types(b"id\r");
    typed(&mut machine, "id\r");
    assert!(
        daemon.ok("console cn1").starts_with("cn1: connected, 3 viewers"),
        "{}",
        daemon.ok("console cn1")
    );
    for viewer in [&mut alice, &mut eve, &mut bob] {
        viewer.types(b"\x05c.");
        assert_eq!(viewer.code(), Some(0));
    }

    // A panic is an event, and all of it is in the log, without what a terminal would do.
    machine.write_all(b"\x1b[31mKernel panic - not syncing: test\x1b[0m\r\nend\r\n").unwrap();
    wait_for("the log has the last line", || daemon.run("console cn1 --log -n 1").0.ends_with("] end\n"));
    let log = daemon.ok("console cn1 --log");
    for text in ["] [-- Console up --]", "] cn1 login: root\n", "] Kernel panic - not syncing: test\n"] {
        assert!(log.contains(text), "{text}: {log}");
    }
    assert!(!log.contains('\x1b'), "{log}");
    let events = daemon.ok("events cn1");
    assert!(events.contains("console: Kernel panic - not syncing: test"), "{events}");

    // The machine's QEMU ends and comes back.
    drop(machine);
    let mut machine = accept(&listener);
    machine.write_all(b"again\r\n").unwrap();
    wait_for("the console is back", || daemon.run("console cn1 --log -n 1").0.ends_with("] again\n"));
    let (text, code) = daemon.run("console cn2");
    assert!(code == 1 && text.contains("cn2 has no console"), "{text}");
}

/// Policy decides by node and by mode before anything is done.
#[test]
fn who_may_look_and_who_may_write() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let (daemon, listener) = start(directory.path(), &site);
    let _machine = accept(&listener);
    daemon.ok("chtab key=xcat,username=alice passwd.password=alicepw");
    for row in [
        "priority=2.1 policy.name=alice policy.commands=rcons policy.noderange=cn1 policy.parameters=-s policy.rule=allow",
        "priority=2.2 policy.name=bob policy.commands=rcons policy.noderange=cn2 policy.rule=allow",
    ] {
        daemon.ok(&format!("chtab {row}"));
    }
    let authority = dawn_xcatd::certificates::Authority::new(&site.data);
    for user in ["alice", "bob"] {
        let home = directory.path().join(user);
        authority.ensure_client(&home.join(".xcat"), user).unwrap();
        let run = |words: &[&str]| {
            let mut command = common::dawn(&home);
            command.arg("rcons").args(words).env("XCATHOST", &daemon.settings.host).env("USER", user);
            common::printed(&command.output().unwrap())
        };
        // Standard input is empty; a caller who is allowed in sees the console until the process is stopped.
        assert!(run(&["cn1"]).contains("Permission denied"), "{user}");
        assert!(run(&["-f", "cn1"]).contains("Permission denied"), "{user}");
    }
    let alice = Site { data: site.data.clone(), home: directory.path().join("alice"), database: None };
    let mut viewer = Terminal::rcons(&alice, &daemon, &["cn1", "-s"]);
    viewer.shows("[read only]");
    viewer.types(b"\x05cf");
    viewer.shows("[read only: start rcons without -s to write]");
    viewer.types(b"\x05c.");
    assert_eq!(viewer.code(), Some(0));
}

fn connected(daemon: &Daemon, node: &str) {
    let state = || daemon.run(&format!("console {node}")).0;
    wait_for("the console is not connected", || state().starts_with(&format!("{node}: connected")));
}

/// A machine with a BMC: `ipmi_sim`, whose serial port is a connection to this test.
struct Machine {
    serial: TcpListener,
    sim: support::IpmiSim,
}

impl Machine {
    fn start() -> Self {
        let serial = TcpListener::bind("127.0.0.1:0").unwrap();
        serial.set_nonblocking(true).unwrap();
        let port = serial.local_addr().unwrap().port();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../hardware/ipmi/tests/data/bmc.emu");
        let emulation = std::fs::read_to_string(file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sol = format!("sol \"tcp:127.0.0.1:{port}\" 115200");
        Self { serial, sim: runtime.block_on(support::IpmiSim::start(&emulation, &sol)) }
    }

    fn define(&self, daemon: &Daemon, node: &str) {
        daemon.ok(&format!("nodeadd {node} groups=all nodehm.cons=ipmi"));
        let bmc = self.sim.address;
        daemon.ok(&format!("chtab node={node} ipmi.bmc={bmc} ipmi.username=ADMIN ipmi.password=ADMINPW"));
        connected(daemon, node);
    }

    /// The serial port, which `ipmi_sim` opens when it starts.
    fn port(&self) -> TcpStream {
        let mut port = None;
        wait_for("ipmi_sim does not open the serial port", || {
            port = self.serial.accept().ok();
            port.is_some()
        });
        let (port, _) = port.unwrap();
        port.set_nonblocking(false).unwrap();
        port.set_read_timeout(Some(PATIENCE)).unwrap();
        port
    }
}

#[test]
fn serial_over_lan() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start_with_services("xcatd,console", Some(&directory.path().join("log")));
    let machine = Machine::start();
    machine.define(&daemon, "cn1");
    let mut port = machine.port();
    port.write_all(b"cn1 login: ").unwrap();
    let mut alice = Terminal::rcons(&site, &daemon, &["cn1"]);
    alice.shows("cn1 login: ");
    alice.shows("[you write]");
    alice.types(b"root\r");
    let mut bytes = [0; 5];
    port.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"root\r");
    port.write_all(b"root\r\nwelcome\r\n").unwrap();
    alice.shows("root\r\nwelcome\r\n");
    alice.types(b"\x05c.");
    assert_eq!(alice.code(), Some(0));
    wait_for("the log has the last line", || daemon.run("console cn1 --log -n 9").0.contains("] welcome\n"));
    let log = daemon.ok("replaycons cn1 100000000");
    assert!(log.starts_with("node=cn1, bps=100000000, tail=0\n["), "{log}");
    assert!(log.contains("] cn1 login: root\n") && log.contains("] welcome\n"), "{log}");
}

/// Numbered lines of a console's log.
fn numbers(daemon: &Daemon, node: &str) -> Vec<u32> {
    let (log, _) = daemon.run(&format!("console {node} --log -n 100000"));
    let number = |line: &str| line.rsplit_once("] number ").and_then(|(_, number)| number.parse().ok());
    log.lines().filter_map(number).collect()
}

/// What was logged before is still there, and no line is lost or logged twice that was written afterwards.
#[test]
fn the_daemon_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let (daemon, listener) = start(directory.path(), &site);
    let machine = Machine::start();
    machine.define(&daemon, "cn3");
    let (mut socket, mut port) = (accept(&listener), machine.port());
    let write = |to: &mut dyn Write, numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| write!(to, "number {number}\r\n").unwrap());
    };
    let all_there = |daemon: &Daemon, node: &str, count: u32| {
        wait_for("lines are missing", || numbers(daemon, node).last() == Some(&(count - 1)));
        assert_eq!(numbers(daemon, node), (0..count).collect::<Vec<_>>(), "{node}");
    };
    write(&mut socket, 0..300);
    write(&mut port, 0..300);
    all_there(&daemon, "cn1", 300);
    all_there(&daemon, "cn3", 300);
    daemon.kill();
    let daemon = site.start_with_services("xcatd,console", Some(&directory.path().join("log2")));
    let mut socket = accept(&listener);
    connected(&daemon, "cn3");
    write(&mut socket, 300..600);
    write(&mut port, 300..600);
    all_there(&daemon, "cn1", 600);
    all_there(&daemon, "cn3", 600);
}
