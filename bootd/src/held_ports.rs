//! Ports that are in use: how long a service waits for them, and which process holds one, read from `/proc`.
//!
//! The process is for texts only: another user's process and another PID namespace cannot be seen, and
//! sockets of the kernel (its NFS server) belong to no process.

use dawn_wire::text::without_control;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// How long a service waits for ports that are in use: those of a predecessor that is being ended come free.
pub const PORTS_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause between two attempts to have a port.
pub const PORT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP; only listeners hold a port.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that a service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(pub Transport, pub u16);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(transport, port) = self;
        write!(f, "{} port {port}", if *transport == Transport::Tcp { "TCP" } else { "UDP" })
    }
}

/// State column of a TCP listener (include/net/tcp_states.h of the kernel).
const LISTEN: &str = "0A";

/// The ports that another process holds, where it can be seen: `TCP port 3001 is held by dawn (process 77)`.
pub fn held_by_others(ports: &[Wanted]) -> Vec<Held> {
    held(ports).into_iter().filter(|held| !held.holders.is_empty()).collect()
}

/// A port that is in use.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    port: Wanted,
    /// Processes other than this one; none where they cannot be seen.
    holders: BTreeSet<Holder>,
}

impl Held {
    /// All holders are processes of that program.
    pub fn is_by(&self, program: &str) -> bool {
        !self.holders.is_empty() && self.holders.iter().all(|holder| holder.name == program)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        let names = match names.is_empty() {
            true => "the kernel or a process that cannot be seen".to_owned(),
            false => names.join(" and "),
        };
        write!(f, "{} is held by {names}", self.port)
    }
}

/// Those of the ports that are in use.
pub fn held(ports: &[Wanted]) -> Vec<Held> {
    let held = |port: &Wanted| {
        let inodes = inodes(*port);
        (!inodes.is_empty()).then(|| Held { port: *port, holders: holders(&inodes) })
    };
    ports.iter().filter_map(held).collect()
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    process: u32,
    name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// Inodes of the sockets on a port, both families.
fn inodes(Wanted(transport, port): Wanted) -> BTreeSet<String> {
    let tables = match transport {
        Transport::Tcp => ["tcp", "tcp6"],
        Transport::Udp => ["udp", "udp6"],
    };
    let suffix = format!(":{port:04X}");
    let texts = tables.iter().filter_map(|table| fs::read_to_string(format!("/proc/net/{table}")).ok());
    let mut found = BTreeSet::new();
    for text in texts {
        for line in text.lines().skip(1) {
            let field = |number: usize| line.split_ascii_whitespace().nth(number).unwrap_or_default();
            if field(1).ends_with(&suffix) && (transport == Transport::Udp || field(3) == LISTEN) {
                found.insert(field(9).to_owned());
            }
        }
    }
    found
}

/// Processes other than this one that have one of the sockets open.
fn holders(inodes: &BTreeSet<String>) -> BTreeSet<Holder> {
    let links: BTreeSet<PathBuf> = inodes.iter().map(|inode| format!("socket:[{inode}]").into()).collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let others = numbers.filter(|process| *process != std::process::id());
    let has_one = |process: &u32| {
        let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| links.contains(&link))
    };
    let named = |process: u32| {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        Holder { process, name: without_control(name.trim()) }
    };
    others.filter(has_one).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn sockets_are_found_by_port_and_transport() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = |address: std::io::Result<std::net::SocketAddr>| address.unwrap().port();
        let (tcp, udp) = (port(tcp.local_addr()), port(udp.local_addr()));
        assert_eq!(inodes(Wanted(Transport::Tcp, tcp)).len(), 1, "{tcp}");
        assert_eq!(inodes(Wanted(Transport::Udp, udp)).len(), 1, "{udp}");
        // What this process holds is no news to it.
        assert!(held_by_others(&[Wanted(Transport::Udp, udp)]).is_empty());
    }
}
