//! The entries of `litefile` of one node, each with the directory that its content comes from.

use dawn_bootd::address;
use dawn_bootd::command::Ctx;
use dawn_roots::live::{Origin, origins};
use dawn_statelite::{LiteFile, Tree, each_tree, files, stores};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// One special path of a node.
#[derive(Serialize)]
pub(super) struct EntryOf {
    file: String,
    options: String,
    /// Where the content is; empty if that is nowhere, or not known.
    from: Vec<Place>,
    /// Further remarks.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// The tree, store or image that has the content of an entry.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Place {
    Store { directory: String },
    Litetree { directory: String, priority: String },
    Image,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { directory } => write!(f, "the store {directory}"),
            Self::Litetree { directory, priority } => write!(f, "litetree {priority}, {directory}"),
            Self::Image => f.write_str("the image"),
        }
    }
}

impl From<&Tree> for Place {
    fn from(tree: &Tree) -> Self {
        Self::Litetree { directory: tree.location.to_string(), priority: tree.label.clone() }
    }
}

/// `OPTIONS PATH: PLACE and PLACE; NOTE`.
impl fmt::Display for EntryOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.options, self.file)?;
        let places: Vec<String> = self.from.iter().map(ToString::to_string).collect();
        let places = Some(places.join(" and ")).filter(|text| !text.is_empty());
        let said: Vec<String> = places.into_iter().chain(self.note.clone()).collect();
        if said.is_empty() { Ok(()) } else { write!(f, ": {}", said.join("; ")) }
    }
}

/// The entries of a node. Looks at the disks of the image, the trees and the store.
pub(super) fn entries(ctx: &Ctx<'_>, node: &str) -> Vec<EntryOf> {
    let snapshot = &ctx.snapshot;
    let addresses = address::of_this_machine().unwrap_or_default();
    // A daemon without a data directory has none to keep from nodes.
    let origins = origins(snapshot, node, &addresses, ctx.data.unwrap_or(Path::new("/proc/nothing")));
    let trees: Vec<Tree> = each_tree(snapshot, node).into_iter().flatten().collect();
    let store = stores(snapshot, node).persistent.map(|store| store.to_string());
    let entry = |file: LiteFile| {
        let origin = origins.get(file.path.trim_end_matches('/'));
        let (from, note) =
            origin.map(|origin| described(origin, &file, &trees, store.as_deref())).unwrap_or_default();
        EntryOf { file: file.path.to_string(), options: file.text.to_string(), from, note }
    };
    files(snapshot, node).into_iter().map(entry).collect()
}

fn described(
    origin: &Origin,
    file: &LiteFile,
    trees: &[Tree],
    store: Option<&str>,
) -> (Vec<Place>, Option<String>) {
    let is_persistent = file.option.as_ref().is_ok_and(|option| option.is_persistent());
    let from = match origin {
        Origin::Store => {
            store.map(|store| Place::Store { directory: store.to_owned() }).into_iter().collect()
        }
        Origin::Trees(numbers) => numbers.iter().filter_map(|at| trees.get(*at)).map(Place::from).collect(),
        Origin::Image => vec![Place::Image],
        _ => Vec::new(),
    };
    let note = match origin {
        Origin::MountedOver => Some("no effect: the node mounts its own file system there".to_owned()),
        Origin::Nowhere if file.option.as_ref().is_ok_and(|option| option.is_ro()) => {
            Some("in no tree and not in the image: left out".to_owned())
        }
        Origin::Nowhere => Some("in no tree and not in the image: made empty".to_owned()),
        Origin::Searched => {
            let order: Vec<String> = trees.iter().map(|tree| Place::from(tree).to_string()).collect();
            Some(format!("searched by the node itself in {}, then in the image", order.join(", then in ")))
        }
        Origin::Unknown(why) => Some(format!("not known: {why}")),
        Origin::Store | Origin::Trees(_) | Origin::Image => None,
    };
    let kept = store.filter(|_| is_persistent && !matches!(origin, Origin::Store | Origin::MountedOver));
    let kept = kept.map(|store| format!("kept in {store} from its first use"));
    let notes: Vec<String> = note.into_iter().chain(kept).collect();
    (from, (!notes.is_empty()).then(|| notes.join("; ")))
}
