//! Real programs on loopback: `ipmi_sim` as a BMC, `ipmitool` as another client, and sockets around a
//! simulated BMC.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "a test fails by panicking")]

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dawn_ipmi::limits::Budget;
use dawn_ipmi::sim::Bmc;
use dawn_ipmi::{Client, Credentials, Secret};
use dawn_test_ports::free_port;

/// The user of every BMC here.
pub(crate) fn credentials(password: &str) -> Credentials {
    Credentials::new("ADMIN", Secret::new(password.as_bytes())).unwrap()
}

/// `ipmi_sim` of Debian's package `openipmi`, with its files in a separate directory.
pub(crate) struct IpmiSim {
    child: Child,
    pub address: SocketAddr,
    pub dir: tempfile::TempDir,
}

/// The machine of `ipmi_sim`: its state is in files.
const CHASSIS: &str = r#"#!/bin/sh
# Arguments: address of the BMC, `get` or `set`, and names and values.
cd "$(dirname "$0")" || exit 1
verb=$2
shift 2
case $verb in
get) for name in "$@"; do echo "$name:$(cat "value.$name")"; done ;;
set) while [ $# -ge 2 ]; do echo "$2" >"value.$1"; echo "$1=$2" >>controls; shift 2; done ;;
esac
"#;

impl IpmiSim {
    /// Starts it with this emulation file, and lines for its configuration. It must be there:
    /// `packages.txt` names the package.
    pub(crate) async fn start(emulation: &str, configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("state")).unwrap();
        std::fs::write(path("chassis.sh"), CHASSIS).unwrap();
        std::fs::set_permissions(path("chassis.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(path("value.power"), "0\n").unwrap();
        std::fs::write(path("value.boot"), "default\n").unwrap();
        std::fs::write(path("bmc.emu"), emulation).unwrap();
        let text = format!(
            "name \"bmc1\"\nstartlan 1\n addr 127.0.0.1 {port}\n priv_limit admin\n \
             allowed_auths_admin none md2 md5 straight\n guid a123456789abcdefa123456789abcdef\nendlan\n\
             chassis_control \"{} 0x20\"\n{configuration}\n\
             user 2 true \"ADMIN\" \"ADMINPW\" admin 10 none md2 md5 straight\n",
            path("chassis.sh").display()
        );
        std::fs::write(path("lan.conf"), text).unwrap();
        let mut command = Command::new("ipmi_sim");
        command.arg("-n").arg("-c").arg(path("lan.conf")).arg("-f").arg(path("bmc.emu"));
        command.arg("-s").arg(path("state")).stdin(Stdio::null());
        command.stdout(std::fs::File::create(path("out")).unwrap()).stderr(Stdio::null());
        let child = command.spawn().expect("`ipmi_sim` starts (Debian package openipmi, see packages.txt)");
        let sim = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), dir };
        sim.wait().await;
        sim
    }

    /// Waits until it answers.
    async fn wait(&self) {
        let client = Client::start().unwrap();
        for _ in 0..100 {
            if client.ping(self.address, Budget::SHORT).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let out = std::fs::read_to_string(self.dir.path().join("out")).unwrap_or_default();
        panic!("ipmi_sim does not answer: {out}");
    }

    /// What was done to its machine.
    pub(crate) fn controls(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("controls")).unwrap_or_default()
    }
}

impl Drop for IpmiSim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A simulated BMC behind a socket of loopback.
pub(crate) struct Served {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Bmc>>,
}

/// How a simulated BMC answers.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// How often each answer is sent.
    pub copies: usize,
    /// How long it waits before.
    pub delay: Duration,
}

impl Served {
    pub(crate) fn start(bmc: Bmc) -> Self {
        Self::start_with(bmc, Manner { copies: 1, delay: Duration::ZERO })
    }

    pub(crate) fn start_with(mut bmc: Bmc, manner: Manner) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Acquire) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                for answer in bmc.on_datagram(buffer.get(..length).unwrap()).answers {
                    std::thread::park_timeout(manner.delay);
                    for _ in 0..manner.copies {
                        socket.send_to(&answer, peer).unwrap();
                    }
                }
            }
            bmc
        });
        Self { address, stop, thread: Some(thread) }
    }

    /// Ends it; the BMC as it is then.
    pub(crate) fn stop(mut self) -> Bmc {
        self.stop.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// Runs `ipmitool` against a BMC; what it prints.
pub(crate) fn ipmitool(address: SocketAddr, suite: u8, words: &[&str]) -> String {
    let mut command = Command::new("ipmitool");
    command.args([
        "-I",
        "lanplus",
        "-C",
        &suite.to_string(),
        "-H",
        "127.0.0.1",
        "-U",
        "ADMIN",
        "-P",
        "ADMINPW",
    ]);
    command.args(["-p", &address.port().to_string()]).args(words).stdin(Stdio::null());
    let output = command.output().expect("`ipmitool` starts (Debian package ipmitool, see packages.txt)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "ipmitool {words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Reads a file next to the tests.
pub(crate) fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
