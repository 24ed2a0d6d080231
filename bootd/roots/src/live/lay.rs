//! A wish and the present files: what is put over the root, what is seeded, what is missing.
//!
//! [`resolve::server`] decides it; here it is given a look at the trees and the image, and its pieces become
//! an overlay.

use super::seed::{self, Seed};
use super::trees::{Hit, TreeLook, Whole};
use super::wish::Wish;
use dawn_events::Step;
use dawn_nfs::{Access, OverlayEntry, OverlayKind};
use dawn_serving::beneath::Beneath;
use dawn_serving::lookup::{Failure, failure};
use dawn_serving::mounts::Mounts;
use dawn_statelite::resolve::paths::is_below_volatile;
use dawn_statelite::resolve::server::{self, Piece, ServerLook};
use dawn_statelite::resolve::{self, Found, InImage, Look, Shape};
use dawn_wire::image::TREES;
use dawn_wire::list::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// The files' side of one node's live root.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// What is put over the image.
    pub entries: Vec<OverlayEntry>,
    /// What is made at the first look, by its path in the export.
    pub seeds: BTreeMap<PathBuf, Seed>,
    /// What the node's console and the events say.
    pub notes: Vec<Note>,
}

/// What happened, as the step of an event, and the words.
pub(super) type Note = (Step, String);

/// A cache for one sweep over all nodes, which mostly share one image and some trees.
#[derive(Debug, Default)]
pub(super) struct Images {
    known: HashMap<(PathBuf, String), InImage<PathBuf>>,
    /// Trees of more than one node, and what was found in them. Results that only one node needs are not
    /// kept.
    shared: HashMap<PathBuf, HashMap<String, Option<Hit>>>,
    /// Which trees are on network file systems.
    pub mounts: Mounts,
    /// A look at an image has failed for a reason that passes.
    pub unsure: bool,
}

impl Images {
    /// Nothing yet.
    pub(super) fn now() -> Self {
        Self { mounts: Mounts::now(), ..Self::default() }
    }

    /// The same for nodes with these wishes.
    pub(super) fn for_all<'a>(wishes: impl Iterator<Item = &'a Wish>) -> Self {
        let mut users: HashMap<&Path, usize> = HashMap::new();
        wishes.flat_map(|wish| &wish.trees).for_each(|tree| *users.entry(tree).or_default() += 1);
        let shared = users.into_iter().filter(|(_, users)| *users > 1);
        Self { shared: shared.map(|(tree, _)| (tree.to_owned(), HashMap::new())).collect(), ..Self::now() }
    }

    fn find(&mut self, path: &Path, tree: &dyn TreeLook, wanted: &str) -> Option<Hit> {
        let Some(known) = self.shared.get_mut(path) else { return tree.find(wanted) };
        if let Some(found) = known.get(wanted) {
            return found.clone();
        }
        let found = tree.find(wanted);
        if !tree.is_unsure() {
            known.insert(wanted.to_owned(), found.clone());
        }
        found
    }
}

/// Looks at the files.
pub(super) fn lay(wish: &Wish, trees: &[Box<dyn TreeLook>], images: &mut Images) -> Laid {
    let mut places = Places { wish, trees, images };
    let mut laid = Laid::default();
    places.show_trees(&mut laid);
    laid.notes.extend(wish.absent_store());
    let resolved = server::lay(&wish.entries, wish.duties.trees, &mut places);
    resolved.pieces.into_iter().for_each(|piece| laid.add(piece));
    laid.notes.extend(resolved.notes.into_iter().map(|note| match note {
        server::Note::Missing(text) => (Step::Missing, text),
        server::Note::Trouble(text) => (Step::Trouble, text),
    }));
    laid
}

/// Where the content of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// In these trees, by their numbers.
    Trees(Vec<usize>),
    /// In the image.
    Image,
    /// The node has something else there.
    MountedOver,
    /// Neither in a tree nor in the image.
    Nowhere,
}

/// Where the content of each entry of a wish is. Looks at the image; at trees as `trees` do.
pub(super) fn contents(wish: &Wish, trees: &[Box<dyn TreeLook>], images: &mut Images) -> Vec<Content> {
    let mut places = Places { wish, trees, images };
    let mut content = |(number, entry): (usize, &Entry)| {
        let found = resolve::content::content(&wish.entries, number, entry, &mut places);
        match () {
            () if found.is_volatile => Content::MountedOver,
            () if !found.trees.is_empty() => Content::Trees(found.trees),
            () if found.image.content.is_some() => Content::Image,
            () => Content::Nowhere,
        }
    };
    wish.entries.iter().enumerate().map(&mut content).collect()
}

impl Laid {
    fn show(&mut self, path: &str, what: OverlayKind) {
        self.entries.push(OverlayEntry { path: in_export(path), what });
    }

    fn substitute(&mut self, path: &str, source: PathBuf) {
        self.show(path, OverlayKind::Substitute { source, access: Access::ReadOnly });
    }

    fn add(&mut self, piece: Piece<PathBuf>) {
        match piece {
            Piece::MountPoint { path, is_dir } => {
                self.show(&path, OverlayKind::Placeholder { directory: is_dir });
            }
            Piece::Content { path, source } => self.substitute(&path, source),
            Piece::Stored { path, seed } => {
                let directory = seed.is_dir;
                self.seeds.insert(in_export(&path), seed);
                self.show(&path, OverlayKind::OnFirstUse { directory, access: Access::ReadWrite });
            }
        }
    }
}

fn in_export(path: &str) -> PathBuf {
    PathBuf::from(path.trim_start_matches('/'))
}

/// A node's trees and image.
struct Places<'a> {
    wish: &'a Wish,
    trees: &'a [Box<dyn TreeLook>],
    images: &'a mut Images,
}

impl Places<'_> {
    fn image(&mut self, path: &str) -> InImage<PathBuf> {
        let key = (self.wish.root.clone(), path.to_owned());
        if let Some(known) = self.images.known.get(&key) {
            return known.clone();
        }
        match look(&self.wish.root, path) {
            Ok(found) => self.images.known.entry(key).or_insert(found).clone(),
            Err(error) => {
                self.images.unsure |= is_passing(&error);
                InImage::nothing(path.to_owned())
            }
        }
    }

    /// The files of the tree with that number.
    fn find(&mut self, tree: usize, wanted: &str) -> Option<Hit> {
        self.images.find(self.wish.trees.get(tree)?, self.trees.get(tree)?.as_ref(), wanted)
    }

    /// The node fills its files in RAM from the same trees.
    fn show_trees(&mut self, laid: &mut Laid) {
        for (index, tree) in self.trees.iter().enumerate() {
            laid.notes.extend(tree.problem().map(|problem| (Step::Trouble, problem)));
            match tree.whole() {
                Whole::Here(root) => laid.substitute(&format!("{TREES}/{index}"), root),
                Whole::Far => self.show_far_tree(index, laid),
                Whole::Missing => {}
            }
        }
    }

    /// Of a tree that is not shown as a whole, the files that the node itself needs.
    fn show_far_tree(&mut self, index: usize, laid: &mut Laid) {
        let wish = self.wish;
        for entry in wish.entries.iter().filter(|entry| !entry.served) {
            if let Some(hit) = self.find(index, &entry.path).filter(|hit| !hit.is_empty) {
                laid.substitute(&format!("{TREES}/{index}{}", entry.path), hit.path);
            }
        }
    }
}

impl Look for Places<'_> {
    type At = PathBuf;

    fn trees(&self) -> usize {
        self.trees.len()
    }

    fn in_tree(&mut self, tree: usize, path: &str) -> Option<Found<PathBuf>> {
        self.find(tree, path).map(Found::from)
    }

    fn is_there(&mut self, path: &str) -> bool {
        self.image(path).shape != Shape::Missing
    }

    fn in_image(&mut self, entry: &Entry) -> InImage<PathBuf> {
        self.image(&entry.path)
    }
}

impl ServerLook for Places<'_> {
    fn is_stored(&self, entry: &Entry) -> bool {
        let store = self.wish.store.as_deref().filter(|_| entry.served && entry.option.is_persistent());
        store.is_some_and(|store| seed::is_in(store, &entry.path))
    }

    fn loose_link(&mut self, path: &str) -> Option<String> {
        let loose = self.trees.iter().position(|tree| tree.is_loose_link(path))?;
        Some(format!("{}{path}", self.wish.trees.get(loose)?.display()))
    }

    fn name(&self, at: &PathBuf) -> String {
        at.display().to_string()
    }
}

impl Wish {
    /// The note on a store that is needed and does not exist.
    fn absent_store(&self) -> Option<Note> {
        let is_needed = self.entries.iter().any(|entry| entry.served && entry.option.is_persistent());
        let above = self.store.as_ref().and_then(|store| store.parent()).filter(|_| is_needed)?;
        let note = || format!("the store {} does not exist; mount or make it", above.display());
        (!above.is_dir()).then(|| (Step::Trouble, note()))
    }
}

/// # Errors
/// The reason why there is no answer; for a missing path there is one.
fn look(root: &Path, path: &str) -> io::Result<InImage<PathBuf>> {
    let top = Beneath::open(root)?;
    let here = locate(&top, path)?;
    let inside = |at: &Path| format!("/{}", at.strip_prefix(top.real_path()).unwrap_or(at).display());
    let real = inside(&here);
    let meta = match std::fs::symlink_metadata(&here) {
        Err(error) if is_absent(&error) => return Ok(InImage::nothing(real)),
        meta => meta?,
    };
    if !meta.is_symlink() {
        let shape = if meta.is_dir() { Shape::Dir } else { Shape::File };
        return Ok(InImage { real, shape, content: Some(Hit::at(here)?.into()) });
    }
    let target = top.follow(Path::new(path))?.filter(|target| !is_below_volatile(&inside(target)));
    let content = target.map(Hit::at).transpose()?.map(Found::from);
    Ok(InImage { real, shape: Shape::Link, content })
}

/// Where `path` is, with the links of its directories followed inside `top`. Directories that are missing
/// stay as they are in `path`.
fn locate(top: &Beneath, path: &str) -> io::Result<PathBuf> {
    let path = Path::new(path.trim_matches('/'));
    for above in path.ancestors().skip(1) {
        if let Some(real) = top.follow(above)? {
            return Ok(real.join(path.strip_prefix(above).unwrap_or(path)));
        }
    }
    Ok(top.real_path().join(path))
}

/// The system is short of something: the next look may differ.
pub(super) fn is_passing(error: &io::Error) -> bool {
    classified(error) == Some(Failure::Passing)
}

fn is_absent(error: &io::Error) -> bool {
    classified(error) == Some(Failure::Absent)
}

fn classified(error: &io::Error) -> Option<Failure> {
    rustix::io::Errno::from_io_error(error).map(failure)
}
