//! An export made ready: its own tree opened, its overlay prepared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::export::{Access, Export};
use crate::layers::{Layer, Layers, SYNTHETIC_REGION};
use crate::mounts::Mounts;
use crate::nfs3::Attributes;
use crate::objects::Object;
use crate::region::Region;
use crate::sys::Stat;

/// What trees are made with.
#[derive(Debug)]
pub struct Workshop {
    /// Shared mounts.
    pub mounts: Mounts,
    /// Directory that holds an empty directory `dir` and an empty file `file`, which represent what exists in
    /// overlays only.
    pub stand_ins: PathBuf,
}

/// One export, ready to serve.
#[derive(Debug)]
pub struct Tree {
    /// The export's own tree.
    pub base: Arc<Region>,
    /// A directory of it on a file system that may hang: calls are carried out where that may take its time.
    pub far: Option<PathBuf>,
    /// What is put over it.
    pub layers: Option<Layers>,
    /// Whether clients may make device nodes.
    pub devices: bool,
    /// Whether the root is shown as a directory that everybody may list and pass.
    private_root: bool,
}

/// What everybody may do with a private root, as a client sees it: read and pass (mode bits).
const PRIVATE_ROOT_SHOWN: u32 = 0o055;

impl Tree {
    /// Opens the export's directory and prepares its overlay. Unchanged parts of `previous` are reused, so
    /// that files in use stay open.
    pub fn open(shop: &Workshop, export: &Export, previous: Option<&Self>) -> Result<Self, Errno> {
        let kept = previous.filter(|p| p.base_is_current(export)).map(|p| p.base.clone());
        let open =
            || Region::open(&shop.mounts, export.id, 0, &export.root, export.access, true).map(Arc::new);
        let base = kept.map_or_else(open, Ok)?;
        let (devices, private_root) = (export.devices, export.private_root);
        let far = (!base.is_local).then(|| export.root.clone());
        let Some(spec) = &export.overlay else {
            return Ok(Self { base, far, layers: None, devices, private_root });
        };
        let far = far.or_else(|| spec.far.clone());
        let access = Access::ReadOnly;
        let stand_ins =
            Region::open(&shop.mounts, export.id, SYNTHETIC_REGION, &shop.stand_ins, access, true)?;
        let before = previous.and_then(|p| p.layers.as_ref());
        let layers = Layers::new(spec, &base, Arc::new(stand_ins), before);
        Ok(Self { base, far, layers: Some(layers), devices, private_root })
    }

    /// Whether this still is what `export` describes, down to the directory of that name.
    pub fn is_current(&self, export: &Export) -> bool {
        let laid_out = self.layers.as_ref().map(|l| l.generation);
        let same = (self.devices, self.private_root) == (export.devices, export.private_root);
        same && laid_out == export.overlay.as_ref().map(|o| o.generation) && self.base_is_current(export)
    }

    fn base_is_current(&self, export: &Export) -> bool {
        self.base.access == export.access
            && self.base.path == export.root
            && same_root(&self.base, &export.root)
    }

    /// The layer of a directory, if it leads to overlay entries.
    pub fn layer_of(&self, object: &Object, stat: &Stat) -> Option<(&Layers, &Layer)> {
        let layers = self.layers.as_ref()?;
        let layer = match object.synthetic {
            Some(id) => layers.of_id(id),
            None => layers.of_directory(object.region.id, stat),
        }?;
        Some((layers, layer))
    }

    /// How `stat`, found in `region`, is shown. `synthetic` is the layer's id for what exists in the overlay
    /// only.
    pub fn shown(&self, region: &Region, synthetic: Option<u64>, mut stat: Stat) -> Attributes {
        let fileid = synthetic.unwrap_or_else(|| self.file_id(region, &stat));
        if self.is_private_root(region, &stat) {
            stat.mode |= PRIVATE_ROOT_SHOWN;
        }
        if let Some(layers) = &self.layers {
            // Clients ask again for a directory's names when its times change.
            let touched = synthetic.is_some() || layers.of_directory(region.id, &stat).is_some();
            if touched && stat.is_dir() {
                stat.mtime = stat.mtime.max(layers.changed);
                stat.ctime = stat.ctime.max(layers.changed);
            }
        }
        Attributes { stat, fsid: region.export.0, fileid }
    }

    /// Whether it is the root, and shown wider than it is.
    pub fn is_private_root(&self, region: &Region, stat: &Stat) -> bool {
        self.private_root && region.id == 0 && stat.is_dir() && region.is_root(stat)
    }

    /// One file id space for all regions of the export: the export's own tree keeps its inode numbers.
    fn file_id(&self, region: &Region, stat: &Stat) -> u64 {
        if region.id == 0 {
            return stat.ino;
        }
        let root = self.layers.as_ref().filter(|_| region.is_root(stat));
        let root = root.and_then(|l| l.of_region(region.id));
        let mixed = || (u64::from(region.id) << 32 ^ stat.ino).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 << 63;
        root.map_or_else(mixed, |layer| layer.id)
    }
}

fn same_root(region: &Region, path: &Path) -> bool {
    let now = crate::sys::open_path(path).and_then(|fd| crate::sys::stat(crate::sys::fd(&fd), c""));
    // A root that has vanished is not a reason to cut off nodes that run from it.
    now.map_or(true, |stat| region.is_root(&stat))
}
