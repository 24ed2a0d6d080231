//! Decides which node a machine is, and remembers what was decided until it stands in the tables.
//!
//! Each matcher gives a set of nodes; the node is what all sets have in common. Sequential discovery is asked
//! only if no matcher has any. A node that is assigned is held for the machine, so machines that arrive at
//! the same time never get one node, and a machine that asks again gets the same one. What is held counts as
//! evidence: a machine whose evidence points elsewhere later waits for a person.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use dawn_cluster::{Col, MacAddr, Snapshot, Text, col, parse_mac_column};

use crate::arrival::{Arrival, Surroundings};
use crate::assign;
use crate::evidence::{Assignment, Decision, Doubt, Evidence, Finding, Grant, Method, Miss, Proof, Verdict};
use crate::limits::{RESERVATION_TIME, RESERVATIONS_MAX};
use crate::machine::{Kind, Machine, swapped_uuid};
use crate::matchers;
use crate::queue::Queue;
use crate::sequential::{Cursor, Run, Taken};

/// A node that is held for a machine.
#[derive(Clone, Debug)]
struct Held {
    uuid: String,
    macs: BTreeSet<MacAddr>,
    method: Method,
    grant: Option<Grant>,
    until: Duration,
}

/// Assigns nodes to machines, and holds each node until the tables name its machine.
#[derive(Clone, Debug, Default)]
pub struct Desk {
    held: HashMap<Text, Held>,
    by_mac: HashMap<MacAddr, Text>,
    queue: Queue,
    run: Option<Arc<Run>>,
    cursor: Cursor,
}

impl Desk {
    /// Starts sequential discovery, or stops it.
    pub fn set_run(&mut self, run: Option<Run>) {
        self.run = run.map(Arc::new);
        self.cursor = Cursor::default();
    }

    /// Sequential discovery, if it is running.
    pub fn run(&self) -> Option<&Arc<Run>> {
        self.run.as_ref()
    }

    /// Machines that wait for a person.
    pub fn queue(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// Decides. The node of an assignment is held until [`Desk::release`], or for [`RESERVATION_TIME`].
    pub fn arrive(&mut self, now: Duration, around: &Surroundings<'_>, arrival: &Arrival<'_>) -> Decision {
        self.expire(now);
        let mut evidence = Evidence::default();
        let held = self.held_for(arrival);
        if let Ok(Some(node)) = &held {
            let method = self.held.get(node).map_or(Method::Mac, |held| held.method);
            evidence.findings.push(Finding {
                method,
                nodes: BTreeSet::from([node.clone()]),
                proof: Proof::Held,
            });
        }
        for method in around.methods {
            matchers::ask(*method, around, arrival, &mut evidence);
        }
        let verdict = match held {
            Err(doubt) => Err(doubt),
            Ok(_) => self.conclude(around, arrival, &mut evidence),
        };
        let verdict = match verdict {
            Ok(assignment) => {
                self.hold(now, arrival, &assignment);
                self.queue.remove(arrival.machine);
                Verdict::Assign(assignment)
            }
            Err(doubt) => {
                self.queue.put(now, arrival.machine, doubt.clone(), evidence.clone());
                Verdict::Queue(doubt)
            }
        };
        Decision { verdict, evidence }
    }

    /// The tables do not take the assignment of the node: the machine waits, and the reason is for people.
    pub fn give_up(&mut self, now: Duration, machine: &Machine, node: &Text, reason: String, why: Evidence) {
        self.release(node);
        self.queue.put(now, machine, Doubt::NotWritten(node.clone(), reason), why);
    }

    /// The assignment of the node stands in the tables, or was given up.
    pub fn release(&mut self, node: &str) {
        if self.held.remove(node).is_some() {
            self.by_mac.retain(|_, holder| &**holder != node);
        }
    }

    /// Whether assignments are not yet in the tables.
    pub fn holds_nodes(&self) -> bool {
        !self.held.is_empty()
    }

    fn expire(&mut self, now: Duration) {
        let over: Vec<Text> =
            self.held.iter().filter(|(_, held)| held.until <= now).map(|(node, _)| node.clone()).collect();
        over.iter().for_each(|node| self.release(node));
    }

    /// The node that is held for this machine. A MAC that belongs to another machine with a node is a doubt.
    fn held_for(&self, arrival: &Arrival<'_>) -> Result<Option<Text>, Doubt> {
        let mut found = None;
        for mac in arrival.macs() {
            let Some(node) = self.by_mac.get(&mac) else { continue };
            let Some(held) = self.held.get(node) else { continue };
            if !held.is_of(arrival) || found.as_ref().is_some_and(|other| other != node) {
                return Err(Doubt::SharedMac(mac));
            }
            found = Some(node.clone());
        }
        Ok(found)
    }

    fn conclude(
        &mut self,
        around: &Surroundings<'_>,
        arrival: &Arrival<'_>,
        evidence: &mut Evidence,
    ) -> Result<Assignment, Doubt> {
        if let Some(from) = arrival.foreign_sender() {
            return Err(Doubt::ForeignMac(from));
        }
        if evidence.misses.iter().any(|(_, miss)| matches!(miss, Miss::OtherPort { .. })) {
            return Err(Doubt::Contradiction);
        }
        let is_ambiguous = evidence.misses.iter().any(|(_, miss)| matches!(miss, Miss::PortNames { .. }));
        let (node, method, grant) = match evidence.common() {
            Some(common) => {
                let mut nodes = common.iter();
                match (nodes.next(), nodes.next()) {
                    (None, _) => return Err(Doubt::Contradiction),
                    (Some(_), Some(_)) => return Err(Doubt::Ambiguous(common)),
                    (Some(node), None) => {
                        let grant = self.held.get(node).and_then(|held| held.grant.clone());
                        (node.clone(), evidence.method_for(node).unwrap_or(Method::Mac), grant)
                    }
                }
            }
            None if is_ambiguous => return Err(Doubt::Ambiguous(BTreeSet::new())),
            None => {
                let grant = self.next_in_sequence(around, arrival, evidence)?;
                (grant.node.clone(), Method::Sequential, Some(grant))
            }
        };
        self.check(around.snapshot, arrival, &node)?;
        let is_granted = grant.as_ref().is_some_and(|grant| grant.host_ip.is_some());
        if !is_granted && !assign::has_address(around.snapshot, &node) {
            return Err(Doubt::NoAddress(node));
        }
        if around.needs_approval {
            return Err(Doubt::Approval(node));
        }
        if !self.held.contains_key(&node) && self.held.len() >= RESERVATIONS_MAX {
            return Err(Doubt::Busy);
        }
        let stand_ins = stand_ins(around, arrival.machine, &node);
        Ok(Assignment { node, method, stand_ins, grant })
    }

    fn next_in_sequence(
        &mut self,
        around: &Surroundings<'_>,
        arrival: &Arrival<'_>,
        evidence: &mut Evidence,
    ) -> Result<Grant, Doubt> {
        let mut miss = |miss| evidence.misses.push((Method::Sequential, miss));
        if !around.methods.contains(&Method::Sequential) {
            return Err(Doubt::NoEvidence);
        }
        let Some(run) = self.run.clone() else {
            miss(Miss::NotRunning);
            return Err(Doubt::NoEvidence);
        };
        if arrival.machine.kind != Kind::Physical || arrival.macs().next().is_none() {
            miss(Miss::Guest);
            return Err(Doubt::NoEvidence);
        }
        let mut cursor = std::mem::take(&mut self.cursor);
        let given = run.next(&mut cursor, around, self);
        self.cursor = cursor;
        given.map_err(|why| {
            miss(why);
            Doubt::NoEvidence
        })
    }

    /// The node is not another machine's.
    fn check(&self, snapshot: &Snapshot, arrival: &Arrival<'_>, node: &Text) -> Result<(), Doubt> {
        let machine = arrival.machine;
        if let Some(held) = self.held.get(node)
            && !held.is_of(arrival)
        {
            return Err(Doubt::Taken(node.clone()));
        }
        let known = parse_mac_column(&snapshot.attr(node, col::mac::MAC).unwrap_or_default());
        let own = assign::own_mac(machine, arrival.from).or(arrival.from);
        if let Some(other) = known.first()
            && !own.is_some_and(|mac| known.iter().any(|entry| entry.mac == mac))
        {
            return Err(Doubt::OtherMac(node.clone(), other.mac));
        }
        let differs = |col: Col, spellings: &[Option<String>]| {
            let Some(stored) = snapshot.attr(node, col) else { return false };
            let mut known = spellings.iter().flatten().filter(|text| !text.is_empty()).peekable();
            known.peek().is_some() && !known.any(|text| text.eq_ignore_ascii_case(&stored))
        };
        if differs(col::vpd::UUID, &[Some(machine.uuid.clone()), swapped_uuid(&machine.uuid)]) {
            return Err(Doubt::OtherUuid(node.clone()));
        }
        if differs(col::vpd::SERIAL, &[Some(machine.serial.clone())]) {
            return Err(Doubt::OtherSerial(node.clone()));
        }
        Ok(())
    }

    fn hold(&mut self, now: Duration, arrival: &Arrival<'_>, assignment: &Assignment) {
        for mac in arrival.macs() {
            self.by_mac.insert(mac, assignment.node.clone());
        }
        let held = Held {
            uuid: arrival.machine.uuid.clone(),
            macs: arrival.macs().collect(),
            method: assignment.method,
            grant: assignment.grant.clone(),
            until: now + RESERVATION_TIME,
        };
        self.held.insert(assignment.node.clone(), held);
    }
}

impl Held {
    /// The machine is the one that it is held for: the MAC that it boots from is known, and its UUID is no
    /// other. A MAC that is not the first proves nothing, since boards share those of cheap adapters.
    fn is_of(&self, arrival: &Arrival<'_>) -> bool {
        let uuid = &arrival.machine.uuid;
        let is_uuid_same = uuid.is_empty() || self.uuid.is_empty() || *uuid == self.uuid;
        is_uuid_same && arrival.macs().next().is_some_and(|mac| self.macs.contains(&mac))
    }
}

impl Taken for Desk {
    fn has_node(&self, node: &str) -> bool {
        self.held.contains_key(node)
    }

    fn addresses(&self) -> HashSet<Ipv4Addr> {
        let grants = self.held.values().filter_map(|held| held.grant.as_ref());
        grants.flat_map(|grant| [grant.host_ip, grant.bmc_ip]).flatten().collect()
    }
}

/// Nodes that hardware discovery made for the machine's BMC: by the BMC's MAC, or by the serial number.
fn stand_ins(around: &Surroundings<'_>, machine: &Machine, node: &str) -> Vec<Text> {
    let directory = around.directory;
    let by_mac = machine.bmc_mac.and_then(|mac| {
        let name = format!("node-{}", mac.to_string().replace(':', ""));
        around.snapshot.node_name(&name)
    });
    let by_mtms = directory.by_mtms(&machine.mtm, &machine.serial).cloned();
    let found: BTreeSet<Text> = by_mac.into_iter().chain(by_mtms).collect();
    found.into_iter().filter(|name| &**name != node && directory.kind(name).is_mp).collect()
}
