//! Every command line of administrators' documents, run as written there on one cluster.
//!
//! `tests/documented_commands.txt` says of each line what this version does with it. The test runs the lines
//! in their order and writes the file again from what it saw, so a line that stops working, and one that
//! works while its mark says that it waits, both fail it.

use crate::testbed::{Bed, words};
use dawn_bootd::command::Kind;
use expect_test::expect_file;

/// What the documents take for granted.
const CLUSTER: &str = "
    policy priority=1 name=root rule=allow
    site key=master value=172.16.2.2
    site key=domain value=cluster
    site key=tftpdir value=/tftpboot
    nodelist node=cn-1 groups=all
    nodelist node=hpc3 groups=all
    nodelist node=bmc1 groups=all
    nodelist node=c1 groups=compute1,all
    nodelist node=c2 groups=compute2,all
    nodelist node=dmz1node1 groups=all
    nodelist node=sn1 groups=service,all
    nodelist node=sn2 groups=service,all
    nodelist node=sn3 groups=all
    litefile image=ALL file=/etc/resolv.conf options=tmpfs
    hosts node=dmz1node1 ip=172.16.2.31
    mac node=dmz1node1 mac=2a:2a:2a:2a:2a:03
    nodetype node=all os=alt arch=x86_64 profile=compute
    mac node=hpc3 mac=2a:2a:2a:2a:2a:01
    mac node=cn-1 mac=2a:2a:2a:2a:2a:02
    osimage imagename=alt-x86_64-netboot-compute provmethod=netboot osvers=alt osarch=x86_64 profile=compute imagetype=linux osname=Linux
    osimage imagename=alt-x86_64-statelite-compute provmethod=statelite osvers=alt osarch=x86_64 profile=compute imagetype=linux osname=Linux
    osimage imagename=alt-x86_64-install-kvm provmethod=install osvers=alt osarch=x86_64 profile=kvm imagetype=linux osname=Linux
    osimage imagename=alt-x86-statelite-compute provmethod=statelite osvers=alt osarch=x86 profile=compute imagetype=linux osname=Linux
    linuximage imagename=alt-x86_64-install-kvm otherpkglist=/kvm.pkglist
";

/// What this version does with a line; a mark for what it waits for stays as it is.
fn mark(bed: &Bed, present: &str, line: &str) -> String {
    // The part before a pipe or a redirection; variables before the command; its directory.
    let line = line.replace('"', "'");
    let line = line.split(" | ").next().and_then(|part| part.split(" > ").next()).unwrap_or_default();
    let line = ["<noderange>", "<node>", "noderange"]
        .iter()
        .fold(line.to_owned(), |line, name| line.replace(name, "node1"));
    let line = line.replace("XCATBYPASS=1 ", "");
    let (program, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let name = program.rsplit('/').next().unwrap_or_default();
    let reasons = ["waits for ", "refused: "];
    let explained = present == "system" || reasons.iter().any(|reason| present.starts_with(reason));
    let waits = if explained { present } else { "fails" };
    let Some(entry) = bed.registry.find(name) else { return waits.to_owned() };
    if present == "system" {
        return present.to_owned();
    }
    if entry.kind == Kind::Local || entry.sends_file {
        let words = words(rest);
        let asked = (entry.clap)().try_get_matches_from(std::iter::once(name.to_owned()).chain(words));
        return if asked.is_ok() { "accepted".to_owned() } else { waits.to_owned() };
    }
    // Its directories are made.
    let top = format!("{}/var", bed.directory.path().display());
    let rest = if name == "xcatconfig" { rest.replace("/var", &top) } else { rest.to_owned() };
    let output = bed.run(format!("{name} {rest}").trim());
    let failed = output.lines().last().is_some_and(|line| line.starts_with("rc="));
    if failed { waits.to_owned() } else { "answered".to_owned() }
}

#[test]
fn documented_commands() {
    let bed = Bed::new(CLUSTER);
    // The documents begin after the installation, which makes certificates.
    assert!(!bed.run("xcatconfig -c").contains("rc="));
    // And genimage has made the trees of the images.
    for image in ["alt-x86_64-statelite-compute", "alt-x86-statelite-compute"] {
        let top = bed.directory.path().join(image);
        std::fs::create_dir_all(top.join("rootimg/etc")).expect("a tree");
        let set = format!("chtab imagename={image} linuximage.rootimgdir={}", top.display());
        assert_eq!(bed.run(&set), "");
    }
    let file = include_str!("tests/documented_commands.txt");
    let mut seen = String::new();
    for line in file.lines() {
        match line.split_once(" | ").filter(|_| !line.starts_with('#')) {
            Some((present, line)) => seen.push_str(&format!("{} | {line}\n", mark(&bed, present, line))),
            None => seen.push_str(&format!("{line}\n")),
        }
    }
    expect_file!["tests/documented_commands.txt"].assert_eq(&seen);
}
