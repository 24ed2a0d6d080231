//! The server's part: what it puts over the image of a node, and what it seeds in the node's store.
//!
//! The node mounts its own over the entries that are not served; for these the server supplies the mount
//! points. An entry that a mount of the node covers is shown below [`LIVE`].

use super::content::{Content, Look, content, not_joined, nowhere, outcome};
use super::paths::{Paths, Shown, is_below};
use dawn_wire::LiteOption;
use dawn_wire::image::LIVE;
use dawn_wire::list::Entry;

/// Looks at trees and image, as the server of a node's root.
pub trait ServerLook: Look {
    /// Whether the node's store has the entry already.
    fn is_stored(&self, entry: &Entry) -> bool;

    /// The first of the trees' links at a path that lead to nothing in their tree.
    fn loose_link(&mut self, path: &str) -> Option<String>;

    /// A place, for people.
    fn name(&self, at: &Self::At) -> String;
}

/// A file or directory put over the image, by its absolute path in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<P> {
    /// An empty file or directory for the node to mount its own over.
    MountPoint {
        /// Where.
        path: String,
        /// Which of both.
        is_dir: bool,
    },
    /// Content, read-only.
    Content {
        /// Where.
        path: String,
        /// What is shown.
        source: P,
    },
    /// A path of the store, made when it is first looked at.
    Stored {
        /// Where.
        path: String,
        /// What it begins with.
        seed: Seed<P>,
    },
}

/// One persistent path and where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seed<P> {
    /// Absolute path on the node, and in the store.
    pub path: String,
    /// What to make if there is no source.
    pub is_dir: bool,
    /// The sources are joined; else directories are merged and the last file stays.
    pub join: bool,
    /// Where the content comes from, in order.
    pub sources: Vec<P>,
    /// Special paths below it.
    pub children: Vec<Seed<P>>,
}

impl<P> Seed<P> {
    /// Its own sources and those of the paths below it.
    pub fn all_sources(&self) -> impl Iterator<Item = &P> {
        self.sources.iter().chain(self.children.iter().flat_map(|child| &child.sources))
    }
}

/// What the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An entry has no content.
    Missing(String),
    /// Something of a tree cannot be used.
    Trouble(String),
}

/// The server's part of a root.
#[derive(Debug)]
pub struct Laid<P> {
    /// What is put over the image.
    pub pieces: Vec<Piece<P>>,
    /// What the node's console and the events say.
    pub notes: Vec<Note>,
}

/// Prepares the paths of a node. `sees_trees`: all trees of the node are looked at, so that what is not found
/// is nowhere.
pub fn lay<L: ServerLook>(paths: &Paths, sees_trees: bool, look: &mut L) -> Laid<L::At> {
    let mut layer = Layer { paths, sees_trees, look, laid: Laid { pieces: Vec::new(), notes: Vec::new() } };
    layer.mount_points();
    for (number, entry) in paths.iter().enumerate() {
        layer.entry(number, entry);
    }
    layer.laid
}

struct Layer<'a, L: ServerLook> {
    paths: &'a Paths,
    sees_trees: bool,
    look: &'a mut L,
    laid: Laid<L::At>,
}

impl<L: ServerLook> Layer<'_, L> {
    fn mount_point(&mut self, path: &str, is_dir: bool) {
        self.laid.pieces.push(Piece::MountPoint { path: path.to_owned(), is_dir });
    }

    fn content(&mut self, path: &str, source: L::At) {
        self.laid.pieces.push(Piece::Content { path: path.to_owned(), source });
    }

    fn mount_points(&mut self) {
        let look = &mut *self.look;
        for (path, is_dir) in self.paths.lacking(&mut |path| look.is_there(path)) {
            self.mount_point(path, is_dir);
        }
        self.mount_point(&format!("/{LIVE}"), true);
    }

    fn entry(&mut self, number: usize, entry: &Entry) {
        let found = content(self.paths, number, entry, self.look);
        if found.is_volatile {
            return;
        }
        self.note(entry, &found);
        match self.paths.shown(number) {
            // It is seeded with the entry above.
            Shown::Within(_) => {}
            Shown::Aside => self.served(number, entry, &format!("/{LIVE}{}", entry.path), found),
            Shown::InPlace => self.served(number, entry, &found.image.real.clone(), found),
            Shown::ByNode if self.paths.parent(number).is_none_or(|parent| parent.served) => {
                self.by_node(entry, found);
            }
            // Below a mount of the node.
            Shown::ByNode => {}
        }
    }

    fn note(&mut self, entry: &Entry, found: &Content<L::At>) {
        for part in &found.unfit {
            let note = not_joined(&self.look.name(part), &entry.path);
            self.laid.notes.push(Note::Trouble(note));
        }
        let begins_empty = found.hits.is_empty() && found.image.content.is_none();
        let is_missing = begins_empty && self.sees_trees && !self.look.is_stored(entry);
        let is_joined = entry.option.is_con() && !found.hits.is_empty();
        if !is_missing && !is_joined {
            return;
        }
        match (self.look.loose_link(&entry.path), is_missing) {
            (None, true) => self.laid.notes.push(Note::Missing(nowhere(entry))),
            (None, false) => {}
            (Some(link), true) => {
                let note = format!("{link} is a link to nothing in its tree: {}", outcome(entry));
                self.laid.notes.push(Note::Missing(note));
            }
            (Some(link), false) => {
                let path = &entry.path;
                let note = format!("{link} is a link to nothing in its tree: {path} is joined without it");
                self.laid.notes.push(Note::Trouble(note));
            }
        }
    }

    /// Something for the node to mount its own over, with the content that it begins with.
    fn by_node(&mut self, entry: &Entry, found: Content<L::At>) {
        if found.image.fits(found.is_dir) {
            return;
        }
        match found.image.content {
            Some(after_link) => self.content(&found.image.real, after_link.at),
            None => self.mount_point(&found.image.real, entry.is_dir),
        }
    }

    fn served(&mut self, number: usize, entry: &Entry, shown: &str, found: Content<L::At>) {
        if entry.option.is_persistent() {
            return self.stored(entry, shown, &found);
        }
        // In its place the image's own file is there without our doing.
        let own = found.hits.is_empty() && self.paths.shown(number) == Shown::InPlace;
        if let Some(source) = found.sources().into_iter().next().filter(|_| !own) {
            self.content(shown, source);
        }
    }

    fn stored(&mut self, entry: &Entry, shown: &str, found: &Content<L::At>) {
        let mut seed = seed(entry, found);
        for (number, child) in self.paths.iter().enumerate() {
            let within = matches!(self.paths.shown(number), Shown::Within(_));
            if within && is_below(&child.path, &entry.path) {
                seed.children.push(self::seed(child, &content(self.paths, number, child, self.look)));
            }
        }
        self.laid.pieces.push(Piece::Stored { path: shown.to_owned(), seed });
    }
}

fn seed<P: Clone>(entry: &Entry, found: &Content<P>) -> Seed<P> {
    Seed {
        path: entry.path.clone(),
        is_dir: found.begins_as_dir,
        join: entry.option == LiteOption::ConPersistent,
        sources: found.sources(),
        children: Vec::new(),
    }
}
