//! Nodes by noderange.

pub mod nodeadd;
pub mod nodech;
pub mod nodegrpch;
pub mod nodels;
pub mod nodepurge;
pub mod noderange;
pub mod noderm;
