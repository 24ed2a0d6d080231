//! What nodes boot, and the services that lead them there.

mod entry_origins;
pub mod events;
pub mod explain;
pub mod getdestiny;
pub mod leases;
pub mod makedhcp;
pub mod makehosts;
pub mod makenetworks;
pub mod mknb;
pub mod nextdestiny;
pub mod nodeset;
pub mod render;
pub mod wave;
