//! What the keys of the `site` table may say.
//!
//! The one list of keys: what their values are checked for when they are written, and which are secrets. A key that is not
//! here may hold anything: the table is open, and scripts of administrators keep their own keys in it. The words of a list are those of the
//! reference, also where Dawn does not act on them.

use crate::names::NAME_BYTES_MAX;
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
    /// Addresses or names, separated by commas or blanks; `<xcatmaster>` is this machine.
    Servers,
    /// A DNS domain.
    Domain,
    /// An absolute path.
    Path,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `Area/City`, as in `/usr/share/zoneinfo`.
    Timezone,
    /// `eth1,eth2` or `mn|eth1,eth2;group|eth0`, each name maybe with `:noboot`.
    Interfaces,
    /// `column[:delimiter]`, separated by commas.
    Columns,
    /// Anything.
    Text,
    /// Anything, and nobody may see it in a log.
    Secret,
}

/// The keys, sorted.
const KEYS: &[(&str, Kind)] = &[
    ("FQDNfirst", Kind::Text),
    ("SNsyncfiledir", Kind::Path),
    ("auditnosyslog", Kind::Switch),
    ("auditskipcmds", Kind::Text),
    ("blademaxp", Kind::Text),
    ("cleanupdiskfullxcatpost", Kind::Switch),
    ("cleanupxcatpost", Kind::Switch),
    ("consoleondemand", Kind::Switch),
    ("consoleservice", Kind::Text),
    ("databaseloc", Kind::Path),
    ("db2installloc", Kind::Path),
    ("defserialflow", Kind::Text),
    ("defserialport", Kind::Text),
    ("defserialspeed", Kind::Text),
    ("dhcpbackend", Kind::OneOf(&["auto", "isc", "kea"])),
    ("dhcpinterfaces", Kind::Interfaces),
    ("dhcplease", Kind::Number(60, u32::MAX)),
    (
        "dhcpomapialgorithm",
        Kind::OneOf(&["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]),
    ),
    ("dhcpomapikey", Kind::Secret),
    ("dhcpomapikeyname", Kind::Text),
    ("dhcpsetup", Kind::Switch),
    ("disjointdhcps", Kind::Switch),
    ("dnsforwarders", Kind::Text),
    ("dnshandler", Kind::Text),
    ("dnsinterfaces", Kind::Text),
    ("dnsupdaters", Kind::Text),
    ("domain", Kind::Domain),
    ("emptyzonesmx", Kind::Text),
    ("enableASMI", Kind::Switch),
    ("excludenodes", Kind::Text),
    ("externaldhcpservers", Kind::Text),
    ("externaldns", Kind::Text),
    ("extntpservers", Kind::Text),
    ("forwarders", Kind::Servers),
    ("fsptimeout", Kind::Text),
    ("genmacprefix", Kind::Text),
    ("genpasswords", Kind::Text),
    ("hierarchicalattrs", Kind::Columns),
    ("httpport", Kind::Port),
    ("hwctrldispatch", Kind::Text),
    ("installdir", Kind::Path),
    ("ipmidispatch", Kind::Text),
    ("ipmimaxp", Kind::Text),
    ("ipmiretries", Kind::Text),
    ("ipmitimeout", Kind::Text),
    ("iscsidir", Kind::Text),
    ("keacontrolagent", Kind::Text),
    ("logservers", Kind::Servers),
    ("managedaddressmode", Kind::Text),
    ("master", Kind::Server),
    ("maxssh", Kind::Text),
    ("mnroutenames", Kind::Text),
    ("monsyncfrom", Kind::Text),
    ("namedincludes", Kind::Text),
    ("nameservers", Kind::Servers),
    ("nmapoptions", Kind::Text),
    ("nodeauthentication", Kind::Text),
    ("nodestatus", Kind::Switch),
    ("nodesyncfiledir", Kind::Path),
    ("ntpservers", Kind::Servers),
    ("persistkvmguests", Kind::Text),
    ("powerinterval", Kind::Text),
    ("ppcmaxp", Kind::Text),
    ("ppcretry", Kind::Text),
    ("ppctimeout", Kind::Text),
    ("precreatemypostscripts", Kind::Switch),
    ("proxydhcp", Kind::Text),
    ("pruneservices", Kind::Switch),
    ("rsh", Kind::Text),
    ("secureroot", Kind::Text),
    ("setinstallnic", Kind::Text),
    ("sharedtftp", Kind::Switch),
    ("skiptables", Kind::Text),
    ("skipvalidatelog", Kind::Switch),
    ("snmpc", Kind::Secret),
    ("sshbetweennodes", Kind::Text),
    ("svloglocal", Kind::Text),
    ("syspowerinterval", Kind::Text),
    ("syspowermaxnodes", Kind::Text),
    ("tftpdir", Kind::Path),
    ("tftpflags", Kind::Text),
    ("timezone", Kind::Timezone),
    ("tmpdir", Kind::Text),
    ("tokenexpiredays", Kind::Text),
    ("topology", Kind::Text),
    ("useNmapfromMN", Kind::Switch),
    ("useSSHonAIX", Kind::Text),
    ("useflowcontrol", Kind::Switch),
    ("usenmap", Kind::Text),
    ("vcenterautojoin", Kind::Text),
    ("vmwarereconfigonpower", Kind::Text),
    ("vsftp", Kind::Switch),
    ("xcatconfdir", Kind::Path),
    ("xcatdebugmode", Kind::Switch),
    ("xcatdport", Kind::Port),
    ("xcatiport", Kind::Port),
    ("xcatlport", Kind::Port),
    ("xcatmaxbatchconnections", Kind::Number(1, 1_000_000)),
    ("xcatmaxconnections", Kind::Number(1, 1_000_000)),
    ("xcatprefix", Kind::Text),
    ("xcatsslciphers", Kind::Text),
    ("xcatsslversion", Kind::Text),
    ("xcattlspolicy", Kind::OneOf(&["modern", "legacy"])),
];

/// What the value of a key must be; `None` for a key that may hold anything.
pub(crate) fn kind_of(key: &str) -> Option<Kind> {
    let at = KEYS.binary_search_by(|(name, _)| name.cmp(&key)).ok()?;
    KEYS.get(at).map(|(_, kind)| *kind)
}

impl Kind {
    /// What is wrong with a value. Whether the tables know a [`Kind::Server`] by name is for who has the tables.
    pub(crate) fn problem(self, value: &str) -> Option<Cow<'static, str>> {
        let unless = |good: bool, reason: &'static str| (!good).then_some(Cow::Borrowed(reason));
        match self {
            Self::Switch => unless(is_switch(value), "it must be 0, 1, yes or no"),
            Self::Port => {
                unless(value.parse::<u16>().is_ok_and(|port| port > 0), "it is no port (1 to 65535)")
            }
            Self::Number(low, high) => {
                let good = value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
                (!good).then(|| format!("it is no number from {low} to {high}").into())
            }
            Self::Server => unless(is_host(value), "it is no address and no host name"),
            Self::Servers => {
                let mut words = value.split([',', ' ']).filter(|word| !word.is_empty());
                unless(
                    words.all(|word| word == "<xcatmaster>" || is_host(word)),
                    "it is no list of addresses or host names",
                )
            }
            Self::Domain => unless(is_domain(value), "it is no domain name"),
            Self::Path => unless(is_path(value), "it is no absolute path"),
            Self::OneOf(words) => one_of(value, words),
            Self::Timezone => unless(is_timezone(value), "it is no time zone (Area/City, UTC)"),
            Self::Interfaces => unless(
                is_interfaces(value),
                "it is no list of interfaces (eth1,eth2 or mn|eth1,eth2;group|eth0)",
            ),
            Self::Columns => unless(
                value.split(',').all(|part| is_word(part.split(':').next().unwrap_or_default().trim())),
                "it is no list of columns (column:delimiter,…)",
            ),
            Self::Text | Self::Secret => None,
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

/// Labels of letters, digits, `-` and `_`, joined by dots, that are no address.
pub fn is_host_name(word: &str) -> bool {
    is_domain(word) && !looks_like_address(word)
}

/// Nothing but digits and dots: an address with a slip of the finger, not a name.
fn looks_like_address(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
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

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}

/// Names of the zone files: known areas, or one of the names without an area. The files themselves are on the nodes.
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
        assert!(KEYS.is_sorted_by(|a, b| a.0 < b.0));
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
            ("tftpdir", &["/tftpboot"], &["tftpboot", "/a/../b", "/a b"]),
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
