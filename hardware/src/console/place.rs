//! Which console a node has: the tables, read before anything is opened.
//!
//! `nodehm.cons` names the method; without it a node with `nodehm.serialport` has that of `nodehm.mgt`, and a
//! node with neither has no console.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dawn_cluster::{Col, Snapshot, col};

use super::program::{Ssh, Virsh};
use super::source::{Sol, Source};
use super::stream::{Socket, Terminal};
use crate::error::Error;
use crate::hub::Links;
use crate::target::{self, Bmc, Peer, Way};

/// Where a console is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Serial over LAN of this service processor.
    Sol(Box<Bmc>),
    /// A socket of a virtual machine.
    Socket(PathBuf),
    /// A port of a terminal server.
    Terminal {
        /// The terminal server.
        peer: Peer,
        /// It uses telnet; else bytes are sent unchanged.
        telnet: bool,
    },
    /// A login that shows the console.
    Ssh {
        /// The machine that is logged in to.
        peer: Peer,
        /// Who logs in.
        user: String,
    },
    /// The console of a virtual machine of libvirt.
    Virsh {
        /// The hypervisor; empty: this machine.
        host: String,
        /// The virtual machine.
        domain: String,
    },
    /// There is no way to it, and why.
    Nowhere(String),
}

/// Why there is no way to a console.
#[derive(Debug, thiserror::Error)]
enum NoWay {
    #[error("no console for cons={0} in this version")]
    Method(String),
    #[error("{0} must be set")]
    Missing(&'static str),
    #[error("{column}={cell} is not the number of a port")]
    Port { column: Col, cell: String },
    #[error("{column} of {node} is not the name of a machine")]
    Host { column: Col, node: String },
    #[error("{0} has no name of a user")]
    User(Col),
    #[error("{0}")]
    Table(Error),
}

/// Values of `nodehm.cons` for terminal servers: the TCP port of port n is base + n * step.
const TERMINAL_SERVERS: [(&str, u16, u16); 4] =
    [("cyclades", 7000, 1), ("mrv", 2000, 100), ("telnet", 0, 1), ("tcp", 0, 1)];
/// The TCP port of OpenBMC's console, if `openbmc.consport` is empty.
const OPENBMC_PORT: u16 = 2200;
/// The TCP port of ssh.
const SSH_PORT: u16 = 22;

impl Place {
    /// How it is read; `None` if there is no way. `directory` has key and known hosts of ssh.
    pub(super) fn source(&self, links: &Arc<Links>, directory: &Path) -> Option<Arc<dyn Source>> {
        let links = Arc::clone(links);
        Some(match self.clone() {
            Self::Sol(bmc) => Arc::new(Sol { links, bmc: *bmc }),
            Self::Socket(path) => Arc::new(Socket(path)),
            Self::Terminal { peer, telnet } => Arc::new(Terminal { links, peer, telnet }),
            Self::Ssh { peer, user } => Arc::new(Ssh { links, directory: directory.to_owned(), peer, user }),
            Self::Virsh { host, domain } => Arc::new(Virsh { links, host, domain }),
            Self::Nowhere(_) => return None,
        })
    }
}

/// The console of a node, if it has one.
pub fn place(snapshot: &Snapshot, node: &str) -> Option<Place> {
    let attr = |column| target::attr(snapshot, node, column);
    let by_port = || attr(col::nodehm::SERIALPORT).and_then(|_| attr(col::nodehm::MGT));
    let method = attr(col::nodehm::CONS).or_else(by_port)?;
    let found = match method.as_str() {
        "ipmi" => match target::bmcs(snapshot, node).into_iter().next() {
            Some(bmc) => Ok(Place::Sol(Box::new(bmc))),
            None => Err(NoWay::Table(Error::Unresolved(node.to_owned()))),
        },
        "qemu" => Ok(Place::Socket(target::qemu_directory(snapshot, node).join(format!("{node}.serial")))),
        "kvm" => match target::kvm(snapshot, node) {
            Ok(Way::Kvm { host, domain }) => Ok(Place::Virsh { host, domain }),
            Ok(_) => Err(NoWay::Method(method.clone())),
            Err(error) => Err(NoWay::Table(error)),
        },
        "openbmc" => openbmc(snapshot, node),
        "ssh" => ssh(snapshot, node),
        other => match TERMINAL_SERVERS.iter().find(|(name, ..)| *name == other) {
            Some((name, base, step)) => terminal(snapshot, node, (*base, *step), *name != "tcp"),
            None => Err(NoWay::Method(other.to_owned())),
        },
    };
    Some(found.unwrap_or_else(|why| Place::Nowhere(why.to_string())))
}

/// `nodehm.termserver` and `nodehm.termport`.
fn terminal(snapshot: &Snapshot, node: &str, ports: (u16, u16), telnet: bool) -> Result<Place, NoWay> {
    let attr = |column| target::attr(snapshot, node, column);
    let missing = || NoWay::Missing("nodehm.termserver and nodehm.termport");
    let host = attr(col::nodehm::TERMSERVER).ok_or_else(missing)?;
    let number = attr(col::nodehm::TERMPORT).ok_or_else(missing)?;
    let (base, step) = ports;
    let port = number.parse::<u16>().ok().and_then(|number| number.checked_mul(step)?.checked_add(base));
    let port = port.filter(|port| *port > 0);
    let port = port.ok_or(NoWay::Port { column: col::nodehm::TERMPORT, cell: number })?;
    Ok(Place::Terminal { peer: peer(snapshot, node, col::nodehm::TERMSERVER, host, port)?, telnet })
}

/// `nodehm.termserver` is `[USER@]HOST`, the node itself if it is empty; `nodehm.termport` the TCP port.
fn ssh(snapshot: &Snapshot, node: &str) -> Result<Place, NoWay> {
    let attr = |column| target::attr(snapshot, node, column);
    let server = attr(col::nodehm::TERMSERVER).unwrap_or_else(|| node.to_owned());
    let (user, host) = server.rsplit_once('@').unwrap_or(("root", &server));
    let port = port(attr(col::nodehm::TERMPORT), col::nodehm::TERMPORT, SSH_PORT)?;
    let peer = peer(snapshot, node, col::nodehm::TERMSERVER, host.to_owned(), port)?;
    Ok(Place::Ssh { peer, user: login_name(user, col::nodehm::TERMSERVER)? })
}

/// Columns of `openbmc`; the user of `passwd` if the node's row has none.
fn openbmc(snapshot: &Snapshot, node: &str) -> Result<Place, NoWay> {
    let attr = |column| target::attr(snapshot, node, column);
    let host = attr(col::openbmc::BMC).ok_or(NoWay::Missing("openbmc.bmc"))?;
    let port = port(attr(col::openbmc::CONSPORT), col::openbmc::CONSPORT, OPENBMC_PORT)?;
    let shared = || {
        let row = snapshot.find_row(&[(col::passwd::KEY, "openbmc")])?;
        row.get(col::passwd::USERNAME).map(ToString::to_string)
    };
    let user = attr(col::openbmc::USERNAME).or_else(shared).unwrap_or_else(|| "root".to_owned());
    let peer = peer(snapshot, node, col::openbmc::BMC, host, port)?;
    Ok(Place::Ssh { peer, user: login_name(&user, col::openbmc::USERNAME)? })
}

fn port(cell: Option<String>, column: Col, default: u16) -> Result<u16, NoWay> {
    let Some(cell) = cell else { return Ok(default) };
    let port = cell.parse().ok().filter(|port| *port > 0);
    port.ok_or(NoWay::Port { column, cell })
}

fn peer(snapshot: &Snapshot, node: &str, column: Col, host: String, port: u16) -> Result<Peer, NoWay> {
    if host.is_empty() || !target::is_machine_name(&host) {
        return Err(NoWay::Host { column, node: node.to_owned() });
    }
    let known_address = target::known_address(snapshot, node, &host);
    Ok(Peer { host, port, known_address })
}

/// A user, or what console servers have in its place to name a port (`admin:port03`).
fn login_name(user: &str, column: Col) -> Result<String, NoWay> {
    match !user.is_empty() && target::is_machine_name(user) {
        true => Ok(user.to_owned()),
        false => Err(NoWay::User(column)),
    }
}

/// Whether a console is connected only while a viewer is attached: `nodehm.consoleondemand`, else
/// `site.consoleondemand`.
pub fn is_on_demand(snapshot: &Snapshot, node: &str) -> bool {
    match target::attr(snapshot, node, col::nodehm::CONSOLEONDEMAND).as_deref() {
        Some("1" | "yes") => true,
        Some("0" | "no") => false,
        _ => snapshot.site_flag("consoleondemand", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)]);
        let of = |rows: &[Row<'_>]| {
            let node: Row<'_> = ("nodelist", &[("node", "cn1"), ("groups", "all")]);
            let snapshot = Snapshot::from_rows(std::iter::once(node).chain(rows.iter().copied()));
            let text = match place(&snapshot, "cn1") {
                None => "none".to_owned(),
                Some(Place::Sol(bmc)) => format!("sol {}:{}", bmc.host, bmc.port),
                Some(Place::Socket(path)) => path.display().to_string(),
                Some(Place::Terminal { peer, telnet }) => {
                    format!("{} {}:{}", if telnet { "telnet" } else { "tcp" }, peer.host, peer.port)
                }
                Some(Place::Ssh { peer, user }) => format!("ssh {user}@{}:{}", peer.host, peer.port),
                Some(Place::Virsh { host, domain }) => format!("virsh {host} {domain}"),
                Some(Place::Nowhere(why)) => why,
            };
            (text, is_on_demand(&snapshot, "cn1"))
        };
        let ipmi: Row<'_> = ("ipmi", &[("node", "cn1"), ("bmc", "10.0.0.9:9001")]);
        let vm: Row<'_> = ("vm", &[("node", "cn1"), ("cfgstore", "/srv/vm")]);
        let socket: Row<'_> = ("vm", &[("node", "cn1"), ("cfgstore", "/run/docker.sock")]);
        let hosts: Row<'_> = ("vm", &[("node", "cn1"), ("host", "kvm1")]);
        let option: Row<'_> = ("vm", &[("node", "cn1"), ("host", "-oProxyCommand=x")]);
        let openbmc: Row<'_> = ("openbmc", &[("node", "cn1"), ("bmc", "10.0.0.8")]);
        let other: Row<'_> =
            ("openbmc", &[("node", "cn1"), ("bmc", "10.0.0.8"), ("consport", "2201"), ("username", "admin")]);
        let always: Row<'_> = ("site", &[("key", "consoleondemand"), ("value", "yes")]);
        for (rows, expected, on_demand) in [
            (&[("nodehm", &[("node", "cn1"), ("mgt", "ipmi")][..])][..], "none", false),
            (
                &[("nodehm", &[("node", "cn1"), ("mgt", "ipmi"), ("serialport", "0")]), ipmi, always],
                "sol 10.0.0.9:9001",
                true,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "qemu"), ("consoleondemand", "no")]), vm, always],
                "/srv/vm/cn1.serial",
                false,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "qemu"), ("consoleondemand", "1")]), socket],
                "/run/cn1.serial",
                true,
            ),
            (&[("nodehm", &[("node", "cn1"), ("cons", "kvm")]), hosts], "virsh kvm1 cn1", false),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "kvm")]), option],
                "vm.host of cn1 is not the name of a machine",
                false,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "openbmc")]), openbmc],
                "ssh root@10.0.0.8:2200",
                false,
            ),
            (&[("nodehm", &[("node", "cn1"), ("cons", "openbmc")]), other], "ssh admin@10.0.0.8:2201", false),
            (&[("nodehm", &[("node", "cn1"), ("cons", "openbmc")])], "openbmc.bmc must be set", false),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "hmc")])],
                "no console for cons=hmc in this version",
                false,
            ),
        ] {
            assert_eq!(of(rows), (expected.to_owned(), on_demand), "{rows:?}");
        }
    }

    #[test]
    fn terminal_servers() {
        for (cons, server, port, expected) in [
            ("cyclades", "ts1", "5", "telnet ts1:7005"),
            ("mrv", "ts1", "5", "telnet ts1:2500"),
            ("telnet", "10.0.0.7", "2023", "telnet 10.0.0.7:2023"),
            ("tcp", "fd00::7", "4001", "tcp fd00::7:4001"),
            ("ssh", "admin:port03@ts1", "", "ssh admin:port03@ts1:22"),
            ("ssh", "", "2222", "ssh root@cn1:2222"),
            ("telnet", "ts1", "", "nodehm.termserver and nodehm.termport must be set"),
            ("cyclades", "", "5", "nodehm.termserver and nodehm.termport must be set"),
            ("mrv", "ts1", "700", "nodehm.termport=700 is not the number of a port"),
            ("cyclades", "ts1", "x", "nodehm.termport=x is not the number of a port"),
            ("telnet", "ts1", "0", "nodehm.termport=0 is not the number of a port"),
            ("ssh", "ts1", "0", "nodehm.termport=0 is not the number of a port"),
            ("tcp", "-x", "1", "nodehm.termserver of cn1 is not the name of a machine"),
            ("ssh", "-oProxyCommand=x", "", "nodehm.termserver of cn1 is not the name of a machine"),
            ("ssh", "root@-oX", "", "nodehm.termserver of cn1 is not the name of a machine"),
            ("ssh", "-l@ts1", "", "nodehm.termserver has no name of a user"),
            ("ssh", "a b@ts1", "", "nodehm.termserver has no name of a user"),
        ] {
            let cells = [("node", "cn1"), ("cons", cons), ("termserver", server), ("termport", port)];
            let cells: Vec<_> = cells.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let node: (&str, &[(&str, &str)]) = ("nodelist", &[("node", "cn1"), ("groups", "all")]);
            let snapshot = Snapshot::from_rows([node, ("nodehm", &cells[..])]);
            let found = match place(&snapshot, "cn1") {
                Some(Place::Terminal { peer, telnet }) => {
                    format!("{} {}:{}", if telnet { "telnet" } else { "tcp" }, peer.host, peer.port)
                }
                Some(Place::Ssh { peer, user }) => format!("ssh {user}@{}:{}", peer.host, peer.port),
                Some(Place::Nowhere(why)) => why,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{cons} {server} {port}");
        }
    }
}
