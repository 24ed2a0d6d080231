//! What the tables want a node to see, before any file is looked at.

use dawn_cluster::Snapshot;
use dawn_plan::LocalAddresses;
use dawn_plan::{self as plan, local_path};
use dawn_statelite::live::Duties;
use dawn_statelite::resolve::Paths;
use dawn_wire::list::Entry;
use std::path::PathBuf;

/// The tables' side of one node's live root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The tree of the node's image.
    pub root: PathBuf,
    /// The image whose rows count.
    pub image: Option<String>,
    /// Special paths, sorted.
    pub entries: Paths,
    /// Directories of this machine, in order of priority; empty unless all of them are here.
    pub trees: Vec<PathBuf>,
    /// The node's own directory in its store, if it is here.
    pub store: Option<PathBuf>,
    /// What is done for the node.
    pub duties: Duties,
}

impl Wish {
    /// Reads the tables for a node that runs from `root`.
    pub(super) fn of(snapshot: &Snapshot, node: &str, addresses: &LocalAddresses, root: PathBuf) -> Self {
        let duties = duties(snapshot, node, addresses);
        let files = dawn_statelite::files(snapshot, node);
        // A list with contradictions is refused as a whole, and the node reports that.
        let files = if dawn_statelite::check(&files).is_empty() { files } else { Vec::new() };
        let stores = dawn_statelite::stores(snapshot, node);
        let trees = if duties.trees { stores.trees } else { Vec::new() };
        let store = stores.persistent.filter(|_| duties.store);
        Self {
            root,
            image: dawn_statelite::image_of(snapshot, node).map(|image| image.to_string()),
            entries: sorted(dawn_statelite::entries(&files, duties)),
            trees: trees.into_iter().map(|tree| local_path(snapshot, &tree.path)).collect(),
            store: store.map(|store| local_path(snapshot, &store.path)),
            duties,
        }
    }
}

/// The directory of the image that a node boots.
pub fn image_dir(snapshot: &Snapshot, node: &str) -> Option<PathBuf> {
    plan::image_of(snapshot, node).ok()?.rootimgdir(snapshot).map(PathBuf::from)
}

/// What this machine can do for a node.
pub(super) fn duties(snapshot: &Snapshot, node: &str, addresses: &LocalAddresses) -> Duties {
    Duties::of(snapshot, node, &|server| is_here(snapshot, addresses, server))
}

/// Whether a server's name or address means this machine; names are looked for in the tables only.
pub fn is_here(snapshot: &Snapshot, addresses: &LocalAddresses, server: &str) -> bool {
    if matches!(server, "" | "localhost") {
        return true;
    }
    let address = server.parse().ok().or_else(|| plan::node_ip(snapshot, server));
    if let Some(address) = address {
        return addresses.contains(address);
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = |name: &str| name.split('.').next().map(str::to_ascii_lowercase);
    snapshot.site("master").as_deref() == Some(server) || short(server) == short(&host)
}

/// Entries in the order of their paths: a directory is before what is below it.
pub(super) fn sorted(mut entries: Vec<Entry>) -> Paths {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Paths::new(entries)
}
