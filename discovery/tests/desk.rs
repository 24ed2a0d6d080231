//! Decisions as text files: `tests/decisions/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `row TABLE COLUMN=VALUE…` | a row of the tables; it counts from here on |
//! | `switch NAME [own=MAC] PORT=MAC,MAC…` | a switch was read |
//! | `silent NAME` | a switch did not answer |
//! | `rule TEXT` | a rule |
//! | `approve` | the network wants a person to agree |
//! | `start OPTION=VALUE…` | sequential discovery |
//! | `machine NAME KEY=VALUE…` | what a machine says: `mac=…` (repeatable), `address` of the last MAC, `lldp=SWITCH:PORT` (`+` for a blank), `lldpname` (what the switch calls that port), `uuid`, `mtm`, `serial`, `kind`, `from`, `bmcmac` |
//! | `arrive NAME` | its packet comes |
//! | `= NODE METHOD …`, `= queue DOUBT` | what was decided |
//! | `? FINDING or MISS` | the evidence has this |
//! | `release NODE`, `+ SECONDS` | the assignment is written; time passes |
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use dawn_cluster::{MacAddr, Snapshot};
use dawn_discovery::bridge::{Place, Port, SwitchTable};
use dawn_discovery::fabric::Answer;
use dawn_discovery::machine::{Kind, Neighbour, Nic};
use dawn_discovery::rule::Rule;
use dawn_discovery::sequential::{Options, Run};
use dawn_discovery::{Arrival, Decision, Desk, Directory, Fabric, Machine, Method, Surroundings, Verdict};
use dawn_texts::{Text, texts};

/// `1` is 02:00:00:00:00:01.
fn mac(text: &str) -> MacAddr {
    match text.parse::<u8>() {
        Ok(number) => MacAddr([2, 0, 0, 0, 0, number]),
        Err(_) => text.parse().unwrap(),
    }
}

#[derive(Default)]
struct Play {
    rows: Vec<(String, Vec<(String, String)>)>,
    tables: BTreeMap<String, Option<SwitchTable>>,
    rules: Vec<Rule>,
    needs_approval: bool,
    machines: HashMap<String, (Machine, Option<MacAddr>)>,
    desk: Desk,
    now: Duration,
    decision: Option<Decision>,
}

impl Play {
    fn snapshot(&self) -> Snapshot {
        let cells: Vec<Vec<(&str, &str)>> = self
            .rows
            .iter()
            .map(|(_, cells)| cells.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
            .collect();
        Snapshot::from_rows(
            self.rows.iter().zip(&cells).map(|((table, _), cells)| (table.as_str(), cells.as_slice())),
        )
    }

    fn line(&mut self, verb: &str, rest: &str, at: &str) {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let pairs = || words[1..].iter().map(|word| word.split_once('=').unwrap());
        match verb {
            "row" => {
                let cells = pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                self.rows.push((words[0].to_owned(), cells));
            }
            "switch" => drop(self.tables.insert(words[0].to_owned(), Some(table(pairs())))),
            "silent" => drop(self.tables.insert(words[0].to_owned(), None)),
            "rule" => self.rules.push(rest.parse().unwrap()),
            "approve" => self.needs_approval = true,
            "start" => {
                let options = Options::of_words(words.iter().copied()).unwrap();
                let run = Run::new(&self.snapshot(), options).unwrap();
                self.desk.set_run(Some(run));
            }
            "machine" => drop(self.machines.insert(words[0].to_owned(), machine(pairs()))),
            "arrive" => self.arrive(words[0]),
            "release" => self.desk.release(words[0]),
            "+" => self.now += Duration::from_secs(rest.parse().unwrap()),
            "=" => assert_eq!(show(self.decision.as_ref().unwrap()), rest, "{at}: {:#?}", self.decision),
            "?" => {
                let evidence = &self.decision.as_ref().unwrap().evidence;
                let shown = format!("{:?} {:?}", evidence.findings, evidence.misses);
                assert!(shown.contains(rest), "{at}: {shown}");
            }
            _ => panic!("{at}: no such line"),
        }
    }

    fn arrive(&mut self, name: &str) {
        let snapshot = self.snapshot();
        let directory = Directory::of(&snapshot);
        let mut fabric = Fabric::default();
        for (name, table) in &self.tables {
            fabric.learn(self.now, name, answer(table.as_ref()), &directory);
        }
        let around = Surroundings {
            snapshot: &snapshot,
            directory: &directory,
            fabric: &fabric,
            rules: &self.rules,
            methods: &Method::ALL,
            needs_approval: self.needs_approval,
        };
        let (machine, from) = &self.machines[name];
        self.decision = Some(self.desk.arrive(self.now, &around, &Arrival { machine, from: *from }));
    }
}

fn table<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> SwitchTable {
    let mut table = SwitchTable::default();
    for (index, (name, macs)) in (1..).zip(pairs) {
        if name == "own" {
            table.own = Some(mac(macs));
            continue;
        }
        let macs: BTreeSet<MacAddr> = macs.split(',').filter(|text| !text.is_empty()).map(mac).collect();
        table.ports.insert(index, Port { name: name.to_owned(), mtu: None, macs: macs.len() });
        for mac in macs {
            table.places.entry(mac).or_default().insert(Place { port: index, vlan: 1 });
        }
    }
    table
}

fn machine<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> (Machine, Option<MacAddr>) {
    let (mut machine, mut from) = (Machine::default(), None);
    for (name, value) in pairs {
        match name {
            "mac" => machine.nics.push(Nic::new(mac(value))),
            "address" => machine.nics.last_mut().unwrap().address = value.to_owned(),
            "lldp" => {
                let (switch, port) = value.split_once(':').unwrap();
                let neighbour =
                    Neighbour { name: switch.into(), port: port.replace('+', " "), ..Neighbour::default() };
                machine.nics.last_mut().unwrap().neighbour = Some(neighbour);
            }
            "lldpname" => {
                machine.nics.last_mut().unwrap().neighbour.as_mut().unwrap().port_name = value.to_owned();
            }
            "lldpaddress" => {
                let nic = machine.nics.last_mut().unwrap();
                nic.neighbour.as_mut().unwrap().addresses.push(value.parse().unwrap());
            }
            "uuid" => machine.uuid = value.to_owned(),
            "mtm" => machine.mtm = value.to_owned(),
            "serial" => machine.serial = value.to_owned(),
            "bmcmac" => machine.bmc_mac = Some(mac(value)),
            "from" => from = Some(mac(value)),
            "kind" if value == "virtual" => machine.kind = Kind::Virtual,
            "kind" if value == "switch" => machine.kind = Kind::Switch,
            _ => panic!("{name}={value}"),
        }
    }
    (machine, from)
}

fn show(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Queue(doubt) => format!("queue {doubt:?}"),
        Verdict::Assign(given) => {
            let mut text = format!("{} {:?}", given.node, given.method);
            if let Some(grant) = &given.grant {
                let ip = |ip: Option<std::net::Ipv4Addr>| ip.map_or("-".to_owned(), |ip| ip.to_string());
                text.push_str(&format!(" ip={} bmc={}", ip(grant.host_ip), ip(grant.bmc_ip)));
                text.push_str(&grant.unit.map(|unit| format!(" unit={unit}")).unwrap_or_default());
            }
            if !given.stand_ins.is_empty() {
                text.push_str(&format!(" instead of {:?}", given.stand_ins));
            }
            text
        }
    }
}

#[test]
fn decisions() {
    for Text { name, text, .. } in texts(env!("CARGO_MANIFEST_DIR"), "tests/decisions") {
        let mut play = Play::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
                play.line(verb, rest, &format!("{name}:{number}: {line}"));
            }
        }
    }
}

fn answer(table: Option<&SwitchTable>) -> Answer {
    table.map_or_else(|| Answer::Nothing("no answer".to_owned()), |table| Answer::Tables(table.clone()))
}
