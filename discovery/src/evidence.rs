//! What speaks for which node, and what was decided, as data: texts are made where somebody reads them.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dawn_cluster::{MacAddr, Text};

use crate::fabric::Uplink;

/// How a machine can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A MAC of it is a node's.
    Mac,
    /// The port of a switch, heard by the machine itself by LLDP.
    Lldp,
    /// The port on which a switch learnt a MAC of it.
    Switch,
    /// Machine type and serial number.
    Mtms,
    /// The firmware's UUID.
    Uuid,
    /// A rule on one of its attributes.
    Rule,
    /// The next free node.
    Sequential,
}

impl Method {
    /// All, in the order in which they are asked if nothing else is set.
    pub const ALL: [Self; 7] =
        [Self::Mac, Self::Lldp, Self::Switch, Self::Mtms, Self::Uuid, Self::Rule, Self::Sequential];

    /// Its name in `site.discoverymethods`, and where evidence is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lldp => "lldp",
            other => other.word(),
        }
    }

    /// The word of `discoverydata.method`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Lldp | Self::Switch => "switch",
            Self::Mtms => "mtms",
            Self::Uuid => "uuid",
            Self::Rule => "rule",
            Self::Sequential => "sequential",
        }
    }
}

/// A method's nodes; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which method.
    pub method: Method,
    /// The nodes that it allows.
    pub nodes: BTreeSet<Text>,
    /// What it saw.
    pub proof: Proof,
}

/// What a method saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// This MAC is the node's in the tables.
    Mac(MacAddr),
    /// The node is held for this machine since an earlier packet.
    Held,
    /// LLDP.
    Lldp {
        /// The interface.
        mac: MacAddr,
        /// The switch.
        switch: Text,
        /// The port, as the switch calls it.
        port: String,
    },
    /// A switch learnt the MAC.
    Switch {
        /// The interface.
        mac: MacAddr,
        /// The switch.
        switch: Text,
        /// The port, as the switch calls it.
        port: String,
        /// How many MACs are on that port.
        macs: usize,
    },
    /// `vpd.mtm` and `vpd.serial`.
    Mtms,
    /// `vpd.uuid`.
    Uuid,
    /// The rule of that number, counted from 0.
    Rule(usize),
}

/// Why a method has no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The machine does not say what the method needs.
    NoData,
    /// No row of the tables fits.
    NoRow,
    /// Guests are not looked for by this method.
    Guest,
    /// The switch cannot be read.
    Silent {
        /// The switch.
        switch: Text,
        /// Why.
        reason: String,
    },
    /// No switch that was read has a MAC of the machine.
    Unseen,
    /// There are rules, and none fits.
    NoRule,
    /// The port leads to other switches.
    Uplink {
        /// The switch.
        switch: Text,
        /// The port.
        port: String,
        /// How that is known.
        why: Uplink,
    },
    /// The machine hears one port of the switch, and the switch has its MAC on another one.
    OtherPort {
        /// The switch.
        switch: Text,
        /// The port that the machine hears.
        heard: String,
        /// The port on which the switch learnt the MAC.
        seen: String,
    },
    /// No node is configured on the port.
    NoNode {
        /// The switch.
        switch: Text,
        /// The port.
        port: String,
    },
    /// A configured port fits several ports of the switch equally well, this one among them.
    PortNames {
        /// The switch.
        switch: Text,
        /// The configured port.
        configured: String,
        /// The ports that it fits.
        names: Vec<String>,
    },
    /// A rule gives a name that is not a node's.
    NotANode(String),
    /// No sequential discovery is running.
    NotRunning,
    /// All nodes of the range are taken.
    Exhausted,
    /// No address of the range is free.
    NoAddress,
}

/// Why nothing is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing speaks for any node.
    NoEvidence,
    /// The findings have no node in common.
    Contradiction,
    /// They have several; none if configured ports are what is ambiguous ([`Miss::PortNames`]).
    Ambiguous(BTreeSet<Text>),
    /// Another machine was given the node just now.
    Taken(Text),
    /// A MAC of the machine is on another machine that was given a node just now.
    SharedMac(MacAddr),
    /// The machine sent from a MAC that its packet does not name: somebody forged the packet or its sender.
    ForeignMac(MacAddr),
    /// The node has another MAC: a replaced board, or another machine.
    OtherMac(Text, MacAddr),
    /// The node has another UUID.
    OtherUuid(Text),
    /// The node has another serial number.
    OtherSerial(Text),
    /// The node has no address, so no machine can become it.
    NoAddress(Text),
    /// The network's policy wants a person to agree.
    Approval(Text),
    /// Too many nodes are held at the moment.
    Busy,
    /// The tables do not take the assignment to this node, for this reason.
    NotWritten(Text, String),
}

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What speaks for nodes.
    pub findings: Vec<Finding>,
    /// What does not.
    pub misses: Vec<(Method, Miss)>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The machine is this node.
    Assign(Assignment),
    /// A person decides.
    Queue(Doubt),
}

/// A node for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The node.
    pub node: Text,
    /// The first method that spoke for it.
    pub method: Method,
    /// Nodes that stood for the machine's BMC until now; their definitions are not needed any more.
    pub stand_ins: Vec<Text>,
    /// What comes with a node of sequential discovery.
    pub grant: Option<Grant>,
}

/// What a machine gets by sequential discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The node; it need not be defined yet.
    pub node: Text,
    /// A new address for it.
    pub host_ip: Option<Ipv4Addr>,
    /// A new address for its BMC.
    pub bmc_ip: Option<Ipv4Addr>,
    /// Its place in the rack, if `unit` was given: the first node's, and one `height` more for each further
    /// one.
    pub unit: Option<u32>,
}

/// A decision and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub verdict: Verdict,
    /// Why.
    pub evidence: Evidence,
}

impl Evidence {
    /// The nodes that all findings allow; `None` without any finding.
    pub fn common(&self) -> Option<BTreeSet<Text>> {
        let mut sets = self.findings.iter().map(|finding| &finding.nodes);
        let first = sets.next()?.clone();
        Some(sets.fold(first, |common, nodes| common.intersection(nodes).cloned().collect()))
    }

    /// The first method that allows the node.
    pub fn method_for(&self, node: &str) -> Option<Method> {
        let mut allowing = self.findings.iter().filter(|finding| finding.nodes.contains(node));
        allowing.next().map(|finding| finding.method)
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn the_tables_take_these_methods() {
        assert_eq!(Method::ALL.map(Method::name), dawn_cluster::DISCOVERY_METHODS);
    }
}
