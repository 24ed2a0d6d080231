//! What the keys of the `site` table may say.
//!
//! The one list of keys: what they are for, what their values are checked for when they are written, and
//! which are secrets. A key that is not here may hold anything: the table is open, and scripts of
//! administrators keep their own keys in it. The words of a list are those of xCAT, also where Dawn
//! does not act on them.

use crate::discovery_rule::DiscoveryRule;
use crate::names::NAME_BYTES_MAX;
use crate::servers::NamedServer;
use std::borrow::Cow;
use std::net::IpAddr;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `0`, `1`, `2` (a degree), `n`, `no`, `y`, `yes`, in any case; `off`, `on`, `false`, `true`.
    Switch,
    /// A TCP or UDP port.
    Port,
    /// A whole number from the first to the second.
    Number(u32, u32),
    /// An address of this machine or a name that the tables give one.
    Server,
    /// Addresses or names, as [`NamedServer::list`] reads them; `<xcatmaster>` is this machine.
    Servers,
    /// A DNS domain.
    Domain,
    /// An absolute path.
    Path,
    /// The absolute path of a directory whose files are handed out to the boot network.
    Served,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `Area/City`, as in `/usr/share/zoneinfo`.
    Timezone,
    /// `eth1,eth2` or `mn|eth1,eth2;group|eth0`, each name maybe with `:noboot`.
    Interfaces,
    /// `column[:delimiter]`, separated by commas.
    Columns,
    /// Some of these words, separated by commas.
    Words(&'static [&'static str]),
    /// Names of networks (`networks.netname`), separated by commas, or `all`.
    Networks,
    /// `attribute=template`, separated by blanks.
    DiscoveryRules,
    /// Anything.
    Text,
    /// Anything, and no log shows it.
    Secret,
}

/// How unknown machines can be recognised (`discoverymethods`).
pub const DISCOVERY_METHODS: [&str; 7] = ["mac", "lldp", "switch", "mtms", "uuid", "rule", "sequential"];

/// A key of the table `site` that xCAT or Dawn knows.
#[derive(Clone, Copy, Debug)]
pub struct SiteKey {
    /// The key, as `site.key` has it.
    pub name: &'static str,
    /// What it is for, in one line.
    pub text: &'static str,
    /// Whether Dawn acts on it; the others are kept for other programs that read the table.
    pub is_used: bool,
    kind: Kind,
}

const fn used(name: &'static str, kind: Kind, text: &'static str) -> SiteKey {
    SiteKey { name, text, is_used: true, kind }
}

const fn kept(name: &'static str, kind: Kind, text: &'static str) -> SiteKey {
    SiteKey { name, text, is_used: false, kind }
}

/// The known keys of the table `site`, sorted by the bytes of their names.
pub fn site_keys() -> &'static [SiteKey] {
    KEYS
}

/// The known key of that name.
pub fn site_key(name: &str) -> Option<&'static SiteKey> {
    // One key for each architecture.
    let name = if name.starts_with("aptsrclist_") { "aptsrclist_<arch>" } else { name };
    let at = KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    KEYS.get(at)
}

/// The keys, sorted.
const KEYS: &[SiteKey] = &[
    used("FQDNfirst", Kind::Text, "in /etc/hosts the full name of a node comes before its short name"),
    kept("SNsyncfiledir", Kind::Path, "directory on service nodes for files that are synchronised"),
    used("__PCMDiscover", Kind::Text, "set while another program discovers nodes by profile"),
    used(
        "__SEQDiscover",
        Kind::Text,
        "options of the sequential discovery that runs; set by nodediscoverstart",
    ),
    used("aptsrclist_<arch>", Kind::Path, "package sources of ALT images of an architecture"),
    used("auditnosyslog", Kind::Switch, "1: audited commands are not sent to syslog"),
    used(
        "auditskipcmds",
        Kind::Text,
        "commands that are not audited, comma separated: names, clienttype:TYPE, ALL",
    ),
    used("bindconf", Kind::Path, "named.conf of BIND, which makedns writes"),
    used("binddir", Kind::Path, "directory of BIND's zone files, which makedns writes"),
    used("bindzones", Kind::Path, "the directory of the zone files as a BIND in a chroot sees it"),
    kept("blademaxp", Kind::Text, "processes that control blades at the same time"),
    kept(
        "cleanupdiskfullxcatpost",
        Kind::Switch,
        "yes: installed nodes remove /xcatpost after their post scripts",
    ),
    kept("cleanupxcatpost", Kind::Switch, "yes: diskless nodes remove /xcatpost after their post scripts"),
    used("conserverconf", Kind::Path, "conserver.cf of an outside conserver, which makeconservercf writes"),
    used("consoleondemand", Kind::Switch, "yes: consoles are connected only while a caller looks at them"),
    used("consoleservice", Kind::Text, "the console server: goconserver, conserver or confluent"),
    kept("databaseloc", Kind::Path, "directory of the database files, for programs that set the database up"),
    kept("db2installloc", Kind::Path, "directory of DB2"),
    used("defserialflow", Kind::Text, "flow control of serial consoles: hard, soft or none"),
    used("defserialport", Kind::Text, "number of the serial console: 0 is ttyS0"),
    used("defserialspeed", Kind::Text, "speed of serial consoles, bit/s"),
    kept("dhcpbackend", Kind::OneOf(&["auto", "isc", "kea"]), "the DHCP server program: auto, isc or kea"),
    used(
        "dhcpinterfaces",
        Kind::Interfaces,
        "interfaces that DHCP and TFTP answer on: eth1,eth2 or mn|eth1;group|eth0; NIC:noboot gives addresses and no boot files",
    ),
    used("dhcplease", Kind::Number(60, u32::MAX), "life time of DHCP leases, seconds"),
    used(
        "dhcpomapialgorithm",
        Kind::OneOf(&["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]),
        "algorithm of the OMAPI key",
    ),
    kept("dhcpomapikey", Kind::Secret, "the OMAPI key"),
    used("dhcpomapikeyname", Kind::Text, "name of the key for updates of DNS, and for OMAPI"),
    kept("dhcpsetup", Kind::Switch, "n: nodes get no entries in the DHCP server"),
    kept(
        "disablenodesetwarning",
        Kind::Switch,
        "1: nodeset does not warn of words that it takes for old ones",
    ),
    used(
        "discoveryapproval",
        Kind::Networks,
        "networks whose unknown machines wait for `discover approve`, comma separated; all",
    ),
    used(
        "discoverykexec",
        Kind::Switch,
        "yes: the discovery system starts a node's image itself, without the firmware",
    ),
    used(
        "discoverymethods",
        Kind::Words(&DISCOVERY_METHODS),
        "how unknown machines are recognised, in this order: mac, lldp, switch, mtms, uuid, rule, sequential",
    ),
    used(
        "discoverynetboot",
        Kind::OneOf(&["xnba", "grub2"]),
        "what unknown machines load by UEFI PXE: xnba, or grub2, which Secure Boot needs",
    ),
    used(
        "discoveryrules",
        Kind::DiscoveryRules,
        "rules that make a node's name of an attribute of a machine, separated by blanks: serial=|^SN(\\d+)$|cn($1)|",
    ),
    kept("disjointdhcps", Kind::Switch, "1: a service node answers DHCP for its own nodes only"),
    kept("dnsforwarders", Kind::Text, "name servers that the cluster's own asks, with options"),
    used(
        "dnsforwardmode",
        Kind::OneOf(&["first", "only", "no"]),
        "BIND: whether it asks the forwarders first or only",
    ),
    used(
        "dnshandler",
        Kind::OneOf(&["dawn", "ddns"]),
        "which name server has the cluster's names: dawn (this daemon) or ddns (BIND, whose files makedns writes)",
    ),
    used(
        "dnsinterfaces",
        Kind::Interfaces,
        "interfaces that the cluster's name server answers on: eth1,eth2 or mn|eth1;group|eth0",
    ),
    kept("dnsupdaters", Kind::Text, "more addresses that may update the cluster's zones"),
    used("domain", Kind::Domain, "DNS domain of the cluster"),
    kept("ea_backup_hmc", Kind::Text, "HMC that takes over for ea_primary_hmc"),
    kept("ea_primary_hmc", Kind::Text, "HMC that collects events of Power machines"),
    used("emptyzonesenable", Kind::OneOf(&["yes", "no"]), "BIND: whether it keeps its built-in empty zones"),
    kept("emptyzonesmx", Kind::Text, "yes: the name server keeps its built-in empty zones"),
    kept("enableASMI", Kind::Switch, "yes: rspconfig may use the web interface of FSP machines"),
    used("excludenodes", Kind::Text, "noderange that every command leaves out"),
    kept("externaldhcpservers", Kind::Text, "DHCP servers that others run, comma separated"),
    used("externaldns", Kind::Text, "set: the cluster's zones are kept by a name server elsewhere"),
    kept(
        "extntpservers",
        Kind::Text,
        "NTP servers that the management node takes its time from, comma separated",
    ),
    used("forwarders", Kind::Servers, "name servers that the cluster's own asks, comma separated"),
    kept("fsptimeout", Kind::Text, "time-out of FSP machines, seconds; 0 is the program's own"),
    kept("genmacprefix", Kind::Text, "first three bytes of MAC addresses made for virtual machines"),
    used("genpasswords", Kind::Text, "yes: BMCs that are set up get random passwords"),
    used(
        "goconserverdir",
        Kind::Path,
        "data directory of an outside goconserver, which makegocons writes to",
    ),
    used(
        "hierarchicalattrs",
        Kind::Columns,
        "columns that a node collects from all its groups: column or column:delimiter, comma separated",
    ),
    kept(
        "httpmethod",
        Kind::OneOf(&["http", "https"]),
        "scheme of the addresses from which installers fetch: http or https",
    ),
    used("httpport", Kind::Port, "port of the HTTP server"),
    kept("hwctrldispatch", Kind::Text, "no: hardware control is not handed to service nodes"),
    used("installdir", Kind::Served, "directory of images and installation files; nodes read it as /install"),
    kept(
        "installloc",
        Kind::Text,
        "server and directory from which service nodes mount the install directory",
    ),
    used(
        "ipmi15",
        Kind::Text,
        "nodes and groups whose service processors have IPMI 1.5 only, comma separated; no others use it",
    ),
    kept("ipmidispatch", Kind::Text, "no: IPMI is not handed to service nodes"),
    used("ipmimaxp", Kind::Text, "service processors that are asked at the same time"),
    used(
        "ipmiretries",
        Kind::Text,
        "how often an IPMI packet is sent before its service processor counts as unresponsive",
    ),
    used("ipmisdrcache", Kind::Switch, "no: sensor records are read from each machine, not once for a model"),
    used(
        "ipmitimeout",
        Kind::Text,
        "wait for the answer to an IPMI packet, seconds; each further wait is a second longer",
    ),
    kept("iscsidir", Kind::Text, "directory of iSCSI disks"),
    kept("keacontrolagent", Kind::Text, "1: Kea is managed over its control agent"),
    used("logservers", Kind::Servers, "syslog servers of the nodes, comma separated"),
    used(
        "managedaddressmode",
        Kind::Text,
        "static or dhcp: how nodes get their address when they are installed",
    ),
    used("master", Kind::Server, "address of the management node as nodes see it"),
    kept("maxssh", Kind::Text, "ssh sessions that are open at the same time"),
    kept("mnroutenames", Kind::Text, "routes of the management node: names of rows in the table routes"),
    kept("monsyncfrom", Kind::Text, "whether times of nodes come from the management node"),
    used("namedincludes", Kind::Text, "files that named.conf of BIND includes, comma separated"),
    used(
        "nameservers",
        Kind::Servers,
        "name servers of the nodes, comma separated; <xcatmaster> is the server that faces the node",
    ),
    kept("nimprime", Kind::Text, "the NIM master of AIX nodes"),
    kept("nmapoptions", Kind::Text, "words added to nmap's command line"),
    used(
        "nodeauthentication",
        Kind::Text,
        "set: nodes get scripts, credentials and their next task only with a certificate",
    ),
    used("nodestatus", Kind::Switch, "n: nodes do not report their status"),
    used("nodesyncfiledir", Kind::Path, "directory on nodes for files that are synchronised"),
    used(
        "ntpservers",
        Kind::Servers,
        "NTP servers of the nodes, comma separated; <xcatmaster> is the server that faces the node",
    ),
    kept("onlysupportarchs", Kind::Text, "architectures that copycds and nodeset work for"),
    kept(
        "osimagerequired",
        Kind::Switch,
        "1: nodeset takes images only, no states of nodetype.os and profile",
    ),
    kept("persistkvmguests", Kind::Text, "yes: definitions of KVM guests outlive their power-off"),
    used("powerinterval", Kind::Text, "pause between two nodes that rpower switches on, seconds"),
    kept("ppcmaxp", Kind::Text, "processes that control Power machines at the same time"),
    kept("ppcretry", Kind::Text, "how often a call to a Power machine is repeated"),
    kept("ppctimeout", Kind::Text, "time-out of Power machines, seconds; 0 is the program's own"),
    used(
        "precreatemypostscripts",
        Kind::Switch,
        "1: the post scripts of nodes are written to tftpdir in advance",
    ),
    kept("prejoinactivedirectory", Kind::Switch, "1: Windows nodes join the domain before the installation"),
    used(
        "proxydhcp",
        Kind::Text,
        "networks in which another server gives the addresses and this one the boot file: names, ALL",
    ),
    kept("pruneservices", Kind::Switch, "yes: a removed node leaves DHCP as well"),
    kept("rflash_delay", Kind::Text, "pause of rflash between machines, seconds"),
    kept("rsh", Kind::Text, "remote shell on AIX"),
    kept("runbootscripts", Kind::Switch, "yes: installed nodes run their postboot scripts at every boot"),
    used("secureroot", Kind::Text, "1: without a password in passwd the root account of images is locked"),
    kept(
        "setinstallnic",
        Kind::Text,
        "1: the network interface a node was installed from gets a static address",
    ),
    kept(
        "sharedinstall",
        Kind::OneOf(&["no", "sns", "all"]),
        "which servers share the install directory: no, sns or all",
    ),
    kept("sharedtftp", Kind::Switch, "no: service nodes have a separate tftpdir"),
    used("skiptables", Kind::Text, "tables that dumpxCATdb leaves out, comma separated"),
    used(
        "skipvalidatelog",
        Kind::Switch,
        "1: requests for post scripts and credentials are not sent to syslog",
    ),
    used("snmpc", Kind::Secret, "SNMP community of switches"),
    used(
        "sshbetweennodes",
        Kind::Text,
        "groups whose nodes may reach each other by ssh, comma separated; ALLGROUPS, NOGROUPS",
    ),
    kept("svloglocal", Kind::Text, "1: syslog of service nodes stays on them"),
    used(
        "syspowerinterval",
        Kind::Text,
        "pause between two groups of nodes that rpower switches on, seconds",
    ),
    used("syspowermaxnodes", Kind::Text, "nodes in one group that rpower switches on"),
    used("tftpdir", Kind::Served, "directory of boot files; nodes read it as /tftpboot"),
    kept("tftpflags", Kind::Text, "words for the command line of tftpd"),
    used("timezone", Kind::Timezone, "time zone of the nodes: Area/City or UTC"),
    kept("tmpdir", Kind::Text, "directory for large temporary files"),
    used("tokenexpiredays", Kind::Text, "life time of tokens of web programs, days; never"),
    kept("topology", Kind::Text, "names of machines, for racks and frames that are counted"),
    used("ubuntu_apt_mirror", Kind::Text, "mirror that installations of Ubuntu use"),
    kept("useNFSv4onAIX", Kind::Switch, "yes: AIX nodes use NFS 4"),
    kept("useNmapfromMN", Kind::Switch, "yes: nodestat asks with nmap from the management node"),
    kept("useSSHonAIX", Kind::Text, "yes: AIX nodes are reached by ssh"),
    used(
        "useflowcontrol",
        Kind::Switch,
        "yes: nodes ask for a turn before they report or fetch post scripts",
    ),
    kept("usenmap", Kind::Text, "no: hosts are looked for without nmap"),
    kept("usexhrm", Kind::Switch, "yes: networks of virtual machines are made by the script xHRM"),
    kept("vcenterautojoin", Kind::Text, "n: hypervisors are not added to a vCenter"),
    kept(
        "vmwarereconfigonpower",
        Kind::Text,
        "y: definitions of VMware guests are applied when they are switched on",
    ),
    kept("vsftp", Kind::Switch, "y: an FTP server serves installdir"),
    kept("xcatconfdir", Kind::Path, "directory of configuration files"),
    used("xcatdebugmode", Kind::Switch, "1: nodes and daemon log more"),
    used("xcatdport", Kind::Port, "port of the command daemon"),
    used("xcatiport", Kind::Port, "port that nodes report their status to"),
    kept("xcatlport", Kind::Port, "port of a command listener on nodes"),
    kept(
        "xcatmaxbatchconnections",
        Kind::Number(1, 1_000_000),
        "connections to the command daemon that batch jobs may hold",
    ),
    used(
        "xcatmaxconnections",
        Kind::Number(1, 1_000_000),
        "connections to the command daemon at the same time",
    ),
    kept("xcatprefix", Kind::Text, "directory of the programs"),
    kept("xcatsslciphers", Kind::Text, "ciphers that the command daemon accepts"),
    kept("xcatsslversion", Kind::Text, "TLS version that the command daemon accepts"),
    kept(
        "xcattlspolicy",
        Kind::OneOf(&["modern", "legacy"]),
        "modern: TLS 1.2 and 1.3 only; legacy: older versions too",
    ),
];

/// What the value of a key must be; `None` for a key that may hold anything.
pub(crate) fn kind_of(key: &str) -> Option<Kind> {
    site_key(key).map(|key| key.kind)
}

impl Kind {
    /// What is wrong with a value. Whether the tables know a [`Kind::Server`] by name is checked by callers
    /// that have the tables.
    pub(crate) fn problem(self, value: &str) -> Option<Cow<'static, str>> {
        let unless = |good: bool, reason: &'static str| (!good).then_some(Cow::Borrowed(reason));
        match self {
            Self::Switch => unless(is_switch(value), "it must be 0, 1, yes or no"),
            Self::Port => {
                unless(value.parse::<u16>().is_ok_and(|port| port > 0), "it is not a port (1 to 65535)")
            }
            Self::Number(low, high) => {
                let good = value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
                (!good).then(|| format!("it is not a number from {low} to {high}").into())
            }
            Self::Server => unless(is_host(value), "it is neither an address nor a host name"),
            Self::Servers => {
                let is_good = |server: &NamedServer| match server {
                    NamedServer::Master => true,
                    NamedServer::Other(word) => is_host(word),
                };
                let good = NamedServer::list(value).iter().all(is_good);
                unless(good, "it is not a list of addresses or host names")
            }
            Self::Domain => unless(is_domain(value), "it is not a domain name"),
            Self::Path | Self::Served if !is_path(value) => Some("it is not an absolute path".into()),
            Self::Path => None,
            Self::Served => own_directory(value, Purpose::Served).or_else(|| shared_directory(value)),
            Self::OneOf(words) => one_of(value, words),
            Self::Timezone => unless(is_timezone(value), "it is not a time zone (Area/City, UTC)"),
            Self::Interfaces => unless(
                is_interfaces(value),
                "it is not a list of interfaces (eth1,eth2 or mn|eth1,eth2;group|eth0)",
            ),
            Self::Columns => unless(
                value.split(',').all(|part| is_word(part.split(':').next().unwrap_or_default().trim())),
                "it is not a list of columns (column:delimiter,…)",
            ),
            Self::Words(words) => value.split(',').find_map(|word| one_of(word.trim(), words)),
            Self::DiscoveryRules => {
                let problem = |rule: &str| rule.parse::<DiscoveryRule>().err();
                value.split_whitespace().find_map(problem).map(|error| error.to_string().into())
            }
            // The tables have the names.
            Self::Networks | Self::Text | Self::Secret => None,
        }
    }
}

/// The reason if the value is none of the words, with the words.
pub(crate) fn one_of(value: &str, words: &[&str]) -> Option<Cow<'static, str>> {
    (!words.contains(&value)).then(|| format!("it must be one of {}", words.join(", ")).into())
}

/// A switch as `site` and many columns have it.
pub(crate) fn is_switch(value: &str) -> bool {
    const WORDS: [&str; 11] = ["0", "1", "2", "n", "no", "y", "yes", "on", "off", "true", "false"];
    WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// An address or what could be the name of a host.
pub(crate) fn is_host(word: &str) -> bool {
    word.parse::<IpAddr>().is_ok() || is_host_name(word)
}

/// Labels of letters, digits, `-` and `_`, joined by dots, that are not addresses.
pub fn is_host_name(word: &str) -> bool {
    is_domain(word) && !looks_like_address(word)
}

/// Only digits and dots, or numbers of which some are hexadecimal: a mistyped address, not a name. Resolvers
/// read `10.3.0.010` as 10.3.0.8, and `0x0a.3.0.8` too (inet_aton(3)).
#[must_use]
pub fn looks_like_address(word: &str) -> bool {
    let is_number = |label: &str| {
        let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        let digits = hexadecimal.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        digits || label.bytes().all(|byte| byte.is_ascii_digit())
    };
    word.split('.').all(is_number)
}

fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let clean = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        clean && !label.is_empty() && label.len() <= 63 && !label.starts_with('-')
    };
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && !text.split('/').any(|part| part == "..")
}

/// What a directory of a server would be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Files that nodes read (`litetree.directory`).
    Tree,
    /// The root of an image (`linuximage.rootimgdir`).
    Image,
    /// Files that nodes write (`statelite.statemnt`).
    Store,
    /// Handing out every file in it (`site.installdir`, `site.tftpdir`).
    Served,
}

impl Purpose {
    /// Directories at the top of a server's file system that are not allowed here: those of its own secrets,
    /// settings and devices, and of its programs where files are written or handed out.
    fn excluded(self) -> &'static [&'static str] {
        match self {
            Self::Tree => &["dev", "etc", "proc", "root", "run", "sys"],
            Self::Image => &["boot", "dev", "etc", "proc", "root", "run", "sys"],
            Self::Store => {
                &["bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr"]
            }
            Self::Served => &["bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr"],
        }
    }
}
/// Directories that hold those of many programs or users: one below them may be for nodes, not the whole.
const SHARED: &[&[&str]] =
    &[&["home"], &["root"], &["run"], &["tmp"], &["var"], &["var", "lib"], &["var", "log"], &["var", "tmp"]];

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// Why a path is the server's own: the whole file system, or in a directory that is not for this purpose.
pub fn own_directory(path: &str, purpose: Purpose) -> Option<Cow<'static, str>> {
    match parts(path).next() {
        None => Some("it is the whole file system of the server; name a directory for nodes".into()),
        Some(top) if purpose.excluded().contains(&top) => {
            Some(format!("/{top} is the server's own; name a directory for nodes").into())
        }
        Some(_) => None,
    }
}

fn shared_directory(path: &str) -> Option<Cow<'static, str>> {
    let path: Vec<&str> = parts(path).collect();
    let shared = SHARED.iter().find(|shared| **shared == path.as_slice())?;
    Some(format!("/{} is shared by many; name a directory below it for nodes", shared.join("/")).into())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

/// Names of the zone files: known areas, or one of the names without an area. The files themselves are on the
/// nodes.
fn is_timezone(text: &str) -> bool {
    const AREAS: [&str; 14] = [
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Brazil",
        "Canada",
        "Chile",
        "Etc",
        "Europe",
        "Indian",
        "Pacific",
    ];
    const MORE_AREAS: [&str; 5] = ["Mexico", "US", "SystemV", "posix", "right"];
    let clean = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
    };
    let mut parts = text.split('/');
    let Some(first) = parts.next().filter(|part| clean(part)) else { return false };
    if text.contains('/') {
        return (AREAS.contains(&first) || MORE_AREAS.contains(&first)) && parts.all(clean);
    }
    // UTC, EST5EDT, Cuba: a capital, and either an abbreviation or a country.
    const NAMES: [&str; 17] = [
        "Cuba",
        "Egypt",
        "Eire",
        "Factory",
        "Greenwich",
        "Hongkong",
        "Iceland",
        "Iran",
        "Israel",
        "Jamaica",
        "Japan",
        "Kwajalein",
        "Libya",
        "Navajo",
        "Poland",
        "Portugal",
        "Singapore",
    ];
    NAMES.contains(&text)
        || matches!(text, "Turkey" | "Universal" | "Zulu" | "GB-Eire" | "NZ-CHAT")
        || !first.bytes().any(|b| b.is_ascii_lowercase())
}

fn is_interfaces(text: &str) -> bool {
    let name = |word: &str| {
        let word = word.trim();
        let bare = word.strip_suffix(":noboot").unwrap_or(word);
        let bare = bare.strip_prefix("!remote!").unwrap_or(bare);
        // IFNAMSIZ of Linux, without its final NUL.
        !bare.is_empty()
            && bare.len() <= 15
            && bare.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'|' | b';' | b','))
    };
    let list = |text: &str| text.split(',').all(name);
    let part = |part: &str| match part.split_once('|') {
        Some((who, names)) => !who.trim().is_empty() && list(names),
        None => list(part),
    };
    text.split(';').filter(|text| !text.trim().is_empty()).all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(KEYS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn what_is_checked() {
        for (key, good, bad) in [
            (
                "master",
                &["10.0.0.1", "mn", "mn.cluster", "NORESOLUTION"][..],
                &["10.0.0.999", "10.0.0", "a b", "-x"][..],
            ),
            ("httpport", &["80", "65535"], &["foo", "0", "65536", "-1"]),
            ("xcatdport", &["3001"], &["3001/tcp"]),
            ("dhcplease", &["43200"], &["12h", "0", "59"]),
            (
                "nameservers",
                &["10.0.0.1,10.0.0.2", "<xcatmaster>", "10.0.0.1 dns.example", ""],
                &["10.0.0.1;10.0.0.2", "10.0.0"],
            ),
            ("domain", &["cluster.example", "x"], &["a..b", "a b", "-x"]),
            ("tftpdir", &["/tftpboot"], &["tftpboot", "/a/../b", "/a b", "/etc", "/var/lib/"]),
            (
                "installdir",
                &["/install", "/var/lib/dawn/install", "/srv", "/home/install", "/root/dawn/install"],
                &[
                    "/",
                    "//",
                    "/.",
                    "/etc",
                    "/./etc",
                    "/etc/x",
                    "/root",
                    "/usr/share",
                    "/var",
                    "/home/",
                    "/tmp",
                ],
            ),
            ("dhcpbackend", &["auto"], &["dnsmasq"]),
            (
                "timezone",
                &["Europe/Berlin", "UTC", "EST5EDT", "America/Argentina/Ushuaia", "Japan", "Etc/GMT+5"],
                &["banana", "Berlin/Europe", "Europe/", "", "Europe Berlin"],
            ),
            (
                "dhcpinterfaces",
                &["eth0", "eth1,eth2", "mn|eth1,eth2;service|bond0", "eth3:noboot", "eth0.7"],
                &["eth1,,eth2", "|eth1", "mn|", "a name that is long", "eth/1"],
            ),
            ("auditnosyslog", &["0", "1", "YES", "n"], &["maybe", ""]),
            ("hierarchicalattrs", &["postscripts", "postscripts:,postbootscripts:;"], &["a b", ","]),
        ] {
            let kind = kind_of(key).unwrap();
            for value in good {
                assert_eq!(kind.problem(value), None, "{key}={value}");
            }
            for value in bad {
                assert!(kind.problem(value).is_some(), "{key}={value}");
            }
        }
        assert_eq!(kind_of("myownkey"), None);
    }

    #[test]
    fn default_values_pass() {
        let snapshot = crate::Snapshot::empty();
        let rows = snapshot.default_rows(&crate::Installation::default()).unwrap();
        snapshot.with(&rows).unwrap();
    }
}
