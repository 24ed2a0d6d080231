//! What NFS shows to nodes.
//!
//! [`exports`] answers the NFS engine from the tables: who may mount what. [`generations`] keeps the trees
//! that nodes run from even when their names change, and [`live`] puts a node's own files over them.
//! [`extra_exports`] adds directories of the administrator's own; [`reserved`] names those that no table may
//! give away.
//!
//! **Invariant.** A node's own files are for that node.

pub mod exports;
pub mod extra_exports;
pub mod fuzz;
pub mod generations;
pub mod live;
pub mod reserved;
#[cfg(test)]
mod testing;
