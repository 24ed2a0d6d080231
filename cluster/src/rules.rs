//! What the values of some columns must be, checked when they are written.
//!
//! A MAC or an address that is none, or that two nodes share, is found at the boot of a node otherwise, by
//! someone who has to walk to it. Templates pass: they are text until a node's name meets them.

use crate::change::{Edit, EditError, Effect};
use crate::names::parse_mac_column;
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::snapshot::Snapshot;
use crate::template;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

/// What a column holds.
#[derive(Clone, Copy)]
enum Rule {
    /// `mac`, `mac!host`, `mac!*NOIP*`, joined by `|`.
    Macs,
    /// One IPv4 or IPv6 address.
    Address,
    /// A network address.
    Network,
    /// `255.255.0.0`, `/16`, or an IPv6 prefix length.
    Mask,
}

static RULES: LazyLock<[(Col, Rule); 4]> = LazyLock::new(|| {
    [
        (Col::known("mac.mac"), Rule::Macs),
        (Col::known("hosts.ip"), Rule::Address),
        (Col::known("networks.net"), Rule::Network),
        (Col::known("networks.mask"), Rule::Mask),
    ]
});

/// Refuses an edit that writes a value its column cannot mean.
pub(crate) fn check_values(edit: &Edit) -> Result<(), EditError> {
    let one = |(col, value): &(Col, Option<Text>)| match value {
        Some(text) => check_value(*col, text),
        None => Ok(()),
    };
    match edit {
        Edit::Set { values, .. } => values.iter().try_for_each(one),
        Edit::Insert { cells, .. } => cells.iter().try_for_each(one),
        Edit::Delete { .. } => Ok(()),
    }
}

fn check_value(col: Col, text: &str) -> Result<(), EditError> {
    let Some((_, rule)) = RULES.iter().find(|(of, _)| *of == col) else { return Ok(()) };
    let value = text.trim();
    if value.is_empty() || value == "NULL" || template::is_template(value) {
        return Ok(());
    }
    match rule.problem(value) {
        Some(reason) => Err(EditError::BadValue { col, value: text.into(), reason }),
        None => Ok(()),
    }
}

impl Rule {
    fn problem(self, value: &str) -> Option<&'static str> {
        match self {
            Self::Macs if value.split('|').all(is_hardware_address) => None,
            Self::Macs => {
                Some("it is no MAC address (aa:bb:cc:dd:ee:ff, several joined by |, each may have !host)")
            }
            Self::Address if value.parse::<IpAddr>().is_ok() => None,
            Self::Address => Some("it is no IP address"),
            // `net/len` of IPv6 networks.
            Self::Network if value.split('/').next().is_some_and(|net| net.parse::<IpAddr>().is_ok()) => None,
            Self::Network => Some("it is no network address"),
            Self::Mask if is_mask(value) => None,
            Self::Mask => Some("it is no netmask (255.255.0.0 or /16)"),
        }
    }
}

/// Ethernet, or the 8 and 20 bytes of InfiniBand.
fn is_hardware_address(entry: &str) -> bool {
    let address = entry.split('!').next().unwrap_or_default().trim();
    let digits = address.bytes().filter(u8::is_ascii_hexdigit).count();
    let clean = address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'-' | b'.'));
    clean && (!parse_mac_column(address).is_empty() || matches!(digits, 16 | 18 | 40))
}

fn is_mask(value: &str) -> bool {
    if let Ok(length) = value.trim_start_matches('/').parse::<u8>() {
        return length <= 128;
    }
    value.parse::<Ipv4Addr>().is_ok_and(|mask| u32::from(mask).leading_ones() == u32::from(mask).count_ones())
}

/// Refuses a change after which two names share a MAC or an address. Only what the change writes is
/// looked at: a database that came with a duplicate can still be worked on.
pub(crate) fn check_unique(next: &Snapshot, effects: &[Effect]) -> Result<(), EditError> {
    let [(mac, _), (ip, _), ..] = *RULES;
    for effect in effects {
        let Some(after) = &effect.after else { continue };
        let before = effect.before.as_ref();
        if effect.table == mac.table && changed(before, after, mac) {
            unique_macs(next, after, mac)?;
        }
        if effect.table == ip.table && changed(before, after, ip) {
            unique_address(next, after, ip)?;
        }
    }
    Ok(())
}

fn changed(before: Option<&Row>, after: &Row, col: Col) -> bool {
    before.and_then(|row| row.get(col)) != after.get(col)
}

fn unique_macs(next: &Snapshot, row: &Row, col: Col) -> Result<(), EditError> {
    let Some((name, text)) = name_and_value(row, col) else { return Ok(()) };
    for entry in parse_mac_column(text) {
        let others = next.holders(col, &entry.mac.to_string(), |cell| {
            parse_mac_column(cell).iter().any(|other| other.mac == entry.mac)
        });
        if let Some(other) = others.into_iter().find(|other| other != name) {
            return Err(EditError::Taken { col, value: entry.mac.to_string(), name: name.clone(), other });
        }
    }
    Ok(())
}

fn unique_address(next: &Snapshot, row: &Row, col: Col) -> Result<(), EditError> {
    let Some((name, text)) = name_and_value(row, col) else { return Ok(()) };
    let Ok(address) = text.trim().parse::<IpAddr>() else { return Ok(()) };
    let others = next.holders(col, &address.to_string(), |cell| cell.trim().parse() == Ok(address));
    match others.into_iter().find(|other| other != name) {
        Some(other) => Err(EditError::Taken { col, value: address.to_string(), name: name.clone(), other }),
        None => Ok(()),
    }
}

fn name_and_value(row: &Row, col: Col) -> Option<(&Text, &Text)> {
    let name = row.get(col.table.info().node_col()?)?;
    Some((name, row.get(col)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Model};

    fn set(model: &Model, table: &str, key: (&str, &str), value: (&str, &str)) -> Result<(), String> {
        let edit = Edit::set(table, &[key], &[value]).unwrap();
        model.apply(Change::new("root", "test", vec![edit])).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn values_that_mean_something_pass() {
        let model = Model::in_memory().unwrap();
        for (table, key, value) in [
            ("mac", ("node", "n1"), ("mac", "52:54:00:00:00:01")),
            ("mac", ("node", "n2"), ("mac", "52-54-00-00-00-02!n2-ib|525400000003!*NOIP*")),
            ("mac", ("node", "n3"), ("mac", "00:11:22:33:44:55:66:77")),
            ("mac", ("node", "g1"), ("mac", "|n(\\d+)|52:54:00:00:01:($1)|")),
            ("mac", ("node", "n1"), ("mac", "")),
            ("hosts", ("node", "n1"), ("ip", "10.0.0.1")),
            ("hosts", ("node", "n2"), ("ip", "fd00::1")),
            ("hosts", ("node", "g1"), ("ip", "|10.0.0.($1)|")),
            ("hosts", ("node", "g2"), ("ip", "/n/10.0.0./")),
            ("networks", ("net", "10.1.0.0"), ("mask", "255.255.0.0")),
            ("networks", ("net", "10.2.0.0"), ("mask", "/16")),
        ] {
            assert_eq!(set(&model, table, key, value), Ok(()), "{table} {value:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_nothing_changes() {
        let model = Model::in_memory().unwrap();
        for (table, column, value) in [
            ("mac", "mac", "52:54:00:zz"),
            ("mac", "mac", "nonsense"),
            ("mac", "mac", "52:54:00:00:00:01|"),
            ("mac", "mac", "52:54:00:00:00:01,52:54:00:00:00:02"),
            ("hosts", "ip", "10.77.0.999"),
            ("hosts", "ip", "10.1.0.1 10.1.0.2"),
        ] {
            let before = model.snapshot().seq();
            let error = set(&model, table, ("node", "n1"), (column, value)).unwrap_err();
            assert!(error.contains(value) && error.contains("it is no"), "{error}");
            assert_eq!(model.snapshot().seq(), before);
        }
        assert!(set(&model, "networks", ("net", "10.1.0.0"), ("mask", "255.0.255.0")).is_err());
    }

    #[test]
    fn an_address_belongs_to_one() {
        let model = Model::in_memory().unwrap();
        set(&model, "mac", ("node", "n1"), ("mac", "52:54:00:00:00:01|52:54:00:00:00:02!n1-b")).unwrap();
        set(&model, "hosts", ("node", "n1"), ("ip", "10.0.0.1")).unwrap();
        let error = set(&model, "mac", ("node", "n2"), ("mac", "525400000002")).unwrap_err();
        assert!(error.contains("52:54:00:00:00:02") && error.contains("n1"), "{error}");
        assert!(set(&model, "hosts", ("node", "n2"), ("ip", "10.0.0.1")).is_err());
        // The same again, or on the way from one to the other in one change, is no conflict.
        set(&model, "hosts", ("node", "n1"), ("ip", "10.0.0.1")).unwrap();
        let edits = vec![
            Edit::set("hosts", &[("node", "n2")], &[("ip", "10.0.0.1")]).unwrap(),
            Edit::set("hosts", &[("node", "n1")], &[("ip", "10.0.0.2")]).unwrap(),
        ];
        model.apply(Change::new("root", "swap", edits)).unwrap();
    }
}
