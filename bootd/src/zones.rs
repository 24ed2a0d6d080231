//! Zones of ssh keys: which a node is in, and what the table says of it.

use dawn_cluster::{Row, Snapshot, Text, col};
use std::path::PathBuf;

/// Where root's own keys are without a zone.
const ROOT_KEYS: &str = "/root/.ssh";

/// The zone of the node, else the default zone.
pub fn own_zone(snapshot: &Snapshot, node: &str) -> Option<Text> {
    snapshot.attr(node, col::nodelist::ZONENAME).or_else(|| default_zone(snapshot))
}

/// The zone of nodes that name none.
pub fn default_zone(snapshot: &Snapshot) -> Option<Text> {
    let mut rows = snapshot.enabled_rows("zone");
    let default = rows.find(|row| row.get(col::zone::DEFAULTZONE).is_some_and(|text| is_yes(text)));
    default.and_then(|row| row.get(col::zone::ZONENAME).cloned())
}

/// The row of a zone.
pub fn zone_row(snapshot: &Snapshot, zone: &str) -> Option<Row> {
    snapshot.find_row(&[(col::zone::ZONENAME, zone)])
}

/// The row of the default zone.
pub fn default_row(snapshot: &Snapshot) -> Option<Row> {
    default_zone(snapshot).and_then(|zone| zone_row(snapshot, &zone))
}

/// The directory of a zone's keys; without a zone, of root's.
pub fn keys_of(zone: Option<&Row>) -> PathBuf {
    let own = zone.and_then(|row| row.get(col::zone::SSHKEYDIR));
    own.map_or_else(|| ROOT_KEYS.into(), |text| PathBuf::from(&**text))
}

/// The directory of the keys by which the daemon logs in to the node.
pub fn login_keys(snapshot: &Snapshot, node: &str) -> PathBuf {
    let row = own_zone(snapshot, node).and_then(|zone| zone_row(snapshot, &zone));
    keys_of(row.as_ref())
}

/// Whether nodes of the zone may log in to each other.
pub fn lets_nodes_log_in(zone: &Row) -> bool {
    zone.get(col::zone::SSHBETWEENNODES).is_some_and(|text| is_yes(text))
}

fn is_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "yes" | "1")
}
