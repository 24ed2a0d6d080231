//! Who may do what, and what is recorded of it.

use super::CLUSTER;

/// A rule about some nodes holds for object commands too, whichever client names the nodes in which way.
#[test]
fn policy_sees_the_nodes_of_object_commands() {
    use crate::testbed::Bed;
    let bed = Bed::new(&format!(
        "{CLUSTER}\npolicy priority=6 name=eve commands=lsdef,chdef noderange=cn1 rule=allow"
    ));
    for (line, allowed) in [
        ("lsdef cn1 -i groups", true),
        ("lsdef -t node -o cn1 -i groups", true),
        ("lsdef -i groups cn2", false),
        ("chdef cn1 usercomment=x", true),
        ("chdef -t node -o cn1,cn2 usercomment=x", false),
        ("lsdef", false),
        // Objects of other types are not nodes, even under the name of a node.
        ("lsdef -t policy -o cn1", false),
        ("chdef -t policy -o cn1 name=eve rule=allow", false),
        ("chdef -t site cn1 master=192.0.2.9", false),
        ("chdef -t node,policy -o cn1 usercomment=x", false),
        ("lsdef -a cn1", false),
    ] {
        let answer = bed.run_as(line, None, Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{line}: {answer}");
    }
    for (stanzas, allowed) in [
        ("cn1:\n  objtype=node\n  usercomment=y\n", true),
        ("cn2:\n  objtype=node\n  usercomment=y\n", false),
        ("7:\n  objtype=policy\n  name=eve\n  rule=allow\n", false),
    ] {
        let answer = bed.run_as("chdef -z", Some(stanzas), Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{stanzas}: {answer}");
    }
}

/// A client may put a noderange into any request; a rule about nodes does not open commands that do not keep
/// to it.
#[test]
fn a_noderange_does_not_open_whole_tables() {
    use crate::testbed::Bed;
    let bed = Bed::new(&format!("{CLUSTER}\npolicy priority=6 name=eve noderange=cn1 rule=allow"));
    for (elements, allowed) in [
        ("<command>nodels</command><noderange>cn1</noderange>", true),
        ("<command>tabdump</command><noderange>cn1</noderange><arg>passwd</arg>", false),
        (
            "<command>tabch</command><noderange>cn1</noderange><arg>priority=1</arg><arg>policy.name=eve</arg>",
            false,
        ),
        ("<command>getAllEntries</command><noderange>cn1</noderange><table>passwd</table>", false),
    ] {
        let answer = bed.xml_for(elements, Some("eve"), None);
        assert_eq!(!answer.contains("Permission denied"), allowed, "{elements}: {answer}");
    }
}

/// Root gets the rule that denied a request and a way to repair it; others learn nothing about the policy.
#[test]
fn a_denial_explains_itself_to_root() {
    use crate::testbed::Bed;
    let bed =
        Bed::new("policy priority=0.5 commands=nodels rule=deny\npolicy priority=1 name=root rule=allow");
    let told = bed.run("nodels");
    assert!(
        told.contains("Hint: Policy rule 0.5 denies it. If root is locked out, `dawn init --data /"),
        "{told}"
    );
    for user in [Some("bob"), None] {
        let told = bed.run_as("nodels", None, user, Some("10.0.0.9"));
        assert_eq!(told, "! Error: [mn1]: Permission denied for request\nrc=1\n");
    }
}

/// Users and nodes are recorded; anyone who can send packets cannot fill the log.
#[test]
fn commands_of_strangers_are_not_recorded() {
    use crate::testbed::Bed;
    let bed = Bed::logged(&format!("{CLUSTER}\npolicy priority=4 commands=lsxcatd rule=allow"));
    bed.run_as("lsxcatd -v", None, None, Some("10.9.9.9"));
    assert!(!bed.directory.path().join("commands.log").exists());
    bed.run_as("lsxcatd -v", None, None, Some("10.0.0.1"));
    let forged = "<command>lsxcatd</command><clienttype>cli\n[Request] forged</clienttype><arg>-t</arg>";
    bed.xml_for(forged, Some("root"), None);
    for (file, wanted) in [("requests.log", "lsxcatd -v"), ("commands.log", "lsxcatd -t")] {
        let text = std::fs::read_to_string(bed.directory.path().join(file)).expect("log");
        let requests: Vec<&str> = text.lines().filter(|line| line.starts_with("[Request]")).collect();
        assert_eq!(requests, [format!("[Request]    {wanted}")], "{text}");
    }
    // A node's long words do not fill the disk.
    bed.run_as(&format!("lsxcatd {}", "x".repeat(60_000)), None, None, Some("10.0.0.1"));
    let bytes = std::fs::metadata(bed.directory.path().join("requests.log")).expect("log").len();
    assert!(bytes < 4_000, "{bytes}");
}

/// Neither words nor noderanges nor errors leave a password in a log.
#[test]
fn no_log_has_a_password() {
    use crate::testbed::Bed;
    let bed = Bed::logged(&format!("{CLUSTER}\nsite key=auditskipcmds value=\nipmi node=cn1 bmc=10.9.0.1"));
    for line in [
        "chtab key=y,username=u,password=HUSH1 passwd.comments=1",
        "chtab -d key=y,username=u,password=HUSH1 passwd",
        "tabch key=w,password=HUSH2 passwd.comments=1",
        "gettab key=w,password=HUSH2 passwd.username",
        "noderange all@ipmi.password==HUSH3",
        "nodels all@ipmi.password==HUSH3",
        "rpower all@ipmi.password==HUSH3 stat",
        "chdef cn1 -m bmcpassword=HUSH4",
        "chdef cn1 bmcpasword=HUSH5",
        "chtab key=z passwd.pasword=HUSH6",
        "ripmi cn1 0x06 0x3c 0xAB",
        "nodels all nosuch.table,ipmi.password==HUSH7",
    ] {
        bed.run(line);
    }
    let text = std::fs::read_to_string(bed.directory.path().join("commands.log")).expect("log");
    let shown = [text, bed.run("log -n 100"), bed.run("tabdump auditlog")].concat();
    for secret in ["HUSH", "0xAB"] {
        let lines: Vec<&str> = shown.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{lines:#?}");
    }
    assert!(shown.contains("ipmi.password==xxxxxxxx"), "{shown}");
}
