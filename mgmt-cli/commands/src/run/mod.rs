//! Commands and files on nodes.

mod keysetup;
pub mod makeknownhosts;
pub mod nodestat;
pub mod options;
pub mod sshtargets;
pub mod targets;
pub mod xdcp;
pub mod xdsh;
