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
//! server does. [`mod@liteimg`] prepares an image for nodes that follow its links; all else here touches no
//! file. No text of a table is ever executed: `#CMD=…#`, by which xCAT runs a shell command on the management
//! node, is refused.

#![forbid(unsafe_code)]

mod check;
mod conflict;
mod defaults;
mod entry;
mod list;
pub mod liteimg;
pub mod live;
mod location;
mod needs;

pub use check::{Problem, check};
pub use conflict::{Conflict, conflicts};
pub use dawn_wire::LiteOption;
pub use defaults::{DEFAULT_OPTION, default_paths};
pub use entry::{LiteFile, files, files_of_image, image_of};
pub use list::{ListError, node_list};
pub use location::{
    Location, LocationError, Stores, Tree, each_tree, persistent_store, site_keys_of, store, store_patterns,
    stores, tree_patterns, trees, trees_of_image,
};
pub use needs::{Need, fuzz_needs, missing};
