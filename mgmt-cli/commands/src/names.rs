//! Names that need not exist yet; [`makedns`], names in DNS.

mod bind;
pub mod makedns;

use dawn_bootd::caller::View;
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::{Snapshot, excerpt};
use std::collections::HashSet;

/// Bytes of one label of a host's name at most (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Expands a noderange whose names may be unknown (`nodeadd`, `mkdef` …), without those of
/// `site.excludenodes`. Sorted.
pub fn expand_new(snapshot: &Snapshot, view: &View, noderange: &str) -> Result<Vec<String>, Stop> {
    if let Some(piece) = lettered_range(noderange) {
        let text = format!("'{noderange}': [{piece}] is not a range of numbers; letters cannot be a range");
        return Err(Stop::usage(format!("{text}; write the names out, separated by commas")));
    }
    let names = view.expand_unverified(snapshot, noderange)?;
    // Policy has looked at the same words before; what it did not see is not named either.
    if !names.iter().all(|name| view.covers(name)) {
        return Err(Stop::refused("Permission denied for request"));
    }
    let names = spare(snapshot, names, noderange)?;
    match names.iter().flat_map(|name| name.split('.')).find(|label| label.len() > LABEL_BYTES_MAX) {
        None => Ok(names),
        Some(label) => Err(Stop::usage(format!(
            "the name '{label}' has {} letters, DNS allows {LABEL_BYTES_MAX}",
            label.len()
        ))),
    }
}

/// Without the nodes of `site.excludenodes`; an error if there were no others.
fn spare(snapshot: &Snapshot, mut names: Vec<String>, noderange: &str) -> Result<Vec<String>, Stop> {
    let spared = snapshot.excluded_nodes().map_err(|error| Stop::conflict(error.to_string()))?;
    if spared.is_empty() || names.is_empty() {
        return Ok(names);
    }
    let spared: HashSet<&str> = spared.iter().map(AsRef::as_ref).collect();
    names.retain(|name| !spared.contains(name.as_str()));
    if names.is_empty() {
        let text = format!("every node of '{}' is among site.excludenodes", excerpt(noderange));
        return Err(Stop::usage(text));
    }
    Ok(names)
}

/// A range inside of brackets that has a number at neither end.
fn lettered_range(noderange: &str) -> Option<&str> {
    let inside = noderange.split('[').skip(1).filter_map(|rest| rest.split(']').next());
    let number_ends = |text: &str| text.ends_with(|c: char| c.is_ascii_digit());
    let lettered =
        |piece: &&str| piece.split_once('-').is_some_and(|(a, b)| !number_ends(a) && !number_ends(b));
    inside.flat_map(|list| list.split(',')).find(lettered)
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
