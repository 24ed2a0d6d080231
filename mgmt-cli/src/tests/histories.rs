//! Whole sequences of commands: help of all, histories, backups, texts in other scripts.

use super::CLUSTER;

/// For every command `-v` is handled before operands are demanded; a command that needs some shows its usage.
#[test]
fn every_command_has_a_version_and_a_usage() {
    use dawn_bootd::command::{Kind, VERSION};
    let bed = crate::testbed::Bed::new(CLUSTER);
    for entry in bed.registry.all().iter().filter(|entry| entry.kind != Kind::Local) {
        let name = entry.name;
        // Of these -v is something else.
        let other = ["imgexport", "imgimport", "nbcreate", "xdcp", "xdsh"].contains(&name);
        for word in ["-v", "--version", "-version"] {
            let text = bed.run(&format!("{name} {word}"));
            assert!(text.contains(VERSION) || other && word != "--version", "{name} {word}: {text}");
        }
        if (entry.clap)().get_positionals().any(|arg| arg.is_required_set()) {
            let text = bed.run(name);
            assert!(text.starts_with("Usage: ") && text.ends_with("\nrc=1\n"), "{name}: {text}");
            assert!(!text.contains("Error"), "{name}: {text}");
        }
    }
}

/// The history of a node outlives it, and a change that several rows of a restore made is taken back at once.
#[test]
fn a_node_that_is_gone_has_a_history() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("chdef cn1 arch=x86_64");
    bed.run("noderm cn2");
    let commands = |range: &str| -> Vec<String> {
        let text = bed.run(&format!("log -s {range}"));
        text.lines().filter_map(|line| line.split_once(": ").map(|(_, command)| command.to_owned())).collect()
    };
    assert_eq!(commands("cn2"), ["rows", "noderm cn2"]);
    assert_eq!(commands("cn1,cn2"), ["rows", "chdef cn1 arch=x86_64", "noderm cn2"]);
    assert_eq!(commands("never"), ["[mn1]: there is no node never, and no change of one is logged"]);
}

/// The log of some nodes shows their rows; rows and cells are data in JSON.
#[test]
fn the_log_of_a_node_has_its_rows() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("chdef cn1,cn2 arch=x86_64");
    let text = bed.run("log -n 1 cn1");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "    + nodetype cn1",
            "        node: (not set) -> \"cn1\"",
            "        arch: (not set) -> \"x86_64\"",
            "    and one other row",
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&bed.run("log --json -n 1 cn1")).expect("JSON");
    let change = json.get(0).expect("a change");
    assert_eq!(change.get("other_rows"), Some(&1.into()));
    assert_eq!(change.pointer("/rows/0/table"), Some(&"nodetype".into()));
    assert_eq!(change.pointer("/rows/0/cells/1/new"), Some(&"x86_64".into()));
}

/// The usual backup, `lsdef -a -z >f; mkdef -z -f <f`, changes nothing, in any order of its stanzas.
#[test]
fn a_backup_by_stanzas_changes_nothing() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("mkdef -t group -o tg members=cn2");
    bed.run("mkdef -t group -o dyn -d -w mgt==ipmi");
    bed.run("chdef cn1 usercomment='Köln €\n  second line: \"x\"\n'");
    bed.run("nodech cn2 nodelist.comments=' \"quoted\" '");
    let seen = || (bed.run("lsdef -a -z"), bed.run("tabdump nodelist"), bed.run("tabdump nodegroup"));
    let before = seen();
    let (comment, body) = before.0.split_once('\n').expect("lines");
    let mut stanzas: Vec<&str> = body.split("\n\n").collect();
    let count = stanzas.len();
    assert!(count > 5, "{body}");
    for turn in 0..count {
        let text = format!("{comment}\n{}\n", stanzas.join("\n\n"));
        let done = bed.run_with("mkdef -z -f", Some(&text));
        assert!(done.ends_with("have been created or modified.\n"), "{done}");
        assert_eq!(seen(), before, "turn {turn}");
        if turn % 2 == 0 { stanzas.reverse() } else { stanzas.rotate_left(1) }
    }
    for group in ["tg", "compute", "dyn"] {
        let text = bed.run(&format!("lsdef -z -t group {group}"));
        bed.run_with("mkdef -z -f", Some(&text));
        assert_eq!(seen(), before, "{group}");
    }
}

/// Text beyond ASCII is stored as it was given.
#[test]
fn text_is_utf8() {
    let bed = crate::testbed::Bed::new(CLUSTER);
    bed.run("chdef cn1 usercomment='Köln €'");
    assert_eq!(bed.run("lsdef cn1 -i usercomment -c"), "cn1: usercomment=Köln €\n");
    let table = bed.run("tabdump nodelist");
    bed.run_with("tabrestore nodelist.csv", Some(&table.replace("Köln", "Zürich")));
    assert_eq!(bed.run("nodels cn1 nodelist.comments"), "cn1: Zürich €\n");
    // What a client puts on the wire arrives.
    let request = dawn_xcatd::Request {
        command: "nodech".into(),
        args: vec!["nodelist.comments=Øl 🦀".into()],
        noderange: Some("cn1".into()),
        ..Default::default()
    };
    let text = request.to_xml();
    assert!(text.is_ascii(), "{text}");
    let element = text.trim().trim_start_matches("<xcatrequest>").trim_end_matches("</xcatrequest>");
    bed.run_xml(element);
    assert_eq!(bed.run("nodels cn1 nodelist.comments"), "cn1: Øl 🦀\n");
}
