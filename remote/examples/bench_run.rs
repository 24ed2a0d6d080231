//! `cargo xtask bench run`: commands on many hosts, compared to ClusterShell's `clush` and `pdsh`, one after
//! the other.
//!
//! Needs root (for a network namespace) and the Debian packages `openssh-server`, `clustershell`,
//! `pdsh` and `util-linux`. One sshd answers at as many loopback addresses as there are hosts. What counts
//! is the CPU time of the client and of all it starts, without the sshd. `bench run [HOSTS]`, 1,000 by
//! default.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a program for developers"
)]

use dawn_remote::event::Event;
use dawn_remote::host_keys::HostKeys;
use dawn_remote::identity::Identity;
use dawn_remote::run::{Job, Settings, Work, run};
use dawn_remote::session::Command as Remote;
use dawn_remote::target::Target;
use std::net::{Ipv4Addr, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Hosts at once.
const FANOUT: usize = 64;
/// Hosts of one block of addresses.
const BLOCK: usize = 250;
/// Set on the second start, in the namespace.
const INSIDE: &str = "--inside";
/// Clock ticks of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;
/// The commands: one that prints nothing, and a megabyte in lines.
const LINES: [(&str, &str); 2] =
    [("true", "true"), ("1 MB of output", "yes 'a line of output of forty letters or so' | head -c 1000000")];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let hosts: usize = words.iter().find_map(|word| word.parse().ok()).unwrap_or(1_000);
    if !words.iter().any(|word| word == INSIDE) {
        let program = std::env::current_exe().expect("a path");
        let status =
            Command::new("unshare").arg("--net").arg(program).arg(INSIDE).arg(hosts.to_string()).status();
        std::process::exit(status.expect("unshare, and root").code().unwrap_or(1));
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
    let directory = tempfile::tempdir().expect("a directory");
    let mut sshd = start_sshd(directory.path());
    println!("load average {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    println!("{hosts} hosts, {FANOUT} at a time");
    println!(
        "{:<16} {:<8} {:>8} {:>8} {:>10}  result",
        "command", "client", "wall s", "CPU s", "CPU ms/host"
    );
    for (name, line) in LINES {
        show(name, "dawn", hosts, || ours(directory.path(), hosts, line));
        show(name, "clush", hosts, || clush(directory.path(), hosts, line));
        show(name, "pdsh", hosts, || pdsh(directory.path(), hosts, line));
    }
    let _ = sshd.kill();
    let _ = sshd.wait();
}

fn start_sshd(directory: &Path) -> std::process::Child {
    for name in ["host", "id_ed25519"] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(name));
        assert!(command.status().expect("ssh-keygen").success());
    }
    let _ = std::fs::create_dir_all("/run/sshd");
    let config = format!(
        "Port 22\nListenAddress 0.0.0.0\nHostKey {0}/host\nAuthorizedKeysFile {0}/id_ed25519.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nMaxStartups 1000:30:2000\nLogLevel QUIET\nSetEnv HOME={0}\n",
        directory.display()
    );
    std::fs::write(directory.join("config"), config).expect("a file");
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-f"]).arg(directory.join("config")).stdin(Stdio::null());
    let child = command.spawn().expect("sshd");
    let begin = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, 22)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the sshd does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn show(name: &str, client: &str, hosts: usize, work: impl FnOnce() -> String) {
    let (begin, before) = (Instant::now(), cpu_seconds());
    let result = work();
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - before);
    let each = cpu * 1_000.0 / f64::from(u32::try_from(hosts).unwrap_or(u32::MAX));
    println!("{name:<16} {client:<8} {wall:>8.1} {cpu:>8.2} {each:>10.2}  {result}");
}

/// CPU time of this process and of the children it has waited for.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let rest = stat.rsplit(')').next().unwrap_or_default();
    // Fields 14 to 17 of proc(5): utime, stime, cutime, cstime.
    rest.split_whitespace().skip(11).take(4).filter_map(|word| word.parse::<f64>().ok()).sum::<f64>()
        / TICKS_PER_SECOND
}

fn address(host: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number).expect("fewer hosts");
    Ipv4Addr::new(127, 9, byte(host / BLOCK), byte(host % BLOCK + 1))
}

/// Addresses as both other programs read them.
fn list(hosts: usize) -> String {
    let blocks = (0..hosts.div_ceil(BLOCK)).map(|block| {
        let last = (hosts - block * BLOCK).min(BLOCK);
        format!("127.9.{block}.[1-{last}]")
    });
    blocks.collect::<Vec<_>>().join(",")
}

fn ours(directory: &Path, hosts: usize, line: &str) -> String {
    let mut host_keys = HostKeys::default();
    assert!(host_keys.add_line(&std::fs::read_to_string(directory.join("host.pub")).expect("a key")));
    let (host_keys, identity) = (Arc::new(host_keys), Arc::new(Identity::of_directory(directory)));
    let job = |host: usize| Job {
        target: Target {
            node: address(host).to_string(),
            host: address(host).to_string(),
            address: Some(address(host).into()),
            port: 22,
            user: "root".to_owned(),
            host_keys: Arc::clone(&host_keys),
            identity: Arc::clone(&identity),
        },
        work: Work::Ssh(Remote { line: line.to_owned(), ..Remote::default() }),
    };
    let (mut good, mut bytes) = (0, 0);
    let settings = Settings { fanout: FANOUT, connect: Duration::from_secs(120), ..Settings::default() };
    run((0..hosts).map(job).collect(), settings, &mut |event| {
        if let Event::Ended(ended) = event {
            good += usize::from(ended.end.is_success());
            bytes += ended.kept.out.len();
        }
        ControlFlow::Continue(())
    })
    .expect("a run");
    format!("{good} ok, {bytes} bytes")
}

fn options(directory: &Path) -> String {
    format!(
        "-i {}/id_ed25519 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes -F none",
        directory.display()
    )
}

fn clush(directory: &Path, hosts: usize, line: &str) -> String {
    let mut command = Command::new("clush");
    command.args([
        "-f",
        &FANOUT.to_string(),
        "-o",
        &options(directory),
        "-t",
        "120",
        "-l",
        "root",
        "-w",
        &list(hosts),
        line,
    ]);
    counted(command)
}

fn pdsh(directory: &Path, hosts: usize, line: &str) -> String {
    let mut command = Command::new("pdsh");
    command.env("PDSH_SSH_ARGS_APPEND", options(directory));
    command.args([
        "-R",
        "ssh",
        "-S",
        "-t",
        "120",
        "-f",
        &FANOUT.to_string(),
        "-l",
        "root",
        "-w",
        &list(hosts),
        line,
    ]);
    counted(command)
}

fn counted(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("Debian's packages clustershell and pdsh");
    let errors = String::from_utf8_lossy(&output.stderr).lines().count();
    format!("{}, {} bytes, {errors} lines of errors", output.status, output.stdout.len())
}
