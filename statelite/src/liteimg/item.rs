//! An entry as `liteimg` sets it up, and its line in the save file.

use crate::entry::LiteFile;
use crate::resolve::is_below;
use crate::resolve::paths::link_to_memory;
use dawn_cluster::lite_option;
use dawn_wire::LiteOption;
use dawn_wire::list::Entry;

/// A path with its option. Ordered by path, so directories come before what is in them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    path: String,
    /// How the path becomes the node's own.
    pub option: LiteOption,
}

impl Item {
    /// From a checked row; `None` for one whose option or path is none.
    #[must_use]
    pub fn of(file: &LiteFile) -> Option<Self> {
        Self::new(&file.path, *file.option.as_ref().ok()?)
    }

    fn new(path: &str, option: LiteOption) -> Option<Self> {
        let entry = Entry::new(option, path, false)?;
        let slash = if entry.is_dir { "/" } else { "" };
        Some(Self { path: entry.path + slash, option })
    }

    /// The path in the image, absolute; a directory ends with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the entry is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The path without slashes around it.
    #[must_use]
    pub fn place(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// Names of the directories above.
    pub(super) fn parents(&self) -> impl Iterator<Item = &str> {
        let place = self.place();
        place.rsplit_once('/').map_or("", |(above, _)| above).split('/').filter(|part| !part.is_empty())
    }

    fn depth(&self) -> usize {
        self.parents().count()
    }

    /// Target of the link at the path itself.
    pub(super) fn outer_link(&self) -> String {
        let path = format!("/{}", self.place());
        link_to_memory(&path, &path)
    }

    /// Target of the link below `/.statelite/tmpfs`, two levels deeper.
    pub(super) fn middle_link(&self) -> String {
        format!("{}.default/{}", "../".repeat(self.depth() + 2), self.place())
    }

    fn is_below(&self, other: &Item) -> bool {
        other.is_dir() && is_below(&self.path, &other.path)
    }

    /// The same path, or one above the other, whether written as directory or file.
    pub(super) fn related(&self, other: &Item) -> bool {
        let [a, b] = [self, other].map(|item| item.path.trim_end_matches('/'));
        a == b || is_below(a, b) || is_below(b, a)
    }

    /// Below a link-based directory of the list.
    pub(super) fn below_link(&self, all: &[Item]) -> bool {
        all.iter().any(|other| self.is_below(other) && other.option.is_link())
    }

    /// Below any directory of the list.
    pub(super) fn below_any(&self, all: &[Item]) -> bool {
        all.iter().any(|other| self.is_below(other))
    }

    pub(super) fn saved(&self, image: &str) -> String {
        format!("{image} {} {}\n", self.option, self.path)
    }
}

/// The entries of a save file, sorted. Lines that cannot be understood are skipped: we did not write them.
#[must_use]
pub fn parse_saved(text: &str) -> Vec<Item> {
    let mut items: Vec<Item> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ' ');
            let (_image, option, path) = (fields.next()?, fields.next()?, fields.next()?);
            Item::new(path, lite_option(option).ok()?)
        })
        .collect();
    items.sort();
    items.dedup();
    items
}

/// Paths (without slashes around them) where a prepared image has a link instead of the original.
#[must_use]
pub fn moved(items: &[Item]) -> Vec<&str> {
    items.iter().filter(|item| item.option.is_link() && !item.below_link(items)).map(Item::place).collect()
}
