//! Columns of nodes' tables that a caller who is limited to some nodes may fill; all others are protected.

use crate::output::{Done, Stop};
use dawn_cluster::{Col, RowChange, RowChangeKind};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Columns of nodes' tables that matter for the node itself alone, besides `comments`. All others say which
/// machine or port is driven for the node, by which discovery knows it, or what this server hands out.
const HARMLESS: &[(&str, &[&str])] = &[
    ("bootparams", &["kernel", "initrd", "kcmdline", "addkcmdline", "dhcpstatements", "adddhcpstatements"]),
    ("cfgmgt", &["cfgmgr", "cfgserver", "roles"]),
    ("chain", &["currstate", "currchain", "chain"]),
    ("hosts", &["ip", "hostnames", "otherinterfaces"]),
    ("hwinv", &["cputype", "cpucount", "memory", "disksize"]),
    ("ipmi", &["bmcport", "taggedvlan", "username", "password"]),
    ("mac", &["interface", "mac"]),
    (
        "nics",
        &[
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
        ],
    ),
    ("nodehm", &["serialport", "serialspeed", "serialflow", "consoleondemand", "consoleenabled"]),
    (
        "nodelist",
        &[
            "groups",
            "status",
            "statustime",
            "appstatus",
            "appstatustime",
            "hidden",
            "updatestatus",
            "updatestatustime",
        ],
    ),
    ("nodepos", &["rack", "u", "chassis", "slot", "room", "height"]),
    (
        "noderes",
        &[
            "netboot",
            "tftpserver",
            "nfsserver",
            "monserver",
            "installnic",
            "primarynic",
            "discoverynics",
            "cmdinterface",
            "xcatmaster",
            "current_osimage",
            "next_osimage",
            "routenames",
            "nameservers",
            "proxydhcp",
            "syslog",
        ],
    ),
    ("nodetype", &["os", "arch", "profile", "provmethod", "supportedarchs", "nodetype"]),
    ("openbmc", &["taggedvlan", "username", "password"]),
    ("postscripts", &["postscripts", "postbootscripts"]),
    ("statelite", &["image", "mntopts"]),
    ("vm", &["memory", "cpus", "bootorder", "clockoffset", "guestostype"]),
    ("vpd", &["side", "asset"]),
];

static HARMLESS_COLUMNS: LazyLock<HashSet<Col>> = LazyLock::new(|| {
    let tables = HARMLESS.iter().filter_map(|(name, columns)| {
        let table = dawn_cluster::schema().find(name)?;
        Some(columns.iter().filter_map(|column| table.col(column)))
    });
    tables.flatten().collect()
});

/// Refuses cells of a node's row that matter beyond the node.
pub(crate) fn keep_to_harmless(row: &RowChange) -> Done {
    let table = row.table.info();
    let beyond = row.cells.iter().find(|(col, _, new)| {
        let fills = new.as_deref().is_some_and(|text| !text.is_empty());
        match col.name() {
            "comments" => false,
            // Enabling a row again brings its values back into effect.
            "disable" => {
                row.kind == RowChangeKind::Updated && table.cols().any(|col| is_protected(table, col))
            }
            _ => fills && is_protected(table, *col),
        }
    });
    match beyond {
        Some((col, ..)) => Err(Stop::refused(format!(
            "Permission denied: {col} says what outside of the node is used for it, \
             which is for callers who may change every node"
        ))),
        None => Ok(()),
    }
}

/// The protected columns of all tables of nodes.
pub(crate) fn protected_columns() -> impl Iterator<Item = Col> {
    let tables = dawn_cluster::schema().tables().iter().filter(|table| table.is_node_table);
    tables.flat_map(|table| table.cols().filter(move |col| is_protected(table, *col)))
}

fn is_protected(table: &dawn_cluster::Table, col: Col) -> bool {
    let is_free = Some(col) == table.node_col() || matches!(col.name(), "comments" | "disable");
    !is_free && !HARMLESS_COLUMNS.contains(&col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listed_column_exists() {
        let listed = HARMLESS.iter().map(|(_, columns)| columns.len()).sum::<usize>();
        assert_eq!(HARMLESS_COLUMNS.len(), listed);
    }
}
