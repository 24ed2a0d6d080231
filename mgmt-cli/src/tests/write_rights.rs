//! What callers other than root may write, by any command: see `dawn_bootd::write_rights`.

use super::CLUSTER;
use crate::testbed::Bed;
use dawn_cluster::schema;

/// A cluster in which bob2 may do everything, and alice everything for cn1.
fn cluster(rows: &str) -> Bed {
    Bed::new(&format!(
        "{CLUSTER}
        policy priority=6 name=bob2 rule=allow
        policy priority=6.5 name=alice noderange=cn1 rule=allow
        {rows}"
    ))
}

/// The daemon starts the programs in `notification`: neither commands nor elements nor the log can add a row.
#[test]
fn only_root_writes_what_the_daemon_starts() {
    let bed = cluster("notification filename=/bin/false tables=hosts tableops=a");
    bed.run("chtab -d filename=/bin/false notification");
    let table = Some("#filename,tables,tableops,comments,disable\n\"/x\",\"nodelist\",\"a,u,d\",,\n");
    let stanza = Some("/x:\n  objtype=notification\n  tables=nodelist\n  tableops=a\n");
    let before = bed.run("tabdump notification");
    for (line, stdin) in [
        ("chtab filename=/x notification.tables=nodelist notification.tableops=a,u,d", None),
        ("chtab --dry-run filename=/x notification.tables=nodelist", None),
        ("tabch filename=/x notification.tables=nodelist notification.tableops=a", None),
        ("mkdef -t notification -o /x tables=nodelist tableops=a", None),
        ("chdef -t notification -o /x tables=nodelist tableops=a", None),
        ("mkdef -z", stanza),
        ("tabrestore -a notification.csv", table),
        ("tabrestore notification.csv", table),
        ("undo", None),
        ("undo --dry-run", None),
        ("undo 2", None),
    ] {
        for user in ["bob2", "alice"] {
            let answer = bed.run_as(line, stdin, Some(user), None);
            assert!(answer.contains("Permission denied"), "{user}: {line}: {answer}");
            assert_eq!(bed.run("tabdump notification"), before, "{user}: {line}");
        }
    }
    let elements = "<command>setAttribs</command><table>notification</table>\
                    <keys><filename>/x</filename></keys>\
                    <attr><tables>nodelist</tables><tableops>a</tableops></attr>";
    assert!(bed.xml_for(elements, Some("bob2"), None).contains("Permission denied"));
    assert_eq!(bed.run("tabdump notification"), before);
    assert_eq!(bed.run("chtab filename=/x notification.tables=nodelist notification.tableops=a"), "");
    for line in ["unregnotif /x", "chtab -d filename=/x notification", "rmdef -t notification -o /x"] {
        let answer = bed.run_as(line, None, Some("bob2"), None);
        assert!(answer.contains("Permission denied"), "{line}: {answer}");
    }
}

/// Every column of every table of nodes: a limited user fills those that are listed as harmless only.
#[test]
fn a_limited_user_fills_harmless_columns_only() {
    let bed = cluster("");
    let protected = [
        "nodech cn1 nodehm.mgt=qemu",
        "nodech cn1 nodehm.power=qemu",
        "nodech cn1 vm.cfgstore=/run/dawn/qemu/cn2.qmp",
        "chdef cn1 vmcfgstore=/run/dawn/qemu/cn2.qmp",
        "chtab node=cn1 vm.cfgstore=/x",
        "nodech cn1 switch.switch=10.9.5.1 switch.port=3",
        "chtab node=cn1,switch=10.9.5.1,port=3 switch.vlan=1",
        "nodech cn1 mp.id=7",
        "nodech cn1 vpd.uuid=u-1",
        "nodech cn1 servicenode.nameserver=2",
        "nodech cn1 nodelist.zonename=other",
        "nodech cn1 mic.host=cn2",
        "nodech cn1 ipmi.bmc=10.1.0.9",
        "nodech cn1 chain.ondiscover=noderm",
        "nodech cn1 chain.currstate=ondiscover=nodech:ipmi.bmc=10.9.9.9",
        "chdef cn1 chain=shell,ondiscover=noderm:",
        "nodeset cn1 ondiscover=noderm:,shell",
    ];
    for line in protected {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("Permission denied"), "{line}: {answer}");
    }
    for line in protected {
        assert!(!bed.run_as(line, None, Some("bob2"), None).contains("Permission denied"), "{line}");
    }
    for line in [
        "nodech cn1 vm.memory=4096 nodepos.rack=7 nodehm.serialport=0 postscripts.postscripts=mine",
        "nodech cn1 vm.comments=mine",
        "chdef cn1 provmethod=img arch=x86_64",
    ] {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(!answer.contains("Permission denied"), "{line}: {answer}");
    }
    // What an administrator has switched off stays so.
    bed.run("chtab node=cn1 vm.cfgstore=/old vm.disable=1");
    let answer = bed.run_as("nodech cn1 vm.disable=0", None, Some("alice"), None);
    assert!(answer.contains("Permission denied"), "{answer}");
    // Each column, also those that are added to the schema later: what was written is listed.
    let bed = cluster("");
    let mut written = 0;
    for table in schema().tables().iter().filter(|table| table.is_node_table) {
        for col in table.cols().filter(|col| Some(*col) != table.node_col()) {
            let answer = bed.run_as(&format!("nodech cn1 {col}=7"), None, Some("alice"), None);
            written += usize::from(answer.is_empty() && !matches!(col.name(), "comments" | "disable"));
        }
    }
    assert!((20..=90).contains(&written), "{written} columns were written");
}

/// What a user may not write for a node does not come by a group, either.
#[test]
fn a_limited_user_joins_no_group_that_drives_machines() {
    let bed = cluster(
        "vm node=machines host=hv9
        nodepos node=rack7 rack=7",
    );
    let groups = bed.run("nodels cn1 groups").replace("cn1: ", "");
    let (groups, before) = (groups.trim(), bed.run("tabdump nodelist"));
    for line in [
        format!("nodech cn1 groups={groups},machines"),
        "nodech cn1 groups,=machines".to_owned(),
        format!("chdef cn1 groups=machines,{groups}"),
    ] {
        let answer = bed.run_as(&line, None, Some("alice"), None);
        assert!(answer.contains("would get vm.host from a group"), "{line}: {answer}");
        assert_eq!(bed.run("tabdump nodelist"), before, "{line}");
    }
    assert_eq!(bed.run_as("nodech cn1 groups,=rack7", None, Some("alice"), None), "");
}

/// Users whom a rule limits to a group may not change the membership of that group.
#[test]
fn a_limited_user_does_not_change_which_rules_hold() {
    let bed = cluster(
        "policy priority=5.2 name=alice commands=rpower noderange=critical rule=deny
        policy priority=5.5 name=alice commands=tabgrep noderange=grpP rule=allow
        policy priority=5.6 name=alice commands=tabgrep noderange=rack7 rule=allow
        nodegroup groupname=rack7 grouptype=dynamic wherevals=rack==7
        nodelist node=cn1 groups=all,compute,critical",
    );
    for line in [
        "nodech cn1 groups=all,compute",
        "nodech cn1 groups^=critical",
        "chdef cn1 groups=all,lab",
        "nodech cn1 groups,=grpP",
        "chdef -p cn1 groups=grpP",
        "nodech cn1 nodepos.rack=7",
        "noderm cn1",
        "rmdef -t node cn1",
    ] {
        let before = bed.run("tabdump nodelist");
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("for which nodes rules of the policy hold"), "{line}: {answer}");
        assert_eq!(bed.run("tabdump nodelist"), before, "{line}");
    }
    for line in ["nodech cn1 groups=all,lab,critical", "nodech cn1 nodepos.rack=8"] {
        assert_eq!(bed.run_as(line, None, Some("alice"), None), "", "{line}");
    }
}

/// `undo` makes only changes that the caller may make otherwise, and restores no rights that root took away.
#[test]
fn undo_needs_the_right_to_what_it_takes_back() {
    let bed = cluster("policy priority=10 name=eve rule=allow");
    bed.run_as("chdef cn1 usercomment=eves", None, Some("eve"), None);
    bed.run("chtab priority=10 policy.commands=undo,log");
    let rights = bed.run("tabdump policy");
    for line in ["undo", "undo 3", "undo --dry-run"] {
        let answer = bed.run_as(line, None, Some("eve"), None);
        assert!(answer.contains("only root takes back"), "{line}: {answer}");
        assert_eq!(bed.run("tabdump policy"), rights);
    }
    let answer = bed.run_as("undo 2", None, Some("eve"), None);
    assert!(answer.contains("policy does not allow you chdef"), "{answer}");
    // The undo of an undo is the command again.
    assert!(bed.run("undo 2").contains("is undone"));
    let answer = bed.run_as("undo 4", None, Some("eve"), None);
    assert!(answer.contains("policy does not allow you chdef"), "{answer}");
    assert!(bed.run_as("undo 4", None, Some("bob2"), None).contains("is undone"));
}

/// A variable in another user's row is replaced only by what administrators or an image choose.
#[test]
fn variables_of_directories_are_not_the_nodes_owners() {
    let bed = cluster("litetree priority=1 directory=10.0.0.9:/srv/tree/$nodetype.profile");
    for line in ["nodech cn1 nodetype.profile=.", "chdef cn1 profile=cn2", "nodech cn1 nodetype.profile="] {
        bed.run("nodech cn1 nodetype.profile=web");
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("part of a directory in litetree"), "{line}: {answer}");
    }
    let image = "nodech cn1 nodetype.provmethod=img nodetype.profile=compute";
    assert_eq!(bed.run_as(image, None, Some("alice"), None), "");
}

/// An image is not this machine's own system.
#[test]
fn directories_of_the_system_are_not_images() {
    let bed = cluster("");
    for dir in ["/", "/etc", "/etc/ssh", "/root", "/proc"] {
        for line in [
            format!("chdef -t osimage img rootimgdir={dir}"),
            format!("chtab imagename=img linuximage.rootimgdir={dir}"),
        ] {
            let answer = bed.run(&line);
            assert!(answer.contains("name a directory for nodes"), "{line}: {answer}");
        }
    }
    assert_eq!(bed.run("chtab imagename=img linuximage.rootimgdir=/srv/etc"), "");
    // A checkout below /root has its images there.
    bed.run("chtab key=installdir site.value=/root/dawn/install");
    for (dir, is_refused) in [
        ("/root/dawn/install/netboot/img", false),
        ("/root/dawn/install", false),
        ("/root/dawn/installs/img", true),
        ("/root/dawn", true),
        ("/root/dawn/install/../../.ssh", true),
        ("/etc/img", true),
    ] {
        let answer = bed.run(&format!("chtab imagename=img linuximage.rootimgdir={dir}"));
        assert_eq!(answer.contains("Error"), is_refused, "{dir}: {answer}");
    }
}

/// A node goes and comes back without its protected columns otherwise.
#[test]
fn a_limited_user_takes_no_protected_column_away() {
    let bed = cluster(
        "ipmi node=cn1 bmc=10.9.0.1
        statelite node=cn1 statemnt=10.0.0.254:/state",
    );
    let before = ["ipmi", "statelite", "nodelist"].map(|table| bed.run(&format!("tabdump {table}")));
    for line in [
        "rmdef cn1",
        "rmdef -t node -o cn1",
        "noderm cn1",
        "nodech cn1 ipmi.bmc=",
        "chdef cn1 bmc=",
        "chtab node=cn1 ipmi.bmc=",
        "chtab -d node=cn1 ipmi",
        "chtab -d node=cn1 statelite",
    ] {
        let answer = bed.run_as(line, None, Some("alice"), None);
        assert!(answer.contains("Permission denied"), "{line}: {answer}");
        let after = ["ipmi", "statelite", "nodelist"].map(|table| bed.run(&format!("tabdump {table}")));
        assert_eq!(after, before, "{line}");
    }
    bed.run("chtab -d node=cn1 statelite");
    bed.run("chtab -d node=cn1 ipmi");
    bed.run("chtab -d node=cn1 noderes");
    bed.run("chtab -d node=cn1 nodehm");
    let answer = bed.run_as("rmdef cn1", None, Some("alice"), None);
    assert!(!answer.contains("Permission denied"), "{answer}");
}
