//! Templates in files of the data directory.

use crate::testbed::Bed;
use dawn_commands::defs::templates::DIRECTORY;

#[test]
fn files_of_the_data_directory() {
    let bed = Bed::new("policy priority=1 name=root rule=allow\nsite key=auditskipcmds value=ALL");
    let directory = bed.directory.path().join(DIRECTORY).join("node");
    std::fs::create_dir_all(&directory).unwrap();
    let text = "site-a:\n objtype=node\n groups=all,a\n arch=OPTIONAL:x\n mgt=MANDATORY:how\n";
    std::fs::write(directory.join("a.stanza"), text).unwrap();
    std::fs::write(directory.join("b"), "switch-template:\n objtype=node\n groups=mine\n").unwrap();
    std::fs::write(directory.join(".a.swp"), "junk").unwrap();
    for (line, expected) in [
        ("lsdef --template site-a -i groups", "Object name: site-a\n    groups=all,a\n"),
        ("lsdef --template switch-template", "Object name: switch-template\n    groups=mine\n"),
        ("mkdef n1 --template site-a", "! Error: [mn1]: The attribute \"mgt\" must be specified!\nrc=1\n"),
        ("mkdef n1 --template site-a mgt=kvm", "1 object definitions have been created or modified.\n"),
        ("lsdef n1", "Object name: n1\n    groups=all,a\n    mgt=kvm\n"),
        ("mkdef n2 --template n1 arch=x86_64", "1 object definitions have been created or modified.\n"),
        ("lsdef n2 -i arch,groups,mgt -c", "n2: arch=x86_64\nn2: groups=all,a\nn2: mgt=kvm\n"),
        (
            "mkdef n3 --template nope",
            "! Error: [mn1]: Could not find the template object named 'nope' of type 'node'.\nrc=1\n",
        ),
        ("mkdef site-a groups=own", "1 object definitions have been created or modified.\n"),
        // A node of the same name does not hide the template.
        ("mkdef n4 --template site-a mgt=kvm", "1 object definitions have been created or modified.\n"),
        ("lsdef n4 -i groups -c", "n4: groups=all,a\n"),
    ] {
        assert_eq!(bed.run(line), expected, "{line}");
    }
    std::fs::write(directory.join("c"), "junk").unwrap();
    assert!(bed.run("lsdef --template").contains("/c: line 1"));
    std::fs::write(directory.join("c"), "x".repeat(1 << 20) + "x").unwrap();
    assert!(bed.run("lsdef --template").contains("longer than 1048576 bytes"));
}
