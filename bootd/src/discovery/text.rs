//! Evidence and doubts in words, for events and commands.

use dawn_discovery::fabric::Uplink;
use dawn_discovery::{Doubt, Evidence, Finding, Method, Miss, Proof};

/// Nodes that are named in one sentence; further ones are counted.
const NODES_MAX: usize = 6;

/// Why nothing is assigned, and what helps.
pub(super) fn doubt(doubt: &Doubt) -> String {
    match doubt {
        Doubt::NoEvidence => "nothing in the tables fits this machine".to_owned(),
        Doubt::Contradiction => "the evidence points to different nodes".to_owned(),
        Doubt::Ambiguous(nodes) if nodes.is_empty() => {
            "a configured port fits several ports of its switch".to_owned()
        }
        Doubt::Ambiguous(found) => format!("several nodes fit: {}", nodes(found.iter().map(|node| &**node))),
        Doubt::Taken(node) => format!("{node} was given to another machine just now"),
        Doubt::SharedMac(mac) => format!("its MAC {mac} is also on a machine that was given a node just now"),
        Doubt::ForeignMac(mac) => format!("it was sent from {mac}, which is not an interface that it names"),
        Doubt::OtherMac(node, mac) => {
            format!("{node} has another MAC ({mac}): a replaced board, or another machine")
        }
        Doubt::OtherUuid(node) => format!("{node} has another UUID: a replaced board, or another machine"),
        Doubt::OtherSerial(node) => format!("{node} has another serial number"),
        Doubt::NoAddress(node) => {
            format!("{node} has no address: set hosts.ip, and it becomes {node} with its next packet")
        }
        Doubt::Approval(node) => format!("it would become {node}; an administrator has to agree"),
        Doubt::NotWritten(node, reason) => {
            format!("it would become {node}, which the tables refuse: {reason}")
        }
        Doubt::Busy => "too many machines are being assigned at the moment".to_owned(),
    }
}

/// The same for a machine that waits, with a range that is used up, and with the switches that could not be
/// read: one of them may have it.
pub(super) fn reason(why: &Doubt, evidence: &Evidence) -> String {
    let is_over = |(_, missed): &&(Method, Miss)| matches!(missed, Miss::Exhausted | Miss::NoAddress);
    if let (Doubt::NoEvidence, Some((method, over))) = (why, evidence.misses.iter().find(is_over)) {
        return format!("{}; {}", doubt(why), miss(*method, over));
    }
    let silent = evidence.misses.iter().filter_map(|(_, missed)| match missed {
        Miss::Silent { switch, .. } if *why == Doubt::NoEvidence => Some(&**switch),
        _ => None,
    });
    match nodes(silent) {
        silent if silent.is_empty() => doubt(why),
        silent => format!("{}; not read: {silent} (see discover explain)", doubt(why)),
    }
}

/// One line for each piece of evidence.
pub(super) fn evidence(evidence: &Evidence) -> Vec<String> {
    let found = evidence.findings.iter().map(finding);
    let missed =
        evidence.misses.iter().map(|(method, why)| format!("{}: {}", method.name(), miss(*method, why)));
    found.chain(missed).collect()
}

/// What one finding says.
pub(super) fn finding(finding: &Finding) -> String {
    let nodes = nodes(finding.nodes.iter().map(|node| &**node));
    let proof = match &finding.proof {
        Proof::Mac(mac) => format!("the MAC {mac} is in the tables"),
        Proof::Held => "it was given to this machine just now".to_owned(),
        Proof::Lldp { mac, switch, port } => format!("{mac} hears port {port} of {switch}"),
        Proof::Switch { mac, switch, port, .. } => format!("{switch} sees {mac} on port {port}"),
        Proof::Mtms => "machine type and serial number (vpd)".to_owned(),
        Proof::Uuid => "UUID (vpd)".to_owned(),
        Proof::Rule(number) => format!("rule {} of site.discoveryrules", number + 1),
    };
    format!("{}: {nodes}: {proof}", finding.method.name())
}

fn miss(method: Method, miss: &Miss) -> String {
    match miss {
        Miss::NoData => format!("the machine {}", unsaid(method)),
        Miss::NoRow => "nothing in the tables fits".to_owned(),
        Miss::Guest => "virtual machines are not looked for".to_owned(),
        Miss::Silent { switch, reason } => format!("{switch} cannot be read: {reason}"),
        Miss::Unseen => "no switch has a MAC of this machine".to_owned(),
        Miss::NoRule => "no rule of site.discoveryrules fits".to_owned(),
        Miss::Uplink { switch, port, why } => format!("port {port} of {switch} {}", uplink(*why)),
        Miss::OtherPort { switch, heard, seen } => {
            format!("the machine hears port {heard} of {switch}, which has its MAC on port {seen}")
        }
        Miss::NoNode { switch, port } => format!("no node is configured on port {port} of {switch}"),
        Miss::PortNames { switch, configured, names } => {
            format!("port {configured} could be each of {} of {switch}", names.join(", "))
        }
        Miss::NotANode(name) => format!("a rule gives {name}, which is not a node"),
        Miss::NotRunning => "no sequential discovery is running".to_owned(),
        Miss::Exhausted => "all nodes of the range have a machine".to_owned(),
        Miss::NoAddress => "no address of the range is free".to_owned(),
    }
}

/// What a method needs and the packet does not have.
fn unsaid(method: Method) -> &'static str {
    match method {
        Method::Lldp => "hears no switch (LLDP)",
        Method::Mtms => "names no machine type or no serial number",
        Method::Uuid => "names no UUID",
        _ => "names nothing that this method looks at",
    }
}

fn uplink(why: Uplink) -> String {
    match why {
        Uplink::Configured => "leads to another switch (switches.linkports)".to_owned(),
        Uplink::Switch(mac) => format!("leads to the switch {mac}"),
        Uplink::ManyMacs(count) => format!("has {count} MACs, too many for one machine"),
    }
}

fn nodes<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    let shown = all.get(..NODES_MAX).unwrap_or(&all).join(", ");
    match all.len().checked_sub(NODES_MAX) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}
