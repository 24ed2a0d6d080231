//! Which driver a node has, where its service processor is, and who logs in there: the tables, read once and
//! before anything is sent.

use dawn_cluster::list::elements;
use dawn_cluster::{Claim, Col, Snapshot, col};
use dawn_ipmi::limits::{Budget, PORT};
use dawn_ipmi::{Credentials, Fallback, Secret};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::limits::{BMCS_PER_NODE_MAX, IPMI_SENDS_MAX, IPMI_WAIT_MAX, IPMI_WAIT_MIN};

/// Which column says how a node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deciding {
    /// `nodehm.power`, else `nodehm.mgt`.
    Power,
    /// `nodehm.mgt`.
    Mgt,
    /// `nodehm.getmac`, else `nodehm.mgt`.
    Getmac,
}

impl Deciding {
    /// Its columns, the first that is set decides.
    fn columns(self) -> &'static [Col] {
        match self {
            Self::Power => &[col::nodehm::POWER, col::nodehm::MGT],
            Self::Mgt => &[col::nodehm::MGT],
            Self::Getmac => &[col::nodehm::GETMAC, col::nodehm::MGT],
        }
    }

    /// The error of a node whose columns are empty, or for which no driver supports the command.
    pub fn unidentified(self) -> String {
        let columns = match self {
            Self::Power => "nodehm.power,mgt",
            Self::Mgt => "nodehm.mgt",
            Self::Getmac => "nodehm.getmac,mgt",
        };
        format!("Unable to identify plugin for this command, check relevant tables: {columns}")
    }

    /// The value that decides, if any.
    pub fn method(self, snapshot: &Snapshot, node: &str) -> Option<String> {
        self.columns().iter().find_map(|column| snapshot.attr(node, *column)).map(|text| text.to_string())
    }
}

/// A node and the way to its machine.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node.
    pub node: String,
    /// The way, or why there is none.
    pub way: Result<Way, Error>,
}

/// The way to a machine.
#[derive(Clone, Debug)]
pub enum Way {
    /// Service processors with IPMI: those that form one machine, the first controls its power.
    Ipmi(Vec<Bmc>),
    /// QEMU's monitor: the path of its socket.
    Qemu(String),
    /// libvirt: the machine it runs on, empty for this one, and the name of the virtual machine.
    Kvm {
        /// Name or address of the hypervisor; empty: this machine.
        host: String,
        /// The virtual machine.
        domain: String,
    },
}

/// A service processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bmc {
    /// Its name or address.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// What the tables say of its address.
    pub known_address: Known,
    /// Whether IPMI 1.5 may be used with it.
    pub fallback: Fallback,
    /// Who logs in.
    pub credentials: Result<Credentials, Error>,
    /// Where user and password come from.
    pub source: String,
    /// How long answers are waited for.
    pub budget: Budget,
    /// Sensor records are shared with other machines of the model (`site.ipmisdrcache`).
    pub shares_records: bool,
}

/// What a console is connected to: a terminal server, or a service processor with ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name or address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// What the tables say of its address.
    pub known_address: Known,
}

/// What the tables say of the address of a service processor or a terminal server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is written there, or a row of `hosts` for this very name has it, or the node itself has an
    /// interface of the name.
    At(IpAddr),
    /// The name is one of another node's interfaces or aliases: the name of a service processor is not looked
    /// up there, as that node may belong to another user.
    OtherNode(String),
    /// Nothing: the system's resolver may know it.
    Nothing,
}

/// `site` key: nodes and groups with service processors that have IPMI 1.5 only.
const IPMI_15_KEY: &str = "ipmi15";

/// Where test machines' monitors are, if no column names the place.
pub const QEMU_DIRECTORY: &str = "/run/dawn/qemu";
/// Values of `nodehm.mgt` that xCAT has drivers for and this program has not.
const KNOWN_METHODS: [&str; 19] = [
    "blade", "bpa", "cec", "esx", "fsp", "frame", "hmc", "hpblade", "hpilo", "ivm", "mic", "openbmc", "pdu",
    "redfish", "rhevm", "switch", "vbox", "xen", "zvm",
];

/// The way to a node's machine, by the columns that decide for a command.
pub fn target(snapshot: &Snapshot, node: &str, deciding: Deciding) -> Target {
    let way = match deciding.method(snapshot, node).as_deref() {
        Some("ipmi") => Ok(Way::Ipmi(bmcs(snapshot, node))),
        Some("qemu") => Ok(Way::Qemu(monitor(snapshot, node))),
        Some("kvm") => kvm(snapshot, node),
        Some(known) if KNOWN_METHODS.contains(&known) => {
            Err(Error::NoDriver(format!("no driver for mgt={known} in this version")))
        }
        _ => Err(Error::NoDriver(deciding.unidentified())),
    };
    Target { node: node.to_owned(), way }
}

pub(crate) fn attr(snapshot: &Snapshot, node: &str, column: Col) -> Option<String> {
    snapshot.attr(node, column).map(|text| text.to_string()).filter(|text| !text.is_empty())
}

/// The service processors of a node, by its tables.
pub(crate) fn bmcs(snapshot: &Snapshot, node: &str) -> Vec<Bmc> {
    let list = attr(snapshot, node, col::ipmi::BMC).unwrap_or_else(|| node.to_owned());
    let (credentials, source) = login(snapshot, node);
    let (budget, shares_records) = (budget(snapshot), snapshot.site_flag("ipmisdrcache", true));
    let fallback = fallback(snapshot, node);
    let words = elements(&list).take(BMCS_PER_NODE_MAX);
    words
        .map(|word| {
            let (host, port) = host_and_port(word);
            let known_address = known_address(snapshot, node, &host);
            let (credentials, source) = (credentials.clone(), source.clone());
            Bmc { host, port, known_address, fallback, credentials, source, budget, shares_records }
        })
        .collect()
}

pub(crate) fn known_address(snapshot: &Snapshot, node: &str, host: &str) -> Known {
    if let Ok(address) = host.parse() {
        return Known::At(address);
    }
    if let Some(address) = attr(snapshot, host, col::hosts::IP).and_then(|ip| ip.trim().parse().ok()) {
        return Known::At(address);
    }
    let is_it = |name: &str| name.eq_ignore_ascii_case(host);
    let own = snapshot.named_addresses(node);
    if let Some(own) = own.into_iter().find(|own| is_it(&own.name) || own.aliases.iter().any(|n| is_it(n))) {
        return Known::At(own.ip);
    }
    let claim = Claim::read(host);
    let holders = claim.iter().flat_map(|claim| snapshot.nodes_with(claim));
    // A node of that very name is the service processor's own entry.
    let mut others = holders.filter(|other| **other != *node && **other != *host);
    others.next().map_or(Known::Nothing, |other| Known::OtherNode(other.to_string()))
}

/// IPMI 1.5 proves a password by a hash that anyone who answers in place of the service processor can compare
/// with guesses: it is used only where an administrator allows it.
fn fallback(snapshot: &Snapshot, node: &str) -> Fallback {
    let allowed = snapshot.site(IPMI_15_KEY).unwrap_or_default();
    let mut words = allowed.split([',', ' ']).filter(|word| !word.is_empty());
    let groups = snapshot.groups_of(node);
    let is_named = words.any(|word| word == node || groups.iter().any(|group| **group == *word));
    if is_named { Fallback::Md5 } else { Fallback::Never }
}

/// `host`, `host:port`, `[IPv6]:port`, or an IPv6 address alone.
fn host_and_port(word: &str) -> (String, u16) {
    let bracketed = word.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((host, rest)) = bracketed {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        return (host.to_owned(), port.unwrap_or(PORT));
    }
    match word.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_owned(), port.parse().unwrap_or(PORT)),
        _ => (word.to_owned(), PORT),
    }
}

/// Who logs in: the node's own row if it names a user or a password, else the management module's, else the
/// rows of `passwd`, else what new machines have. Each but the first counts cell by cell.
fn login(snapshot: &Snapshot, node: &str) -> (Result<Credentials, Error>, String) {
    let own = |column: Col| attr(snapshot, node, column);
    let (user, password) = (own(col::ipmi::USERNAME), own(col::ipmi::PASSWORD));
    let (user, password, source) = if user.is_some() || password.is_some() {
        (user.unwrap_or_default(), password.unwrap_or_default(), "the table ipmi".to_owned())
    } else {
        inherited_login(snapshot, node)
    };
    let credentials = Credentials::new(&user, Secret::new(password.into_bytes())).map_err(Error::Credentials);
    (credentials, format!("user '{user}' from {source}"))
}

fn inherited_login(snapshot: &Snapshot, node: &str) -> (String, String, String) {
    let row = |column: Col, key: &str| snapshot.find_row(&[(column, key)]);
    let cell = |row: &dawn_cluster::Row, column: Col| row.get(column).map(ToString::to_string);
    let (mut user, mut password) = ("USERID".to_owned(), "PASSW0RD".to_owned());
    let mut source = "the factory".to_owned();
    let mut take = |found: (Option<String>, Option<String>), from: String| {
        if found.0.is_some() || found.1.is_some() {
            source = from;
        }
        user = found.0.unwrap_or_else(|| std::mem::take(&mut user));
        password = found.1.unwrap_or_else(|| std::mem::take(&mut password));
    };
    let passwd = |key: &str| {
        let row = row(col::passwd::KEY, key);
        let of = |column| row.as_ref().and_then(|row| cell(row, column));
        (of(col::passwd::USERNAME), of(col::passwd::PASSWORD))
    };
    take(passwd("ipmi"), "the key ipmi of the table passwd".to_owned());
    if let Some(module) = attr(snapshot, node, col::mp::MPA) {
        take(passwd("blade"), "the key blade of the table passwd".to_owned());
        let row = row(col::mpa::MPA, &module);
        let of = |column| row.as_ref().and_then(|row| cell(row, column));
        take((of(col::mpa::USERNAME), of(col::mpa::PASSWORD)), format!("the row {module} of the table mpa"));
    }
    (user, password, source)
}

/// Three sends within five seconds, unless `site.ipmitimeout` or `site.ipmiretries` ask for another schedule.
fn budget(snapshot: &Snapshot) -> Budget {
    let number = |key: &str| snapshot.site(key).and_then(|text| text.trim().parse::<u64>().ok());
    let (wait, sends) = (number("ipmitimeout"), number("ipmiretries"));
    if wait.is_none() && sends.is_none() {
        return Budget::SHORT;
    }
    let sends = sends.map_or(3, |sends| u8::try_from(sends).unwrap_or(u8::MAX)).clamp(1, IPMI_SENDS_MAX);
    let wait = Duration::from_secs(wait.unwrap_or(2)).clamp(IPMI_WAIT_MIN, IPMI_WAIT_MAX);
    let steps = u32::from(sends) * u32::from(sends.saturating_sub(1)) / 2;
    let total_max = wait * u32::from(sends) + Budget::REFERENCE.wait_step * steps;
    Budget { first_wait_min: wait, first_wait_max: wait, sends_max: sends, total_max, ..Budget::REFERENCE }
}

/// `vm.cfgstore` names the socket, or the directory where `<node>.qmp` is.
fn monitor(snapshot: &Snapshot, node: &str) -> String {
    let store = attr(snapshot, node, col::vm::CFGSTORE).unwrap_or_else(|| QEMU_DIRECTORY.to_owned());
    if is_socket(&store) { store } else { format!("{}/{node}.qmp", store.trim_end_matches('/')) }
}

fn is_socket(store: &str) -> bool {
    [".qmp", ".sock"].iter().any(|end| store.ends_with(end))
}

/// The directory of a virtual machine's sockets: that of its monitor.
pub(crate) fn qemu_directory(snapshot: &Snapshot, node: &str) -> PathBuf {
    let store = attr(snapshot, node, col::vm::CFGSTORE).unwrap_or_else(|| QEMU_DIRECTORY.to_owned());
    let above = Path::new(&store).parent().filter(|_| is_socket(&store));
    above.map_or_else(|| PathBuf::from(&store), Path::to_owned)
}

/// Whether a word may be the name or address of a machine. No program takes it for an option.
pub(crate) fn is_machine_name(word: &str) -> bool {
    !word.starts_with(['-', '.'])
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
}

pub(crate) fn kvm(snapshot: &Snapshot, node: &str) -> Result<Way, Error> {
    let host = attr(snapshot, node, col::vm::HOST).unwrap_or_default();
    if !is_machine_name(&host) || !is_machine_name(node) || node.is_empty() {
        return Err(Error::NoDriver(format!("vm.host of {node} is not the name of a machine")));
    }
    Ok(Way::Kvm { host, domain: node.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows<'a> = [(&'a str, &'a [(&'a str, &'a str)])];

    fn of(rows: &Rows<'_>) -> Target {
        let node: (&str, &[(&str, &str)]) = ("nodelist", &[("node", "cn1"), ("groups", "all")]);
        let snapshot = Snapshot::from_rows(std::iter::once(node).chain(rows.iter().copied()));
        target(&snapshot, "cn1", Deciding::Power)
    }

    fn ipmi(rows: &Rows<'_>) -> Vec<Bmc> {
        let mgt: (&str, &[(&str, &str)]) = ("nodehm", &[("node", "cn1"), ("mgt", "ipmi")]);
        match of(&[&[mgt], rows].concat()).way {
            Ok(Way::Ipmi(bmcs)) => bmcs,
            other => panic!("{other:?}"),
        }
    }

    fn expected(user: &str, password: &str) -> Credentials {
        Credentials::new(user, Secret::new(password.as_bytes())).unwrap()
    }

    #[test]
    fn who_logs_in() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)]);
        let own: Row = ("ipmi", &[("node", "cn1"), ("username", "u"), ("password", "p")]);
        let user_only: Row = ("ipmi", &[("node", "cn1"), ("username", "u")]);
        let password_only: Row = ("ipmi", &[("node", "cn1"), ("password", "p")]);
        let passwd: Row = ("passwd", &[("key", "ipmi"), ("username", "ADMIN"), ("password", "hush")]);
        let passwd_only: Row = ("passwd", &[("key", "ipmi"), ("password", "hush")]);
        let mp: Row = ("mp", &[("node", "cn1"), ("mpa", "mm1")]);
        let mpa: Row = ("mpa", &[("mpa", "mm1"), ("username", "mu"), ("password", "topsecret")]);
        let blade: Row = ("passwd", &[("key", "blade"), ("username", "bu")]);
        let cases: [(&[Row], &str, &str, &str); 8] = [
            (&[], "USERID", "PASSW0RD", "the factory"),
            (&[own, passwd], "u", "p", "the table ipmi"),
            (&[user_only, passwd], "u", "", "the table ipmi"),
            (&[password_only, passwd], "", "p", "the table ipmi"),
            (&[passwd, mpa], "ADMIN", "hush", "the key ipmi of the table passwd"),
            (&[passwd_only], "USERID", "hush", "the key ipmi of the table passwd"),
            (&[passwd, blade, mp], "bu", "hush", "the key blade of the table passwd"),
            (&[passwd, blade, mp, mpa], "mu", "topsecret", "the row mm1 of the table mpa"),
        ];
        for (rows, user, password, source) in cases {
            let bmcs = ipmi(rows);
            let [bmc] = &bmcs[..] else { panic!("{bmcs:?}") };
            assert_eq!(bmc.credentials, Ok(expected(user, password)), "{rows:?}");
            assert_eq!(bmc.source, format!("user '{user}' from {source}"));
            let printed = format!("{bmc:?}");
            assert!(password.is_empty() || password == "p" || !printed.contains(password), "{printed}");
        }
    }

    #[test]
    fn where_it_is() {
        for (cell, expected) in [
            ("", vec![("cn1", 623)]),
            ("10.2.0.5", vec![("10.2.0.5", 623)]),
            ("bmc1,bmc2:9001", vec![("bmc1", 623), ("bmc2", 9001)]),
            ("fd00::5", vec![("fd00::5", 623)]),
            ("[fd00::5]:9002", vec![("fd00::5", 9002)]),
        ] {
            let bmcs = ipmi(&[("ipmi", &[("node", "cn1"), ("bmc", cell)])]);
            let places: Vec<_> = bmcs.iter().map(|bmc| (bmc.host.as_str(), bmc.port)).collect();
            assert_eq!(places, expected, "{cell}");
        }
        let known = ipmi(&[
            ("ipmi", &[("node", "cn1"), ("bmc", "bmc1")]),
            ("hosts", &[("node", "bmc1"), ("ip", "10.2.0.7")]),
        ]);
        assert_eq!(known[0].known_address, Known::At("10.2.0.7".parse().unwrap()));
    }

    /// A name that another node's interface has leads nowhere; the node's own interface is its own.
    #[test]
    fn names_of_other_nodes_are_not_service_processors() {
        let known = |host: &str| {
            let row = [("node", "cn1"), ("bmc", host)];
            let bmcs = ipmi(&[
                ("ipmi", &row),
                ("nodelist", &[("node", "cn2"), ("groups", "all")]),
                ("hosts", &[("node", "cn1"), ("ip", "10.0.0.1"), ("otherinterfaces", "-bmc:10.2.0.1")]),
                (
                    "hosts",
                    &[
                        ("node", "cn2"),
                        ("ip", "10.0.0.2"),
                        ("hostnames", "trap"),
                        ("otherinterfaces", "cn1-ipmi:10.9.5.1"),
                    ],
                ),
                ("nics", &[("node", "cn2"), ("nicips", "e!10.9.5.2"), ("nicaliases", "e!snare")]),
            ]);
            bmcs[0].known_address.clone()
        };
        let at = |ip: &str| Known::At(ip.parse().unwrap());
        assert_eq!(known("cn1-bmc"), at("10.2.0.1"));
        assert_eq!(known("cn2"), at("10.0.0.2"));
        assert_eq!(known("10.2.0.1"), at("10.2.0.1"));
        assert_eq!(known("elsewhere"), Known::Nothing);
        for name in ["cn1-ipmi", "CN1-IPMI", "trap", "trap.example", "snare", "cn2-e"] {
            assert_eq!(known(name), Known::OtherNode("cn2".to_owned()), "{name}");
        }
    }

    #[test]
    fn ipmi_15_is_for_nodes_that_are_named() {
        for (value, expected) in [
            ("", Fallback::Never),
            ("cn2,cn10", Fallback::Never),
            ("cn2, cn1", Fallback::Md5),
            ("all", Fallback::Md5),
        ] {
            let bmcs = ipmi(&[("site", &[("key", "ipmi15"), ("value", value)])]);
            assert_eq!(bmcs[0].fallback, expected, "{value}");
        }
    }

    #[test]
    fn schedules() {
        let of = |rows: &Rows<'_>| ipmi(rows)[0].budget;
        assert_eq!(of(&[]), Budget::SHORT);
        let slow = of(&[
            ("site", &[("key", "ipmitimeout"), ("value", "1")]),
            ("site", &[("key", "ipmiretries"), ("value", "5")]),
        ]);
        assert_eq!((slow.sends_max, slow.total_max), (5, Duration::from_secs(15)));
    }

    #[test]
    fn other_ways() {
        let text = |rows: &Rows<'_>| match of(rows).way {
            Ok(way) => format!("{way:?}"),
            Err(error) => error.to_string(),
        };
        let hm = |mgt| [("node", "cn1"), ("mgt", mgt)];
        let none = "Unable to identify plugin for this command, check relevant tables: nodehm.power,mgt";
        assert_eq!(text(&[]), none);
        assert_eq!(text(&[("nodehm", &hm("nope"))]), none);
        assert_eq!(text(&[("nodehm", &hm("hmc"))]), "no driver for mgt=hmc in this version");
        assert_eq!(text(&[("nodehm", &hm("qemu"))]), r#"Qemu("/run/dawn/qemu/cn1.qmp")"#);
        let store = [("node", "cn1"), ("cfgstore", "/srv/vm")];
        assert_eq!(text(&[("nodehm", &hm("qemu")), ("vm", &store)]), r#"Qemu("/srv/vm/cn1.qmp")"#);
        let socket = [("node", "cn1"), ("cfgstore", "/srv/vm/a.sock")];
        assert_eq!(text(&[("nodehm", &hm("qemu")), ("vm", &socket)]), r#"Qemu("/srv/vm/a.sock")"#);
        let host = [("node", "cn1"), ("host", "kvm1")];
        assert_eq!(text(&[("nodehm", &hm("kvm")), ("vm", &host)]), r#"Kvm { host: "kvm1", domain: "cn1" }"#);
        for bad in ["-oProxyCommand=x", "a;b", "a b", "a/../b"] {
            let host = [("node", "cn1"), ("host", bad)];
            let told = text(&[("nodehm", &hm("kvm")), ("vm", &host)]);
            assert!(told.contains("not the name of a machine"), "{told}");
        }
        // The power column counts first, for power alone.
        let both = [("node", "cn1"), ("mgt", "hmc"), ("power", "qemu")];
        assert!(text(&[("nodehm", &both)]).starts_with("Qemu"));
    }
}
