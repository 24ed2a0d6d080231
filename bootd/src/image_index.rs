//! What is on disk of the images, looked at beforehand: a plan asks no disk, and a boot script does not wait
//! for one.
//!
//! A round every [`PERIOD`] looks into the directory of each image on a thread for disks. A directory that
//! does not answer keeps its last known state and does not delay the others. `nodeset` looks at once, so what
//! it has checked is what the node boots.

use arc_swap::ArcSwap;
use dawn_cluster::Snapshot;
use dawn_plan::{DISCOVERY_ARCH, PackedRoots, tftpdir};
use dawn_serving::{DiskPool, Late};
use dawn_wire::image::{PACKED_ROOTS, genesis_kernel};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two rounds.
pub const PERIOD: Duration = Duration::from_secs(2);
/// How long the start of the daemon waits for the first round.
const FIRST_ROUND_TIME_MAX: Duration = Duration::from_secs(2);

/// The index. Cloning gives the same one.
#[derive(Clone, Debug, Default)]
pub struct ImageIndex {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    disks: DiskPool,
    packed: ArcSwap<PackedRoots>,
    /// Directories that are being looked at.
    looking: Mutex<HashSet<PathBuf>>,
}

impl ImageIndex {
    /// What is known now.
    #[must_use]
    pub fn packed(&self) -> Arc<PackedRoots> {
        self.shared.packed.load_full()
    }

    /// Begins to look into the directory of every image, and for the discovery system; returns at once.
    pub fn begin_round(&self, snapshot: &Snapshot) {
        self.begin_discovery(snapshot);
        let dirs: HashSet<PathBuf> = image_dirs(snapshot).collect();
        self.shared.forget_all_but(&dirs);
        for dir in dirs {
            if !self.shared.looking().insert(dir.clone()) {
                continue;
            }
            let shared = Arc::clone(&self.shared);
            let place = dir.clone();
            let submitted = self.shared.disks.submit(&place, move || {
                let found = look(&dir);
                shared.looking().remove(&dir);
                shared.note(&dir, found);
            });
            if submitted.is_err() {
                self.shared.looking().remove(&place);
            }
        }
    }

    /// Looks for the discovery system. A TFTP directory that does not answer keeps what was known.
    fn begin_discovery(&self, snapshot: &Snapshot) {
        let tftpdir = tftpdir(snapshot);
        if !self.shared.looking().insert(tftpdir.clone()) {
            return;
        }
        let (shared, place) = (Arc::clone(&self.shared), tftpdir.clone());
        let submitted = self.shared.disks.submit(&place, move || {
            let found = has_discovery(&tftpdir);
            shared.looking().remove(&tftpdir);
            shared.note_discovery(found);
        });
        if submitted.is_err() {
            self.shared.looking().remove(&place);
        }
    }

    /// The first round: waits until every directory has answered, but not for those that do not.
    pub fn first_round(&self, snapshot: &Snapshot) {
        self.begin_round(snapshot);
        let end = Instant::now() + FIRST_ROUND_TIME_MAX;
        for dir in image_dirs(snapshot) {
            if self.shared.looking().contains(&dir) {
                // After the round's own look, in the same share.
                let _ = self.look_now(&dir, end.saturating_duration_since(Instant::now()));
            }
        }
    }

    /// Looks into one directory now. Its result applies from now on.
    ///
    /// # Errors
    /// [`Late`]: the directory does not answer.
    pub fn look_now(&self, dir: &Path, time_max: Duration) -> Result<Option<&'static str>, Late> {
        let place = dir.to_owned();
        let found = self.shared.disks.call(dir, time_max, move || look(&place))?;
        self.shared.note(dir, found);
        Ok(found)
    }

    /// Looks for the discovery system now. The result applies from now on.
    ///
    /// # Errors
    /// [`Late`]: the TFTP directory does not answer.
    pub fn look_for_discovery_now(&self, snapshot: &Snapshot, time_max: Duration) -> Result<(), Late> {
        let tftpdir = tftpdir(snapshot);
        let found = self.shared.disks.call(&tftpdir.clone(), time_max, move || has_discovery(&tftpdir))?;
        self.shared.note_discovery(found);
        Ok(())
    }
}

impl Shared {
    fn looking(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, dir: &Path, found: Option<&'static str>) {
        if self.packed.load().of(dir) != found {
            self.packed.rcu(|known| known.with(dir, found));
        }
    }

    fn note_discovery(&self, found: bool) {
        if self.packed.load().has_discovery() != found {
            self.packed.rcu(|known| known.with_discovery(found));
        }
    }

    fn forget_all_but(&self, dirs: &HashSet<PathBuf>) {
        if self.packed.load().dirs().any(|dir| !dirs.contains(dir)) {
            self.packed.rcu(|known| known.only(|dir| dirs.contains(dir)));
        }
    }
}

/// May wait for the disk.
fn has_discovery(tftpdir: &Path) -> bool {
    tftpdir.join(genesis_kernel(DISCOVERY_ARCH)).exists()
}

fn image_dirs(snapshot: &Snapshot) -> impl Iterator<Item = PathBuf> {
    let images = snapshot.osimage_names().filter_map(|name| snapshot.osimage(name));
    images.filter_map(|image| image.rootimgdir(snapshot)).map(PathBuf::from)
}

/// The packed root that is in an image directory. May wait for its disk.
fn look(dir: &Path) -> Option<&'static str> {
    PACKED_ROOTS.into_iter().find(|name| dir.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_follows_the_disk_and_the_tables() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let with_image = Snapshot::from_rows([
            ("osimage", &[("imagename", "img"), ("provmethod", "netboot")][..]),
            ("linuximage", &[("imagename", "img"), ("rootimgdir", root)]),
        ]);
        let index = ImageIndex::default();
        index.first_round(&with_image);
        assert_eq!(index.packed().of(dir.path()), None);
        std::fs::write(dir.path().join("rootimg.cpio.xz"), "").unwrap();
        assert_eq!(index.packed().of(dir.path()), None, "as of the last look");
        index.first_round(&with_image);
        assert_eq!(index.packed().of(dir.path()), Some("rootimg.cpio.xz"));
        std::fs::rename(dir.path().join("rootimg.cpio.xz"), dir.path().join("rootimg.sfs")).unwrap();
        assert_eq!(index.look_now(dir.path(), FIRST_ROUND_TIME_MAX), Ok(Some("rootimg.sfs")));
        assert_eq!(index.packed().of(dir.path()), Some("rootimg.sfs"));
        index.begin_round(&Snapshot::from_rows([]));
        assert_eq!(index.packed().of(dir.path()), None, "the image is gone");
    }

    /// `nodeset` right after `mknb` does not have to wait for a round.
    #[test]
    fn the_discovery_system_is_found_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = [("key", "tftpdir"), ("value", dir.path().to_str().unwrap())];
        let snapshot = Snapshot::from_rows([("site", &site[..])]);
        let kernel = dir.path().join(genesis_kernel(DISCOVERY_ARCH));
        let index = ImageIndex::default();
        assert!(!index.packed().has_discovery());
        std::fs::create_dir_all(kernel.parent().unwrap()).unwrap();
        std::fs::write(&kernel, "").unwrap();
        assert_eq!(index.look_for_discovery_now(&snapshot, FIRST_ROUND_TIME_MAX), Ok(()));
        assert!(index.packed().has_discovery());
        std::fs::remove_file(&kernel).unwrap();
        assert_eq!(index.look_for_discovery_now(&snapshot, FIRST_ROUND_TIME_MAX), Ok(()));
        assert!(!index.packed().has_discovery());
    }
}
