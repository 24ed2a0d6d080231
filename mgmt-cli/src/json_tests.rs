//! `--json`: which commands have it, and that what they print with it is one list.

use crate::registry::registry;
use crate::testbed::Bed;
use dawn_bootd::command::Kind;

const ROWS: &str = "
    policy priority=1 name=root rule=allow
    nodelist node=cn1 groups=compute
    nodelist node=cn2 groups=compute
    hosts node=cn1 ip=10.0.0.1
    mac node=cn1 mac=52:54:00:00:00:01
";

#[test]
fn every_command_that_prints_has_json() {
    for entry in registry().all().iter().filter(|entry| entry.kind != Kind::Local) {
        let command = (entry.clap)();
        let json = command.get_arguments().find(|arg| arg.get_long() == Some("json"));
        assert!(json.is_some_and(|json| !json.is_hide_set()), "{} has no --json", entry.name);
    }
}

#[test]
fn what_is_printed_is_one_list() {
    let bed = Bed::new(ROWS);
    for (line, count) in [
        ("nodels --json", 2),
        ("nodels cn1 mac.mac --json", 1),
        ("leases --json", 0),
        ("events --json", 0),
        ("explain cn1,cn2 --json", 2),
        ("nodeset compute stat --json", 2),
        ("lsdef -t node --json", 2),
    ] {
        let text = bed.run(line);
        let list: Vec<serde_json::Value> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
        assert_eq!(list.len(), count, "{line}: {text}");
    }
    // An error before the first result leaves no list.
    assert_eq!(bed.run("tabdump nosuch --json"), bed.run("tabdump nosuch"));
}
