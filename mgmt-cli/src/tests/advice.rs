//! The errors for names that are not commands.

use crate::registry::registry;
use dawn_bootd::advice::ELSEWHERE;

#[test]
fn advice() {
    let registry = registry();
    let unknown = |name: &str| registry.unknown(name);
    for (name, part) in [
        ("nodesl", "'nodels'"),
        ("nodset", "'nodeset'"),
        ("tabdmp", "'tabdump'"),
        ("serv", "'serve'"),
        ("dumpxcatdb", "'dumpxCATdb'"),
        ("rpowr", "'rpower'"),
        ("runxcmd", "dawn xdsh"),
        ("lskit", "pkglist"),
        ("geninitrd", "initramfs"),
        ("winstall", "dawn rinstall"),
        ("bmcdiscover", "dawn events"),
        ("lshostkeys", "makeknownhosts"),
        ("wcons", "dawn rcons"),
        ("wvid", "dawn rcons"),
        ("qqqqqq", "`dawn help`"),
        ("x", "`dawn help`"),
    ] {
        assert!(unknown(name).to_string().contains(part), "{name}: {}", unknown(name));
    }
}

#[test]
fn nothing_that_exists_is_called_missing() {
    let mut names: Vec<&str> = ELSEWHERE.iter().flat_map(|(names, _)| *names).copied().collect();
    let registry = registry();
    for name in &names {
        assert!(registry.find(name).is_none(), "{name}");
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "each name has one hint");
}
