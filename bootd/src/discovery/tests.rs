//! What packets do to the tables, one after the other, without sockets.

use super::*;
use dawn_events::Bus;

/// Where packets come from: an address of nobody's here.
const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 255, 7));

struct Bed {
    discovery: Discovery,
    bus: Arc<Bus>,
}

impl std::ops::Deref for Bed {
    type Target = Discovery;

    fn deref(&self) -> &Discovery {
        &self.discovery
    }
}

fn discovery(rows: &[(&str, &[(&str, &str)])]) -> Bed {
    let model = Arc::new(Model::in_memory().unwrap());
    let edits = rows.iter().map(|(table, cells)| {
        let (key, values) = cells.split_first().unwrap();
        Edit::set(table, &[*key], values).unwrap()
    });
    model.apply(Change::new("root", "test", edits.collect())).unwrap();
    let bus = Arc::new(Bus::default());
    let watcher = Watcher::new(Arc::clone(&model), Arc::clone(&bus));
    Bed { discovery: Discovery::new(model, Arc::new(watcher)), bus }
}

fn taken(last: u8, elements: &str, is_second: bool) -> Taken {
    let packet = format!(
        "<xcatrequest>\n<command>findme</command>\n<arch>x86_64</arch>\n{elements}\n\
         <mac>virtio_net|eno1|02:00:00:00:00:0{last}|</mac>\n</xcatrequest>\n"
    );
    Taken { from: FROM, packet: packet.into_bytes(), is_second }
}

fn look(discovery: &Discovery, taken: Taken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    discovery.look(&runtime, taken);
}

fn cell(discovery: &Discovery, node: &str, column: dawn_cluster::Col) -> String {
    discovery.model.snapshot().attr(node, column).map(|text| text.to_string()).unwrap_or_default()
}

fn rows(discovery: &Discovery) -> Vec<(String, String, String)> {
    let snapshot = discovery.model.snapshot();
    let all = snapshot.rows("discoverydata").map(|row| {
        let text = |column| row.get(column).map(ToString::to_string).unwrap_or_default();
        use col::discoverydata::{METHOD, NODE, UUID};
        (text(UUID), text(NODE), text(METHOD))
    });
    all.collect()
}

fn row(uuid: &str, node: &str, method: &str) -> (String, String, String) {
    (uuid.to_owned(), node.to_owned(), method.to_owned())
}

const NODE: [(&str, &[(&str, &str)]); 2] =
    [("nodelist", &[("node", "cn1"), ("groups", "all")]), ("hosts", &[("node", "cn1"), ("ip", "10.1.0.11")])];

/// A packet that was put back is of a machine that an administrator has made a node meanwhile: it is not
/// found a second time. Its next packets change the inventory and nothing else.
#[test]
fn a_machine_is_found_once() {
    let discovery = discovery(&NODE);
    let machine = "<uuid>u-1</uuid>";
    look(&discovery, taken(1, machine, false));
    assert_eq!(rows(&discovery), [row("u-1", "", "undef")]);
    discovery.define("root", "u-1", "cn1").unwrap();
    assert_eq!(rows(&discovery), [row("u-1", "cn1", "manual")]);
    let before = discovery.model.snapshot().seq();
    look(&discovery, taken(1, machine, true));
    assert_eq!(discovery.model.snapshot().seq(), before);

    look(&discovery, taken(1, "<uuid>u-1</uuid>\n<memory>64GB</memory>\n<bmc>10.9.9.9</bmc>", false));
    assert_eq!(rows(&discovery), [row("u-1", "cn1", "manual")]);
    assert_eq!(cell(&discovery, "cn1", col::hwinv::MEMORY), "64GB");
    assert_eq!(cell(&discovery, "cn1", col::ipmi::BMC), "");
}

/// A machine with a MAC of one node and the serial number of another becomes neither, and the first node has
/// an event with both pieces of evidence.
#[test]
fn a_known_mac_among_other_evidence_is_an_event() {
    let others: [(&str, &[(&str, &str)]); 3] = [
        ("mac", &[("node", "cn1"), ("mac", "02:00:00:00:00:01")]),
        ("nodelist", &[("node", "cn2"), ("groups", "all")]),
        ("vpd", &[("node", "cn2"), ("mtm", "T100"), ("serial", "SN2")]),
    ];
    let discovery = discovery(&[&NODE[..], &others[..]].concat());
    for _ in 0..3 {
        look(&discovery, taken(1, "<mtm>T100</mtm>\n<serial>SN2</serial>", false));
    }
    let events: Vec<String> = discovery.bus.of("cn1").into_iter().map(|event| event.detail).collect();
    assert_eq!(
        events,
        [
            "a machine at 10.1.255.7 is not taken for this node: mac: cn1: the MAC 02:00:00:00:00:01 is in the \
          tables; mtms: cn2: machine type and serial number (vpd)"
        ]
    );
    assert_eq!(cell(&discovery, "cn2", col::mac::MAC), "");
}

/// Addresses that no node can have are passed over, for the node and for its BMC.
#[test]
fn a_range_with_addresses_of_nobody() {
    let range =
        "noderange=dn[1-2],hostiprange=10.1.0.0-10.1.0.3,bmciprange=10.1.0.0-10.1.0.9,skipbmcsetup=yes";
    let site = [("key", SITE_KEY), ("value", range)];
    let network = [("net", "10.1.0.0"), ("mask", "255.255.0.0"), ("mgtifname", "eth1")];
    let master = [("key", "master"), ("value", "10.1.0.1")];
    let discovery = discovery(&[("site", &master)]);
    let edits = vec![
        Edit::set("networks", &network[..2], &network[2..]).unwrap(),
        Edit::set("site", &site[..1], &site[1..]).unwrap(),
    ];
    discovery.model.apply(Change::new("root", "test", edits)).unwrap();
    for last in 1..=3 {
        look(&discovery, taken(last, &format!("<uuid>u-{last}</uuid>"), false));
    }
    let of = |node| (cell(&discovery, node, col::hosts::IP), cell(&discovery, node, col::ipmi::BMC));
    assert_eq!(of("dn1"), ("10.1.0.2".into(), "10.1.0.3".into()));
    assert_eq!(of("dn2"), (String::new(), String::new()));
    let waiting = discovery.waiting();
    assert_eq!(waiting.len(), 2);
    assert!(waiting[0].reason.ends_with("no address of the range is free"), "{}", waiting[0].reason);
}

/// What the tables refuse is in the queue, with the reason.
#[test]
fn a_refused_assignment_waits() {
    let range = "noderange=dn1,hostiprange=10.1.0.5-10.1.0.9,groups=^x";
    let discovery = discovery(&[("site", &[("key", SITE_KEY), ("value", range)])]);
    look(&discovery, taken(1, "<uuid>u-1</uuid>", false));
    let waiting = discovery.waiting();
    assert_eq!(waiting.len(), 1);
    let reason = &waiting[0].reason;
    assert!(reason.starts_with("it would become dn1, which the tables refuse: "), "{reason}");
    assert_eq!(waiting[0].nodes, ["dn1"]);
    assert_eq!(rows(&discovery), [row("u-1", "", "undef")]);
    assert!(!discovery.model.snapshot().has_node("dn1"));
}

/// Machines that share a UUID are approved one by one.
#[test]
fn machines_of_one_uuid_wait_each() {
    let discovery = discovery(&NODE);
    for last in [1, 2] {
        look(&discovery, taken(last, "<uuid>u-1</uuid>", false));
    }
    let waiting: Vec<String> = discovery.waiting().into_iter().map(|waiting| waiting.uuid).collect();
    assert_eq!(waiting, ["u-1", "u-1-020000000002"]);
    discovery.forget(&discovery.model.snapshot(), &["u-1".to_owned()]);
    assert_eq!(discovery.waiting()[0].uuid, "u-1-020000000002");
    look(&discovery, taken(1, "<uuid>u-1</uuid>", false));
    discovery.define("root", "u-1-020000000002", "cn1").unwrap();
    assert_eq!(cell(&discovery, "cn1", col::mac::MAC), "02:00:00:00:00:02");
    let waiting: Vec<String> = discovery.waiting().into_iter().map(|waiting| waiting.uuid).collect();
    assert_eq!(waiting, ["u-1"]);
}

/// A node that a range defines has its status from the first moment on; the machine that comes too late is
/// told apart from one that nothing fits.
#[test]
fn a_range_that_is_used_up() {
    let site = ("site", [("key", SITE_KEY), ("value", "noderange=dn[9-10],hostiprange=10.1.0.9-10.1.0.10")]);
    let discovery = discovery(&[(site.0, &site.1)]);
    for last in 1..=3 {
        look(&discovery, taken(last, &format!("<uuid>u-{last}</uuid>"), false));
    }
    let of = |node| (cell(&discovery, node, col::hosts::IP), cell(&discovery, node, col::nodelist::STATUS));
    assert_eq!(of("dn9"), ("10.1.0.9".into(), "discovered".into()));
    assert_eq!(of("dn10"), ("10.1.0.10".into(), "discovered".into()));
    let waiting = discovery.waiting();
    assert_eq!(waiting.len(), 1);
    let reason = "nothing in the tables fits this machine; all nodes of the range have a machine";
    assert_eq!(waiting[0].reason, reason);
    assert_eq!(discovery.model.snapshot().site(SITE_KEY), None);
}
