//! What the tables want a node to see, before any file is looked at.

use dawn_cluster::Snapshot;
use dawn_plan::LocalAddresses;
use dawn_plan::{self as plan, local_path};
use dawn_statelite::LiteFile;
use dawn_statelite::live::Duties;
use dawn_wire::LiteOption;
use std::path::PathBuf;

/// The tables' side of one node's live root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The tree of the node's image.
    pub root: PathBuf,
    /// The image whose rows count.
    pub image: Option<String>,
    /// Special paths, sorted.
    pub entries: Vec<Entry>,
    /// Directories of this machine, in order of priority; empty unless all of them are here.
    pub trees: Vec<PathBuf>,
    /// The node's own directory in its store, if it is here.
    pub store: Option<PathBuf>,
    /// What is done for the node.
    pub duties: Duties,
}

/// One special path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute, without a slash at the end.
    pub path: String,
    /// The table says that it is a directory.
    pub is_dir: bool,
    /// What it is.
    pub option: LiteOption,
    /// Whether it is ours to show.
    pub served: bool,
    /// What is above it.
    pub above: Above,
}

impl Entry {
    /// An entry by itself.
    pub fn new(path: String, is_dir: bool, option: LiteOption, served: bool) -> Self {
        Self { path, is_dir, option, served, above: Above::Nothing }
    }
}

/// The nearest special directory above an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// There is none.
    Nothing,
    /// One that the node mounts something over: what is shown below is out of its sight.
    Mount,
    /// One that is served, by its index: the entry is part of it.
    Served(usize),
}

impl Wish {
    /// Reads the tables for a node that runs from `root`.
    pub fn of(snapshot: &Snapshot, node: &str, addresses: &LocalAddresses, root: PathBuf) -> Self {
        let duties = duties(snapshot, node, addresses);
        let files = dawn_statelite::files(snapshot, node);
        // A list with contradictions is refused as a whole, and the node says so.
        let files = if dawn_statelite::check(&files).is_empty() { files } else { Vec::new() };
        let stores = dawn_statelite::stores(snapshot, node);
        let trees = if duties.trees { stores.trees } else { Vec::new() };
        let store = stores.persistent.filter(|_| duties.store);
        Self {
            root,
            image: dawn_statelite::image_of(snapshot, node).map(|image| image.to_string()),
            entries: entries(&files, duties),
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
pub fn duties(snapshot: &Snapshot, node: &str, addresses: &LocalAddresses) -> Duties {
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

fn entries(files: &[LiteFile], duties: Duties) -> Vec<Entry> {
    let entry = |file: &LiteFile| {
        let option = file.option.clone().ok()?;
        let names: Vec<&str> = file.path.split('/').filter(|name| !name.is_empty()).collect();
        let path = format!("/{}", names.join("/"));
        Some(Entry::new(path, file.is_dir(), option, duties.include(option)))
    };
    related(files.iter().filter(|file| &*file.path != "/etc/mtab").filter_map(entry).collect())
}

/// Sorts entries and finds what is above each of them.
pub fn related(mut entries: Vec<Entry>) -> Vec<Entry> {
    // A directory stands before what is below it.
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let above = |entry: &Entry| {
        let above = entries.iter().enumerate().filter(|(_, other)| is_below(&entry.path, &other.path));
        match above.max_by_key(|(_, other)| other.path.len()) {
            None => Above::Nothing,
            Some((at, other)) if other.served => Above::Served(at),
            Some(_) => Above::Mount,
        }
    };
    let above: Vec<Above> = entries.iter().map(above).collect();
    entries.iter_mut().zip(above).for_each(|(entry, above)| entry.above = above);
    entries
}

/// Whether `path` lies below `dir`.
pub fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
