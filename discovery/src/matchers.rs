//! The matchers. Each looks at one kind of evidence and adds its nodes, or says why it has none.

use std::collections::BTreeSet;

use dawn_cluster::{MacAddr, Text};

use crate::arrival::{Arrival, Surroundings};
use crate::directory::PortRow;
use crate::evidence::{Evidence, Finding, Method, Miss, Proof};
use crate::fabric::Sighting;
use crate::machine::{Kind, Neighbour, swapped_uuid};
use crate::port_name::{Fit, fit};

/// Asks one method. Sequential discovery is not a matcher: it gives nodes where nothing else does.
pub fn ask(method: Method, around: &Surroundings<'_>, arrival: &Arrival<'_>, evidence: &mut Evidence) {
    let mut ask = Asking { method, around, arrival, evidence };
    match method {
        Method::Mac => ask.macs(),
        Method::Lldp => ask.lldp(),
        Method::Switch => ask.switches(),
        Method::Mtms => ask.mtms(),
        Method::Uuid => ask.uuid(),
        Method::Rule => ask.rules(),
        Method::Sequential => {}
    }
}

/// Whether a configured port is the neighbour's by the rules of port names. A description is a text of an
/// administrator's: that it ends with the number means something only if the switch says no name, and if it
/// looks like one.
fn fits_alone(port: &str, neighbour: &Neighbour) -> bool {
    if !neighbour.port_name.is_empty() {
        return fit(port, &neighbour.port_name).is_some();
    }
    let is_name = !neighbour.port.contains(char::is_whitespace);
    fit(port, &neighbour.port).is_some_and(|fit| is_name || fit != Fit::End)
}

struct Asking<'a> {
    method: Method,
    around: &'a Surroundings<'a>,
    arrival: &'a Arrival<'a>,
    evidence: &'a mut Evidence,
}

impl Asking<'_> {
    fn found(&mut self, nodes: BTreeSet<Text>, proof: Proof) {
        if nodes.is_empty() {
            return;
        }
        let finding = Finding { method: self.method, nodes, proof };
        if !self.evidence.findings.contains(&finding) {
            self.evidence.findings.push(finding);
        }
    }

    fn missed(&mut self, miss: Miss) {
        let miss = (self.method, miss);
        if !self.evidence.misses.contains(&miss) {
            self.evidence.misses.push(miss);
        }
    }

    /// Adds the finding, or the miss if there are no nodes.
    fn conclude(&mut self, nodes: BTreeSet<Text>, proof: Proof, miss: Miss) {
        if nodes.is_empty() { self.missed(miss) } else { self.found(nodes, proof) }
    }

    fn macs(&mut self) {
        for mac in self.arrival.macs() {
            if let Some(node) = self.around.snapshot.node_by_mac(mac) {
                self.found(BTreeSet::from([node]), Proof::Mac(mac));
            }
        }
        if self.evidence.findings.iter().all(|finding| finding.method != Method::Mac) {
            self.missed(Miss::NoRow);
        }
    }

    /// A row counts for machines of its kind: nodes that are switches for switches only.
    fn is_for(&self, row: &PortRow) -> bool {
        match self.arrival.machine.kind {
            Kind::Switch => row.kind.is_switch || row.kind.is_pdu,
            _ => !row.kind.is_switch,
        }
    }

    fn lldp(&mut self) {
        let machine = self.arrival.machine;
        if machine.kind == Kind::Virtual {
            return self.missed(Miss::Guest);
        }
        let heard = machine.nics.iter().filter_map(|nic| Some((nic.mac, nic.neighbour.as_ref()?)));
        let heard: Vec<(MacAddr, &Neighbour)> =
            heard.filter(|(_, found)| found.port_names().next().is_some()).collect();
        if heard.is_empty() {
            return self.missed(Miss::NoData);
        }
        for (mac, neighbour) in heard {
            let Some(switch) = self.neighbour_switch(neighbour) else {
                self.missed(Miss::NoRow);
                continue;
            };
            let at = self.port_of(&switch, neighbour);
            let port = neighbour.port_names().next().unwrap_or_default().to_owned();
            if let Some(seen) = at.and_then(|at| self.seen_elsewhere(&switch, mac, at)) {
                self.missed(Miss::OtherPort { switch, heard: port, seen });
                continue;
            }
            let nodes = match at {
                Some(at) => self.nodes_at(&switch, at),
                None => self.nodes_named(&switch, neighbour),
            };
            let miss = Miss::NoNode { switch: switch.clone(), port: port.clone() };
            self.conclude(nodes, Proof::Lldp { mac, switch, port }, miss);
        }
    }

    /// The switch of the tables that a neighbour is, by name, by the first part of its name, or by address.
    fn neighbour_switch(&self, neighbour: &Neighbour) -> Option<Text> {
        let directory = self.around.directory;
        let named = neighbour.system_names().into_iter().find(|name| !directory.ports(name).is_empty());
        let addressed = || {
            let mut nodes = neighbour.addresses.iter().filter_map(|ip| self.around.snapshot.node_by_ip(*ip));
            nodes.find(|node| !directory.ports(node).is_empty())
        };
        named.map(|name| Text::from(name.to_ascii_lowercase())).or_else(addressed)
    }

    /// The port in the switch's table that the neighbour names.
    fn port_of(&self, switch: &Text, neighbour: &Neighbour) -> Option<u32> {
        let table = self.around.fabric.table(switch)?;
        neighbour.port_names().find_map(|name| table.port_called(name))
    }

    /// Where the switch has the MAC, if it has it on other ports than this one only.
    fn seen_elsewhere(&self, switch: &Text, mac: MacAddr, heard: u32) -> Option<String> {
        let fabric = self.around.fabric;
        let on_switch = |seen: &Sighting| seen.switch.eq_ignore_ascii_case(switch) && seen.uplink.is_none();
        let seen: Vec<Sighting> = fabric.sightings(mac).into_iter().filter(on_switch).collect();
        if seen.iter().any(|seen| seen.port == heard) {
            return None;
        }
        Some(fabric.table(switch)?.port_name(seen.first()?.port))
    }

    /// The nodes of a port that no table shows: LLDP may name a port by another of its names than SNMP, and
    /// there may be no SNMP.
    fn nodes_named(&self, switch: &Text, neighbour: &Neighbour) -> BTreeSet<Text> {
        let has_table = self.around.fabric.table(switch).is_some();
        let is_it = |row: &&PortRow| {
            let is_name = neighbour.port_names().any(|name| *row.port == *name);
            self.is_for(row) && (is_name || (!has_table && fits_alone(&row.port, neighbour)))
        };
        self.around.directory.ports(switch).iter().filter(is_it).map(|row| row.node.clone()).collect()
    }

    /// The nodes that are configured at a port of the switch's table. A configured port that fits several
    /// ports equally well does not count.
    fn nodes_at(&mut self, switch: &Text, index: u32) -> BTreeSet<Text> {
        let mut nodes = BTreeSet::new();
        let Some(table) = self.around.fabric.table(switch) else { return nodes };
        let name = table.port_name(index);
        let rows = self.around.directory.ports(switch).iter();
        // Cheap, and so first: what follows looks at every port of the switch.
        let fits = |row: &&PortRow| self.is_for(row) && fit(&row.port, &name).is_some();
        let rows: Vec<&PortRow> = rows.filter(fits).collect();
        for row in rows {
            let ports = table.ports_named(&row.port);
            if !ports.contains(&index) {
                continue;
            }
            if ports.len() == 1 {
                nodes.insert(row.node.clone());
            } else {
                let names = ports.iter().map(|port| table.port_name(*port)).collect();
                self.missed(Miss::PortNames {
                    switch: switch.clone(),
                    configured: row.port.to_string(),
                    names,
                });
            }
        }
        nodes
    }

    fn switches(&mut self) {
        if self.arrival.machine.kind == Kind::Virtual {
            return self.missed(Miss::Guest);
        }
        let fabric = self.around.fabric;
        for (switch, reason) in fabric.silent() {
            self.missed(Miss::Silent { switch: switch.clone(), reason: reason.to_owned() });
        }
        if self.around.directory.switches().next().is_none() {
            return self.missed(Miss::NoRow);
        }
        for mac in self.arrival.macs() {
            for seen in fabric.sightings(mac) {
                let Some(table) = fabric.table(&seen.switch) else { continue };
                let (switch, port) = (seen.switch, table.port_name(seen.port));
                if let Some(why) = seen.uplink {
                    self.missed(Miss::Uplink { switch, port, why });
                    continue;
                }
                let macs = table.ports.get(&seen.port).map_or(0, |port| port.macs);
                let nodes = self.nodes_at(&switch, seen.port);
                let miss = Miss::NoNode { switch: switch.clone(), port: port.clone() };
                self.conclude(nodes, Proof::Switch { mac, switch, port, macs }, miss);
            }
        }
        self.unseen();
    }

    /// The switches that could be read do not have it.
    fn unseen(&mut self) {
        let fabric = self.around.fabric;
        let is_any_read = self.around.directory.switches().any(|name| fabric.table(name).is_some());
        if is_any_read && self.arrival.macs().all(|mac| fabric.sightings(mac).is_empty()) {
            self.missed(Miss::Unseen);
        }
    }

    fn mtms(&mut self) {
        let machine = self.arrival.machine;
        if machine.mtm.is_empty() || machine.serial.is_empty() {
            return self.missed(Miss::NoData);
        }
        let directory = self.around.directory;
        let nodes = directory.by_mtms(&machine.mtm, &machine.serial);
        let nodes = nodes.filter(|node| !directory.kind(node).is_mp).cloned().collect();
        self.conclude(nodes, Proof::Mtms, Miss::NoRow);
    }

    fn uuid(&mut self) {
        let uuid = &self.arrival.machine.uuid;
        if uuid.is_empty() {
            return self.missed(Miss::NoData);
        }
        let spellings = [Some(uuid.clone()), swapped_uuid(uuid)];
        let directory = self.around.directory;
        let nodes = spellings.iter().flatten().flat_map(|uuid| directory.by_uuid(uuid));
        let nodes = nodes.filter(|node| !directory.kind(node).is_mp).cloned().collect();
        self.conclude(nodes, Proof::Uuid, Miss::NoRow);
    }

    fn rules(&mut self) {
        for (number, rule) in self.around.rules.iter().enumerate() {
            let mut nodes = BTreeSet::new();
            for name in rule.names(self.arrival.machine) {
                match self.around.snapshot.node_name(&name) {
                    Some(node) => drop(nodes.insert(node)),
                    None => self.missed(Miss::NotANode(name)),
                }
            }
            self.found(nodes, Proof::Rule(number));
        }
        let is_rule = |method: &Method| *method == Method::Rule;
        let has_said = self.evidence.findings.iter().any(|finding| is_rule(&finding.method))
            || self.evidence.misses.iter().any(|(method, _)| is_rule(method));
        if !self.around.rules.is_empty() && !has_said {
            self.missed(Miss::NoRule);
        }
    }
}
