//! What the values of some columns must be, checked when they are written.
//!
//! Otherwise a value that cannot work would only be noticed when a node fails to boot, by a person who has to
//! walk to it. Three kinds of checks: a cell by itself (this file), a row as a whole (`litefile`, `site`),
//! and addresses among each other (`rules/addresses.rs`, `rules/networks.rs`); and names (`rules/names.rs`).
//! Only what a change writes is looked at: a database that already has wrong values can still be changed.
//! Templates pass if they can be read: they are text until a node's name meets them.

mod addresses;
mod names;
mod networks;
mod scripts;
#[cfg(test)]
mod tests;

pub(crate) use addresses::no_machine;
pub use addresses::no_other_machine;
pub use names::{NewNameError, check_group_name};
pub use scripts::script_problem;

use crate::col;
use crate::edit::{Edit, EditError};
use crate::effect::Effect;
use crate::liteoption::lite_option;
use crate::names::{Guid, ImageName, MacAddr, excerpt, parse_mac_column, parse_mac_column_as};
use crate::netboot;
use crate::policy::PolicyRequest;
use crate::resolve::NEXT_RECORD;
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::secrets;
use crate::servers::XCATMASTER;
use crate::site::{self, Purpose};
use crate::snapshot::{KNOWN, Snapshot};
use crate::subnet::{dynamic_ranges, prefix_length};
use crate::template;
use dawn_wire::LiteOption;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

/// What a column holds.
#[derive(Clone, Copy)]
enum Rule {
    /// `mac`, `mac!host`, `mac!*NOIP*`, joined by `|`.
    Macs,
    /// One IPv4 or IPv6 address.
    Address,
    /// A list whose words are addresses, names and templates, with what belongs to them.
    AddressList,
    /// A network address.
    Network,
    /// `255.255.0.0`, `/16`, or an IPv6 prefix length.
    Mask,
    /// Ranges of addresses; of IPv6 anything.
    Ranges,
    /// An address, a host's name, or `<xcatmaster>`.
    Host,
    /// Several of them.
    Hosts,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, with letters in any case and hyphens anywhere.
    Protocol(&'static [&'static str]),
    /// A switch.
    Switch,
    /// A whole number in these bounds.
    Number(u32, u32),
    /// One of the options of `litefile`, or a legal combination.
    LiteOptions,
    /// An absolute path, a directory with `/` at its end.
    LitePath,
    /// `server:/directory` or `/directory`, with variables of the node; never a program to run, and in no
    /// directory of the server that is not for this purpose.
    Location(Purpose),
    /// One absolute path that does not lead upwards.
    Directory,
    /// One component of a path, and of a line in boot scripts.
    PathPart,
    /// A number that may have a fraction.
    Decimal,
    /// A DNS domain.
    Domain,
    /// Post scripts of nodes with their words, separated by commas.
    Scripts,
    /// `NAME=VALUE`, separated by commas.
    Variables,
    /// Options of an NFS mount whose root is read-only.
    ReadOnlyMount,
}

/// The words that a column takes, where it takes a few known ones only; nothing for other columns.
pub fn known_words(col: Col) -> &'static [&'static str] {
    let name = col.to_string();
    match RULES.iter().find(|(known, _)| *known == name) {
        Some((_, Rule::OneOf(words) | Rule::Protocol(words))) => words,
        Some((_, Rule::Switch)) => &["0", "1"],
        _ => &[],
    }
}

/// The columns whose values are checked. A list has what xCAT documents for the column, also what
/// Dawn does not boot: `nodeset` and `explain` say that.
const RULES: &[(&str, Rule)] = &[
    ("boottarget.bprofile", Rule::PathPart),
    ("hosts.ip", Rule::Address),
    ("hosts.otherinterfaces", Rule::AddressList),
    ("ipmi.bmc", Rule::AddressList),
    ("kit.kitname", Rule::PathPart),
    ("kitcomponent.kitcompname", Rule::PathPart),
    ("kitrepo.kitreponame", Rule::PathPart),
    ("litefile.file", Rule::LitePath),
    ("litefile.options", Rule::LiteOptions),
    ("litetree.directory", Rule::Location(Purpose::Tree)),
    ("litetree.priority", Rule::Decimal),
    ("linuximage.rootimgdir", Rule::Directory),
    ("mac.mac", Rule::Macs),
    ("mp.mpa", Rule::AddressList),
    ("networks.dynamicrange", Rule::Ranges),
    ("networks.gateway", Rule::Host),
    ("networks.logservers", Rule::Hosts),
    ("networks.mask", Rule::Mask),
    ("networks.mtu", Rule::Number(68, 65_535)),
    ("networks.nameservers", Rule::Hosts),
    ("networks.net", Rule::Network),
    ("networks.netname", Rule::PathPart),
    ("networks.ntpservers", Rule::Hosts),
    ("networks.tftpserver", Rule::Host),
    ("nics.nicips", Rule::AddressList),
    ("nodegroup.grouptype", Rule::OneOf(&["static", "dynamic"])),
    ("nodehm.serialflow", Rule::OneOf(&["hard", "soft", "none"])),
    ("nodehm.serialport", Rule::Number(0, 255)),
    ("nodehm.serialspeed", Rule::Number(50, 4_000_000)),
    ("noderes.netboot", Rule::OneOf(netboot::WORDS)),
    ("noderes.nfsserver", Rule::Host),
    ("noderes.tftpserver", Rule::Host),
    ("noderes.xcatmaster", Rule::Host),
    ("networks.domain", Rule::Domain),
    ("openbmc.bmc", Rule::AddressList),
    ("osdistro.osdistroname", Rule::PathPart),
    ("osdistroupdate.osupdatename", Rule::PathPart),
    ("osimage.imagetype", Rule::OneOf(&["linux", "windows", "NIM", "AIX"])),
    (
        "osimage.provmethod",
        Rule::OneOf(&[
            "install",
            "netboot",
            "statelite",
            "boottarget",
            "dualboot",
            "nimol",
            "raw",
            "sysclone",
        ]),
    ),
    ("osimage.nfsrootopts", Rule::ReadOnlyMount),
    ("osimage.environvar", Rule::Variables),
    ("osimage.osarch", Rule::PathPart),
    ("osimage.osvers", Rule::PathPart),
    ("osimage.postbootscripts", Rule::Scripts),
    ("osimage.postscripts", Rule::Scripts),
    ("osimage.profile", Rule::PathPart),
    ("osimage.rootfstype", Rule::OneOf(&["nfs", "ramdisk"])),
    ("policy.priority", Rule::Decimal),
    ("postscripts.postbootscripts", Rule::Scripts),
    ("postscripts.postscripts", Rule::Scripts),
    ("routes.gateway", Rule::Host),
    ("routes.mask", Rule::Mask),
    ("routes.net", Rule::Network),
    ("routes.routename", Rule::PathPart),
    ("servicenode.dhcpserver", Rule::Switch),
    ("servicenode.ipforward", Rule::Switch),
    ("servicenode.nameserver", Rule::Number(0, 2)),
    ("servicenode.nfsserver", Rule::Switch),
    ("servicenode.tftpserver", Rule::Switch),
    ("statelite.statemnt", Rule::Location(Purpose::Store)),
    ("switches.auth", Rule::Protocol(&["md5", "sha", "sha1", "sha256", "sha512"])),
    ("switches.privacy", Rule::Protocol(&["des", "aes", "aes128"])),
    ("switches.snmpversion", Rule::Protocol(&["1", "2", "2c", "3", "v1", "v2", "v2c", "v3"])),
    ("zone.zonename", Rule::PathPart),
];

static BY_COLUMN: LazyLock<HashMap<Col, Rule>> =
    LazyLock::new(|| RULES.iter().map(|(name, rule)| (Col::known(name), *rule)).collect());

struct LiteCols {
    file: Col,
    options: Col,
}

static LITE: LazyLock<LiteCols> =
    LazyLock::new(|| LiteCols { file: Col::known("litefile.file"), options: Col::known("litefile.options") });

/// What `#CMD=…#` in a cell is answered with.
const NO_COMMANDS: &str = "#CMD=...# is not carried out: use $table.column instead";

const CONTROL: &str = "it may not have control characters (line ends, tabs)";

/// Why a value cannot be stored.
type Reason = Cow<'static, str>;

/// Refuses an edit that writes a value its column cannot mean.
pub(crate) fn check_values(edit: &Edit) -> Result<(), EditError> {
    let one = |(col, value): &(Col, Option<Text>)| match value {
        Some(text) => check_value(*col, text),
        None => Ok(()),
    };
    match edit {
        // A key that finds a row makes one if there is none.
        Edit::Set { keys, values, .. } => {
            let keys = keys.iter().map(|(col, text)| check_value(*col, text));
            keys.chain(values.iter().map(one)).collect()
        }
        Edit::Insert { cells, .. } => cells.iter().try_for_each(one),
        Edit::Delete { .. } => Ok(()),
    }
}

fn check_value(col: Col, text: &str) -> Result<(), EditError> {
    let refused =
        |reason: Reason| EditError::BadValue { col, value: secrets::shown(col, text).into(), reason };
    if text.contains(char::is_control) && is_line(col) {
        return Err(refused(CONTROL.into()));
    }
    let value = text.trim();
    if value.is_empty() || value == "NULL" {
        return Ok(());
    }
    let rule = BY_COLUMN.get(&col);
    let problem = if matches!(rule, Some(Rule::Location(_))) && value.contains("#CMD") {
        Some(Cow::Borrowed(NO_COMMANDS))
    } else if is_resolved(col) && template::is_template(value) {
        template::check(value).err().map(|error| match secrets::is_secret(col) {
            true => Cow::Borrowed("it has the form of a template and is none"),
            false => Cow::Owned(error.to_string()),
        })
    } else if value.ends_with(NEXT_RECORD) {
        None
    } else {
        rule.and_then(|rule| rule.problem(value))
    };
    problem.map_or(Ok(()), |reason| Err(refused(reason)))
}

/// The column's values are written to lines of other files (`/etc/hosts`, boot scripts) and on command
/// lines, where a line end would begin something else: names, and what belongs to a node or a network. (Of
/// `site` the keys that are known.)
fn is_line(col: Col) -> bool {
    let table = col.table.info();
    let is_log = table.auto_increment.is_some();
    let free = matches!(col.name(), "comments" | "disable" | "usercomment");
    let whole = table.is_node_table || table.name == "networks";
    !is_log && !free && (whole || col.info().is_key)
}

/// Values of the column are expanded for nodes.
fn is_resolved(col: Col) -> bool {
    let table = col.table.info();
    let free = matches!(col.name(), "comments" | "disable");
    table.node_col().is_some_and(|node| node != col) && !free
}

impl Rule {
    fn problem(self, value: &str) -> Option<Reason> {
        let unless = |good: bool, reason: &'static str| (!good).then_some(Cow::Borrowed(reason));
        match self {
            Self::Macs => unless(
                value.split('|').all(is_hardware_address),
                "it is not a MAC address of one machine (aa:bb:cc:dd:ee:ff, several joined by |, each may have !host)",
            ),
            Self::Address => match value.parse() {
                Ok(address) => addresses::of_no_machine(address).map(Cow::Borrowed),
                Err(_) => Some("it is not an IP address".into()),
            },
            Self::AddressList => {
                misspelt_address(value).map(|word| format!("{word} is not an IP address").into())
            }
            Self::Scripts => value.split(',').find_map(script_problem).map(Cow::Borrowed),
            Self::Variables => unless(
                value.split(',').all(|pair| pair.trim().is_empty() || scripts::is_variable(pair)),
                "it is not NAME=VALUE, several of them separated by commas",
            ),
            // `net/len` of IPv6 networks.
            Self::Network => unless(
                value.split('/').next().is_some_and(|net| net.parse::<IpAddr>().is_ok()),
                "it is not a network address",
            ),
            Self::Mask => unless(is_mask(value), "it is not a netmask (255.255.0.0 or /16)"),
            Self::Ranges if value.contains(':') => None,
            Self::Ranges => dynamic_ranges(value).find_map(Result::err).map(|error| error.to_string().into()),
            Self::Host => unless(
                value == XCATMASTER || site::is_host(value),
                "it is neither an address nor a host name",
            ),
            Self::Hosts => site::Kind::Servers.problem(value),
            Self::OneOf(words) => site::one_of(value, words),
            Self::Protocol(words) => site::one_of(&value.to_ascii_lowercase().replace('-', ""), words),
            Self::Switch => site::Kind::Switch.problem(value),
            Self::Number(low, high) => site::Kind::Number(low, high).problem(value),
            Self::LiteOptions => lite_option(value).err().map(|error| error.to_string().into()),
            Self::LitePath => {
                let inside = value.split('/').all(|part| part != ".");
                // It is written into lines whose fields are separated by `:`.
                unless(
                    is_absolute(value) && inside && !value.contains(':'),
                    "it is not one absolute path without ':'",
                )
            }
            Self::Location(_) if !is_location(value) => {
                Some("it is not of the form server:/directory or /directory, without blanks and '..'".into())
            }
            Self::Location(purpose) => of_the_server(value, purpose),
            Self::Directory => unless(is_absolute(value), "it is not one absolute path"),
            Self::PathPart => unless(
                value.parse::<ImageName>().is_ok(),
                "it becomes part of paths and boot scripts: letters, digits, '-', '_', '.' and '+', and not '-' first",
            ),
            Self::Domain => site::Kind::Domain.problem(value),
            Self::ReadOnlyMount => {
                let mut words = value.split(',').map(str::trim);
                let wrong = words.find(|word| matches!(*word, "rw" | "defaults"))?;
                Some(
                    format!("nfsrootopts cannot contain '{wrong}'; statelite NFS roots are always read-only")
                        .into(),
                )
            }
            Self::Decimal => unless(value.parse::<f64>().is_ok_and(f64::is_finite), "it is not a number"),
        }
    }
}

/// An absolute path that is not the root and does not lead upwards.
fn is_absolute(value: &str) -> bool {
    let clean = value.starts_with('/') && value.len() > 1 && !value.chars().any(char::is_control);
    clean && value.split('/').all(|part| part != "..")
}

/// `[server:]/path`; a variable may begin the path, because its value is known only for a node.
fn is_location(value: &str) -> bool {
    let path = value.split_once(':').map_or(value, |(_, path)| path);
    let clean = !value.chars().any(|c| c.is_whitespace() || c.is_control());
    clean && path.starts_with(['/', '$']) && path.split('/').all(|part| part != "..")
}

/// Why a location is the server's own and not for this purpose.
fn of_the_server(value: &str, purpose: Purpose) -> Option<Reason> {
    site::own_directory(value.split_once(':').map_or(value, |(_, path)| path), purpose)
}

/// The word of a list that has only digits and dots but is not an address: `10.1.0.012`, which programs
/// read in different ways.
fn misspelt_address(value: &str) -> Option<&str> {
    let mut words = value.split(|c: char| ",;|!: \t".contains(c));
    words.find(|word| word.contains('.') && site::looks_like_address(word) && word.parse::<IpAddr>().is_err())
}

/// Ethernet, or the 8, 9 and 20 bytes of InfiniBand.
/// A multicast address (lowest bit of the first byte) or an address of all zeros is not a machine's.
fn is_hardware_address(entry: &str) -> bool {
    let is_ones = |MacAddr(bytes): MacAddr| bytes[0] & 1 == 0 && bytes != [0; 6];
    parse_mac_column(entry).into_iter().any(|entry| is_ones(entry.mac))
        || !parse_mac_column_as::<Guid>(entry).is_empty()
}

fn is_mask(value: &str) -> bool {
    let of_ipv6 = value.trim_start_matches('/').parse::<u8>().is_ok_and(|length| length <= 128);
    of_ipv6 || prefix_length(value).is_some()
}

/// Refuses a change after which what it wrote cannot work.
pub(crate) fn check_effects(base: &Snapshot, next: &Snapshot, effects: &[Effect]) -> Result<(), EditError> {
    for effect in effects {
        let Some(after) = &effect.after else { continue };
        if effect.table == KNOWN.site && changed(effect, KNOWN.site_value) {
            site_value(next, after)?;
        }
        if effect.table == LITE.file.table && (changed(effect, LITE.file) || changed(effect, LITE.options)) {
            lite_row(after)?;
        }
    }
    if effects.iter().any(|effect| effect.table == KNOWN.policy) {
        keeps_root(base, next)?;
    }
    names::check(base, next, effects)?;
    networks::check(base, next, effects)?;
    addresses::check(base, next, effects)
}

/// Commands that root needs to repair the tables.
const REPAIRING: [&str; 2] = ["chtab", "undo"];

/// A policy that keeps root from changing it could not be fixed by anyone.
fn keeps_root(base: &Snapshot, next: &Snapshot) -> Result<(), EditError> {
    let may = |snapshot: &Snapshot, command: &str| {
        let request = PolicyRequest { peer_name: Some("root"), command, ..PolicyRequest::default() };
        snapshot.policy(&request).allowed
    };
    match REPAIRING.iter().find(|command| may(base, command) && !may(next, command)) {
        Some(command) => Err(EditError::LocksOut { command }),
        None => Ok(()),
    }
}

fn changed(effect: &Effect, col: Col) -> bool {
    let cell = |row: &Option<Row>| row.as_ref().and_then(|row| row.get(col)).cloned();
    cell(&effect.before) != cell(&effect.after)
}

fn site_value(next: &Snapshot, row: &Row) -> Result<(), EditError> {
    let (Some(key), Some(value)) = (row.get(KNOWN.site_key), row.get(KNOWN.site_value)) else {
        return Ok(());
    };
    let Some(kind) = site::kind_of(key) else { return Ok(()) };
    let unknown = || {
        let known = value.parse::<IpAddr>().is_ok()
            || &**value == "NORESOLUTION"
            || next.attr(value, KNOWN.ip).is_some();
        (kind == site::Kind::Server && !known).then(|| {
            format!("it is not an IP address, and the table hosts has none for a host '{}'", excerpt(value))
                .into()
        })
    };
    let names = || next.networks().filter_map(|(_, row)| row.get(col::networks::NETNAME));
    let no_network = || {
        let is_known = |word: &&str| *word == "all" || names().any(|name| **name == **word);
        let wrong = value.split(',').map(str::trim).find(|word| !word.is_empty() && !is_known(word));
        let wrong = wrong.filter(|_| kind == site::Kind::Networks);
        wrong.map(|word| format!("there is no network '{}' (networks.netname)", excerpt(word)).into())
    };
    let control = value.contains(char::is_control).then_some(Cow::Borrowed(CONTROL));
    match control.or_else(|| kind.problem(value)).or_else(unknown).or_else(no_network) {
        Some(reason) => Err(EditError::BadSiteValue { key: key.clone(), value: value.to_string(), reason }),
        None => Ok(()),
    }
}

/// Directories cannot be joined.
fn lite_row(row: &Row) -> Result<(), EditError> {
    let option = row.get(LITE.options).and_then(|text| lite_option(text).ok());
    match row.get(LITE.file) {
        Some(path) if path.ends_with('/') && option.is_some_and(LiteOption::is_con) => {
            let reason = format!("{path} is a directory, and directories cannot be joined").into();
            let value = row.get(LITE.options).map(ToString::to_string).unwrap_or_default();
            Err(EditError::BadValue { col: LITE.options, value, reason })
        }
        _ => Ok(()),
    }
}
