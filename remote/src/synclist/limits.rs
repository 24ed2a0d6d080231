//! How long a list may be, and which variables it may name.

/// Variables that are replaced by a value of the node.
pub const VARIABLES: [&str; 4] = ["NODE", "OSVER", "ARCH", "PROFILE"];
/// Bytes of one list.
pub const LIST_BYTES_MAX: u64 = 4 << 20;
/// Lines of a list with all that it includes.
pub(super) const LINES_MAX: usize = 100_000;
/// Lists that include each other.
pub(super) const INCLUDE_DEPTH_MAX: usize = 8;
/// Files and directories that a list may match.
pub(super) const PLACES_MAX: usize = 100_000;
