//! Which paths are in a node's persistent store, or in a `litetree` tree of that node.
//!
//! Such a path is for that node alone, by NFS. HTTP and TFTP are unauthenticated, so they never serve a
//! store, even one below the install directory.

use dawn_cluster::Snapshot;
use dawn_plan::local_path;
use dawn_roots::live::{WORKSHOP, is_here};
use dawn_serving::disks::within;
use dawn_serving::{DiskPool, Late};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// What is wrong with a store on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreProblem {
    /// There is no such directory.
    #[error("statelite.statemnt: {} of {node} does not exist on this machine; mount or make it", .path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
        /// Whose store it is.
        node: String,
    },
    /// The disk does not answer.
    #[error("statelite.statemnt: {} of {node} cannot be looked at: {late}", .path.display())]
    Away {
        /// The directory.
        path: PathBuf,
        /// Whose store it is.
        node: String,
        /// How it failed.
        late: Late,
    },
}

/// What is wrong with the store of a node, if it is on this machine.
#[must_use]
pub fn problem(snapshot: &Snapshot, node: &str) -> Option<StoreProblem> {
    let store = dawn_statelite::store(snapshot, node)?.ok()?;
    let addresses = crate::address::of_this_machine().ok()?;
    if !is_here(snapshot, &addresses, &store.server) {
        return None;
    }
    let path = local_path(snapshot, &store.path);
    let node = node.to_owned();
    match within(&path, Path::is_dir) {
        Ok(true) => None,
        Ok(false) => Some(StoreProblem::Absent { path, node }),
        Err(late) => Some(StoreProblem::Away { path, node, late }),
    }
}

/// The places of all stores, computed once for each state of the tables.
#[derive(Debug, Default)]
pub struct StorePlaces {
    known: RwLock<Option<Known>>,
}

/// The places, and what they follow from.
#[derive(Debug, Clone)]
struct Known {
    seq: u64,
    patterns: Arc<Vec<(Kind, PathBuf)>>,
    places: Arc<[Place]>,
}

/// Where stores, or trees of nodes, are.
#[derive(Debug)]
struct Place {
    kind: Kind,
    /// As the table names it, on this machine; a component with `$` matches any name.
    path: PathBuf,
    /// It holds other things too (an installdir itself, say): only folders named as nodes are stores.
    shared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A directory whose folders are stores.
    Stores,
    /// A directory of `litetree` that is one node's: `$node` is in its path.
    Tree,
}

impl StorePlaces {
    /// Whether `path`, as a client writes it (`/install/…`), is in some node's store or tree. `real` is
    /// where it leads on this machine, asked for only if there are any.
    pub fn contain(&self, snapshot: &Snapshot, path: &str, real: impl FnOnce() -> Option<PathBuf>) -> bool {
        let places = self.of(snapshot);
        if places.is_empty() {
            return false;
        }
        let paths = [Some(local_path(snapshot, path)), real()];
        paths.iter().flatten().any(|path| places.iter().any(|place| place.contains(snapshot, path)))
    }

    /// Whether [`StorePlaces::contain`] needs to ask no disk.
    pub fn are_known(&self, snapshot: &Snapshot) -> bool {
        self.known(snapshot).is_some()
    }

    /// The places, if the tables name the same as when they were last looked at.
    fn known(&self, snapshot: &Snapshot) -> Option<Arc<[Place]>> {
        let known = self.known.read().ok().and_then(|known| known.clone())?;
        if known.seq == snapshot.seq() {
            return Some(known.places);
        }
        let same = *known.patterns == patterns(snapshot);
        let places = same.then(|| Arc::clone(&known.places));
        if same && let Ok(mut kept) = self.known.write() {
            *kept = Some(Known { seq: snapshot.seq(), ..known });
        }
        places
    }

    fn of(&self, snapshot: &Snapshot) -> Arc<[Place]> {
        if let Some(places) = self.known(snapshot) {
            return places;
        }
        let patterns = patterns(snapshot);
        let (places, whole) = places(snapshot, &patterns);
        let places: Arc<[Place]> = places.into();
        // One that hangs is asked again at the next request; until then its path counts as the table has it.
        if whole && let Ok(mut known) = self.known.write() {
            let (seq, places) = (snapshot.seq(), Arc::clone(&places));
            *known = Some(Known { seq, patterns: Arc::new(patterns), places });
        }
        places
    }
}

/// What the tables name, on this machine.
fn patterns(snapshot: &Snapshot) -> Vec<(Kind, PathBuf)> {
    let stores = dawn_statelite::store_patterns(snapshot).into_iter().map(|path| (Kind::Stores, path));
    let trees = dawn_statelite::tree_patterns(snapshot).into_iter().map(|path| (Kind::Tree, path));
    let trees = trees.filter(|(_, path)| path.split('/').any(|part| part == OWN));
    stores.chain(trees).map(|(kind, path)| (kind, local_path(snapshot, &path))).collect()
}

/// The places that match the patterns, links followed; and whether every disk has answered.
fn places(snapshot: &Snapshot, patterns: &[(Kind, PathBuf)]) -> (Vec<Place>, bool) {
    let roots = [local_path(snapshot, "/install"), local_path(snapshot, "/tftpboot")];
    let mut whole = true;
    let mut places = Vec::new();
    for (kind, path) in patterns {
        let mut add = |path: PathBuf| {
            let shared = roots.iter().any(|root| root.starts_with(&path));
            places.push(Place { kind: *kind, path, shared });
        };
        add(path.clone());
        if roots.iter().any(|root| path.starts_with(root)) {
            let asked = path.clone();
            match DiskPool::default().call(path, REAL_TIME_MAX, move || real(&asked)) {
                Ok(Ok(real)) => real.into_iter().for_each(&mut add),
                Ok(Err(_)) | Err(_) => whole = false,
            }
        }
    }
    (places, whole)
}

/// How long a store may take to say where it really is.
const REAL_TIME_MAX: Duration = Duration::from_secs(1);

/// The component that is a node's name.
const OWN: &str = "$node";

/// The path with links followed as far as it is fixed; nothing if it is not there.
fn real(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let fixed: PathBuf =
        path.components().take_while(|part| !part.as_os_str().to_string_lossy().contains('$')).collect();
    match fixed.canonicalize() {
        Ok(real) => Ok(path.strip_prefix(&fixed).ok().map(|rest| real.join(rest))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Place {
    fn contains(&self, snapshot: &Snapshot, path: &Path) -> bool {
        let mut rest = path.components();
        for wanted in self.path.components() {
            let wanted = wanted.as_os_str();
            let any = wanted.to_string_lossy().contains('$');
            let own = self.kind == Kind::Tree && wanted == OWN;
            match rest.next() {
                Some(name) if own && !snapshot.has_node(&name.as_os_str().to_string_lossy()) => return false,
                Some(name) if any || name.as_os_str() == wanted => {}
                _ => return false,
            }
        }
        match rest.next() {
            Some(folder) if self.shared && self.kind == Kind::Stores => {
                let folder = folder.as_os_str();
                folder == WORKSHOP || snapshot.has_node(&folder.to_string_lossy())
            }
            Some(_) => true,
            // The names of its folders are those of nodes.
            None => self.kind == Kind::Tree || !self.shared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(statemnt: &str, path: &str) -> bool {
        let snapshot = Snapshot::from_rows([
            ("site", &[("key", "installdir"), ("value", "/data/install")] as &[(&str, &str)]),
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("statelite", &[("node", "all"), ("statemnt", statemnt)]),
        ]);
        StorePlaces::default().contain(&snapshot, path, || None)
    }

    #[test]
    fn stores_below_the_install_directory() {
        for (statemnt, path, expected) in [
            ("srv:/install/store", "/install/store/cn1/etc/motd", true),
            ("srv:/data/install/store", "/install/store/cn1", true),
            ("/install/store/", "/install/store/gone", true),
            ("/install/store", "/install/store", true),
            ("srv:/data/install/store/", "/install/store/", true),
            ("/install", "/install", false),
            ("/", "/install", false),
            ("/install/store", "/install/stores/cn1", false),
            ("/install/store", "/install/stores", false),
            ("$noderes.nfsserver:/install/$nodetype.os/s", "/install/debian12/s/cn1/x", true),
            ("/install", "/install/cn1/etc", true),
            ("/install", "/install/.dawn-seeds/1/2/etc/shadow", true),
            ("/install/store", "/install/store/.dawn-seeds/1/2", true),
            ("/install", "/install/netboot/kernel", false),
            ("/elsewhere", "/install/netboot/kernel", false),
            ("", "/install/netboot/kernel", false),
        ] {
            assert_eq!(contains(statemnt, path), expected, "{statemnt} {path}");
        }
    }
}
