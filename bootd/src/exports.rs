//! Who may mount what, derived from the tables.
//!
//! A node gets the root of its own image read-only, the read-only directories of its litetree, and its own
//! persistent directory read-write. Everything else is refused with the reason, which becomes an event. A node is
//! known by its address.

use crate::plan::{self, local_path};
use dawn_cluster::{Model, Snapshot, Text};
use dawn_nfs::{Access, Export, ExportId, Exports, Listed, Mounted, Refusal};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Answers the NFS engine from the model.
pub struct TableExports {
    model: Arc<Model>,
}

impl TableExports {
    /// Exports over the published snapshot of `model`.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        Self { model }
    }

    fn client(&self, client: IpAddr) -> Result<(Arc<Snapshot>, Text), Refusal> {
        let snapshot = self.model.snapshot();
        let node = snapshot.node_by_ip(client);
        let node = node.ok_or_else(|| Refusal::NotAllowed(format!("{client} is no known node")))?;
        Ok((snapshot, node))
    }
}

/// Everything a node may mount.
fn granted(snapshot: &Snapshot, node: &str) -> Vec<Grant> {
    let mut grants = Vec::new();
    let image = plan::image_of(snapshot, node).ok();
    if let Some(dir) = image.and_then(|image| image.rootimgdir(snapshot)) {
        grants.push(Grant::read_only("image", PathBuf::from(dir).join("rootimg")));
    }
    let stores = dawn_statelite::stores(snapshot, node);
    grants.extend(stores.persistent.map(|store| Grant {
        // A node's store is its own: the id names the node, so that a handle of another node is none.
        id: ExportId::of(&["persistent", node, &store.path]),
        root: local_path(snapshot, &store.path),
        access: Access::ReadWrite,
    }));
    grants.extend(
        stores.trees.into_iter().map(|tree| Grant::read_only("tree", local_path(snapshot, &tree.path))),
    );
    grants
}

/// One directory of this machine that a node may mount.
struct Grant {
    id: ExportId,
    root: PathBuf,
    access: Access,
}

impl Grant {
    fn read_only(kind: &str, root: PathBuf) -> Self {
        Self { id: ExportId::of(&[kind, &root.to_string_lossy()]), root, access: Access::ReadOnly }
    }

    fn export(self) -> Export {
        let export = match self.access {
            Access::ReadOnly => Export::read_only(self.id, self.root),
            Access::ReadWrite => Export::read_write(self.id, self.root),
        };
        // Ids are taken as the node states them, so it must be its kernel that states them: any user of the
        // node can call from a higher port.
        Export { require_privileged_port: true, ..export }
    }
}

impl Exports for TableExports {
    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        let (snapshot, node) = self.client(client)?;
        let wanted = local_path(&snapshot, path);
        let grant = granted(&snapshot, &node).into_iter().find(|grant| wanted.starts_with(&grant.root));
        let Some(grant) = grant else { return Err(refusal(&snapshot, &node, path)) };
        if grant.access == Access::ReadWrite {
            make_store(&grant.root).map_err(|error| {
                Refusal::NotAllowed(format!(
                    "the store of {node}, {}, cannot be made: {error}",
                    grant.root.display()
                ))
            })?;
        }
        let subdir = wanted.strip_prefix(&grant.root).map(Path::to_path_buf).unwrap_or_default();
        Ok(Mounted { export: Arc::new(grant.export()), subdir })
    }

    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        let (snapshot, node) = self.client(client)?;
        let grant = granted(&snapshot, &node).into_iter().find(|grant| grant.id == id);
        let gone = || Refusal::NotAllowed(format!("this export is not (or no longer) for {node}"));
        grant.map(|grant| Arc::new(grant.export())).ok_or_else(gone)
    }

    fn generation(&self) -> u64 {
        self.model.snapshot().seq()
    }

    fn is_known(&self, client: IpAddr) -> bool {
        self.client(client).is_ok()
    }

    fn list(&self, client: IpAddr) -> Vec<Listed> {
        let Ok((snapshot, node)) = self.client(client) else { return Vec::new() };
        let grants = granted(&snapshot, &node);
        let listed = |grant: &Grant| Listed {
            path: plan::public_path(&snapshot, &grant.root.to_string_lossy()),
            groups: vec![node.to_string()],
        };
        grants.iter().map(listed).collect()
    }
}

fn refusal(snapshot: &Snapshot, node: &str, path: &str) -> Refusal {
    let allowed: Vec<String> = granted(snapshot, node)
        .iter()
        .map(|grant| plan::public_path(snapshot, &grant.root.to_string_lossy()))
        .collect();
    let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
    Refusal::NotAllowed(format!("{node} may not mount {path}; it may mount {allowed}"))
}

/// The directory of a node in the persistent store: made at the first mount, readable by its node alone.
fn make_store(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(root)
}
