//! Which machine a job is for, and how it is reached.

use crate::host_keys::HostKeys;
use crate::identity::Identity;
use std::net::IpAddr;
use std::sync::Arc;

/// A machine, and how it is reached.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node: begins each line of its output, and is what host keys are known by.
    pub node: String,
    /// What is connected to if no address is known: a name for the resolver.
    pub host: String,
    /// The address, if it is known.
    pub address: Option<IpAddr>,
    /// Port of its sshd.
    pub port: u16,
    /// Remote user.
    pub user: String,
    /// Keys by which the host is known.
    pub host_keys: Arc<HostKeys>,
    /// Keys that are shown to the host.
    pub identity: Arc<Identity>,
}
