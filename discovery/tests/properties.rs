//! Machines in any order, repeated, with evidence of all kinds and twins among them; assignments are written
//! to the tables sooner or later. Never do two machines have one node, nor one machine two; and a machine
//! whose node evidence decides gets that node or the queue, whatever the order.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use dawn_cluster::{Edit, MacAddr, Snapshot, Text};
use dawn_discovery::bridge::{Place, Port, SwitchTable};
use dawn_discovery::fabric::Answer;
use dawn_discovery::limits::{QUEUE_BYTES_MAX, QUEUE_MAX, WAITING_TIME};
use dawn_discovery::machine::Nic;
use dawn_discovery::sequential::{Options, Run};
use dawn_discovery::{Arrival, Desk, Directory, Fabric, Machine, Method, Surroundings, Verdict, assign};
use proptest::prelude::*;

const NODES: u8 = 6;

/// What a machine is known by; numbers are nodes, and may be wrong.
#[derive(Clone, Debug)]
struct Draft {
    port: Option<u8>,
    serial: Option<u8>,
    uuid: Option<u8>,
    /// Another MAC, which machines may share.
    extra: Option<u8>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let maybe = || proptest::option::weighted(0.4, 0..NODES);
    (maybe(), maybe(), maybe(), proptest::option::weighted(0.2, 0..3_u8))
        .prop_map(|(port, serial, uuid, extra)| Draft { port, serial, uuid, extra })
}

fn boot_mac(machine: usize) -> MacAddr {
    let [high, low] = u16::try_from(machine).unwrap().to_be_bytes();
    MacAddr([2, 0, 0, 1, high, low])
}

fn machine(number: usize, draft: &Draft) -> Machine {
    let mut nics = vec![Nic::new(boot_mac(number))];
    nics.extend(draft.extra.map(|extra| Nic::new(MacAddr([2, 0, 0, 0, 2, extra]))));
    Machine {
        uuid: draft.uuid.map(|n| format!("uuid-{n}")).unwrap_or_default(),
        mtm: "M".to_owned(),
        serial: draft.serial.map(|n| format!("S{n}")).unwrap_or_default(),
        nics,
        ..Machine::default()
    }
}

/// The tables: nodes 0 to 3 have ports, 2 to 5 serial numbers and UUIDs; and what was written.
fn snapshot(written: &BTreeMap<Text, Vec<MacAddr>>) -> Snapshot {
    let mut rows: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    // Nodes of a sequence need not be defined, and none gets a machine without an address.
    for n in 0..10 {
        rows.push(("hosts", vec![("node", format!("cn{n}")), ("ip", format!("10.1.0.{n}"))]));
    }
    for n in 0..NODES {
        let node = || ("node", format!("cn{n}"));
        rows.push(("nodelist", vec![node(), ("groups", "all".to_owned())]));
        if n < 4 {
            rows.push(("switch", vec![node(), ("switch", "sw1".to_owned()), ("port", format!("swp{n}"))]));
        }
        if n >= 2 {
            let uuid = ("uuid", format!("uuid-{n}"));
            rows.push(("vpd", vec![node(), ("mtm", "M".to_owned()), ("serial", format!("S{n}")), uuid]));
        }
    }
    for (node, macs) in written {
        // A sequence makes nodes that were not there.
        let is_it = |cells: &[(&str, String)]| cells.first().is_some_and(|(_, name)| **name == **node);
        if !rows.iter().any(|(table, cells)| *table == "nodelist" && is_it(cells)) {
            rows.push(("nodelist", vec![("node", node.to_string()), ("groups", "all".to_owned())]));
        }
        let macs: Vec<String> = macs.iter().map(ToString::to_string).collect();
        rows.push(("mac", vec![("node", node.to_string()), ("mac", macs.join("|"))]));
    }
    let cells: Vec<Vec<(&str, &str)>> = rows
        .iter()
        .map(|(_, cells)| cells.iter().map(|(name, value)| (*name, value.as_str())).collect())
        .collect();
    Snapshot::from_rows(rows.iter().zip(&cells).map(|((table, _), cells)| (*table, cells.as_slice())))
}

fn fabric(drafts: &[Draft], directory: &Directory) -> Fabric {
    let mut table = SwitchTable::default();
    for n in 0..NODES {
        table.ports.insert(u32::from(n), Port { name: format!("swp{n}"), mtu: None, macs: 0 });
    }
    for (number, draft) in drafts.iter().enumerate() {
        let Some(port) = draft.port.map(u32::from) else { continue };
        table.places.insert(boot_mac(number), BTreeSet::from([Place { port, vlan: 1 }]));
        table.ports.get_mut(&port).unwrap().macs += 1;
    }
    let mut fabric = Fabric::default();
    fabric.learn(Duration::ZERO, "sw1", Answer::Tables(table), directory);
    fabric
}

/// What each machine got. `(machine, write)`: its packet comes, and then what was assigned is written or not.
fn play(drafts: &[Draft], order: &[(usize, bool)], is_sequential: bool) -> HashMap<usize, Text> {
    let mut written: BTreeMap<Text, Vec<MacAddr>> = BTreeMap::new();
    let mut given: HashMap<usize, Text> = HashMap::new();
    let mut desk = Desk::default();
    if is_sequential {
        let options = Options::of_words(["noderange=cn[0-9]"]).unwrap();
        desk.set_run(Some(Run::new(&snapshot(&written), options).unwrap()));
    }
    for (number, is_written) in order {
        let snapshot = snapshot(&written);
        let directory = Directory::of(&snapshot);
        let fabric = fabric(drafts, &directory);
        let around = Surroundings {
            snapshot: &snapshot,
            directory: &directory,
            fabric: &fabric,
            rules: &[],
            methods: &Method::ALL,
            needs_approval: false,
        };
        let machine = machine(*number, &drafts[*number]);
        let decision = desk.arrive(Duration::ZERO, &around, &Arrival { machine: &machine, from: None });
        let Verdict::Assign(assignment) = decision.verdict else { continue };
        let node = assignment.node;
        let before = given.insert(*number, node.clone());
        assert!(before.is_none_or(|before| before == node), "machine {number} has two nodes");
        let holders = given.values().filter(|other| **other == node).count();
        assert_eq!(holders, 1, "{node} has two machines: {given:?}");
        if *is_written {
            written.insert(node.clone(), machine.macs().collect());
            desk.release(&node);
            let macs: Vec<&MacAddr> = written.values().flatten().collect();
            let different: BTreeSet<&&MacAddr> = macs.iter().collect();
            assert_eq!(macs.len(), different.len(), "a MAC is on two nodes: {written:?}");
        }
    }
    given
}

/// Packets: which machine sends it, and whether its assignment is written at once.
type Packets = Vec<(usize, bool)>;

fn orders() -> impl Strategy<Value = (Vec<Draft>, Packets, Packets)> {
    proptest::collection::vec(draft(), 1..8).prop_flat_map(|drafts| {
        let packet = (0..drafts.len(), any::<bool>());
        let packets = || proptest::collection::vec(packet.clone(), 1..24);
        let (one, other) = (packets(), packets());
        (Just(drafts), one, other)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn evidence_gives_one_node_in_every_order((drafts, one, other) in orders()) {
        let (one, other) = (play(&drafts, &one, false), play(&drafts, &other, false));
        for (machine, node) in &one {
            prop_assert!(other.get(machine).is_none_or(|found| found == node), "{machine}: {one:?}, {other:?}");
        }
    }

    #[test]
    fn a_sequence_gives_no_name_twice((drafts, order, _) in orders()) {
        play(&drafts, &order, true);
    }
}

/// Two thousand machines at once, none of them written yet, each asking twice.
#[test]
fn a_storm_names_every_machine_once() {
    let options = Options::of_words(["noderange=n[1-2000]", "hostiprange=10.1.0.1-10.1.7.208"]).unwrap();
    let snapshot = Snapshot::empty();
    let directory = Directory::of(&snapshot);
    let fabric = Fabric::default();
    let around = Surroundings::usual(&snapshot, &directory, &fabric);
    let mut desk = Desk::default();
    desk.set_run(Some(Run::new(&snapshot, options).unwrap()));
    let mut given: HashMap<u16, (Text, std::net::Ipv4Addr)> = HashMap::new();
    for number in (0..2000_u16).chain((0..2000).rev()) {
        let [high, low] = number.to_be_bytes();
        let machine =
            Machine { nics: vec![Nic::new(MacAddr([2, 0, 0, 0, high, low]))], ..Machine::default() };
        let decision = desk.arrive(Duration::ZERO, &around, &Arrival { machine: &machine, from: None });
        let Verdict::Assign(assignment) = decision.verdict else {
            panic!("{number}: {:?}", decision.evidence)
        };
        let node = (assignment.node, assignment.grant.unwrap().host_ip.unwrap());
        assert!(given.insert(number, node.clone()).is_none_or(|before| before == node));
    }
    assert_eq!(given.values().map(|(node, _)| node).collect::<BTreeSet<_>>().len(), 2000);
    assert_eq!(given.values().map(|(_, ip)| ip).collect::<BTreeSet<_>>().len(), 2000);
}

/// A node and an address that the tables have lost are given again, before those that come after them.
#[test]
fn what_is_lost_is_given_again() {
    let mut snapshot = Snapshot::empty();
    let mut directory = Directory::of(&snapshot);
    let fabric = Fabric::default();
    let words = ["noderange=n[1-9]", "hostiprange=10.1.0.1-10.1.0.9", "bmciprange=10.2.0.1-10.2.0.9"];
    let run = Run::new(&snapshot, Options::of_words(words).unwrap()).unwrap();
    let mut desk = Desk::default();
    desk.set_run(Some(run.clone()));
    let mut seen = Vec::new();
    let lose: [(&str, &str); 3] = [("mac", "n2"), ("hosts", "n1"), ("ipmi", "n4")];
    for number in 1..=7_u8 {
        // After the fourth machine the tables lose one thing after the other.
        if let Some((table, node)) = number.checked_sub(5).and_then(|at| lose.get(usize::from(at))) {
            let edits = [Edit::delete(table, &[("node", node)]).unwrap()];
            directory.follow(&snapshot.with(&edits).unwrap(), &snapshot.preview(&edits).unwrap());
            snapshot = snapshot.with(&edits).unwrap();
        }
        let around = Surroundings::usual(&snapshot, &directory, &fabric);
        let machine = Machine { nics: vec![Nic::new(boot_mac(number.into()))], ..Machine::default() };
        let arrival = Arrival { machine: &machine, from: None };
        let Verdict::Assign(assignment) = desk.arrive(Duration::ZERO, &around, &arrival).verdict else {
            panic!("{number} gets nothing")
        };
        let edits = assign::edits(&snapshot, &machine, None, &assignment, Some(&run)).unwrap();
        directory.follow(&snapshot.with(&edits).unwrap(), &snapshot.preview(&edits).unwrap());
        snapshot = snapshot.with(&edits).unwrap();
        desk.release(&assignment.node);
        let grant = assignment.grant.unwrap();
        let last = |ip: Option<std::net::Ipv4Addr>| ip.map_or(0, |ip| ip.octets()[3]);
        seen.push(format!("{} {} {}", grant.node, last(grant.host_ip), last(grant.bmc_ip)));
    }
    assert_eq!(
        seen,
        ["n1 1 1", "n2 2 2", "n3 3 3", "n4 4 4", "n2 0 0", "n5 1 5", "n6 5 4"],
        "node, and the last numbers of its address and that of its BMC, 0 for the one that it has"
    );
}

/// A stranger who invents machines displaces invented ones, not the one that something is known of.
#[test]
fn the_queue_keeps_what_something_is_known_of() {
    let snapshot = snapshot(&BTreeMap::new());
    let directory = Directory::of(&snapshot);
    let fabric = Fabric::default();
    let around = Surroundings::usual(&snapshot, &directory, &fabric);
    let mut desk = Desk::default();
    let contradicting = Draft { port: None, serial: Some(2), uuid: Some(3), extra: None };
    let nothing = Draft { port: None, serial: None, uuid: None, extra: None };
    for (number, draft) in
        std::iter::once(&contradicting).chain(std::iter::repeat_n(&nothing, QUEUE_MAX + 40)).enumerate()
    {
        let machine = machine(number, draft);
        desk.arrive(Duration::ZERO, &around, &Arrival { machine: &machine, from: None });
    }
    let queue = desk.queue();
    assert_eq!((queue.waiting().len(), queue.dropped()), (QUEUE_MAX, 41));
    assert_eq!(queue.waiting()[0].machine, machine(0, &contradicting));
    assert!(
        queue.remove(&machine(QUEUE_MAX + 40, &nothing)).is_some() && queue.waiting().len() == QUEUE_MAX - 1
    );
}

/// Packets as large as they may be do not take memory without end, and machines that went away leave.
#[test]
fn the_queue_is_bounded_in_bytes_and_time() {
    let snapshot = Snapshot::empty();
    let directory = Directory::of(&snapshot);
    let fabric = Fabric::default();
    let around = Surroundings::usual(&snapshot, &directory, &fabric);
    let mut desk = Desk::default();
    let nothing = Draft { port: None, serial: None, uuid: None, extra: None };
    let mut arrive = |number: usize, now: Duration| {
        let machine = Machine { cputype: "x".repeat(200_000), ..machine(number, &nothing) };
        desk.arrive(now, &around, &Arrival { machine: &machine, from: None });
        let waiting = desk.queue().waiting();
        (waiting.len(), waiting.iter().map(|waiting| waiting.machine.bytes()).sum::<usize>())
    };
    let (_, held) = (0..200).map(|number| arrive(number, Duration::ZERO)).last().unwrap();
    assert!(held <= QUEUE_BYTES_MAX && held > QUEUE_BYTES_MAX / 2, "{held}");
    assert_eq!(arrive(200, WAITING_TIME).0, 1);
}
