//! A wish and the files as they are: what is laid over the root, what is seeded, what is missing.
//!
//! Content is searched as `/init` does it: trees in order of priority, an empty directory counts for nothing,
//! and the image's own file, followed if it is a link, is the last resort.

use super::seed::{self, Seed};
use super::trees::{Hit, TreeLook, Whole};
use super::wish::{Above, Entry, Wish, is_below};
use dawn_events::Step;
use dawn_nfs::{Access, OverlayEntry, OverlayKind};
use dawn_serving::beneath::Beneath;
use dawn_serving::lookup::{Failure, failure};
use dawn_serving::mounts::Mounts;
use dawn_wire::LiteOption;
use dawn_wire::image::{LIVE, TREES};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// Directories that every root needs: mounts are moved there.
const NEEDED_DIRS: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/.statelite"];
/// Files that every node has its own of.
const NEEDED_FILES: [&str; 3] = ["/etc/hostname", "/etc/resolv.conf", "/etc/machine-id"];
/// Places that the node mounts over: content there has no effect.
const VOLATILE: [&str; 4] = ["/run", "/dev", "/proc", "/sys"];

/// The files' side of one node's live root.
#[derive(Debug, Default)]
pub struct Laid {
    /// What is laid over the image.
    pub entries: Vec<OverlayEntry>,
    /// What is made at the first look, by its path in the export.
    pub seeds: BTreeMap<PathBuf, Seed>,
    /// What the node's console and the events shall say.
    pub notes: Vec<Note>,
}

/// What happened, as the step of an event, and the words.
pub type Note = (Step, String);

/// What an image holds at a path.
#[derive(Debug, Clone, Default)]
pub struct InImage {
    /// The path with the links of its directories resolved.
    real: String,
    /// Content, with a link at the end followed; none behind a link to what is mounted over.
    content: Option<Hit>,
    /// Something is there that a mount can be put on.
    fits: bool,
    /// Anything at all is there.
    exists: bool,
}

impl InImage {
    /// The node has something else there.
    fn is_mounted_over(&self) -> bool {
        VOLATILE.iter().any(|dir| self.real == *dir || is_below(&self.real, dir))
    }
}

/// What is known of this machine during one sweep over all nodes, which mostly share one image and some
/// trees.
#[derive(Debug, Default)]
pub struct Images {
    known: HashMap<(PathBuf, String), InImage>,
    /// Trees of more than one node, and what was found in them. What only one node asks for is not kept.
    shared: HashMap<PathBuf, HashMap<String, Option<Hit>>>,
    /// Which trees are on network file systems.
    pub mounts: Mounts,
    /// A look at an image has failed for a reason that passes.
    pub unsure: bool,
}

impl Images {
    /// Nothing yet.
    pub fn now() -> Self {
        Self { mounts: Mounts::now(), ..Self::default() }
    }

    /// The same for nodes with these wishes.
    pub fn for_all<'a>(wishes: impl Iterator<Item = &'a Wish>) -> Self {
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
pub fn lay(wish: &Wish, trees: &[Box<dyn TreeLook>], images: &mut Images) -> Laid {
    let mut layer = Layer { wish, trees, images, laid: Laid::default() };
    layer.mount_points();
    layer.show_trees();
    layer.look_at_store();
    for entry in &wish.entries {
        layer.entry(entry);
    }
    layer.laid
}

/// Where the content of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
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
pub fn contents(wish: &Wish, trees: &[Box<dyn TreeLook>], images: &mut Images) -> Vec<Content> {
    let mut layer = Layer { wish, trees, images, laid: Laid::default() };
    let mut content = |entry: &Entry| {
        let image = layer.image(&entry.path);
        let found = layer.found(entry, &image);
        match () {
            () if image.is_mounted_over() => Content::MountedOver,
            () if !found.is_empty() => Content::Trees(found.into_iter().map(|(tree, _)| tree).collect()),
            () if image.content.is_some() => Content::Image,
            () => Content::Nowhere,
        }
    };
    wish.entries.iter().map(&mut content).collect()
}

struct Layer<'a> {
    wish: &'a Wish,
    trees: &'a [Box<dyn TreeLook>],
    images: &'a mut Images,
    laid: Laid,
}

impl Layer<'_> {
    fn image(&mut self, path: &str) -> InImage {
        let key = (self.wish.root.clone(), path.to_owned());
        if let Some(known) = self.images.known.get(&key) {
            return known.clone();
        }
        match look(&self.wish.root, path) {
            Ok(found) => self.images.known.entry(key).or_insert(found).clone(),
            Err(error) => {
                self.images.unsure |= is_passing(&error);
                InImage { real: path.to_owned(), ..InImage::default() }
            }
        }
    }

    /// What the tree of that number has.
    fn find(&mut self, tree: usize, wanted: &str) -> Option<Hit> {
        self.images.find(self.wish.trees.get(tree)?, self.trees.get(tree)?.as_ref(), wanted)
    }

    /// The first of the trees' links at that path that lead to nothing in their tree.
    fn loose_link(&self, wanted: &str) -> Option<String> {
        let loose = self.trees.iter().position(|tree| tree.is_loose_link(wanted))?;
        Some(format!("{}{wanted}", self.wish.trees.get(loose)?.display()))
    }

    fn show(&mut self, path: &str, what: OverlayKind) {
        let path = PathBuf::from(path.trim_start_matches('/'));
        self.laid.entries.push(OverlayEntry { path, what });
    }

    fn substitute(&mut self, path: &str, source: PathBuf) {
        self.show(path, OverlayKind::Substitute { source, access: Access::ReadOnly });
    }

    fn mount_points(&mut self) {
        for dir in NEEDED_DIRS {
            if !self.image(dir).exists {
                self.show(dir, OverlayKind::Placeholder { directory: true });
            }
        }
        for file in NEEDED_FILES {
            let listed = self.wish.entries.iter().any(|entry| entry.path == file);
            if !listed && !self.image(file).exists {
                self.show(file, OverlayKind::Placeholder { directory: false });
            }
        }
        self.show(LIVE, OverlayKind::Placeholder { directory: true });
    }

    /// The node fills its files in RAM from the same trees.
    fn show_trees(&mut self) {
        for (index, tree) in self.trees.iter().enumerate() {
            self.laid.notes.extend(tree.problem().map(|problem| (Step::Trouble, problem)));
            match tree.whole() {
                Whole::Here(root) => self.substitute(&format!("{TREES}/{index}"), root),
                Whole::Far => self.show_far_tree(index),
                Whole::Missing => {}
            }
        }
    }

    fn look_at_store(&mut self) {
        let needed = self.wish.entries.iter().any(|entry| entry.served && entry.option.is_persistent());
        let store = self.wish.store.as_ref().and_then(|store| store.parent()).filter(|_| needed);
        if let Some(store) = store.filter(|store| !store.is_dir()) {
            let note = format!("the store {} does not exist; mount or make it", store.display());
            self.laid.notes.push((Step::Trouble, note));
        }
    }

    /// Of a tree that is not shown as a whole, the files that the node itself needs.
    fn show_far_tree(&mut self, index: usize) {
        let wish = self.wish;
        for entry in wish.entries.iter().filter(|entry| !entry.served) {
            if let Some(hit) = self.find(index, &entry.path) {
                self.substitute(&format!("{TREES}/{index}{}", entry.path), hit.path);
            }
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let image = self.image(&entry.path);
        if image.is_mounted_over() {
            return;
        }
        let hits = self.hits(entry, &image);
        if hits.is_empty() && image.content.is_none() && self.wish.duties.trees && !self.is_kept(entry) {
            let made = if entry.option.is_ro() { "left out" } else { "made empty" };
            let note = match self.loose_link(&entry.path) {
                None => format!("{} is neither in a tree nor in the image: {made}", entry.path),
                Some(link) => format!("{link} is a link to nothing in its tree: {made}"),
            };
            self.laid.notes.push((Step::Missing, note));
        }
        match (entry.served, entry.above) {
            (false, Above::Mount) => {}
            (false, _) => self.mount_point(entry, &image),
            // Part of what is seeded with the entry above.
            (true, Above::Served(_)) => {}
            (true, Above::Mount) => self.served(entry, &format!("{LIVE}{}", entry.path), &hits, &image),
            (true, Above::Nothing) => self.served(entry, &image.real.clone(), &hits, &image),
        }
    }

    /// The store has it: what trees and image hold does not matter any more.
    fn is_kept(&self, entry: &Entry) -> bool {
        let store = self.wish.store.as_deref().filter(|_| entry.served && entry.option.is_persistent());
        store.is_some_and(|store| seed::is_in(store, &entry.path))
    }

    /// Something for the node to mount its own over, with the content that it begins with.
    fn mount_point(&mut self, entry: &Entry, image: &InImage) {
        if image.fits {
            return;
        }
        match &image.content {
            Some(behind_link) => self.substitute(&image.real, behind_link.path.clone()),
            None => self.show(&image.real, OverlayKind::Placeholder { directory: entry.is_dir }),
        }
    }

    fn served(&mut self, entry: &Entry, shown: &str, hits: &[Hit], image: &InImage) {
        if entry.option.is_persistent() {
            return self.persistent(entry, shown, hits, image);
        }
        let in_place = entry.above == Above::Nothing;
        let source = match hits {
            [] if in_place => return,
            [] => image.content.as_ref().map(|hit| hit.path.clone()),
            [first, ..] => Some(first.path.clone()),
        };
        if let Some(source) = source {
            self.substitute(shown, source);
        }
    }

    fn persistent(&mut self, entry: &Entry, shown: &str, hits: &[Hit], image: &InImage) {
        let mut seed = self.seed(entry, hits, image);
        let mine = |above: Above| match above {
            Above::Served(at) => self.wish.entries.get(at).map(|parent| parent.path.as_str()),
            _ => None,
        };
        let below = |child: &&Entry| is_below(&child.path, &entry.path) && mine(child.above).is_some();
        for child in self.wish.entries.iter().filter(below) {
            let image = self.image(&child.path);
            let hits = self.hits(child, &image);
            seed.children.push(self.seed(child, &hits, &image));
        }
        let directory = seed.is_dir;
        self.laid.seeds.insert(PathBuf::from(shown.trim_start_matches('/')), seed);
        self.show(shown, OverlayKind::OnFirstUse { directory, access: Access::ReadWrite });
    }

    fn seed(&self, entry: &Entry, hits: &[Hit], image: &InImage) -> Seed {
        let sources: Vec<&Hit> =
            if hits.is_empty() { image.content.iter().collect() } else { hits.iter().collect() };
        Seed {
            path: entry.path.clone(),
            is_dir: sources.first().map_or(entry.is_dir, |hit| hit.is_dir),
            join: entry.option == LiteOption::ConPersistent,
            sources: sources.into_iter().map(|hit| hit.path.clone()).collect(),
            children: Vec::new(),
        }
    }

    /// Content of trees for an entry.
    fn hits(&mut self, entry: &Entry, image: &InImage) -> Vec<Hit> {
        self.found(entry, image).into_iter().map(|(_, hit)| hit).collect()
    }

    /// Content of trees for an entry, each with the number of its tree: all of it for `con` and for a
    /// directory that stands alone, else the first.
    fn found(&mut self, entry: &Entry, image: &InImage) -> Vec<(usize, Hit)> {
        let is_dir = image.content.as_ref().map_or(entry.is_dir, |hit| hit.is_dir);
        let alone = is_dir && entry.above == Above::Nothing;
        // A tree that holds special files directly below the directory means them, not the directory.
        let wish = self.wish;
        let children: Vec<&str> = wish
            .entries
            .iter()
            .filter_map(|other| {
                let name = other.path.strip_prefix(&entry.path)?.strip_prefix('/')?;
                (alone && !name.contains('/')).then_some(other.path.as_str())
            })
            .collect();
        let mut hits: Vec<(usize, Hit)> = Vec::new();
        for tree in 0..self.trees.len() {
            let Some(hit) = self.find(tree, &entry.path) else { continue };
            if entry.option.is_con() && !hit.is_file {
                let note = format!(
                    "{} is not a regular file: {} is joined without it",
                    hit.path.display(),
                    entry.path
                );
                self.laid.notes.push((Step::Trouble, note));
            } else if !children.iter().any(|child| self.find(tree, child).is_some()) {
                hits.push((tree, hit));
            }
        }
        if entry.option.is_con()
            && !hits.is_empty()
            && let Some(link) = self.loose_link(&entry.path)
        {
            let note =
                format!("{link} is a link to nothing in its tree: {} is joined without it", entry.path);
            self.laid.notes.push((Step::Trouble, note));
        }
        if !alone && !entry.option.is_con() {
            hits.truncate(1);
        }
        hits
    }
}

/// # Errors
/// What keeps the look from an answer. What is not there is one.
fn look(root: &Path, path: &str) -> io::Result<InImage> {
    let top = Beneath::open(root)?;
    let here = locate(&top, path)?;
    let inside = |at: &Path| format!("/{}", at.strip_prefix(top.real_path()).unwrap_or(at).display());
    let real = inside(&here);
    let meta = match std::fs::symlink_metadata(&here) {
        Err(error) if is_absent(&error) => return Ok(InImage { real, ..InImage::default() }),
        meta => meta?,
    };
    if !meta.is_symlink() {
        return Ok(InImage { real, content: Some(Hit::at(here)?), fits: true, exists: true });
    }
    let target = top.follow(Path::new(path))?.filter(|target| {
        let inside = inside(target);
        !VOLATILE.iter().any(|dir| is_below(&inside, dir))
    });
    Ok(InImage { real, content: target.map(Hit::at).transpose()?, fits: false, exists: true })
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
pub fn is_passing(error: &io::Error) -> bool {
    classified(error) == Some(Failure::Passing)
}

fn is_absent(error: &io::Error) -> bool {
    classified(error) == Some(Failure::Absent)
}

fn classified(error: &io::Error) -> Option<Failure> {
    rustix::io::Errno::from_io_error(error).map(failure)
}
