//! An export made ready: its regions opened, its overlay resolved.

use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::export::Export;
use crate::nfs3::Attributes;
use crate::objects::Object;
use crate::region::Region;
use crate::sys::Stat;

/// One export, ready to serve.
#[derive(Debug)]
pub struct Tree {
    /// The export's own tree.
    pub base: Arc<Region>,
}

impl Tree {
    /// Opens the export's directory.
    pub fn open(export: &Export) -> Result<Self, Errno> {
        let base = Region::open(export.id, 0, &export.root, export.access)?;
        Ok(Self { base: Arc::new(base) })
    }

    /// Whether this still is what `export` describes, down to the directory of that name.
    pub fn is_current(&self, export: &Export) -> bool {
        self.base.access == export.access && same_root(&self.base, &export.root)
    }

    /// The region of a number.
    pub fn region(&self, id: u32) -> Option<&Arc<Region>> {
        (id == 0).then_some(&self.base)
    }

    /// How `stat`, found at `object`, is shown.
    pub fn attributes(&self, object: &Object, stat: Stat) -> Attributes {
        Attributes { stat, fsid: object.region.export.0, fileid: stat.ino }
    }
}

fn same_root(region: &Region, path: &Path) -> bool {
    let now = crate::sys::open_path(path).and_then(|fd| crate::sys::stat(crate::sys::fd(&fd), c""));
    // A root that has vanished is no reason to cut off those who run from it.
    now.map_or(true, |stat| region.is_root(&stat))
}
