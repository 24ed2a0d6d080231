//! NFS mounts without a mount program: the option string of `mount(2)` and the retries.
//!
//! Version 3 over TCP without locks is the default; the kernel speaks the MOUNT protocol itself. Options of
//! tables and kernel line are written for `mount.nfs`, so flags, and options only that program knows, are taken
//! out of the string.

use std::net::Ipv4Addr;
use std::time::Duration;

use rustix::mount::MountFlags;

use crate::cmdline::{NfsPorts, Remote};
use crate::error::{Error, Result};
use crate::log;
use crate::modules::Loader;
use crate::sys;

/// Request time-out in tenths of a second: short ones collapse under load instead of helping.
const TIMEO_DEFAULT: u32 = 600;
/// Retransmissions before the kernel reports the server as gone and goes on trying.
const RETRANS_DEFAULT: u32 = 2;
/// Longest pause between two tries of one mount, in seconds.
const PAUSE_SECONDS_MAX: u64 = 19;
/// Tries of a mount the boot cannot do without.
pub const ROOT_TRIES: u32 = 30;
/// Tries of a tree or of persistent storage.
pub const TREE_TRIES: u32 = 15;
/// Tries after a clear refusal of something the boot can do without: the server may be about to learn of it.
const REFUSED_TRIES: u32 = 3;

/// Modules of the NFS client.
pub const MODULES: [&str; 2] = ["nfs", "nfsv3"];

/// One NFS mount.
#[derive(Debug, Clone)]
pub struct NfsMount<'a> {
    /// Server and directory.
    pub remote: &'a Remote,
    /// Its address.
    pub address: Ipv4Addr,
    /// Ports, for servers without port mapper.
    pub ports: NfsPorts,
    /// Options in the words of `mount.nfs`.
    pub options: &'a str,
    /// Read-only whatever the options say.
    pub read_only: bool,
}

/// Loads the NFS client.
pub fn load_client(loader: &mut Loader) -> Result<()> {
    MODULES.iter().try_for_each(|module| loader.load(module))
}

impl NfsMount<'_> {
    /// Mounts on `target`, repeating `tries` times with a message each. When `wait_for_dir` is false, a missing
    /// directory or a refusal is believed sooner.
    pub fn mount(&self, target: &str, tries: u32, wait_for_dir: bool) -> Result<()> {
        sys::make_dirs(target)?;
        let (flags, data) = self.parameters();
        log::debug(&format!("mount {} on {target}: {data}", self.remote));
        for attempt in 1.. {
            let error = match sys::mount(&self.remote.to_string(), target, "nfs", flags, &data) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt >= patience(&error, tries, wait_for_dir) {
                return Err(error);
            }
            let pause = u64::from(attempt).min(PAUSE_SECONDS_MAX);
            log::problem(&format!("{error}; try {attempt} of {tries}, again in {pause} s"));
            sys::pause(Duration::from_secs(pause));
        }
        Ok(())
    }

    fn parameters(&self) -> (MountFlags, String) {
        let (mut flags, given) = split_options(self.options);
        if self.read_only {
            flags |= MountFlags::RDONLY;
        }
        let has = |key: &str| given.iter().any(|option| option.split('=').next() == Some(key));
        let version = given
            .iter()
            .find_map(|option| option.strip_prefix("vers=").or_else(|| option.strip_prefix("nfsvers=")));
        let mut all = Vec::new();
        if version.is_none_or(|version| version.starts_with('3')) {
            if version.is_none() {
                all.push("vers=3".to_owned());
            }
            all.extend(self.version_3(&has));
        }
        let port = self.ports.nfs.filter(|_| !has("port"));
        all.extend(port.map(|port| format!("port={port}")));
        if !has("timeo") {
            all.push(format!("timeo={TIMEO_DEFAULT}"));
        }
        if !has("retrans") {
            all.push(format!("retrans={RETRANS_DEFAULT}"));
        }
        all.extend(given);
        all.push(format!("addr={}", self.address));
        (flags, all.join(","))
    }

    fn version_3(&self, has: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut all = Vec::new();
        if !has("lock") && !has("nolock") {
            all.push("nolock".to_owned());
        }
        if !has("proto") && !has("tcp") && !has("udp") {
            all.push("proto=tcp".to_owned());
        }
        if !has("mountproto") {
            all.push("mountproto=tcp".to_owned());
        }
        let port = self.ports.mount.filter(|_| !has("mountport"));
        all.extend(port.map(|port| format!("mountport={port}")));
        all
    }
}

/// How often a mount is tried, by the server's answer.
fn patience(error: &Error, tries: u32, wait_for_dir: bool) -> u32 {
    let code = if let Error::Mount { cause, .. } = error { cause.raw_os_error() } else { None };
    match code {
        Some(libc::ENOENT) if !wait_for_dir => 1,
        Some(libc::EACCES | libc::EPERM) if !wait_for_dir => tries.min(REFUSED_TRIES),
        _ => tries,
    }
}

/// Splits options into mount flags and what the NFS client gets.
fn split_options(options: &str) -> (MountFlags, Vec<String>) {
    let mut flags = MountFlags::empty();
    let mut rest = Vec::new();
    for option in options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        match option {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" => flags -= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "defaults" | "bg" | "fg" | "auto" | "noauto" | "_netdev" | "nofail" | "user" | "nouser"
            | "suid" | "dev" | "exec" | "async" | "atime" | "diratime" | "intr" | "nointr" => {}
            _ if option.starts_with("retry=") || option.starts_with("x-") || option.starts_with("addr=") => {}
            _ => rest.push(option.to_owned()),
        }
    }
    (flags, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_answers_are_believed() {
        let error = |code| Error::Mount {
            what: String::new(),
            target: String::new(),
            cause: std::io::Error::from_raw_os_error(code),
            hint: "",
        };
        assert_eq!(patience(&error(libc::ENOENT), 15, false), 1);
        assert_eq!(patience(&error(libc::EACCES), 15, false), REFUSED_TRIES);
        assert_eq!(patience(&error(libc::EACCES), 15, true), 15);
        assert_eq!(patience(&error(libc::ETIMEDOUT), 15, false), 15);
    }

    #[test]
    fn option_strings() {
        let remote = Remote { host: "s".into(), dir: "/d".into() };
        let cases = [
            (
                "",
                NfsPorts::default(),
                "vers=3,nolock,proto=tcp,mountproto=tcp,timeo=600,retrans=2,addr=10.1.0.1",
            ),
            (
                "ro",
                NfsPorts { nfs: Some(20490), mount: Some(20050) },
                "vers=3,nolock,proto=tcp,mountproto=tcp,mountport=20050,port=20490,timeo=600,retrans=2,addr=10.1.0.1",
            ),
            (
                "soft,timeo=30,retry=3,bg,tcp,nfsvers=3,rsize=8192",
                NfsPorts::default(),
                "nolock,mountproto=tcp,retrans=2,soft,timeo=30,tcp,nfsvers=3,rsize=8192,addr=10.1.0.1",
            ),
            ("vers=4.1", NfsPorts::default(), "timeo=600,retrans=2,vers=4.1,addr=10.1.0.1"),
        ];
        for (options, ports, expected) in cases {
            let mount = NfsMount {
                remote: &remote,
                address: Ipv4Addr::new(10, 1, 0, 1),
                ports,
                options,
                read_only: true,
            };
            let (flags, data) = mount.parameters();
            assert_eq!(data, expected);
            assert!(flags.contains(MountFlags::RDONLY));
        }
    }
}
