//! The statelite resolution: which content a special path of a node has, and how it is set up.
//!
//! | module | question |
//! |---|---|
//! | [`paths`] | which path is below which, who puts it into the root, and which places are memory anyway |
//! | [`content`] | what a path begins with: which trees count for it, or the image's own file |
//! | [`server`] | what the NFS server puts over the image, and what it seeds in the store |
//! | [`node`] | what `/init` copies, links and mounts, and what it puts over an image itself |
//!
//! [`server`] and [`node`] ask the same [`content`], so a path has the same content in both cases.
//! All of it is pure: [`content::Look`] answers what is in the trees and in the image. The tables have been
//! read before ([`dawn_wire::list::Entry`] is an entry of the list that the server writes), so `/init` takes
//! this part of the crate only.

pub mod content;
pub mod node;
pub mod paths;
pub mod server;

pub use content::{Content, Found, InImage, Look, Shape};
pub use paths::{Paths, Shown, is_below};
