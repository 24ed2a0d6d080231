//! What a special path begins with: content of the trees, else the image's own.
//!
//! - The first tree that has the path wins. All trees count for a path that is joined (`con`), and for a
//!   directory that is below no other special path: what the later trees have is added.
//! - An empty directory of a tree counts for nothing.
//! - A tree that holds special paths directly below such a directory means them, not the directory.
//! - A part of a joined file must be a file.

use super::paths::{Paths, is_volatile};
use dawn_wire::list::Entry;

/// Looks at trees and image.
pub trait Look {
    /// A place where content is.
    type At: Clone;

    /// How many trees there are, in order of priority.
    fn trees(&self) -> usize;

    /// What a tree has at a path.
    fn in_tree(&mut self, tree: usize, path: &str) -> Option<Found<Self::At>>;

    /// Whether the image has anything at a path.
    fn is_there(&mut self, path: &str) -> bool;

    /// What the image has for an entry.
    fn in_image(&mut self, entry: &Entry) -> InImage<Self::At>;
}

/// Something that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<P> {
    /// Where.
    pub at: P,
    /// A directory.
    pub is_dir: bool,
    /// Something that can be a part of a joined file.
    pub is_file: bool,
    /// A directory with nothing in it.
    pub is_empty: bool,
}

/// What an image has for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InImage<P> {
    /// The path with the links of its directories resolved: where it is shown.
    pub real: String,
    /// What is at the path itself.
    pub shape: Shape,
    /// Content, with a link at the end followed; none if the link leads to what is memory on every node.
    pub content: Option<Found<P>>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Nothing.
    #[default]
    Missing,
    /// A file or something else that is not a directory.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
}

impl<P> InImage<P> {
    /// Nothing is there.
    #[must_use]
    pub fn nothing(real: String) -> Self {
        Self { real, shape: Shape::Missing, content: None }
    }

    /// Whether a file, or a directory, can be mounted over the path.
    #[must_use]
    pub fn fits(&self, is_dir: bool) -> bool {
        self.shape == if is_dir { Shape::Dir } else { Shape::File }
    }
}

/// Everything that decides about the content of an entry.
#[derive(Debug, Clone)]
pub struct Content<P> {
    /// Content of trees, the best first.
    pub hits: Vec<P>,
    /// The trees that have it, by their numbers.
    pub trees: Vec<usize>,
    /// What the image has.
    pub image: InImage<P>,
    /// Whether the path is a directory.
    pub is_dir: bool,
    /// What the content is made of is a directory.
    pub begins_as_dir: bool,
    /// What trees have for a joined file although it is not one.
    pub unfit: Vec<P>,
    /// The path is memory on every node: its entry has no effect, and nothing was looked for.
    pub is_volatile: bool,
}

impl<P: Clone> Content<P> {
    /// What the path begins with, in order; nothing if it begins empty.
    #[must_use]
    pub fn sources(&self) -> Vec<P> {
        match self.hits.is_empty() {
            true => self.image.content.iter().map(|found| found.at.clone()).collect(),
            false => self.hits.clone(),
        }
    }
}

/// Looks for the content of an entry, which has that number among `paths`.
pub fn content<L: Look + ?Sized>(
    paths: &Paths,
    number: usize,
    entry: &Entry,
    look: &mut L,
) -> Content<L::At> {
    let image = look.in_image(entry);
    let is_dir = image.content.as_ref().map_or(entry.is_dir, |found| found.is_dir);
    let is_volatile = is_volatile(&image.real);
    let alone = is_dir && paths.parent(number).is_none();
    let (mut hits, mut unfit) = (Vec::new(), Vec::new());
    for tree in (0..look.trees()).filter(|_| !is_volatile) {
        let Some(found) = look.in_tree(tree, &entry.path).filter(|found| !found.is_empty) else { continue };
        if entry.option.is_con() && !found.is_file {
            unfit.push(found.at);
        } else if !(alone && holds_below(paths, &entry.path, tree, look)) {
            hits.push((tree, found));
        }
    }
    if !alone && !entry.option.is_con() {
        hits.truncate(1);
    }
    let begins_as_dir = hits.first().map_or(is_dir, |(_, found)| found.is_dir);
    let (trees, hits) = hits.into_iter().map(|(tree, found)| (tree, found.at)).unzip();
    Content { hits, trees, image, is_dir, begins_as_dir, unfit, is_volatile }
}

fn holds_below<L: Look + ?Sized>(paths: &Paths, dir: &str, tree: usize, look: &mut L) -> bool {
    paths.directly_below(dir).any(|child| look.in_tree(tree, &child.path).is_some())
}

/// The note on a path that begins empty, or is not there at all.
#[must_use]
pub fn nowhere(entry: &Entry) -> String {
    format!("{} is neither in a tree nor in the image: {}", entry.path, outcome(entry))
}

/// How an entry without content is set up.
#[must_use]
pub fn outcome(entry: &Entry) -> &'static str {
    if entry.option.is_ro() { "left out" } else { "made empty" }
}

/// The note on a part that cannot be joined.
#[must_use]
pub fn not_joined(part: &str, path: &str) -> String {
    format!("{part} is not a regular file: {path} is joined without it")
}
