//! Unknown machines and the nodes that they become.

pub mod discover;
pub mod inventory;
pub mod nodediscoverdef;
pub mod nodediscoverls;
pub mod nodediscoverstart;
pub mod nodediscoverstatus;
pub mod nodediscoverstop;
mod records;
