//! Which nodes exist for a caller: what the policy rows that allow a command cover.
//!
//! Made by [`Snapshot::reach`](crate::Snapshot::reach) from caller and command alone, before anything that
//! the caller wrote is evaluated; a noderange is then evaluated within it, so that no answer depends on a
//! node out of reach.

use crate::row::Text;
use std::collections::HashSet;

/// The nodes for which a caller may use a command, known before any node is named.
///
/// What the caller writes is evaluated as if the other nodes did not exist (see
/// [`crate::Noderange::seen_by`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Names that an allow row covers; some need not exist yet.
    pub(crate) allowed: HashSet<Text>,
    /// Names that a deny row covers before an allow row does.
    pub(crate) denied: HashSet<Text>,
    /// A row without noderange allows the rest.
    pub(crate) all: bool,
}

impl Reach {
    /// The same, and this node.
    #[must_use]
    pub fn and(mut self, node: &str) -> Self {
        self.allowed.insert(node.into());
        self
    }

    /// The caller may use the command for this node.
    pub fn covers(&self, node: &str) -> bool {
        self.allowed.contains(node) || self.all && !self.denied.contains(node)
    }

    /// No row allows the command for any node.
    pub fn is_nothing(&self) -> bool {
        !self.all && self.allowed.is_empty()
    }

    /// A row without noderange allows the command: for objects that are not nodes too.
    pub fn is_open(&self) -> bool {
        self.all
    }

    /// No node is out of reach.
    pub fn is_whole(&self) -> bool {
        self.all && self.denied.is_empty()
    }
}
