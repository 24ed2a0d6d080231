//! Which paths lie in a node's persistent store. What a node keeps there is for that node alone, by NFS; neither
//! HTTP nor TFTP, which ask nobody who he is, give it out, even where the store is below the install directory.

use crate::address::LocalAddresses;
use crate::live::is_here;
use crate::plan::local_path;
use dawn_cluster::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// What is wrong with the store of a node, if it is on this machine.
#[must_use]
pub fn problem(snapshot: &Snapshot, node: &str) -> Option<String> {
    let store = dawn_statelite::store(snapshot, node)?.ok()?;
    let addresses = LocalAddresses::of_this_machine().ok()?;
    let path = Some(local_path(snapshot, &store.path)).filter(|path| !path.is_dir())?;
    is_here(snapshot, &addresses, &store.server).then(|| {
        format!(
            "statelite.statemnt: {} of {node} does not exist on this machine; mount or make it",
            path.display()
        )
    })
}

/// The places of all stores, computed once for each state of the tables.
#[derive(Debug, Default)]
pub struct StorePlaces {
    known: RwLock<Option<(u64, Arc<[Place]>)>>,
}

/// A directory whose folders are stores.
#[derive(Debug)]
struct Place {
    /// As the table names it, on this machine; a component with `$` stands for any name.
    path: PathBuf,
    /// It holds other things too (an installdir itself, say): only folders named as nodes are stores.
    shared: bool,
}

impl StorePlaces {
    /// Whether `path`, as a client writes it (`/install/…`), lies in some node's store.
    pub fn contain(&self, snapshot: &Snapshot, path: &str) -> bool {
        let places = self.of(snapshot);
        let path = if places.is_empty() { return false } else { local_path(snapshot, path) };
        places.iter().any(|place| place.contains(snapshot, &path))
    }

    fn of(&self, snapshot: &Snapshot) -> Arc<[Place]> {
        let known = self.known.read().ok().and_then(|known| known.clone());
        if let Some((seq, places)) = known
            && seq == snapshot.seq()
        {
            return places;
        }
        let places: Arc<[Place]> = places(snapshot).into();
        if let Ok(mut known) = self.known.write() {
            *known = Some((snapshot.seq(), Arc::clone(&places)));
        }
        places
    }
}

fn places(snapshot: &Snapshot) -> Vec<Place> {
    let roots = [local_path(snapshot, "/install"), local_path(snapshot, "/tftpboot")];
    let place = |pattern: String| {
        let path = local_path(snapshot, &pattern);
        let shared = roots.iter().any(|root| root.starts_with(&path));
        Place { path, shared }
    };
    dawn_statelite::store_patterns(snapshot).into_iter().map(place).collect()
}

impl Place {
    fn contains(&self, snapshot: &Snapshot, path: &Path) -> bool {
        let mut rest = path.components();
        for wanted in self.path.components() {
            let wanted = wanted.as_os_str();
            let any = wanted.to_string_lossy().contains('$');
            match rest.next() {
                Some(name) if any || name.as_os_str() == wanted => {}
                _ => return false,
            }
        }
        match rest.next() {
            Some(folder) if self.shared => snapshot.has_node(&folder.as_os_str().to_string_lossy()),
            Some(_) => true,
            None => false,
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
        StorePlaces::default().contain(&snapshot, path)
    }

    #[test]
    fn stores_below_the_install_directory() {
        for (statemnt, path, expected) in [
            ("srv:/install/store", "/install/store/cn1/etc/motd", true),
            ("srv:/data/install/store", "/install/store/cn1", true),
            ("/install/store/", "/install/store/gone", true),
            ("/install/store", "/install/store", false),
            ("/install/store", "/install/stores/cn1", false),
            ("$noderes.nfsserver:/install/$nodetype.os/s", "/install/debian12/s/cn1/x", true),
            ("/install", "/install/cn1/etc", true),
            ("/install", "/install/netboot/kernel", false),
            ("/elsewhere", "/install/netboot/kernel", false),
            ("", "/install/netboot/kernel", false),
        ] {
            assert_eq!(contains(statemnt, path), expected, "{statemnt} {path}");
        }
    }
}
