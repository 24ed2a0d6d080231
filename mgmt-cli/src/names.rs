//! Names that need not exist yet.

use crate::output::{Done, Out, Stop};
use dawn_cluster::Snapshot;

/// Expands a noderange whose names may be unknown (`nodeadd`, `mkdef` …). Sorted.
pub fn expand_new(snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, Stop> {
    crate::bridge::expand_unverified(snapshot, noderange).map_err(Stop::message)
}

/// Capital letters do not survive DNS.
pub fn warn_capitals(nodes: &[String], out: &mut Out<'_>) -> Done {
    let capital = |name: &&String| name.chars().any(|c| c.is_ascii_uppercase());
    let names: Vec<&str> = nodes.iter().filter(capital).map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    out.warning(format!(
        "The node name '{}' contains capital letters which may not be resolved correctly by the dns server.",
        names.join(",")
    ))
}
