//! What the tables use names and addresses for, besides nodes: BMCs, hypervisors, PDUs, switches, servers,
//! gateways, domains, mirrors.
//!
//! Which columns name machines is a field of the schema (`schema/tables.tsv`), so that a new column declares
//! it. There is no index: the rows are read for each question, and a template of a group's row is evaluated
//! for its members.
//!
//! Deliberately missing: names without a scheme or a path within other text (`inst.syslog=h17` in a kernel
//! line, an argument of a post script); addresses are found there.

use crate::claim::Claim;
use crate::row::{Row, Text};
use crate::schema::{Col, Machines, Table, schema};
use crate::snapshot::Snapshot;
use crate::template::{self, is_template};
use crate::{col, secrets, site};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// What separates words of a cell.
const BETWEEN_WORDS: [char; 6] = [',', ' ', ';', '|', '\t', '\n'];
/// What separates the parts of other text.
const BETWEEN_PARTS: [char; 14] = [',', ' ', ';', '|', '\t', '\n', '"', '\'', '(', ')', '=', '!', '<', '>'];
/// Keys of `site` that name machines among other words.
const SITE_WORDS: [&str; 4] = ["dnsforwarders", "dnsupdaters", "externaldhcpservers", "topology"];

impl Snapshot {
    /// The first of these names and addresses that the tables use for anything but a node. Text in the rows
    /// of nodes for which `covers` is true is the caller's own.
    pub(crate) fn used(&self, claims: &BTreeSet<Claim>, covers: &dyn Fn(&str) -> bool) -> Option<Claim> {
        let by_table = || schema().tables().iter().find_map(|table| self.used_in(table, claims, covers));
        self.used_by_site(claims).or_else(by_table)
    }

    fn used_by_site(&self, claims: &BTreeSet<Claim>) -> Option<Claim> {
        site::site_keys().iter().find_map(|key| {
            let holds = match site::kind_of(key.name) {
                Some(site::Kind::Server | site::Kind::Servers | site::Kind::Domain) => Machines::Words,
                _ if SITE_WORDS.contains(&key.name) => Machines::Words,
                _ if secrets::of_site_key(key.name) == secrets::Sensitivity::Open => Machines::Text,
                _ => Machines::Nowhere,
            };
            first(&self.site(key.name)?, holds, claims)
        })
    }

    fn used_in(
        &self,
        table: &Table,
        claims: &BTreeSet<Claim>,
        covers: &dyn Fn(&str) -> bool,
    ) -> Option<Claim> {
        let holds = |col: Col| (col, col.info().machines);
        let columns: Vec<_> =
            table.cols().map(holds).filter(|(_, holds)| *holds != Machines::Nowhere).collect();
        let key = table.node_col().filter(|_| table.is_node_table);
        if columns.is_empty() && key.is_none() {
            return None;
        }
        self.enabled_rows(table.id).find_map(|row| {
            let name = key.and_then(|key| row.get(key));
            let in_cell = |&(col, holds): &(Col, Machines)| {
                let found = self.first_in_cell(row.get(col)?, name, holds, claims)?;
                let is_own = holds == Machines::Text && name.is_some_and(|name| covers(name));
                (!is_own).then_some(found)
            };
            let machine = name.and_then(|name| machine_of_row(table, row, name, claims));
            let machine = machine.filter(|_| !name.is_some_and(|name| self.has_owner(name, covers)));
            machine.or_else(|| columns.iter().find_map(in_cell))
        })
    }

    /// The name in a row is a node's, a group's, or of the caller's making.
    fn has_owner(&self, name: &str, covers: &dyn Fn(&str) -> bool) -> bool {
        self.has_node(name) || covers(name) || self.is_group(name)
    }

    fn first_in_cell(
        &self,
        cell: &str,
        name: Option<&Text>,
        holds: Machines,
        claims: &BTreeSet<Claim>,
    ) -> Option<Claim> {
        let Some(name) = name.filter(|_| is_template(cell)) else { return first(cell, holds, claims) };
        let members = self.nodes_listing_group(name);
        let nodes = if members.is_empty() { vec![name.clone()] } else { members };
        nodes.iter().find_map(|node| first(&template::expand(cell, node).ok()?, holds, claims))
    }
}

/// The machine that a row is for if it is not a node's: its name, and in `hosts` where it is.
fn machine_of_row(table: &Table, row: &Row, name: &str, claims: &BTreeSet<Claim>) -> Option<Claim> {
    let cells = [col::hosts::IP, col::hosts::HOSTNAMES].into_iter().filter(|col| col.table == table.id);
    let cells = cells.filter_map(|col| row.get(col));
    cells.map(|cell| &**cell).chain([name]).find_map(|cell| first(cell, Machines::Words, claims))
}

/// The first of these that a cell names.
fn first(cell: &str, holds: Machines, claims: &BTreeSet<Claim>) -> Option<Claim> {
    match holds {
        Machines::Words => cell.split(BETWEEN_WORDS).filter_map(host_of).find(|used| claims.contains(used)),
        Machines::Text => cell.split(BETWEEN_PARTS).flat_map(in_part).find(|used| claims.contains(used)),
        Machines::Nowhere => None,
    }
}

/// The server of a URL or of `server:/directory`, and addresses.
fn in_part(part: &str) -> impl Iterator<Item = Claim> + '_ {
    let server = part.contains(":/").then(|| host_of(part)).flatten();
    let whole = part.parse::<IpAddr>().ok().map(|_| part);
    let pieces = part.split([':', '/', '@', '[', ']']).filter(|piece| piece.parse::<Ipv4Addr>().is_ok());
    server.into_iter().chain(whole.into_iter().chain(pieces).filter_map(Claim::read))
}

/// The machine that a word names: a port, a path, a user and brackets are cut off.
fn host_of(word: &str) -> Option<Claim> {
    let word = word.trim();
    let url = word.split_once("://");
    let is_place = word.contains(":/");
    if word.contains('/') && !is_place {
        return None;
    }
    let rest = url.map_or(word, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let rest = rest.trim_start_matches(['[', '<']).trim_end_matches(':');
    let host = match rest.split_once([']', '>']) {
        Some((host, _)) => host,
        None if rest.parse::<IpAddr>().is_ok() => rest,
        // `nfs:server:/directory`
        None if is_place && url.is_none() => rest.rsplit(':').next().unwrap_or_default(),
        None => rest.split(':').next().unwrap_or_default(),
    };
    Claim::read(host).filter(|_| !host.contains('$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(snapshot: &Snapshot, word: &str) -> bool {
        let claims = BTreeSet::from([Claim::read(word).unwrap()]);
        snapshot.used(&claims, &|node| node == "cn1").is_some()
    }

    /// Columns that sound like machines and name none, by what they hold.
    const NO_MACHINES: [(&str, &[&str]); 8] = [
        (
            "records of what was found",
            &[
                "discoverydata.nichwaddr",
                "discoverydata.switchname",
                "discoverydata.switchaddr",
                "discoverydata.switchdesc",
                "discoverydata.switchport",
            ],
        ),
        (
            "names and addresses of the node itself, which the register has",
            &[
                "hosts.ip",
                "hosts.hostnames",
                "nics.nichostnamesuffixes",
                "nics.nichostnameprefixes",
                "networks.nodehostname",
            ],
        ),
        ("a program", &["cfgmgt.cfgmgr"]),
        ("a number", &["ipmi.bmcport", "ipmi.bmcid"]),
        ("a program that watches nodes", &["monitoring.nodestatmon"]),
        ("a kind", &["kitcomponent.serverroles", "osimage.serverrole", "pdu.pdutype", "switches.switchtype"]),
        ("a switch", &["servicenode.*"]),
        ("an image of virtual machines; what passwords are for", &["vm.master", "passwd.authdomain"]),
    ];

    /// Every column of the schema, so that a new one is looked at: a column that sounds like a machine is
    /// declared to name machines, or listed above; and what is declared is found.
    #[test]
    fn no_column_is_forgotten() {
        let parts = [
            "addr",
            "bmc",
            "controller",
            "dest",
            "gateway",
            "host",
            "location",
            "master",
            "mgr",
            "parent",
            "pdu",
            "server",
            "servicenode",
            "switch",
            "syslog",
            "authdomain",
        ];
        let whole = ["ip", "mpa", "hcp", "domain", "ddnsdomain"];
        let mut wrong = Vec::new();
        for col in schema().tables().iter().flat_map(Table::cols) {
            let all = format!("{}.*", col.table.name());
            let names = [col.to_string(), all];
            let is_excused = NO_MACHINES
                .iter()
                .any(|(_, columns)| columns.iter().any(|name| names.iter().any(|n| n == name)));
            let sounds = whole.contains(&col.name()) || parts.iter().any(|part| col.name().contains(part));
            if sounds && (col.info().machines == Machines::Words) == is_excused {
                wrong.push(col);
            }
        }
        assert!(wrong.is_empty(), "which of these name machines? {wrong:?}");
    }

    #[test]
    fn what_is_declared_is_found() {
        for col in schema().tables().iter().flat_map(Table::cols) {
            let cells = |value: &'static str| {
                let keys = col.table.info().cols().filter(|key| key.info().is_key && *key != col);
                let keys = keys.map(|key| (key.name(), "k"));
                keys.chain([(col.name(), value)]).collect::<Vec<_>>()
            };
            let found = |value: &'static str, word: &str| {
                used(&Snapshot::from_rows([(col.table.name(), &*cells(value))]), word)
            };
            let holds = col.info().machines;
            // Cells of a row in `hosts` that is not a node's count, regardless of their declaration.
            let is_name = col.table.info().is_node_table && col.table.info().node_col() == Some(col)
                || col.table == col::hosts::IP.table;
            assert!(is_name || found("h5", "h5") == (holds == Machines::Words), "{col}");
            for (value, word) in [
                ("http://u@H5.example:80/x", "h5"),
                ("a nfs:h5:/x", "h5"),
                ("h5:/x", "h5"),
                ("k=10.6.0.7:80", "10.6.0.7"),
                ("nfs://[fd00::5]/x", "fd00::5"),
            ] {
                let expected =
                    holds != Machines::Nowhere && (holds == Machines::Text || !value.contains('='));
                assert!(is_name || found(value, word) == expected, "{col} {value}");
            }
        }
    }

    /// The caller's own text concerns no other machine; the machines that are used for its nodes are.
    #[test]
    fn whose_rows_count() {
        let rows: [(&str, &[(&str, &str)]); 8] = [
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("nodelist", &[("node", "cn2"), ("groups", "all")]),
            ("bootparams", &[("node", "cn1"), ("addkcmdline", "ip=10.0.0.9")]),
            ("bootparams", &[("node", "cn2"), ("addkcmdline", "ntp=10.0.0.8 inst.repo=http://h8/x")]),
            ("ipmi", &[("node", "cn1"), ("bmc", "b1")]),
            ("servicenode", &[("node", "sn9"), ("tftpserver", "1")]),
            ("servicenode", &[("node", "all"), ("tftpserver", "1")]),
            ("site", &[("key", "dnsforwarders"), ("value", "10.0.0.7 port 53")]),
        ];
        let snapshot = Snapshot::from_rows(rows);
        for (word, expected) in [
            ("10.0.0.9", false),
            ("10.0.0.8", true),
            ("h8", true),
            ("b1", true),
            ("sn9", true),
            ("all", false),
            ("cn1", false),
            ("10.0.0.7", true),
        ] {
            assert_eq!(used(&snapshot, word), expected, "{word}");
        }
    }
}
