//! Machines that wait for an administrator, and what becomes of them by hand.

use std::collections::HashSet;
use std::net::IpAddr;

use dawn_cluster::{Change, Snapshot, Text, col};
use dawn_discovery::inventory::differences;
use dawn_discovery::{Assignment, Doubt, Evidence, Method, assign};

use super::push::{self, Word};
use super::records::record_time;
use super::{Discovery, found_status, text};
use crate::output::Stop;

/// A machine that waits for an administrator.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// UUID, the key of `discoverydata`.
    pub uuid: String,
    /// Its MACs.
    pub macs: Vec<String>,
    /// Machine type and model.
    pub mtm: String,
    /// Serial number.
    pub serial: String,
    /// Why it waits.
    pub reason: String,
    /// What speaks for which node, and what does not.
    pub evidence: Vec<String>,
    /// The nodes that the evidence allows.
    pub nodes: Vec<String>,
}

impl Discovery {
    /// Machines that wait, in the order in which they came; then those that an earlier daemon has seen.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        let snapshot = self.model.snapshot();
        let mut all = self.heard(&snapshot);
        let heard: HashSet<String> = all.iter().map(|waiting| waiting.uuid.clone()).collect();
        let (key, node) = (col::discoverydata::UUID, col::discoverydata::NODE);
        for row in snapshot.rows("discoverydata").filter(|row| row.get(node).is_none()) {
            let uuid = row.get(key).map(ToString::to_string).unwrap_or_default();
            if heard.contains(&uuid) {
                continue;
            }
            let Some(machine) = assign::of_record(&snapshot, &uuid) else { continue };
            all.push(Waiting {
                macs: machine.macs().map(|mac| mac.to_string()).collect(),
                mtm: machine.mtm,
                serial: machine.serial,
                reason: "known from its record; it is looked at again with its next packet".to_owned(),
                evidence: Vec::new(),
                nodes: Vec::new(),
                uuid,
            });
        }
        all
    }

    fn heard(&self, snapshot: &Snapshot) -> Vec<Waiting> {
        let mut state = self.state();
        let list = state.desk.queue().waiting().iter();
        list.map(|waiting| Waiting {
            uuid: assign::key(snapshot, &waiting.machine),
            macs: waiting.machine.macs().map(|mac| mac.to_string()).collect(),
            mtm: waiting.machine.mtm.clone(),
            serial: waiting.machine.serial.clone(),
            reason: text::reason(&waiting.doubt, &waiting.evidence),
            evidence: text::evidence(&waiting.evidence),
            nodes: suggested(&waiting.doubt, &waiting.evidence),
        })
        .collect()
    }

    /// Takes machines out of the queue; they come back with their next packets. `snapshot` has the records by
    /// which they were shown: where several share a UUID, those tell them apart.
    pub fn forget(&self, snapshot: &Snapshot, uuids: &[String]) {
        let uuids: HashSet<&String> = uuids.iter().collect();
        self.state().desk.queue().retain(|machine| !uuids.contains(&assign::key(snapshot, machine)));
    }

    /// Makes this machine that node, as an administrator says: from its packet that waits, or from its row of
    /// `discoverydata`.
    ///
    /// # Errors
    /// No such machine or node, or a change that the tables refuse.
    pub fn define(&self, who: &str, uuid: &str, node: &str) -> Result<(), Stop> {
        let snapshot = self.model.snapshot();
        let name = node_to_define(&snapshot, node)?;
        let queued = {
            let mut state = self.state();
            let mut waiting = state.desk.queue().waiting().iter();
            waiting
                .find(|waiting| assign::key(&snapshot, &waiting.machine) == uuid)
                .map(|waiting| waiting.machine.clone())
        };
        let machine = queued.or_else(|| assign::of_record(&snapshot, uuid));
        let machine =
            machine.ok_or_else(|| Stop::not_found(format!("No machine with the UUID {uuid} is known.")))?;
        let assignment =
            Assignment { node: name.clone(), method: Method::Mac, stand_ins: Vec::new(), grant: None };
        let head = Change::new(who, format!("nodediscoverdef -u {uuid} -n {name}"), Vec::new());
        let (_, changed) = self.model.transact(head, |now| {
            let mut edits = assign::edits(now, &machine, None, &assignment, None)?;
            edits.extend(assign::record(now, &machine, &name, "manual", &record_time())?);
            edits.extend(found_status(now, &name)?);
            Ok::<_, Stop>((edits, differences(now, &name, &machine)))
        })?;
        self.state().desk.queue().remove(&machine);
        self.watcher.discovered(&name, &format!("{who}, by hand"));
        self.report(&name, &changed);
        self.on_discover(&name);
        let address =
            machine.nics.iter().find_map(|nic| nic.address.split('/').next()?.parse::<IpAddr>().ok());
        if let Some(address) = address {
            push::tell_from_a_thread(address, Word::Restart);
        }
        Ok(())
    }
}

/// The node that a machine is to become.
///
/// # Errors
/// There is none of this name.
pub fn node_to_define(snapshot: &Snapshot, node: &str) -> Result<Text, Stop> {
    snapshot.node_name(node).ok_or_else(|| Stop::not_found(format!("There is no node '{node}'.")))
}

/// The nodes that an administrator will most likely mean.
fn suggested(doubt: &Doubt, evidence: &Evidence) -> Vec<String> {
    match doubt {
        Doubt::Approval(node)
        | Doubt::OtherMac(node, _)
        | Doubt::OtherUuid(node)
        | Doubt::OtherSerial(node)
        | Doubt::NotWritten(node, _)
        | Doubt::NoAddress(node)
        | Doubt::Taken(node) => vec![node.to_string()],
        Doubt::Ambiguous(nodes) => nodes.iter().map(ToString::to_string).collect(),
        _ => {
            let mut nodes: Vec<String> = evidence
                .findings
                .iter()
                .flat_map(|finding| &finding.nodes)
                .map(ToString::to_string)
                .collect();
            nodes.sort();
            nodes.dedup();
            nodes
        }
    }
}
