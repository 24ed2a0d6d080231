//! Who may mount what, derived from the tables.
//!
//! A node gets the root of its own image read-only, with its own files over it if it is a live root,
//! the read-only directories of its litetree, and its own persistent directory read-write. Everything else is
//! refused with the reason, which becomes an event. A node is known by its address.

use crate::generations::{self, Generation, Generations, Tree};
use crate::live::{self, LiveRoots, Unsure, image_dir, make_store};
use dawn_cluster::{Model, Snapshot, Text};
use dawn_events::now_ms;
use dawn_nfs::{Access, Export, ExportId, Exports, Listed, Mounted, Question, Refusal};
use dawn_plan::{self as plan, local_path};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tables that say what a node may mount. A change of one counts at once.
const TABLES: [&str; 11] = [
    "chain",
    "hosts",
    "linuximage",
    "litefile",
    "litetree",
    "networks",
    "noderes",
    "nodetype",
    "osimage",
    "site",
    "statelite",
];
/// How far the answers may be behind the other tables. Among them is `nodelist`, which changes with each
/// status of each node: if it cleared all answers, a thousand booting nodes would cause a question at every
/// call.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Answers the NFS engine from the model.
pub struct TableExports {
    model: Arc<Model>,
    generations: Arc<Generations>,
    live: Arc<LiveRoots>,
    tables: Mutex<Tables>,
}

/// The versions of the tables at the last look.
#[derive(Default)]
struct Tables {
    /// The change that made the snapshot whose [`TABLES`] are summed up in `state`.
    seq: u64,
    state: u64,
    /// The snapshot that answers may come from, and since when.
    all: Option<(Instant, u64)>,
}

impl Tables {
    /// A number that grows when answers may be others.
    fn state(&mut self, snapshot: &Snapshot, now: Instant) -> u64 {
        if self.seq != snapshot.seq() {
            self.seq = snapshot.seq();
            self.state = TABLES.iter().map(|table| snapshot.version(*table)).fold(0, u64::wrapping_add);
        }
        let fresh = self.all.filter(|(since, _)| now.saturating_duration_since(*since) < BEHIND_MAX);
        let (_, all) = *self.all.insert(fresh.unwrap_or((now, snapshot.seq())));
        self.state.wrapping_add(all)
    }
}

impl TableExports {
    /// Exports over the published snapshot of `model`; `generations` knows which tree of an image a node runs
    /// from, and `live` what is put over it.
    #[must_use]
    pub fn new(model: Arc<Model>, generations: Arc<Generations>, live: Arc<LiveRoots>) -> Self {
        Self { model, generations, live, tables: Mutex::default() }
    }

    fn client(&self, client: IpAddr) -> Result<(Arc<Snapshot>, Text), Refusal> {
        let snapshot = self.model.snapshot();
        let node = snapshot.node_by_ip(client);
        let node = node.ok_or_else(|| Refusal::NotAllowed(format!("{client} is not a known node")))?;
        Ok((snapshot, node))
    }
}

/// What a node may mount besides images. Looks at no disk.
fn own(by: &TableExports, snapshot: &Snapshot, node: &str) -> Vec<Grant> {
    let stores = dawn_statelite::stores(snapshot, node);
    let store = stores.persistent.map(|store| Grant {
        // A node's store is its own: the id names the node, so that a handle of another node is none.
        id: ExportId::of(&["persistent", node, &store.path]),
        root: local_path(snapshot, &store.path),
        access: Access::ReadWrite,
        generation: None,
    });
    let trees = stores.trees.into_iter();
    let trees = trees.map(|tree| Grant::read_only("tree", local_path(snapshot, &tree.path)));
    // Rows that an older build accepted.
    let allowed = |grant: &Grant| !by.live.is_reserved(snapshot, &grant.root);
    store.into_iter().chain(trees).filter(allowed).collect()
}

/// The image directory of a tree that a node runs from, by the id of its export.
fn known_tree(by: &TableExports, node: &str, id: ExportId) -> Option<Tree> {
    let is_it = |(image_dir, identity): &Tree| {
        let (image_dir, identity) = (image_dir.clone(), *identity);
        Grant::image(Generation { root: PathBuf::new(), image_dir, identity }).shows(node, id)
    };
    by.generations.of_node_known(node).into_iter().find(is_it)
}

/// One directory of this machine that a node may mount.
struct Grant {
    id: ExportId,
    root: PathBuf,
    access: Access,
    /// The tree, if it is one of an image.
    generation: Option<Generation>,
}

impl Grant {
    fn read_only(kind: &str, root: PathBuf) -> Self {
        let id = ExportId::of(&[kind, &root.to_string_lossy()]);
        Self { id, root, access: Access::ReadOnly, generation: None }
    }

    /// The id names the tree and not its path: it stays what it is when the tree is set aside.
    fn image(tree: Generation) -> Self {
        let id = ExportId::of(&["image", &tree.image_dir.to_string_lossy(), &tree.identity.to_string()]);
        Self { id, root: tree.root.clone(), access: Access::ReadOnly, generation: Some(tree) }
    }

    /// Whether `id` is this tree, plain or as the live root of `node`.
    fn shows(&self, node: &str, id: ExportId) -> bool {
        self.id == id || self.generation.as_ref().is_some_and(|tree| live::id(node, tree) == id)
    }

    fn export(self) -> Export {
        let export = match self.access {
            Access::ReadOnly => Export::read_only(self.id, self.root),
            Access::ReadWrite => Export::read_write(self.id, self.root),
        };
        // Ids are taken as the node states them, so it must be its kernel that states them: any user of the
        // node can call from a higher port.
        let private_root = self.access == Access::ReadWrite;
        Export { require_privileged_port: true, private_root, ..export }
    }
}

impl Exports for TableExports {
    fn disk(&self, client: IpAddr, question: Question<'_>) -> Option<PathBuf> {
        let (snapshot, node) = self.client(client).ok()?;
        // A live root is made of the image and of the node's store.
        let far = || self.live.far(&snapshot, &node);
        let own = own(self, &snapshot, &node);
        match question {
            Question::List => image_dir(&snapshot, &node),
            Question::ById(id) => match own.into_iter().find(|grant| grant.id == id) {
                Some(grant) => Some(grant.root),
                None => far()
                    .or_else(|| known_tree(self, &node, id).map(|(dir, _)| dir))
                    .or_else(|| image_dir(&snapshot, &node)),
            },
            Question::Mount(path) => {
                let wanted = local_path(&snapshot, path);
                let known = self.generations.of_node_known(&node).into_iter().map(|(dir, _)| dir);
                let known = known.into_iter().find(|dir| wanted.starts_with(dir));
                match image_dir(&snapshot, &node).filter(|dir| wanted.starts_with(dir)) {
                    Some(dir) => far().or(Some(dir)),
                    None => known.or_else(|| {
                        own.into_iter().map(|grant| grant.root).find(|root| wanted.starts_with(root))
                    }),
                }
            }
        }
    }

    fn mount(&self, client: IpAddr, path: &str) -> Result<Mounted, Refusal> {
        let (snapshot, node) = self.client(client)?;
        let wanted = local_path(&snapshot, path);
        let image_dir = image_dir(&snapshot, &node);
        let images =
            self.generations.of_node(&node, image_dir.as_deref(), |dir| wanted.starts_with(dir)).into_iter();
        let mut grants: Vec<Grant> = images.map(Grant::image).chain(own(self, &snapshot, &node)).collect();
        let Some(found) = grants.iter().position(|grant| wanted.starts_with(&grant.root)) else {
            let image = image_dir.map(|dir| dir.join(generations::TREE));
            let own = grants.into_iter().filter(|grant| grant.generation.is_none()).map(|grant| grant.root);
            return Err(refusal(image.into_iter().chain(own), &snapshot, &node, path));
        };
        let grant = grants.swap_remove(found);
        let mut live = None;
        if let Some(tree) = &grant.generation {
            let noted = self.generations.mounted(&node, tree, now_ms() / 1000);
            warn(&node, noted);
            live = self.live.mount(&snapshot, &node, tree).map_err(|unsure| later(&node, unsure))?;
        }
        if grant.access == Access::ReadWrite {
            make_store(&grant.root).map_err(|error| {
                Refusal::NotAllowed(format!(
                    "the store of {node}, {}, cannot be made: {error}",
                    grant.root.display()
                ))
            })?;
        }
        let subdir = wanted.strip_prefix(&grant.root).map(Path::to_path_buf).unwrap_or_default();
        Ok(Mounted { export: live.unwrap_or_else(|| Arc::new(grant.export())), subdir })
    }

    fn by_id(&self, client: IpAddr, id: ExportId) -> Result<Arc<Export>, Refusal> {
        let (snapshot, node) = self.client(client)?;
        if let Some(grant) = own(self, &snapshot, &node).into_iter().find(|grant| grant.id == id) {
            return Ok(Arc::new(grant.export()));
        }
        let known = known_tree(self, &node, id).map(|(dir, identity)| generations::located(dir, identity));
        // The present tree, or one that was not written down (a restored data directory).
        let present = || {
            let is_it = |tree: &Generation| Grant::image(tree.clone()).shows(&node, id);
            self.generations.among(&image_dir(&snapshot, &node)?, is_it)
        };
        let gone = || Refusal::NotAllowed(format!("this export is not (or no longer) for {node}"));
        let tree = &known.or_else(present).ok_or_else(gone)?;
        let grant = Grant::image(tree.clone());
        warn(&node, self.generations.used(&node, tree, now_ms() / 1000));
        match grant.id == id {
            true => Ok(Arc::new(grant.export())),
            false => self.live.export(&snapshot, &node, tree).map_err(|unsure| later(&node, unsure)),
        }
    }

    fn generation(&self) -> u64 {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = tables.state(&self.model.snapshot(), Instant::now());
        // None of them ever goes back, so the sum changes with each of them.
        tables.wrapping_add(self.generations.round()).wrapping_add(self.live.generation())
    }

    fn materialise(&self, export: ExportId, path: &Path) -> std::io::Result<PathBuf> {
        self.live.materialise(export, path)
    }

    fn is_known(&self, client: IpAddr) -> bool {
        self.client(client).is_ok()
    }

    fn list(&self, client: IpAddr) -> Vec<Listed> {
        let Ok((snapshot, node)) = self.client(client) else { return Vec::new() };
        let images = self.generations.of_node(&node, image_dir(&snapshot, &node).as_deref(), |_| true);
        let images = images.into_iter().map(Grant::image);
        let grants: Vec<Grant> = images.chain(own(self, &snapshot, &node)).collect();
        let listed = |grant: &Grant| Listed {
            path: plan::public_path(&snapshot, &grant.root.to_string_lossy()),
            groups: vec![node.to_string()],
        };
        grants.iter().map(listed).collect()
    }
}

fn refusal(allowed: impl Iterator<Item = PathBuf>, snapshot: &Snapshot, node: &str, path: &str) -> Refusal {
    let allowed: Vec<String> =
        allowed.map(|root| plan::public_path(snapshot, &root.to_string_lossy())).collect();
    let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
    Refusal::NotAllowed(format!("{node} may not mount {path}; it may mount {allowed}"))
}

/// A root whose files could not be looked at is not shown: it would lack some of them.
fn later(node: &str, _: Unsure) -> Refusal {
    Refusal::Later(format!(
        "the files of {node} cannot be looked at for now: this machine is short of something"
    ))
}

/// A use that is not written is lost only if the daemon ends; the node is not affected.
fn warn(node: &str, noted: std::io::Result<()>) {
    if let Err(error) = noted {
        tracing::warn!(node, %error, "cannot write which tree a node uses");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dawn_cluster::{Change, Edit};

    #[test]
    fn a_status_is_no_new_answer_at_once() {
        let model = Model::in_memory().unwrap();
        let mut tables = Tables::default();
        let start = Instant::now();
        let mut after = |edit, later: Duration| {
            model.apply(Change::new("test", "edit", vec![edit])).unwrap();
            tables.state(&model.snapshot(), start + later)
        };
        let status = |text: &str| Edit::set("nodelist", &[("node", "cn1")], &[("status", text)]).unwrap();
        let store = Edit::set("statelite", &[("node", "cn1")], &[("statemnt", "/srv")]).unwrap();
        let first = after(status("netbooting"), Duration::ZERO);
        assert_eq!(after(status("booting"), BEHIND_MAX / 2), first);
        let second = after(store, BEHIND_MAX / 2);
        assert!(second > first);
        assert!(after(status("booted"), BEHIND_MAX) > second);
    }
}
