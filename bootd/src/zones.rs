//! Zones of ssh keys: which a node is in, and what the table says of it.

use dawn_cluster::{Col, Row, Snapshot, Text};

/// The zone of the node, else the default zone.
pub fn own_zone(snapshot: &Snapshot, node: &str) -> Option<Text> {
    snapshot.attr(node, "nodelist.zonename").or_else(|| default_zone(snapshot))
}

pub fn default_zone(snapshot: &Snapshot) -> Option<Text> {
    let mut rows = snapshot.enabled_rows("zone");
    let default = rows.find(|row| row.get(Col::known("zone.defaultzone")).is_some_and(|text| is_yes(text)));
    default.and_then(|row| row.get(Col::known("zone.zonename")).cloned())
}

/// The row of a zone.
pub fn zone_row(snapshot: &Snapshot, zone: &str) -> Option<Row> {
    snapshot.find_row(&[(Col::known("zone.zonename"), zone)])
}

/// Whether nodes of the zone may log in to each other.
pub fn lets_nodes_log_in(zone: &Row) -> bool {
    zone.get(Col::known("zone.sshbetweennodes")).is_some_and(|text| is_yes(text))
}

fn is_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "yes" | "1")
}
