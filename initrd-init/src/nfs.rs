//! NFS mounts without a mount program: the option string of `mount(2)` and the retries.
//!
//! Version 3 over TCP without locks is the default; the kernel speaks the MOUNT protocol itself. Options of
//! tables and kernel line are written for `mount.nfs`, so flags, and options only that program knows, are
//! taken out of the string.
//!
//! The kernel waits minutes for a server that accepts connections but does not answer. File systems that the
//! boot can do without are therefore mounted only after the server has answered a call without effect, and
//! within a limit of time ([`Patience`]).

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::mount::MountFlags;

use dawn_wire::Remote;

use crate::cmdline::NfsPorts;
use crate::error::{Error, Result};
use crate::log;
use crate::modules::Loader;
use crate::sys;

/// Request time-out in tenths of a second: short ones collapse under load instead of helping.
const TIMEO_DEFAULT: u32 = 600;
/// Retransmissions before the kernel reports the server as gone and keeps trying.
const RETRANS_DEFAULT: u32 = 2;
/// Longest pause between two tries of one mount, in seconds.
const PAUSE_SECONDS_MAX: u64 = 19;
/// Tries after a clear refusal that is believed: the server may be about to learn of the node.
const REFUSED_TRIES: u32 = 3;
/// Wait for a connection and for the answer to one call, in seconds.
const ANSWER_SECONDS_MAX: u64 = 10;
/// Port of NFS where none is given.
const NFS_PORT: u16 = 2049;
/// A call of the procedure that does nothing, of NFS version 3 without credentials, as a record of 40 bytes
/// (RFC 5531).
const NULL_CALL: [u32; 11] = [0x8000_0028, NULL_XID, 0, 2, 100_003, 3, 0, 0, 0, 0, 0];
const NULL_XID: u32 = 0x6461_776E;

/// How long a mount is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// Tries.
    tries: u32,
    /// Time for all of them together, in seconds; none where the boot cannot continue anyway.
    seconds_max: Option<u64>,
    /// A missing directory or a refusal is believed sooner.
    believes: bool,
}

impl Patience {
    /// For the root.
    pub(crate) const ROOT: Self = Self { tries: 30, seconds_max: None, believes: false };
    /// For a tree: there may be another, or the image's own file.
    pub(crate) const TREE: Self = Self { tries: 15, seconds_max: Some(30), believes: true };
    /// For the node's directory in its persistent storage, which may have to be made.
    pub(crate) const STORE: Self = Self { tries: 15, seconds_max: Some(120), believes: true };
    /// For the directory once it has been made.
    pub(crate) const MADE_STORE: Self = Self { believes: false, ..Self::STORE };
}

/// Modules of the NFS client.
pub(crate) const MODULES: [&str; 2] = ["nfs", "nfsv3"];

/// One NFS mount.
#[derive(Debug, Clone)]
pub(crate) struct NfsMount<'a> {
    /// Server and directory.
    pub remote: &'a Remote,
    /// Its address.
    pub address: Ipv4Addr,
    /// Ports, for servers without port mapper.
    pub ports: NfsPorts,
    /// Options in the words of `mount.nfs`.
    pub options: &'a str,
    /// Read-only, regardless of the options.
    pub read_only: bool,
}

/// Loads the NFS client.
pub(crate) fn load_client(loader: &mut Loader) -> Result<()> {
    MODULES.iter().try_for_each(|module| loader.load(module))
}

impl NfsMount<'_> {
    /// Mounts on `target`, with a message for each try that fails.
    pub(crate) fn mount(&self, target: &str, patience: Patience) -> Result<()> {
        sys::make_dirs(target)?;
        let (flags, data) = self.parameters();
        log::debug(&format!("mount {} on {target}: {data}", self.remote));
        let limit = patience.seconds_max.map(Duration::from_secs);
        let start = Instant::now();
        for attempt in 1.. {
            let answers = limit.map_or(Ok(()), |_| self.answers());
            let mounted =
                answers.and_then(|()| sys::mount(&self.remote.to_string(), target, "nfs", flags, &data));
            let Err(error) = mounted else { return Ok(()) };
            let tries = patience.tries_after(&error);
            let pause = Duration::from_secs(u64::from(attempt).min(PAUSE_SECONDS_MAX));
            if attempt >= tries || limit.is_some_and(|limit| start.elapsed() + pause >= limit) {
                return Err(error);
            }
            log::problem(&format!("{error}; try {attempt} of {tries}, again in {} s", pause.as_secs()));
            sys::pause(pause);
        }
        Ok(())
    }

    /// Whether the server answers at all. A server with another version reports that, too. If no server
    /// listens on the port, the kernel notices that; it can find the port in other ways.
    fn answers(&self) -> Result<()> {
        let given: Vec<&str> = self.options.split(',').map(str::trim).collect();
        if given.iter().any(|option| matches!(*option, "udp" | "proto=udp")) {
            return Ok(());
        }
        let port = given.iter().find_map(|option| option.strip_prefix("port=")?.parse().ok());
        let port = port.or(self.ports.nfs).unwrap_or(NFS_PORT);
        match null_call(SocketAddr::from((self.address, port))) {
            Err(cause) if cause.kind() != io::ErrorKind::ConnectionRefused => {
                let why = match cause.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        format!("no answer within {ANSWER_SECONDS_MAX} s")
                    }
                    _ => cause.to_string(),
                };
                Err(Error::Silent { remote: self.remote.to_string(), why })
            }
            _ => Ok(()),
        }
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

impl Patience {
    /// How often a mount is tried, by the server's answer.
    fn tries_after(self, error: &Error) -> u32 {
        let code = if let Error::Mount { cause, .. } = error { cause.raw_os_error() } else { None };
        match code {
            Some(libc::ENOENT) if self.believes => 1,
            Some(libc::EACCES | libc::EPERM) if self.believes => self.tries.min(REFUSED_TRIES),
            _ => self.tries,
        }
    }
}

/// Sends a call of no effect and waits for any answer to it.
fn null_call(server: SocketAddr) -> io::Result<()> {
    let wait = Duration::from_secs(ANSWER_SECONDS_MAX);
    let mut stream = TcpStream::connect_timeout(&server, wait)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let call: Vec<u8> = NULL_CALL.iter().flat_map(|word| word.to_be_bytes()).collect();
    stream.write_all(&call)?;
    // Length of the record, and the number of the call it answers.
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    match head.ends_with(&NULL_XID.to_be_bytes()) {
        true => Ok(()),
        false => Err(io::Error::other("what answers is not an NFS server")),
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
        assert_eq!(Patience::TREE.tries_after(&error(libc::ENOENT)), 1);
        assert_eq!(Patience::TREE.tries_after(&error(libc::EACCES)), REFUSED_TRIES);
        assert_eq!(Patience::MADE_STORE.tries_after(&error(libc::EACCES)), 15);
        assert_eq!(Patience::TREE.tries_after(&error(libc::ETIMEDOUT)), 15);
    }

    #[test]
    fn the_call_of_no_effect() {
        use std::net::TcpListener;
        for (reply, sound) in
            [(Some(*b"\x80\0\0\x18dawn\0\0\0\x01"), true), (Some(*b"HTTP/1.1 400"), false), (None, false)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = listener.local_addr().unwrap();
            let thread = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut call = [0; 44];
                stream.read_exact(&mut call).unwrap();
                assert_eq!(&call[..8], b"\x80\0\0\x28dawn");
                reply.iter().for_each(|reply| stream.write_all(reply).unwrap());
            });
            assert_eq!(null_call(server).is_ok(), sound, "{reply:?}");
            thread.join().unwrap();
        }
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
