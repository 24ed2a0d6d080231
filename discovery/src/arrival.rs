//! What a decision looks at: the machine, and everything around it.

use dawn_cluster::{MacAddr, Snapshot};

use crate::directory::Directory;
use crate::evidence::Method;
use crate::fabric::Fabric;
use crate::machine::Machine;
use crate::rule::Rule;

/// Everything that a decision looks at besides the machine.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The tables.
    pub snapshot: &'a Snapshot,
    /// The same, for matchers.
    pub directory: &'a Directory,
    /// The switches.
    pub fabric: &'a Fabric,
    /// Rules, [`RULES_MAX`](crate::limits::RULES_MAX) at most.
    pub rules: &'a [Rule],
    /// The methods to ask, in this order.
    pub methods: &'a [Method],
    /// A person has to agree to everything on this network.
    pub needs_approval: bool,
}

impl<'a> Surroundings<'a> {
    /// Every method in its usual order, no rules, and nothing that a person has to agree to.
    #[must_use]
    pub fn usual(snapshot: &'a Snapshot, directory: &'a Directory, fabric: &'a Fabric) -> Self {
        Self { snapshot, directory, fabric, rules: &[], methods: &Method::ALL, needs_approval: false }
    }
}

/// A machine that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What it says.
    pub machine: &'a Machine,
    /// The MAC that it sent from, as the network knows it.
    pub from: Option<MacAddr>,
}

impl Arrival<'_> {
    /// Its MACs: first the one that it sent from, then those of its packet.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> + Clone + '_ {
        let from = self.from;
        from.into_iter().chain(self.machine.macs().filter(move |mac| Some(*mac) != from))
    }

    /// The MAC that it sent from, if its packet names others and not this one.
    pub(crate) fn foreign_sender(&self) -> Option<MacAddr> {
        let names_any = self.machine.macs().next().is_some();
        self.from.filter(|from| names_any && self.machine.macs().all(|mac| mac != *from))
    }
}
