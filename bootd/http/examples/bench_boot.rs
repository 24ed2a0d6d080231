//! Compares TFTP and HTTP of Dawn with the daemons of Debian, in one run:
//! `cargo xtask bench boot [tftp|http|both] [LOAD] [ATFTPD]`.
//!
//! Everything runs in a separate network namespace, servers on CPU 0 and load on CPU 1, one server at a time.
//! The load is our own TFTP client (the state machine of `dawn_tftp::client`), curl, and wrk. What counts is
//! the server's CPU time per unit of work, its children included; rates depend on the load generator as much.
//!
//! A daemon that is not installed (tftpd-hpa, dnsmasq-base, nginx-light) is left out. `atftpd` cannot be
//! installed together with `tftpd-hpa`: unpack its package and name the program. LOAD picks one TFTP load by
//! its number, 0 means all. Needs root for the namespace. `serve DIR TFTP-ADDRESS HTTP-ADDRESS` is the server
//! of Dawn that is measured.
#![allow(clippy::disallowed_methods, reason = "a program of its own, with its own arguments and pauses")]

#[path = "bench_boot_parts/http_load.rs"]
mod http_load;
#[path = "bench_boot_parts/server_under_test.rs"]
mod server_under_test;
#[path = "bench_boot_parts/servers.rs"]
mod servers;
#[path = "bench_boot_parts/tftp_load.rs"]
mod tftp_load;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{CpuSet, UnshareFlags};

/// Any error ends the measurement.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// The address that servers listen on.
pub const ADDRESS: &str = "10.99.0.1";

/// Where Debian puts it.
const ATFTPD: &str = "/usr/sbin/atftpd";

/// Where the programs and files of a run are.
pub struct Bench {
    this_program: PathBuf,
    atftpd: PathBuf,
    dir: tempfile::TempDir,
}

impl Bench {
    /// The served directory.
    pub fn files(&self) -> &Path {
        self.dir.path()
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (what, load, atftpd) = match words.as_slice() {
        ["serve", dir, tftp, http] => return server_under_test::serve(dir, tftp, http),
        [] => ("both", "0", ATFTPD),
        [what] => (*what, "0", ATFTPD),
        [what, load] => (*what, *load, ATFTPD),
        [what, load, atftpd, ..] => (*what, *load, *atftpd),
    };
    let load: usize = load.parse()?;
    let bench = Bench { this_program: std::env::current_exe()?, atftpd: atftpd.into(), dir: make_files()? };
    own_network()?;
    pin_to_load_cpu()?;
    if what != "http" {
        tftp_load::measure(&bench, load)?;
    }
    if what != "tftp" {
        http_load::measure(&bench)?;
    }
    Ok(())
}

fn make_files() -> Outcome<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::Builder::new().prefix("dawn-bench").tempdir_in("/dev/shm")?;
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
    for (name, size) in [("1k", 1 << 10), ("1m", 1 << 20), ("64m", 64 << 20), ("512m", 512 << 20)] {
        let block: Vec<u8> =
            (0..size.min(1 << 20)).map(|i: usize| (i * 31 + i / 251).to_le_bytes()[0]).collect();
        let mut file = std::fs::File::create(dir.path().join(name))?;
        for _ in 0..size.div_ceil(1 << 20) {
            std::io::Write::write_all(&mut file, &block)?;
        }
    }
    Ok(dir)
}

fn own_network() -> Outcome<()> {
    // SAFETY: the process has one thread so far, and nothing of it is bound to the old namespace.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    // Not 127.0.0.1: tftpd-hpa looks for a machine with another address.
    for words in ["link set lo up", &format!("address add {ADDRESS}/24 dev lo")] {
        let status = Command::new("ip").args(words.split(' ')).status()?;
        if !status.success() {
            return Err(format!("ip {words} failed").into());
        }
    }
    Ok(())
}

fn pin_to_load_cpu() -> Outcome<()> {
    let mut set = CpuSet::new();
    set.set(1);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}
