//! The tables of the model as matchers look things up in them: made once, then kept up to date by what
//! changes in the tables.
//!
//! Groups' rows and templates are applied. Two nodes with one port, one serial number or one UUID are both
//! found: which of them it is, is not decided here.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::Ipv4Addr;

use dawn_cluster::{Col, MacAddr, RowChange, RowChangeKind, Snapshot, Text, col, parse_mac_column};

/// A port at which a node is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// The node.
    pub node: Text,
    /// `switch.port`.
    pub port: Text,
    /// What the node is.
    pub kind: NodeKind,
}

/// What a node is, by `nodetype.nodetype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeKind {
    /// A switch.
    pub is_switch: bool,
    /// A power distribution unit.
    pub is_pdu: bool,
    /// A management processor, made by hardware discovery.
    pub is_mp: bool,
}

/// Columns of nodes' tables that are looked at. What changes elsewhere changes nothing here.
const COLUMNS: [Col; 10] = [
    col::nodelist::NODE,
    col::nodelist::GROUPS,
    col::nodetype::NODETYPE,
    col::switch::SWITCH,
    col::switch::PORT,
    col::vpd::MTM,
    col::vpd::SERIAL,
    col::vpd::UUID,
    col::mac::MAC,
    col::ipmi::BMC,
];
/// Columns with which a node, or an address, is given to a machine.
const GIVING: [Col; 5] =
    [col::nodelist::NODE, col::nodelist::GROUPS, col::mac::MAC, col::hosts::IP, col::ipmi::BMC];
/// The column that takes a row out of the tables without removing it.
const DISABLE: &str = "disable";

type Holders<K> = HashMap<K, BTreeSet<Text>>;

/// Nodes by port, serial number, UUID and address, from one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// By the switch's name in small letters; by node and port.
    ports: HashMap<String, Vec<PortRow>>,
    mtms: Holders<(Text, Text)>,
    uuids: Holders<String>,
    switch_macs: Holders<MacAddr>,
    bmcs: Holders<Ipv4Addr>,
    link_ports: HashMap<String, Vec<String>>,
    nodes: HashMap<Text, Entry>,
    losses: Losses,
}

/// How often something was taken away that was given to a machine: a MAC, an address, a node. As long as this
/// stays the same, what was given is still given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses(u64);

impl PartialEq for Directory {
    /// They say the same, whatever was lost on the way there.
    fn eq(&self, other: &Self) -> bool {
        let Self { ports, mtms, uuids, switch_macs, bmcs, link_ports, nodes, losses: _ } = self;
        (ports, mtms, uuids) == (&other.ports, &other.mtms, &other.uuids)
            && (switch_macs, bmcs) == (&other.switch_macs, &other.bmcs)
            && (link_ports, nodes) == (&other.link_ports, &other.nodes)
    }
}

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    kind: NodeKind,
    /// Switch, in small letters, and port.
    ports: Vec<(String, Text)>,
    mtms: Option<(Text, Text)>,
    /// In small letters.
    uuid: Option<String>,
    /// Of a switch.
    macs: Vec<MacAddr>,
    bmc: Option<Ipv4Addr>,
}

impl Entry {
    fn of(snapshot: &Snapshot, node: &str) -> Self {
        let kind = NodeKind::of(snapshot, node);
        let rows =
            snapshot.attr_rows(node, col::switch::SWITCH.table, &[col::switch::SWITCH, col::switch::PORT]);
        let ports = rows.iter().filter_map(|row| match row.as_slice() {
            [Some(switch), Some(port)] => Some((switch.value.to_ascii_lowercase(), port.value.clone())),
            _ => None,
        });
        let macs = if kind.is_switch { snapshot.attr(node, col::mac::MAC) } else { None };
        Self {
            kind,
            ports: ports.collect(),
            mtms: snapshot.attr(node, col::vpd::MTM).zip(snapshot.attr(node, col::vpd::SERIAL)),
            uuid: snapshot.attr(node, col::vpd::UUID).map(|uuid| uuid.to_ascii_lowercase()),
            macs: parse_mac_column(&macs.unwrap_or_default()).into_iter().map(|entry| entry.mac).collect(),
            bmc: snapshot.attr(node, col::ipmi::BMC).and_then(|bmc| bmc.trim().parse().ok()),
        }
    }
}

impl Directory {
    /// Reads the tables `switch`, `switches`, `vpd`, `nodetype`, `mac` and `ipmi`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut directory = Self::default();
        for node in snapshot.node_names() {
            directory.add(node, Entry::of(snapshot, node));
        }
        directory.read_link_ports(snapshot);
        directory
    }

    /// Follows changes: `after` is the snapshot that has all of them, and nothing else that is new.
    pub fn follow(&mut self, after: &Snapshot, changes: &[RowChange]) {
        if changes.iter().any(RowChange::is_of_hierarchy) {
            return self.read_again(after);
        }
        self.losses.0 += u64::from(changes.iter().any(takes_away));
        if changes.iter().any(|change| change.table == col::switches::SWITCH.table) {
            self.read_link_ports(after);
        }
        let mut nodes = BTreeSet::new();
        for name in changes.iter().filter(|change| is_looked_at(change)).flat_map(names) {
            // The row may be a group's.
            nodes.extend(after.nodes_listing_group(&name));
            nodes.insert(name);
        }
        for node in nodes {
            self.remove(&node);
            if let Some(node) = after.node_name(&node) {
                self.add(&node, Entry::of(after, &node));
            }
        }
    }

    /// For tables that may differ in anything.
    pub fn read_again(&mut self, snapshot: &Snapshot) {
        let losses = Losses(self.losses.0 + 1);
        *self = Self { losses, ..Self::of(snapshot) };
    }

    fn add(&mut self, node: &Text, entry: Entry) {
        for (switch, port) in &entry.ports {
            let rows = self.ports.entry(switch.clone()).or_default();
            let at = rows.partition_point(|row| (&row.node, &row.port) < (node, port));
            rows.insert(at, PortRow { node: node.clone(), port: port.clone(), kind: entry.kind });
        }
        hold(&mut self.mtms, &entry.mtms, node);
        hold(&mut self.uuids, &entry.uuid, node);
        hold(&mut self.switch_macs, &entry.macs, node);
        hold(&mut self.bmcs, &entry.bmc, node);
        self.nodes.insert(node.clone(), entry);
    }

    fn remove(&mut self, node: &Text) {
        let Some(entry) = self.nodes.remove(node) else { return };
        for (switch, _) in &entry.ports {
            if let Some(rows) = self.ports.get_mut(switch) {
                rows.retain(|row| row.node != *node);
                if rows.is_empty() {
                    self.ports.remove(switch);
                }
            }
        }
        let_go(&mut self.mtms, &entry.mtms, node);
        let_go(&mut self.uuids, &entry.uuid, node);
        let_go(&mut self.switch_macs, &entry.macs, node);
        let_go(&mut self.bmcs, &entry.bmc, node);
    }

    fn read_link_ports(&mut self, snapshot: &Snapshot) {
        let (name, ports) = (col::switches::SWITCH, col::switches::LINKPORTS);
        self.link_ports.clear();
        for row in snapshot.enabled_rows(name.table) {
            let (Some(name), Some(ports)) = (row.get(name), row.get(ports)) else { continue };
            // `port:switch,port:switch`
            let ports = ports.split(',').map(|part| part.split(':').next().unwrap_or_default().trim());
            let ports = ports.filter(|port| !port.is_empty()).map(str::to_owned);
            self.link_ports.entry(name.to_ascii_lowercase()).or_default().extend(ports);
        }
    }

    /// The nodes that are configured at a switch.
    pub fn ports(&self, switch: &str) -> &[PortRow] {
        self.ports.get(&switch.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Every switch at which a node is configured, in small letters.
    pub fn switches(&self) -> impl Iterator<Item = &str> {
        self.ports.keys().map(String::as_str)
    }

    /// `switches.linkports`: ports that lead to other switches.
    pub fn link_ports(&self, switch: &str) -> &[String] {
        self.link_ports.get(&switch.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// Nodes with this machine type and serial number, written exactly so, BMC stand-ins included.
    pub fn by_mtms(&self, mtm: &str, serial: &str) -> impl Iterator<Item = &Text> {
        self.mtms.get(&(Text::from(mtm), Text::from(serial))).into_iter().flatten()
    }

    /// Nodes with this UUID, letters in any case.
    pub fn by_uuid(&self, uuid: &str) -> impl Iterator<Item = &Text> {
        self.uuids.get(&uuid.to_ascii_lowercase()).into_iter().flatten()
    }

    /// The address is that of a node's BMC.
    pub fn is_bmc(&self, address: Ipv4Addr) -> bool {
        self.bmcs.contains_key(&address)
    }

    /// What was lost so far, to compare with.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// What a node is.
    pub fn kind(&self, node: &str) -> NodeKind {
        self.nodes.get(node).map(|entry| entry.kind).unwrap_or_default()
    }

    /// The MAC is one of a switch.
    pub fn is_switch_mac(&self, mac: MacAddr) -> bool {
        self.switch_macs.contains_key(&mac)
    }
}

impl NodeKind {
    /// What the tables say of a node.
    pub fn of(snapshot: &Snapshot, node: &str) -> Self {
        let text = snapshot.attr(node, col::nodetype::NODETYPE).unwrap_or_default();
        let has = |word: &str| text.split(',').any(|part| part.trim() == word);
        Self { is_switch: has("switch"), is_pdu: has("pdu"), is_mp: has("mp") }
    }
}

fn is_looked_at(change: &RowChange) -> bool {
    let is_known = |col: &Col| COLUMNS.contains(col) || col.name() == DISABLE;
    let is_of_table = COLUMNS.iter().any(|col| col.table == change.table);
    let is_whole = change.kind != RowChangeKind::Updated;
    // The key of a row may change, and says whose it is.
    is_of_table
        && (is_whole || change.cells.iter().any(|(col, ..)| is_known(col) || is_node_col(change, *col)))
}

/// Something that was given to a machine may be free after the change.
fn takes_away(change: &RowChange) -> bool {
    let is_of_table = GIVING.iter().any(|col| col.table == change.table);
    let is_gone = |(col, old, _): &(Col, Option<Text>, Option<Text>)| {
        let counts = GIVING.contains(col) || is_node_col(change, *col);
        col.name() == DISABLE || (counts && old.as_deref().is_some_and(|text| !text.is_empty()))
    };
    is_of_table && (change.kind == RowChangeKind::Deleted || change.cells.iter().any(is_gone))
}

fn is_node_col(change: &RowChange, col: Col) -> bool {
    change.table.info().node_col() == Some(col)
}

/// The nodes (or groups) whose row it was and is.
fn names(change: &RowChange) -> Vec<Text> {
    let renamed = change.cells.iter().filter(|(col, ..)| is_node_col(change, *col));
    let renamed = renamed.flat_map(|(_, old, new)| [old.clone(), new.clone()]).flatten();
    change.node().cloned().into_iter().chain(renamed).collect()
}

fn hold<'a, K: Clone + Eq + Hash + 'a>(
    all: &mut Holders<K>,
    keys: impl IntoIterator<Item = &'a K>,
    node: &Text,
) {
    for key in keys {
        all.entry(key.clone()).or_default().insert(node.clone());
    }
}

fn let_go<'a, K: Eq + Hash + 'a>(all: &mut Holders<K>, keys: impl IntoIterator<Item = &'a K>, node: &Text) {
    for key in keys {
        if let Some(nodes) = all.get_mut(key) {
            nodes.remove(node);
            if nodes.is_empty() {
                all.remove(key);
            }
        }
    }
}
