//! `--json`: which commands have it, and that what they print with it is one list.

use crate::registry::registry;
use crate::testbed::Bed;

const ROWS: &str = "
    policy priority=1 name=root rule=allow
    nodelist node=cn1 groups=compute
    nodelist node=cn2 groups=compute
    hosts node=cn1 ip=10.0.0.1
    mac node=cn1 mac=52:54:00:00:00:01
";

/// Commands whose output is a text as a whole: a script, a page, what an editor is about, a console.
const TEXTS: [&str; 5] = ["complete", "completions", "man", "rcons", "tabedit"];

#[test]
fn every_command_that_prints_has_json() {
    for entry in registry().all() {
        let command = (entry.clap)();
        let json = command.get_arguments().find(|arg| arg.get_long() == Some("json"));
        let has = json.is_some_and(|json| !json.is_hide_set());
        assert_eq!(has, !TEXTS.contains(&entry.name), "{}", entry.name);
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
        ("noderange compute --json", 2),
        ("gettab node=cn1 hosts.ip mac.mac --json", 1),
        ("gettab node=nosuch hosts.ip --json", 0),
        ("makedhcp -q cn1,cn2 --json", 2),
        ("tabdump nodelist --json", 2),
        ("tabdump -d nodelist --json", 13),
        ("log --json", 1),
        ("noderm cn2 --dry-run --json", 1),
        ("nodeadd cn1 groups=compute --dry-run --json", 0),
        ("noderm cn2 --json", 1),
        ("chdef cn1 arch=x86_64 --json", 1),
        ("getdestiny cn1 --json", 1),
        ("nextdestiny cn1 --json", 0),
        ("nodels -V --json", 1),
        ("lsxcatd -d --json", 1),
    ] {
        let text = bed.run(line);
        let list: Vec<serde_json::Value> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
        assert_eq!(list.len(), count, "{line}: {text}");
    }
    // An error before the first result leaves no list.
    assert_eq!(bed.run("tabdump nosuch --json"), bed.run("tabdump nosuch"));
}
