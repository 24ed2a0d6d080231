//! Times and memory of the model alone: `cargo run --release -p dawn-cluster --example measure -- 10000`.
//!
//! A cluster of that many nodes with groups, templates and a MAC address each is made in a temporary
//! directory.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measuring program reads its arguments and may stop"
)]

use dawn_cluster::{Assign, Change, Col, Edit, Model, Noderange, Selection, Text, object_type};
use std::time::Instant;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    println!("{what:<44} {:>9.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    value
}

/// Resident memory, MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn node_edits(n: usize) -> [Edit; 3] {
    let name = format!("cn{n:06}");
    let mac = format!("52:54:{:02x}:{:02x}:{:02x}:00", n >> 16 & 255, n >> 8 & 255, n & 255);
    let groups = format!("rack{},compute,all", n / 40);
    [
        Edit::set("nodelist", &[("node", &name)], &[("groups", &groups)]).unwrap(),
        Edit::set("mac", &[("node", &name)], &[("mac", &mac)]).unwrap(),
        Edit::set(
            "nodepos",
            &[("node", &name)],
            &[("rack", &(n / 40).to_string()), ("u", &(n % 40).to_string())],
        )
        .unwrap(),
    ]
}

fn shared() -> Vec<Edit> {
    let set = |table, node, cells: &[(&str, &str)]| Edit::set(table, &[("node", node)], cells).unwrap();
    vec![
        set("hosts", "compute", &[("ip", "|10.($1/65536).(($1/256)%256).($1%256)|")]),
        set(
            "nodehm",
            "compute",
            &[("mgt", "ipmi"), ("serialport", "0"), ("serialspeed", "115200"), ("cons", "ipmi")],
        ),
        set("ipmi", "compute", &[("bmc", r"/\z/-bmc/"), ("username", "admin"), ("password", "x")]),
        set("noderes", "all", &[("netboot", "xnba"), ("installnic", "mac"), ("nfsserver", "<xcatmaster>")]),
        set(
            "nodetype",
            "all",
            &[("os", "debian12"), ("arch", "x86_64"), ("profile", "compute"), ("provmethod", "img")],
        ),
        set("chain", "all", &[("chain", "osimage=img"), ("currstate", "netboot")]),
        set("postscripts", "all", &[("postscripts", "syslog,remoteshell")]),
    ]
}

fn main() {
    let count: usize = std::env::args().nth(1).map_or(10_000, |n| n.parse().unwrap());
    println!("{count} nodes");
    let directory = tempfile::tempdir().unwrap();
    let model = Model::open(directory.path()).unwrap();
    model.apply(Change::new("root", "shared", shared())).unwrap();
    let edits: Vec<Edit> = (1..=count).flat_map(node_edits).collect();
    timed("nodes made (three tables, durable)", || {
        model.apply(Change::new("root", "nodeadd", edits)).unwrap()
    });
    drop(model);
    let model = timed("opened and loaded", || Model::open(directory.path()).unwrap());
    println!("{:<44} {:>9} MiB", "resident after loading", resident_mib());
    let snapshot = model.snapshot();
    let kind = object_type("node").unwrap();
    let lines = timed("every node with all attributes", || {
        let all = Selection::all(kind);
        snapshot.node_names().map(|n| snapshot.select(&all, n).unwrap().attrs.len()).sum::<usize>()
    });
    println!("{:<44} {lines:>9} values", "");
    timed("every node with mac and ip", || {
        let wanted = Selection::of(kind, &["mac", "ip"]);
        snapshot.node_names().map(|n| snapshot.select(&wanted, n).unwrap().attrs.len()).sum::<usize>()
    });
    timed("noderange compute,-rack1", || snapshot.noderange("compute,-rack1").unwrap().nodes.len());
    timed("noderange of 100,000 names, unverified", || {
        Noderange::new("x[000001-100000]").unverified().expand(&snapshot).unwrap().nodes.len()
    });
    timed("noderange nodehm.mgt==ipmi", || snapshot.noderange("nodehm.mgt==ipmi").unwrap().nodes.len());
    let names: Vec<Text> = snapshot.node_names().cloned().collect();
    timed("10,000 lookups by MAC", || {
        (1..=10_000)
            .filter(|n| {
                snapshot
                    .node_by_mac(dawn_cluster::MacAddr([
                        0x52,
                        0x54,
                        (n >> 16) as u8,
                        (n >> 8) as u8,
                        *n as u8,
                        0,
                    ]))
                    .is_some()
            })
            .count()
    });
    timed("first lookup by inherited IP", || snapshot.node_by_ip("10.0.0.7".parse().unwrap()));
    timed("10,000 lookups by IP", || {
        (1..=10_000u32)
            .filter(|n| snapshot.node_by_ip(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()).is_some())
            .count()
    });
    timed("chdef of all nodes, planned and durable", || {
        let assigns = [("currchain".to_owned(), Assign::Set("boot".into()))];
        model.transact(Change::new("root", "chdef", vec![]), |now| {
            let edits = names.iter().flat_map(|n| now.set_object(kind, n, &assigns, false).edits).collect();
            Ok::<_, dawn_cluster::ModelError>((edits, ()))
        })
    })
    .unwrap();
    let status = Col::known("nodelist.status");
    timed("1,000 status changes, one after another", || {
        for name in names.iter().take(1000) {
            let edits = vec![Edit::set_node(name.clone(), status, "booting").unwrap()];
            model.apply(Change::quiet("node", "status", edits)).unwrap();
        }
    });
    timed("1,600 status changes by 64 at once", || {
        std::thread::scope(|scope| {
            for part in names.chunks(25).take(64) {
                let model = &model;
                scope.spawn(move || {
                    for name in part {
                        let edits = vec![Edit::set_node(name.clone(), status, "booted").unwrap()];
                        model.apply(Change::quiet("node", "status", edits)).unwrap();
                    }
                });
            }
        });
    });
    let groups = Col::known("nodelist.groups");
    timed("100 nodes regrouped, one after another", || {
        for name in names.iter().take(100) {
            let list = format!("{},moved", snapshot.groups_text(name).unwrap_or_default());
            let edits = vec![Edit::set_node(name.clone(), groups, list).unwrap()];
            model.apply(Change::new("root", "group", edits)).unwrap();
        }
    });
    timed("template of a group, all its nodes checked", || {
        let edits = vec![Edit::set("mac", &[("node", "moved")], &[("interface", "eth0")]).unwrap()];
        model.apply(Change::new("root", "chdef", edits)).unwrap();
        let edits = vec![
            Edit::set("hosts", &[("node", "compute")], &[("ip", "|10.9.(($1)/250).(($1)%250+1)|")]).unwrap(),
        ];
        model.apply(Change::new("root", "chdef", edits))
    })
    .unwrap();
    drop(snapshot);
    println!("{:<44} {:>9} MiB", "resident at the end", resident_mib());
}
