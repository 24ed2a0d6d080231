//! What is put over an export for one node: the caller's description.

use std::path::PathBuf;

use crate::types::{Access, Time};

/// Everything put over one export. A change is a new value with another generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Differs whenever `entries` differ.
    pub generation: u64,
    /// When this generation came to be. Directories that hold entries show it as their change time, so
    /// that clients look again.
    pub changed: Time,
    /// A directory with files of entries on a file system that may hang, if there is one.
    pub far: Option<PathBuf>,
    /// The entries; later ones replace earlier ones of the same path.
    pub entries: Vec<OverlayEntry>,
}

/// One path of the export that differs from the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayEntry {
    /// Path in the export, with or without a leading `/`; no `.` or `..`.
    pub path: PathBuf,
    /// The kind of entry.
    pub what: OverlayKind,
}

/// What an overlay entry shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlayKind {
    /// The file or directory at `source`, a real path of the server.
    Substitute {
        /// The real path.
        source: PathBuf,
        /// Whether it may be changed, and everything below it.
        access: Access,
    },
    /// Made by [`crate::Exports::materialise`] when it is first looked at.
    OnFirstUse {
        /// Whether it is a directory.
        directory: bool,
        /// Whether it may be changed, and everything below it.
        access: Access,
    },
    /// An empty file or directory, for the node to mount something over. What the tree holds at this
    /// path is shown instead if it is of the same kind and no symbolic link.
    Placeholder {
        /// Whether it is a directory.
        directory: bool,
    },
}
