//! Which values are secrets, by column or key: the one list for logs, dry runs and what nodes are given.
//!
//! Columns and keys of `site` are declared; attributes of objects follow from their columns. Nothing is shown
//! by how a name or a value looks. The keys that administrators add to `site` are in no list: their meaning
//! is not known ([`Sensitivity::Unknown`]), and a log leaves it out.

use crate::object_types::object_types;
use crate::schema::{Col, schema};
use crate::site;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Columns that hold secrets.
const COLUMNS: &[&str] = &[
    "domain.adminpassword",
    "ipmi.password",
    "iscsi.passwd",
    "mpa.password",
    "openbmc.password",
    "passwd.password",
    "pdu.authkey",
    "pdu.community",
    "pdu.password",
    "pdu.privkey",
    "ppcdirect.password",
    "ppchcp.password",
    "prodkey.key",
    "switches.password",
    "switches.sshpassword",
    "token.access",
    "token.tokenid",
    "vm.vidpassword",
    "websrv.password",
];

/// Written instead of a secret.
pub const MASK: &str = "xxxxxxxx";

/// Whether the value of a name may be shown. Of several meanings of a name the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// It is not declared.
    Unknown,
    /// It may.
    Open,
    /// It is declared a secret.
    Secret,
}

static SECRET_COLUMNS: LazyLock<HashSet<Col>> =
    LazyLock::new(|| COLUMNS.iter().map(|name| Col::known(name)).collect());

/// Names without a table: attributes of objects, and key columns as `chtab` takes them.
static BARE_NAMES: LazyLock<HashMap<&'static str, Sensitivity>> = LazyLock::new(|| {
    let attributes = object_types().iter().flat_map(|kind| &kind.attrs).map(|line| (line.name, line.col));
    let columns = schema().tables().iter().flat_map(|table| table.cols());
    let keys = columns.filter(|col| col.info().is_key).map(|col| (col.info().name, col));
    let mut found = HashMap::new();
    for (name, col) in attributes.chain(keys) {
        let known = found.entry(name).or_insert(Sensitivity::Open);
        *known = of_column(col).max(*known);
    }
    found
});

fn of_column(col: Col) -> Sensitivity {
    if is_secret(col) { Sensitivity::Secret } else { Sensitivity::Open }
}

/// The column holds secrets.
pub fn is_secret(col: Col) -> bool {
    SECRET_COLUMNS.contains(&col)
}

/// The column holds secrets, or values of which some are: a caller other than root cannot select by it.
pub fn may_hold_secrets(col: Col) -> bool {
    is_secret(col) || col == Col::known("site.value")
}

/// A key of the table `site`.
pub fn of_site_key(key: &str) -> Sensitivity {
    match site::kind_of(key) {
        None => Sensitivity::Unknown,
        Some(site::Kind::Secret) => Sensitivity::Secret,
        Some(_) => Sensitivity::Open,
    }
}

/// A name left of an operator on a command line: `table.column`, an attribute (`nicips.eth0` too), a key of
/// `site`, or a key column.
pub fn of_name(name: &str) -> Sensitivity {
    let column = schema().find_col(name).map(of_column);
    let base = name.split('.').next().unwrap_or(name);
    let bare = BARE_NAMES.get(name).or_else(|| BARE_NAMES.get(base)).copied();
    column.into_iter().chain(bare).fold(of_site_key(name), Sensitivity::max)
}

/// The text, or [`MASK`] if its column holds secrets.
pub(crate) fn shown(col: Col, text: &str) -> &str {
    if is_secret(col) { MASK } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every column of the schema, so that a new one is looked at: a column with the name of a secret is
    /// declared one, or named here with the reason.
    #[test]
    fn no_column_is_forgotten() {
        let no_secrets = [
            ("monsetting.key", "the name of a setting"),
            ("passwd.key", "what the password is for"),
            ("passwd.authdomain", "a name"),
            ("domain.authdomain", "a name"),
            ("pdu.authtype", "md5, sha"),
            ("pdu.privtype", "des, aes"),
            ("switches.privacy", "des, aes"),
            ("site.key", "the name of a setting"),
            ("switches.auth", "md5, sha"),
            ("zone.sshkeydir", "a path"),
            ("token.username", "a name"),
            ("token.expire", "a time"),
            ("token.created", "a time"),
        ];
        let telling = ["pass", "secret", "key", "community", "auth", "priv", "credential"];
        for table in schema().tables() {
            for col in table.cols().filter(|col| !matches!(col.name(), "comments" | "disable")) {
                let sounds = table.name == "token" || telling.iter().any(|part| col.name().contains(part));
                let excused = no_secrets.iter().any(|(name, _)| *name == col.to_string());
                assert!(!sounds || is_secret(col) != excused, "{col}");
            }
        }
    }

    #[test]
    fn names() {
        use Sensitivity::{Open, Secret, Unknown};
        for (name, expected) in [
            ("ipmi.password", Secret),
            ("bmcpassword", Secret),
            ("passwd.HMC", Secret),
            ("password", Secret),
            ("productkey", Secret),
            ("tokenid", Secret),
            ("snmpc", Secret),
            ("dhcpomapikey", Secret),
            ("dhcpomapikeyname", Open),
            ("bmc", Open),
            ("nicips.eth0", Open),
            ("key", Open),
            ("node", Open),
            ("domain", Open),
            ("hosts.ip", Open),
            ("ldapPassword", Unknown),
            ("bmcpasword", Unknown),
        ] {
            assert_eq!(of_name(name), expected, "{name}");
        }
    }
}
