//! The NIC columns: `eth0!10.0.0.1|10.0.0.2,ib0!…`, shown as `nicips.eth0`, `nicips.ib0`.

use crate::template;

/// The columns of table `nics` that hold one value for each NIC.
pub const NIC_COLUMNS: &[&str] = &[
    "nicips",
    "nichostnamesuffixes",
    "nichostnameprefixes",
    "nictypes",
    "niccustomscripts",
    "nicnetworks",
    "nicaliases",
    "nicextraparams",
    "nicdevices",
    "nicsadapter",
];

/// `nicips.eth0` as column and NIC.
pub(crate) fn split_nic_attr(attr: &str) -> Option<(&str, &str)> {
    let (base, nic) = attr.split_once('.')?;
    (NIC_COLUMNS.contains(&base) && !nic.is_empty()).then_some((base, nic))
}

/// The entries of a NIC column: name and value. Entries without `!` are left out.
pub fn nic_entries(column: &str) -> Vec<(&str, &str)> {
    column.split(',').filter_map(|entry| entry.trim().split_once('!')).collect()
}

/// A value of an entry for a node; a template is one entry, never the whole column.
pub(crate) fn expand_entry(value: &str, node: &str) -> String {
    template::expand(value, node).map_or_else(|_| String::new(), |v| v.into_owned())
}

/// The column for a node: templates in its entries expanded, entries in their places.
#[must_use]
pub fn nic_column_for(column: &str, node: &str) -> String {
    let entry = |entry: &str| match entry.trim().split_once('!') {
        Some((nic, value)) => format!("{nic}!{}", expand_entry(value, node)),
        None => entry.to_owned(),
    };
    column.split(',').map(entry).collect::<Vec<_>>().join(",")
}

/// The column with one NIC's value set, or with an empty value the NIC dropped. Other entries keep their
/// place.
pub fn nic_merge(column: &str, nic: &str, value: &str) -> String {
    let mut entries: Vec<(&str, &str)> = nic_entries(column);
    match entries.iter_mut().find(|(name, _)| *name == nic) {
        Some(entry) => entry.1 = value,
        None => entries.push((nic, value)),
    }
    let kept = entries.iter().filter(|(_, v)| !v.is_empty());
    kept.map(|(name, v)| format!("{name}!{v}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging() {
        for (column, nic, value, expect) in [
            ("", "eth0", "1.1.1.1", "eth0!1.1.1.1"),
            ("eth0!1.1.1.1,ib0!2.2.2.2", "eth0", "3.3.3.3|4.4.4.4", "eth0!3.3.3.3|4.4.4.4,ib0!2.2.2.2"),
            ("eth0!1.1.1.1,ib0!2.2.2.2", "eth0", "", "ib0!2.2.2.2"),
            ("eth0!1.1.1.1", "ib0", "", "eth0!1.1.1.1"),
        ] {
            assert_eq!(nic_merge(column, nic, value), expect);
        }
    }

    #[test]
    fn templates_in_entries() {
        assert_eq!(expand_entry(r"|\D+(\d+).*$|10.9.0.($1)|", "n12"), "10.9.0.12");
        assert_eq!(expand_entry("10.0.0.1|10.0.0.2", "n12"), "10.0.0.1|10.0.0.2");
        let column = r"ib0!|\D+(\d+)|10.9.0.($1)|,eth1!1.1.1.1|2.2.2.2,odd";
        assert_eq!(nic_column_for(column, "n12"), "ib0!10.9.0.12,eth1!1.1.1.1|2.2.2.2,odd");
        assert_eq!(nic_column_for("", "n12"), "");
    }
}
