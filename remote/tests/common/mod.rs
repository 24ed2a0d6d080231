//! Real sshds for tests: Debian's openssh-server on loopback addresses, each with its host key.
//!
//! They run as the user of the test and take logins of that user with a key of the test's own. Needs the
//! Debian package `openssh-server`.

use dawn_remote::event::{Ended, Event};
use dawn_remote::host_keys::HostKeys;
use dawn_remote::identity::Identity;
use dawn_remote::run::{Job, Settings, Work, run};
use dawn_remote::session::Command as Remote;
use dawn_remote::target::Target;
use dawn_test_ports::free_port;
use std::fs;
use std::net::{IpAddr, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The server; it wants to be started by its absolute path.
const SSHD: &str = "/usr/sbin/sshd";
/// Time in which an sshd must listen.
const START_WAIT: Duration = Duration::from_secs(30);

/// sshds, and what a client needs for them.
pub(super) struct Hosts {
    pub directory: tempfile::TempDir,
    pub port: u16,
    servers: Vec<Child>,
}

impl Hosts {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        keygen(&directory.path().join("id_ed25519"));
        fs::copy(directory.path().join("id_ed25519.pub"), directory.path().join("authorized_keys"))
            .expect("a file");
        // Privilege separation of an sshd that root starts.
        let _ = fs::create_dir_all("/run/sshd");
        Self { directory, port: free_port(), servers: Vec::new() }
    }

    /// An sshd on these addresses, with a separate host key of that name.
    pub(super) fn start(&mut self, name: &str, addresses: &[&str]) -> usize {
        let at = |file: &str| self.directory.path().join(file);
        let key = at(&format!("host_{name}"));
        if !key.exists() {
            keygen(&key);
        }
        let mut text = format!(
            "Port {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             MaxStartups 1000:30:2000\nLogLevel ERROR\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\nSetEnv HOME={}\n",
            self.port,
            key.display(),
            at("authorized_keys").display(),
            // The start-up files of the user who tests are not part of the test.
            self.path().display(),
        );
        addresses.iter().for_each(|address| text.push_str(&format!("ListenAddress {address}\n")));
        let config = at(&format!("config_{name}"));
        fs::write(&config, text).expect("a file");
        let mut command = Command::new(SSHD);
        command.args(["-D", "-e", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        let log = fs::File::create(at(&format!("log_{name}"))).expect("a file");
        let server = command.stderr(log).spawn().expect("Debian's package openssh-server");
        self.servers.push(server);
        let begin = Instant::now();
        for address in addresses {
            let ip: IpAddr = address.parse().expect("an address");
            while TcpStream::connect((ip, self.port)).is_err() {
                let log = || fs::read_to_string(at(&format!("log_{name}"))).unwrap_or_default();
                assert!(begin.elapsed() < START_WAIT, "no sshd on {address}: {}", log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.servers.len() - 1
    }

    /// Kills an sshd and every session of it.
    pub(super) fn kill(&mut self, server: usize) {
        let child = &mut self.servers[server];
        kill_tree(child.id());
        let _ = child.wait();
    }

    /// A node at an address, known by the host key of that name.
    pub(super) fn target(&self, node: &str, address: &str, key: &str) -> Target {
        let mut host_keys = HostKeys::default();
        let public = self.directory.path().join(format!("host_{key}.pub"));
        if let Ok(line) = fs::read_to_string(public) {
            assert!(host_keys.add_line(&line), "{line}");
        }
        Target {
            node: node.to_owned(),
            host: node.to_owned(),
            address: address.parse().ok(),
            port: self.port,
            user: user(),
            host_keys: Arc::new(host_keys),
            identity: Arc::new(Identity::of_directory(self.directory.path())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for child in &mut self.servers {
            kill_tree(child.id());
            let _ = child.wait();
        }
    }
}

/// Ends a process and all that descend from it.
fn kill_tree(id: u32) {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    if let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    children.split_whitespace().filter_map(|word| word.parse().ok()).for_each(kill_tree);
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("Debian's package openssh-client").success());
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

/// A job that runs a command line.
pub(super) fn ssh(target: Target, line: &str) -> Job {
    Job { target, work: Work::Ssh(Remote { line: line.to_owned(), ..Remote::default() }) }
}

/// Runs jobs; what became of each, by node.
pub(super) fn run_all(jobs: Vec<Job>, settings: Settings) -> Vec<Ended> {
    let mut all = Vec::new();
    run(jobs, settings, &mut |event| {
        if let Event::Ended(ended) = event {
            all.push(ended);
        }
        ControlFlow::Continue(())
    })
    .expect("a run");
    all.sort_by(|a, b| a.node.cmp(&b.node));
    all
}

/// A line for each node: name, end, output.
pub(super) fn shown(all: &[Ended]) -> String {
    let line = |ended: &Ended| {
        format!("{}: {:?} out={:?} err={:?}\n", ended.node, ended.end, ended.kept.out, ended.kept.err)
    };
    all.iter().map(line).collect()
}
