//! Where commands touch parts of the model that have their own grammar: noderange, policy, store.

use dawn_cluster::{Col, Edit, Noderange, PolicyRequest, Snapshot, Text, schema};
use dawn_xcatd::{Call, Decision, Expanded};
use std::os::unix::fs::PermissionsExt;

/// Bytes of a file that a noderange may name.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Expands a noderange: nodes sorted, unknown names apart. `root`: the caller may read any file by
/// `^path`; others only what everybody on this machine may read.
pub fn expand_for(snapshot: &Snapshot, noderange: &str, root: bool) -> Expanded {
    let read = |path: &str| read_list(path, root);
    match Noderange::new(noderange).files(&read).expand(snapshot) {
        Ok(found) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
        Err(error) => Expanded { fatal: Some(error.to_string()), ..Expanded::default() },
    }
}

/// Expands without files.
pub fn expand(snapshot: &Snapshot, noderange: &str) -> Expanded {
    match snapshot.noderange(noderange) {
        Ok(found) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
        Err(error) => Expanded { fatal: Some(error.to_string()), ..Expanded::default() },
    }
}

/// Expands a noderange whose names need not exist.
pub fn expand_unverified(snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, String> {
    let read = |path: &str| read_list(path, false);
    let found = Noderange::new(noderange).unverified().with_excluded().files(&read).expand(snapshot);
    found.map(|found| strings(&found.nodes)).map_err(|error| error.to_string())
}

fn strings(names: &[Text]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// A regular file of bounded size; `None` is ignored by the noderange.
fn read_list(path: &str, root: bool) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let open_to_all = metadata.permissions().mode() & 0o004 != 0;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX || !(root || open_to_all) {
        return None;
    }
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Policy's decision on a call, and why.
pub fn decide(snapshot: &Snapshot, call: &Call) -> (Decision, String) {
    let verdict = snapshot.policy(&PolicyRequest {
        peer_name: call.peer_name.as_deref(),
        peer_host: &call.peer_host,
        remote_client: call.request.remote_client.as_deref(),
        command: &call.request.command,
        args: &call.request.args,
        nodes: &call.nodes,
    });
    let decision = match verdict.allowed {
        true => Decision::Allow { trusted: verdict.trusted },
        false => Decision::Deny,
    };
    (decision, verdict.reason.to_string())
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
