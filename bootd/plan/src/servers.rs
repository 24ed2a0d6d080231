//! The servers of a node, as the files of its installation name them.

use crate::error::PlanError;
use crate::facts::Facts;
use crate::surroundings::Surroundings;
use dawn_cluster::{Snapshot, col};
use std::net::Ipv4Addr;

/// The servers of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Servers {
    /// Who answers commands and status reports: a name or an address.
    pub master: String,
    /// Its address, if the tables have one: no name service is asked.
    pub master_address: Option<Ipv4Addr>,
    /// Our own address in the node's network.
    pub own: Option<Ipv4Addr>,
    /// Who has the packages: a name or an address.
    pub packages: String,
}

/// The servers of `node`.
///
/// # Errors
/// [`PlanError::NoServer`].
pub fn servers(snapshot: &Snapshot, node: &str, here: Surroundings<'_>) -> Result<Servers, PlanError> {
    let facts = Facts { snapshot, node, here };
    let master = facts.xcat_master()?;
    let packages = facts.server_attr(col::noderes::NFSSERVER).map(|text| text.to_string());
    Ok(Servers {
        master_address: facts.resolve(&master),
        own: facts.own_address(),
        packages: packages.unwrap_or_else(|| master.clone()),
        master,
    })
}
