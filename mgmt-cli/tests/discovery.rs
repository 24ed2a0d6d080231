//! The real executable finds unknown machines by the ports of a switch: a bridge of the kernel, whose
//! forwarding table Debian's `snmpd` shows by SNMPv3. The machines have network namespaces of their own.
//!
//! Needs root, `ip` and `bridge` of iproute2, and the package `snmpd`; without them the test fails. Waits
//! have a bound and end with the condition; nothing is asserted about how long it took.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;

use common::{PATIENCE, dawn, printed, ready, run, wait_for};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

const PASSWORD: &str = "maplesyrup";

/// The forwarding table of the bridge `br0`, as the machines of `tests/qemu` have it.
const SCRIPT: &str = include_str!("../../tests/qemu/switch/bridge-mib.sh");

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine with the daemon and the bridge; the calling thread is in its namespace from now on.
struct Server {
    dir: tempfile::TempDir,
    daemon: Option<Running>,
    _snmpd: Running,
}

impl Server {
    fn start() -> Self {
        // SAFETY: only this thread, and what it starts, changes its namespace.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        for line in [
            "link set lo up",
            "link add br0 address 02:00:00:00:01:00 type bridge",
            "addr add 10.1.0.1/16 dev br0",
            "addr add 10.3.0.1/32 dev lo",
            "addr add 10.3.0.2/32 dev lo",
            "link set br0 up",
        ] {
            run(&format!("ip {line}"));
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let mut server = Self { _snmpd: snmpd(dir.path()), daemon: None, dir };
        server.ok(&["init", "--master", "10.1.0.1", "--data", &server.data()]);
        let mut serve = server.dawn();
        serve.args(["serve", "--services", "xcatd,http", "--data", &server.data()]);
        server.daemon = Some(Running(ready(&mut serve, Some(&server.log()))));
        server
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn dawn(&self) -> Command {
        dawn(&self.dir.path().join("home"))
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = self.dawn().args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", printed(&output));
        printed(&output)
    }

    fn define(&self, name: &str, words: &[&str]) {
        self.ok(&[&["mkdef", "-t", "node", "-o", name], words].concat());
    }

    /// `lsdef`'s value of one attribute.
    fn value(&self, node: &str, attribute: &str) -> String {
        let text = self.ok(&["lsdef", node, "-i", attribute]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{attribute}=")));
        line.unwrap_or_default().to_owned()
    }

    /// Switches on a machine at a port of the bridge, with these elements in its packet.
    fn machine(&self, port: &str, last: u8, elements: &str) -> Machine {
        self.machine_that(port, last, elements, |packet, address| {
            let socket = UdpSocket::bind((address, 301)).unwrap();
            socket.send_to(packet.as_bytes(), "10.1.0.1:3001").unwrap();
        })
    }

    /// A machine that sends its packet like this.
    fn machine_that(
        &self,
        port: &str,
        last: u8,
        elements: &str,
        mut send: impl FnMut(&str, &str) + Send + 'static,
    ) -> Machine {
        let mac = format!("52:54:00:00:00:{last:02x}");
        let (sender, tasks) = mpsc::channel();
        let (go, wait) = mpsc::channel();
        let (word_sender, words) = mpsc::channel();
        let packet = packet(&mac, last, elements);
        std::thread::spawn(move || {
            // SAFETY: as above.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            sender.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
            wait.recv().unwrap();
            run(&format!("ip addr add 10.1.255.{last}/16 dev eno1"));
            run("ip link set eno1 up");
            let address = format!("10.1.255.{last}");
            let listener = TcpListener::bind((address.as_str(), 3001)).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut word = String::new();
                    if stream.unwrap().read_to_string(&mut word).is_err() || word_sender.send(word).is_err() {
                        return;
                    }
                }
            });
            // From now on it sends whenever it is asked to.
            while wait.recv().is_ok() {
                send(&packet, &address);
            }
        });
        let task = tasks.recv().unwrap();
        run(&format!("ip link add {port} type veth peer name eno1 address {mac} netns {task}"));
        run(&format!("ip link set {port} master br0"));
        run(&format!("ip link set {port} up"));
        go.send(()).unwrap();
        Machine { mac, go, words }
    }
}

/// A machine on the network.
struct Machine {
    mac: String,
    go: mpsc::Sender<()>,
    words: mpsc::Receiver<String>,
}

impl Machine {
    /// Sends its packet and waits, as `/init` does, until the server has decided; what it said.
    fn decided(&self) -> String {
        self.go.send(()).unwrap();
        self.word()
    }

    /// The next word of a decision.
    fn word(&self) -> String {
        loop {
            let word =
                self.words.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{} gets no word", self.mac));
            if word != "processing\n" {
                return word.trim().to_owned();
            }
        }
    }
}

fn packet(mac: &str, last: u8, elements: &str) -> String {
    let (mac, lease) = (mac.to_uppercase(), format!("10.1.255.{last}/16"));
    format!(
        "<xcatrequest>\n<command>findme</command>\n<sequential>1</sequential>\n<arch>x86_64</arch>\n{elements}\
         <mac>virtio_net|eno1|{mac}|{lease}</mac>\n<nic>\n<devname>eno1</devname>\n<driver>virtio_net</driver>\n\
         <ip4address>{lease}</ip4address>\n<hwaddr>{mac}</hwaddr>\n</nic>\n</xcatrequest>\n"
    )
}

fn snmpd(dir: &Path) -> Running {
    fs::write(dir.join("bridge.sh"), SCRIPT).unwrap();
    fs::set_permissions(dir.join("bridge.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.join("persistent")).unwrap();
    let config = format!(
        "createUser dawn SHA {PASSWORD} AES {PASSWORD}\nrouser dawn authpriv\n\
         pass_persist .1.3.6.1.2.1.17 {}\n",
        dir.join("bridge.sh").display()
    );
    fs::write(dir.join("snmpd.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/snmpd");
    command.args(["-f", "-C", "-Lf", "snmpd.log", "-c", "snmpd.conf", "-I", "-smux", "udp:10.3.0.1:161"]);
    command.current_dir(dir).env("SNMP_PERSISTENT_DIR", dir.join("persistent")).stdin(Stdio::null());
    let snmpd = Running(command.spawn().expect("Debian's package snmpd is installed"));
    let log = || fs::read_to_string(dir.join("snmpd.log")).unwrap_or_default();
    wait_for("snmpd is up", || log().contains("NET-SNMP version"));
    snmpd
}

#[test]
fn machines_are_found_by_the_ports_of_a_switch() {
    let server = Server::start();
    let snmp = ["snmpversion=3", "snmpusername=dawn", "snmpauth=sha", "snmpprivacy=aes"];
    let password = format!("snmppassword={PASSWORD}");
    server.define("sw1", &[&["groups=all", "nodetype=switch", "ip=10.3.0.1", &password], &snmp[..]].concat());
    // Nothing answers there.
    server.define("sw2", &["groups=all", "nodetype=switch", "ip=10.3.0.2"]);
    server.define("cn7", &["groups=all", "ip=10.1.0.7", "switch=sw1", "switchport=7", "chain=shell"]);
    server.define(
        "cn8",
        &[
            "groups=all",
            "ip=10.1.0.8",
            "switch=sw1",
            "switchport=8",
            "mac=52:54:00:00:00:99",
            "memory=98304MB",
        ],
    );
    server.define("cn9", &["groups=all", "ip=10.1.0.9", "switch=sw2", "switchport=9"]);

    let machine = server.machine(
        "swp7",
        17,
        "<uuid>00000000-0000-0000-0000-000000000017</uuid>\n<memory>512MB</memory>\n",
    );
    assert_eq!(machine.decided(), "restart", "{}", fs::read_to_string(server.log()).unwrap());
    assert_eq!(
        (server.value("cn7", "mac"), server.value("cn7", "memory")),
        (machine.mac.clone(), "512MB".into())
    );
    let listed = server.ok(&["nodediscoverls", "-t", "switch"]);
    assert!(listed.lines().any(|line| line.contains("cn7")), "{listed}");
    let log = server.ok(&["log"]);
    assert!(log.contains("cn7 by switch: cn7: sw1 sees 52:54:00:00:00:11 on port swp7"), "{log}");

    // Another board at the port of cn8: the node keeps its MAC until somebody agrees.
    let uuid = "00000000-0000-0000-0000-000000000018";
    let replaced = server.machine("swp8", 18, &format!("<uuid>{uuid}</uuid>\n<memory>65536MB</memory>\n"));
    assert_eq!(replaced.decided(), "processed");
    assert_eq!(server.value("cn8", "mac"), "52:54:00:00:00:99");
    let why = server.ok(&["discover", "explain", uuid]);
    for said in [
        "cn8 has another MAC (52:54:00:00:00:99): a replaced board, or another machine",
        "switch: cn8: sw1 sees 52:54:00:00:00:12 on port swp8",
        "switch: sw2 cannot be read: 10.3.0.2:161 has no SNMP agent: the port is closed",
        "Nodes that fit: cn8",
    ] {
        assert!(why.contains(said), "{said} in\n{why}");
    }
    server.ok(&["discover", "approve", uuid]);
    assert_eq!(replaced.word(), "restart");
    assert_eq!(server.value("cn8", "mac"), replaced.mac);
    let events = server.ok(&["events", "cn8"]);
    assert!(events.contains("hardware changed: memory: 64 GiB, 96 GiB before"), "{events}");
    server.ok(&["undo"]);
    assert_eq!(server.value("cn8", "mac"), "52:54:00:00:00:99");

    let said = fs::read_to_string(server.log()).unwrap();
    assert!(!said.contains(PASSWORD), "{said}");
}

/// `curl` with these words; the status of the answer. `-` for none.
fn curl(words: &[&str], body: &[u8]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-m", "20", "-w", "%{http_code}", "-o", "/dev/null"]).args(words);
    let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    // The server may have answered before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(body);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_machine_sends_its_packet_by_https() {
    let server = Server::start();
    server.define("cn7", &["groups=all", "ip=10.1.0.7", "mtm=MT-7", "serial=S7", "chain=shell"]);
    let (answers, answered) = mpsc::channel();
    let ca = format!("{}/cert/ca.pem", server.data());
    let elements = "<mtm>MT-7</mtm>\n<serial>S7</serial>\n";
    let machine = server.machine_that("swp7", 17, elements, move |packet, _| {
        let to = "https://10.1.0.1/findme";
        let ask = |words: &[&str], body: &[u8]| curl(&[&["--cacert", &ca], words].concat(), body);
        let post = ["--data-binary", "@-"];
        let of_root = ["--local-port", "302-399", "--data-binary", "@-"];
        let too_long = vec![b'x'; 70_000];
        answers
            .send([
                ask(&["https://10.1.0.1/findme"], b""),
                ask(&[&post[..], &["https://10.1.0.1/install"]].concat(), packet.as_bytes()),
                curl(&[&of_root[..], &["http://10.1.0.1/findme"]].concat(), packet.as_bytes()),
                ask(&[&post[..], &["--local-port", "2000-2999", to]].concat(), packet.as_bytes()),
                ask(&[&of_root[..], &[to]].concat(), &too_long),
                ask(&[&of_root[..], &[to]].concat(), packet.as_bytes()),
            ])
            .unwrap();
    });
    assert_eq!(machine.decided(), "restart", "{}", fs::read_to_string(server.log()).unwrap());
    let answers = answered.recv_timeout(PATIENCE).unwrap();
    assert_eq!(answers, ["405", "405", "405", "403", "413", "202"]);
    assert_eq!(server.value("cn7", "mac"), machine.mac);

    // A range for one machine: the next one ends the sequential discovery.
    server.ok(&["nodediscoverstart", "noderange=cn8", "hostiprange=10.1.0.8-10.1.0.8"]);
    assert_eq!(server.machine("swp8", 18, "").decided(), "restart");
    assert!(server.ok(&["nodediscoverstatus"]).contains("is running"));
    assert_eq!(server.machine("swp9", 19, "").decided(), "processed");
    let status = server.ok(&["nodediscoverstatus"]);
    assert!(status.contains("Sequential Discovery is stopped."), "{status}");
    assert!(server.ok(&["log"]).contains("has no node or address left"));
}
