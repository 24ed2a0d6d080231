//! Contradictions of statelite that a command has just made, reported by that command.
//!
//! None of them stops a boot; `explain` lists those of a node at any time. Nodes with the same groups and the
//! same image are alike: one of each kind is looked at, so that a change for ten thousand nodes costs what
//! one for a few does.

use dawn_bootd::output::{Done, Out, Problem, Warning};
use dawn_bootd::stores::StoreProblem;
use dawn_cluster::{RowChange, Snapshot, Text, schema};
use dawn_plan::localdisk::LayoutError;
use dawn_serving::Late;
use dawn_serving::disks::within;
use dawn_statelite::{Conflict, Need, image_of};
use dawn_wire::image::ROOT;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
        let old = conflicts(before, &first);
        for new in conflicts(after, &first).into_iter().filter(|conflict| !old.contains(conflict)) {
            told += 1;
            if told > TOLD_MAX {
                let more = Warning::new("There are more contradictions");
                return out.warning(more.hint("`dawn explain NODERANGE` lists them."));
            }
            let others = if count > 1 {
                format!(" (and {} more nodes like {first})", count - 1)
            } else {
                String::new()
            };
            out.warning(format!("{new}{others}"))?;
        }
    }
    Ok(())
}

/// A setting of statelite that contradicts another, or what is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Of rows.
    #[error(transparent)]
    Rows(#[from] Conflict),
    /// The layout of the local disk.
    #[error("linuximage.partitionfile: {0}")]
    Layout(#[from] LayoutError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreProblem),
    /// What the image writes to and nodes have read-only.
    #[error("{0}")]
    ReadOnly(Need),
    /// The disk with the image does not answer.
    #[error("{path}: {late}", path = .path.display())]
    Disk {
        /// The tree of the image.
        path: PathBuf,
        /// How it failed.
        late: Late,
    },
}

impl Contradiction {
    /// As a part of a result about a node.
    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::Rows(Conflict::Files(_)) => "litefile_entry",
            Self::Rows(Conflict::BelowFile { .. }) => "below_file",
            Self::Rows(Conflict::Tree(_)) => "litetree_directory",
            Self::Rows(Conflict::Store(_)) => "store_location",
            Self::Rows(Conflict::Undefined { .. }) => "variable_not_set",
            Self::Rows(Conflict::TwoStores { .. }) => "two_stores",
            Self::Rows(Conflict::NoStore { .. }) => "no_store",
            Self::Rows(Conflict::NoDisk { .. }) => "no_local_disk",
            Self::Layout(_) => "disk_layout",
            Self::Store(StoreProblem::Absent { .. }) => "store_absent",
            Self::ReadOnly(_) => "read_only",
            Self::Store(StoreProblem::Away { .. }) | Self::Disk { .. } => "disk_away",
        };
        Problem::new(code, self)
    }
}

/// Everything that contradicts itself for a node: rows, the file that its disk layout is in, and its store.
pub fn conflicts(snapshot: &Snapshot, node: &str) -> Vec<Contradiction> {
    let rows = dawn_statelite::conflicts(snapshot, node).into_iter().map(Contradiction::from);
    let files = dawn_bootd::localdisk::problem(snapshot, node).map(Contradiction::from);
    let store = dawn_bootd::stores::problem(snapshot, node).map(Contradiction::from);
    rows.chain(files).chain(store).collect()
}

/// What the units of an image write to and no entry of `litefile` makes writable. Reads the image's tree.
pub fn needs(snapshot: &Snapshot, image: &str) -> Vec<Contradiction> {
    let dir = snapshot.osimage(image).and_then(|found| found.rootimgdir(snapshot));
    let files = dawn_statelite::files_of_image(snapshot, image);
    let Some(rootimg) = dir.map(|dir| Path::new(&dir).join(ROOT)) else { return Vec::new() };
    match within(&rootimg, move |rootimg| dawn_statelite::missing(rootimg, &files)) {
        Ok(missing) => missing.into_iter().map(Contradiction::ReadOnly).collect(),
        Err(late) => vec![Contradiction::Disk { path: rootimg, late }],
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
