//! litefile, litetree and statelite: which files of a shared root are a node's own.
//!
//! | table | what it says |
//! |---|---|
//! | `litefile` | which paths of an image are special, and how ([`LiteOption`]) |
//! | `litetree` | directories searched for a node's version of a file, in order of priority |
//! | `statelite` | where a node's persistent files are kept |
//!
//! [`files`], [`trees`] and [`store`] resolve them for a node from a snapshot; [`check`] finds what cannot
//! work; [`node_list`] is the text that `/init` fetches at boot; [`live`] says which part of it the NFS
//! server does. [`resolve`] decides how each path is set up: the server and `/init` both use it.
//! [`mod@liteimg`] prepares an image for nodes that follow its links; all else here touches no file. No text
//! of a table is ever executed: `#CMD=…#`, by which xCAT runs a shell command on the management node, is
//! refused.
//!
//! `/init` takes [`resolve`] only: everything that reads tables or images is behind the feature `tables`.

#![forbid(unsafe_code)]

#[cfg(feature = "tables")]
mod check;
#[cfg(feature = "tables")]
mod conflict;
#[cfg(feature = "tables")]
mod defaults;
#[cfg(feature = "tables")]
mod entry;
#[cfg(feature = "tables")]
mod list;
#[cfg(feature = "tables")]
pub mod liteimg;
#[cfg(feature = "tables")]
pub mod live;
#[cfg(feature = "tables")]
mod location;
#[cfg(feature = "tables")]
mod needs;
pub mod resolve;

#[cfg(feature = "tables")]
pub use check::{Problem, check};
#[cfg(feature = "tables")]
pub use conflict::{Conflict, conflicts};
pub use dawn_wire::LiteOption;
#[cfg(feature = "tables")]
pub use defaults::{DEFAULT_OPTION, default_paths};
#[cfg(feature = "tables")]
pub use entry::{LiteFile, files, files_of_image, image_of};
#[cfg(feature = "tables")]
pub use list::{ListError, entries, node_list};
#[cfg(feature = "tables")]
pub use location::{
    Location, LocationError, Stores, Tree, columns_of, each_tree, persistent_store, site_keys_of, store,
    store_patterns, stores, tree_patterns, trees, trees_of_image,
};
#[cfg(feature = "tables")]
pub use needs::{Need, fuzz_needs, missing};
