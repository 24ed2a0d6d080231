//! Where commands touch parts of the model that have their own grammar: noderange, policy, store.

use dawn_cluster::{Col, Edit, Model, Snapshot, Text, schema};
use dawn_xcatd::{Call, Decision, Expanded};

/// Expands a noderange: nodes sorted, unknown names apart.
pub fn expand(snapshot: &Snapshot, noderange: &str) -> Expanded {
    let mut expanded = Expanded::default();
    for part in noderange.split(',').filter(|part| !part.is_empty()) {
        if snapshot.has_node(part) {
            expanded.nodes.push(part.to_owned());
            continue;
        }
        let members = snapshot.nodes_listing_group(part);
        if members.is_empty() {
            expanded.unknown.push(part.to_owned());
        }
        expanded.nodes.extend(members.iter().map(|node| node.to_string()));
    }
    expanded.nodes.sort();
    expanded.nodes.dedup();
    expanded
}

/// Expands a noderange whose names need not exist.
pub fn expand_unverified(snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, String> {
    let expanded = expand(snapshot, noderange);
    let mut nodes: Vec<String> = expanded.nodes.into_iter().chain(expanded.unknown).collect();
    nodes.sort();
    Ok(nodes)
}

/// Policy's decision.
pub fn decide(_snapshot: &Snapshot, call: &Call) -> Decision {
    let open = ["getdestiny", "nextdestiny", "litefile", "litetree", "lsxcatd"];
    if call.peer_name.as_deref() == Some("root") || open.contains(&call.request.command.as_str()) {
        Decision::Allow { trusted: false }
    } else {
        Decision::Deny
    }
}

/// What `lsxcatd -d` says.
pub fn database_lines(model: &Model) -> Vec<String> {
    vec![format!("dbengine={}", model.engine())]
}

/// A password against a crypt hash.
pub fn verify_hash(_password: &str, _hash: &str) -> bool {
    false
}

/// A new row by column names; `None` if table or columns do not exist. Empty values are left out.
pub fn insert_row(table: &str, values: &[(&str, &str)]) -> Option<Edit> {
    let table = schema().find(table)?;
    let filled = values.iter().filter(|(_, value)| !value.is_empty());
    let cell = |(name, value): &(&str, &str)| -> Option<(Col, Option<Text>)> {
        Some((table.col(name)?, Some(Text::from(*value))))
    };
    Some(Edit::Insert { table: table.id, cells: filled.map(cell).collect::<Option<_>>()? })
}
