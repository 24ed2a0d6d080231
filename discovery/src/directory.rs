//! The tables of the model as matchers look things up in them, made once for a snapshot.
//!
//! Groups' rows and templates are applied. Two nodes with one port, one serial number or one UUID are both
//! found: which of them it is, is not decided here.

use std::collections::{BTreeSet, HashMap, HashSet};

use dawn_cluster::{MacAddr, Snapshot, Text, col, parse_mac_column};

/// A port at which a node is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRow {
    /// `switch.port`.
    pub port: Text,
    /// The node.
    pub node: Text,
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

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// By the switch's name in small letters.
    ports: HashMap<String, Vec<PortRow>>,
    mtms: HashMap<(Text, Text), BTreeSet<Text>>,
    uuids: HashMap<String, BTreeSet<Text>>,
    kinds: HashMap<Text, NodeKind>,
    link_ports: HashMap<String, Vec<String>>,
    switch_macs: HashSet<MacAddr>,
}

impl Directory {
    /// Reads the tables `switch`, `switches`, `vpd`, `nodetype` and `mac`.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut directory = Self::default();
        let cols = [col::switch::SWITCH, col::switch::PORT];
        let [switch, _] = cols;
        let (mtm, serial, uuid) = (col::vpd::MTM, col::vpd::SERIAL, col::vpd::UUID);
        for node in snapshot.node_names() {
            let kind = NodeKind::of(snapshot, node);
            directory.kinds.insert(node.clone(), kind);
            for row in snapshot.attr_rows(node, switch.table, &cols) {
                if let [Some(switch), Some(port)] = row.as_slice() {
                    let row = PortRow { port: port.value.clone(), node: node.clone(), kind };
                    directory.ports.entry(switch.value.to_ascii_lowercase()).or_default().push(row);
                }
            }
            if let (Some(mtm), Some(serial)) = (snapshot.attr(node, mtm), snapshot.attr(node, serial)) {
                directory.mtms.entry((mtm, serial)).or_default().insert(node.clone());
            }
            if let Some(uuid) = snapshot.attr(node, uuid) {
                directory.uuids.entry(uuid.to_ascii_lowercase()).or_default().insert(node.clone());
            }
            if kind.is_switch {
                let macs = snapshot.attr(node, col::mac::MAC).unwrap_or_default();
                directory.switch_macs.extend(parse_mac_column(&macs).into_iter().map(|entry| entry.mac));
            }
        }
        directory.read_link_ports(snapshot);
        directory
    }

    fn read_link_ports(&mut self, snapshot: &Snapshot) {
        let (name, ports) = (col::switches::SWITCH, col::switches::LINKPORTS);
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

    /// What a node is.
    pub fn kind(&self, node: &str) -> NodeKind {
        self.kinds.get(node).copied().unwrap_or_default()
    }

    /// The MAC is one of a switch.
    pub fn is_switch_mac(&self, mac: MacAddr) -> bool {
        self.switch_macs.contains(&mac)
    }
}

impl NodeKind {
    fn of(snapshot: &Snapshot, node: &str) -> Self {
        let text = snapshot.attr(node, col::nodetype::NODETYPE).unwrap_or_default();
        let has = |word: &str| text.split(',').any(|part| part.trim() == word);
        Self { is_switch: has("switch"), is_pdu: has("pdu"), is_mp: has("mp") }
    }
}
