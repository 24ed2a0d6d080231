//! Files that `tabdump` writes, and the audit of long commands.

use crate::testbed::Bed;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_file_is_replaced_as_a_whole_and_private() {
    let bed = Bed::new("passwd key=system password=S\npolicy priority=1 name=root rule=allow");
    let top = bed.directory.path();
    fs::write(top.join("old.csv"), "the old one").expect("a file");
    std::os::unix::fs::symlink("old.csv", top.join("link.csv")).expect("a link");
    assert_eq!(bed.run("tabdump -f link.csv passwd"), "");
    assert!(top.join("link.csv").is_symlink());
    assert_eq!(fs::metadata(top.join("old.csv")).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(top.join("old.csv")).expect("text").contains("system"));
    let directory = bed.run("tabdump -f . passwd");
    assert!(directory.contains("is not a regular file") && directory.contains("rc=1"), "{directory}");
    let missing = bed.run("tabdump -f no/such passwd");
    assert!(missing.contains("No such file or directory"), "{missing}");
    let left = fs::read_dir(top).expect("a list").flatten().filter(|e| e.file_name() != "hosts").count();
    assert_eq!(left, 2);
}

#[test]
fn a_long_command_is_audited() {
    let bed = Bed::new("policy priority=1 name=root rule=allow\nnodelist node=n1 groups=all");
    bed.run(&format!("chtab key=domain site.value={}", "x".repeat(200_000)));
    let rows = bed.run("tabdump auditlog");
    assert!(rows.contains("chtab") && rows.len() < 20_000, "{} bytes", rows.len());
}
