//! Switches as lists of rows: `OID VALUE` a line, `@VLAN` before a VLAN's own.

use std::collections::BTreeMap;

use super::{Cell, Reading, Row, SwitchTable};

fn read(text: &str) -> (SwitchTable, Vec<String>) {
    let mut rows: BTreeMap<(Option<u16>, Vec<u32>), Cell> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (vlan, words) = match words.as_slice() {
            [first, rest @ ..] if first.starts_with('@') => (first[1..].parse().ok(), rest),
            all => (None, all),
        };
        let name = words[0].split('.').map(|part| part.parse().unwrap()).collect();
        let cell = match words[1].split_once(':') {
            Some(("str", text)) => Cell::Bytes(text.as_bytes().to_vec()),
            Some(("mac", _)) => Cell::Bytes(vec![2, 0, 0, 0, 0, 1]),
            _ => Cell::Number(words[1].parse().unwrap()),
        };
        rows.insert((vlan, name), cell);
    }
    let mut reading = Reading::new(true);
    let mut walks = Vec::new();
    while let Some(need) = reading.need() {
        let root: Vec<String> = need.root.iter().map(u32::to_string).collect();
        walks.push(format!("{:?} {}", need.vlan, root.join(".")));
        let below = rows.iter().filter(|((vlan, _), _)| *vlan == need.vlan);
        let below: Vec<Row> = below
            .filter_map(|((_, name), cell)| {
                let index = name.strip_prefix(need.root)?.to_vec();
                Some(Row { index, cell: cell.clone() })
            })
            .collect();
        reading.take(&below);
    }
    (reading.finish(), walks)
}

/// `MAC port(vlan)`, sorted.
fn shown(table: &SwitchTable) -> Vec<String> {
    let mut lines: Vec<String> = table
        .places
        .iter()
        .flat_map(|(mac, places)| {
            places.iter().map(move |place| format!("{mac} {}({})", table.port_name(place.port), place.vlan))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn q_bridge() {
    let (table, _) = read(
        "1.3.6.1.2.1.31.1.1.1.1.1001 str:swp1
         1.3.6.1.2.1.31.1.1.1.1.1002 str:swp2
         1.3.6.1.2.1.2.2.1.4.1001 9000
         1.3.6.1.2.1.17.1.1.0 mac:
         1.3.6.1.2.1.17.1.4.1.2.1 1001
         1.3.6.1.2.1.17.1.4.1.2.2 1002
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.17 1
         1.3.6.1.2.1.17.7.1.2.2.1.2.6.2.0.0.0.0.17 1
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.18 2
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.1 2
         1.3.6.1.2.1.17.7.1.2.2.1.3.5.2.0.0.0.0.1 4
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.19 0
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.20 99
         1.3.6.1.2.1.17.7.1.2.2.1.2.5.2.0.0.0.0.300 1
         1.3.6.1.2.1.17.7.1.2.2.1.2.1.2.3 1",
    );
    assert_eq!(
        shown(&table),
        ["02:00:00:00:00:11 swp1(5)", "02:00:00:00:00:11 swp1(6)", "02:00:00:00:00:12 swp2(5)"]
    );
    assert_eq!(table.own.map(|mac| mac.to_string()).as_deref(), Some("02:00:00:00:00:01"));
    assert_eq!((table.ports[&1001].macs, table.ports[&1001].mtu), (1, Some(9000)));
}

#[test]
fn bridge_without_names_and_numbers_of_ports() {
    let (table, walks) = read(
        "1.3.6.1.2.1.2.2.1.2.7 str:Port7
         1.3.6.1.2.1.17.4.3.1.2.2.0.0.0.0.17 7",
    );
    assert_eq!(shown(&table), ["02:00:00:00:00:11 Port7(0)"]);
    assert!(!walks.iter().any(|walk| walk.starts_with("Some")));
}

#[test]
fn one_table_for_each_vlan() {
    let (table, walks) = read(
        "1.3.6.1.2.1.31.1.1.1.1.10101 str:Gi1/0/1
         1.3.6.1.2.1.31.1.1.1.1.10102 str:Gi1/0/2
         1.3.6.1.2.1.17.1.4.1.2.1 10101
         1.3.6.1.2.1.17.4.3.1.2.2.0.0.0.0.17 1
         1.3.6.1.4.1.9.9.68.1.2.2.1.2.10101 1
         1.3.6.1.4.1.9.9.68.1.2.2.1.2.10102 20
         1.3.6.1.4.1.9.9.46.1.6.1.1.5.10103 20
         1.3.6.1.4.1.9.9.46.1.6.1.1.5.10104 9999
         @20 1.3.6.1.2.1.17.1.4.1.2.1 10102
         @20 1.3.6.1.2.1.17.4.3.1.2.2.0.0.0.0.18 1",
    );
    assert_eq!(shown(&table), ["02:00:00:00:00:11 Gi1/0/1(0)", "02:00:00:00:00:12 Gi1/0/2(20)"]);
    assert_eq!(walks.iter().filter(|walk| walk.starts_with("Some(20)")).count(), 2);
}

#[test]
fn the_best_fit_counts_and_equal_ones_are_ambiguous() {
    let (table, _) = read(
        "1.3.6.1.2.1.31.1.1.1.1.1 str:5
         1.3.6.1.2.1.31.1.1.1.1.2 str:Gi1/0/5
         1.3.6.1.2.1.31.1.1.1.1.3 str:Gi1/0/6
         1.3.6.1.2.1.31.1.1.1.1.4 str:Gi2/0/6",
    );
    let named = |port: &str| table.ports_named(port).into_iter().collect::<Vec<u32>>();
    assert_eq!(named("5"), [1]);
    assert_eq!(named("6"), [3, 4]);
    assert_eq!(named("2/0/6"), [4]);
    assert!(named("7").is_empty());
}
