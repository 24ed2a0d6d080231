//! Contradictions of statelite that a command has just made, reported by that command.
//!
//! None of them stops a boot; `explain` lists those of a node at any time. Nodes with the same groups and the
//! same image are alike: one of each kind is looked at, so that a change for ten thousand nodes costs what
//! one for a few does.

use dawn_bootd::output::{Done, Out};
use dawn_cluster::{RowChange, Snapshot, Text, schema};
use dawn_serving::disks::within;
use dawn_statelite::image_of;
use dawn_wire::image::ROOT;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Kinds of nodes looked at after a change at most.
const KINDS_MAX: usize = 200;
/// Contradictions reported at most; `explain` lists the rest.
const TOLD_MAX: usize = 20;

/// Tables whose rows a statelite root is made of.
const TABLES: [&str; 3] = ["litefile", "litetree", "statelite"];

/// Warns of contradictions that were not there before the change.
pub fn warn(rows: &[RowChange], before: &Snapshot, after: &Snapshot, out: &mut Out<'_>) -> Done {
    let layout = rows.iter().any(|row| row.table.name() == "linuximage");
    if !layout && TABLES.iter().all(|table| after.row_count(*table) == 0) {
        return Ok(());
    }
    let Some(touched) = touched(rows, after) else { return Ok(()) };
    let mut told = 0;
    for (first, count) in kinds(after, touched, |_| true) {
        let old: HashSet<String> = conflicts(before, &first).into_iter().collect();
        for text in conflicts(after, &first).into_iter().filter(|text| !old.contains(text)) {
            told += 1;
            if told > TOLD_MAX {
                return out
                    .warning("There are more contradictions; run `dawn explain NODERANGE` to list them.");
            }
            let others = if count > 1 {
                format!(" (and {} more nodes like {first})", count - 1)
            } else {
                String::new()
            };
            out.warning(format!("{text}{others}"))?;
        }
    }
    Ok(())
}

/// Everything that contradicts itself for a node: rows, the file that its disk layout is in, and its store.
pub fn conflicts(snapshot: &Snapshot, node: &str) -> Vec<String> {
    let rows = dawn_statelite::conflicts(snapshot, node).into_iter().map(|conflict| conflict.to_string());
    let files = dawn_bootd::localdisk::problem(snapshot, node);
    rows.chain(files).chain(dawn_bootd::stores::problem(snapshot, node)).collect()
}

/// What the units of an image write to and no entry of `litefile` makes writable. Reads the image's tree.
pub fn needs(snapshot: &Snapshot, image: &str) -> Vec<String> {
    let dir = snapshot.osimage(image).and_then(|found| found.rootimgdir(snapshot));
    let files = dawn_statelite::files_of_image(snapshot, image);
    let Some(rootimg) = dir.map(|dir| Path::new(&dir).join(ROOT)) else { return Vec::new() };
    match within(&rootimg, move |rootimg| dawn_statelite::missing(rootimg, &files)) {
        Ok(missing) => missing.iter().map(ToString::to_string).collect(),
        Err(late) => vec![format!("{}: {late}", rootimg.display())],
    }
}

/// Whose root the rows may have changed.
pub enum Touched {
    /// Of every node.
    All,
    /// Of these nodes; some may not exist.
    Nodes(Vec<Text>),
}

/// Whose root a change of these rows may have changed; `None`: of no node.
pub fn touched(rows: &[RowChange], after: &Snapshot) -> Option<Touched> {
    let mut nodes = Vec::new();
    for row in rows {
        let wrote = |column: &str| row.cells.iter().any(|(col, ..)| col.name() == column);
        match row.table.name() {
            "litefile" | "litetree" => return Some(Touched::All),
            "statelite" => match row.node() {
                Some(name) if after.has_node(name) => nodes.push(name.clone()),
                Some(name) => nodes.extend(after.nodes_listing_group(name)),
                None => {}
            },
            "nodetype" if wrote("provmethod") => nodes.extend(row.node().cloned()),
            "nodelist" if wrote("groups") => nodes.extend(row.node().cloned()),
            "linuximage" if wrote("partitionfile") => return Some(Touched::All),
            "osimage" if wrote("groups") => return Some(Touched::All),
            _ => {}
        }
    }
    (!nodes.is_empty()).then_some(Touched::Nodes(nodes))
}

/// The first node of each kind, and how many there are of it, among those that are `wanted`.
pub fn kinds(after: &Snapshot, touched: Touched, wanted: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let own_store = |node: &str| {
        schema().find("statelite").is_some_and(|table| after.own_rows(table.id, node).next().is_some())
    };
    let mut kinds: BTreeMap<(Text, Text, Option<Text>), (String, usize)> = BTreeMap::new();
    let mut note = |node: &Text| {
        if !wanted(node) {
            return;
        }
        let Some(image) = image_of(after, node) else { return };
        let alone = own_store(node).then(|| node.clone());
        let key = (image, after.groups_text(node).unwrap_or_default(), alone);
        if kinds.len() < KINDS_MAX || kinds.contains_key(&key) {
            kinds.entry(key).or_insert_with(|| (node.to_string(), 0)).1 += 1;
        }
    };
    match touched {
        Touched::All => after.node_names().for_each(&mut note),
        Touched::Nodes(nodes) => nodes.iter().filter(|node| after.has_node(node)).for_each(&mut note),
    }
    kinds.into_values().collect()
}
