//! Commands and files on nodes.

pub mod delivery;
mod keysetup;
pub mod makeknownhosts;
pub mod nodestat;
pub mod options;
pub(crate) mod postscripts;
pub mod sshtargets;
pub mod targets;
pub mod updatenode;
pub mod xdcp;
pub mod xdsh;
