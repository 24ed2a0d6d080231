//! What other clients, programs and nodes ask, and the XML they get.

use super::CLUSTER;
use expect_test::expect_file;

/// What the clients of xCAT put on the wire (`xcatclient`, `xcatclientnnr`, `xcatDBcmds`,
/// `tabrestore`), and the command line that must give the same.
#[test]
fn requests_of_other_clients() {
    use crate::testbed::Bed;
    for (elements, line, stdin) in [
        (
            "<command>nodels</command><noderange>cn1-cn2</noderange><arg>groups</arg>",
            "nodels cn1-cn2 groups",
            None,
        ),
        ("<command>nodels</command><arg>-S</arg><noderange>compute</noderange>", "nodels -S compute", None),
        ("<command>nodels</command><arg>cn1</arg><arg>groups</arg>", "nodels cn1 groups", None),
        ("<command>nodels</command><node>cn1</node><node>cn2</node>", "nodels cn1,cn2", None),
        ("<command>tabgrep</command><noderange>cn1</noderange>", "tabgrep cn1", None),
        ("<command>tabgrep</command><arg>cn1</arg>", "tabgrep cn1", None),
        // They send the element for no word at all, too.
        ("<command>nodels</command><noderange></noderange>", "nodels", None),
        ("<command>nodels</command><noderange></noderange><arg>-S</arg>", "nodels -S", None),
        (
            "<command>chdef</command><noderange/><arg>-t</arg><arg>site</arg><arg>x=1</arg>",
            "chdef -t site x=1",
            None,
        ),
        ("<command>lsdef</command><arg>cn1</arg><noderange>cn1</noderange>", "lsdef cn1", None),
        ("<command>lsdef</command><arg>-t</arg><arg>site</arg><arg>-l</arg>", "lsdef -t site -l", None),
        (
            "<arg>cn1</arg><arg>-p</arg><arg>groups=odd</arg><command>chdef</command><noderange>cn1</noderange>",
            "chdef cn1 -p groups=odd",
            None,
        ),
        (
            "<arg>-t</arg><arg>node</arg><arg>-o</arg><arg>n9</arg><arg>groups=all</arg><command>mkdef</command>",
            "mkdef -t node -o n9 groups=all",
            None,
        ),
        (
            "<arg>-z</arg><command>mkdef</command><stdin>n9:\n  objtype=node\n  groups=a\n</stdin>",
            "mkdef -z",
            Some("n9:\n  objtype=node\n  groups=a\n"),
        ),
        (
            "<addrows>yes</addrows><command>tabrestore</command><data>#netname,net,mask\n</data>\
             <data>&quot;n&quot;,&quot;10.0.0.0&quot;,&quot;255.0.0.0&quot;\n</data><table>networks</table>",
            "tabrestore -a networks.csv",
            Some("#netname,net,mask\n\"n\",\"10.0.0.0\",\"255.0.0.0\"\n"),
        ),
        (
            "<command>gettab</command><arg>key=domain</arg><arg>site.value</arg>",
            "gettab key=domain site.value",
            None,
        ),
    ] {
        let (theirs, ours) = (Bed::new(CLUSTER), Bed::new(CLUSTER));
        let answers = (theirs.run_xml(elements), ours.run_with(line, stdin));
        assert_eq!(answers.0, answers.1, "{elements}");
        assert!(!answers.1.contains("rc="), "{line}: {}", answers.1);
        for table in ["nodelist", "networks"] {
            assert_eq!(
                theirs.run(&format!("tabdump {table}")),
                ours.run(&format!("tabdump {table}")),
                "{elements}"
            );
        }
    }
}

/// Requests that programs (as root) and nodes (by address, without certificate) send, and the XML they get.
#[test]
fn requests_of_programs_and_nodes() {
    use crate::testbed::Bed;
    use dawn_xcatd::node_status::NodeReport;
    let nodes =
        "getpostscript,getcredentials,getbmcconfig,getadapter,getpartition,syncfiles,noderange,getdestiny";
    let bed = Bed::new(&format!(
        "{CLUSTER}
        policy priority=4 commands={nodes} rule=allow
        site key=snmpc value=hush
        site key=bad;key value=x
        site key=odd value=unknown
        site key=consoleservice value='it;$(reboot)`x`'
        postscripts node=xcatdefaults postscripts=syslog,remoteshell postbootscripts=otherpkgs
        postscripts node=cn1 postscripts='syslog,confignics  -s'
        noderes node=cn1 routenames='r1,r-2,gone' servicenode=sn1 syslog=ignore
        routes routename=r1 net=10.9.0.0 mask=255.255.0.0 gateway=10.0.0.254 ifname=eth0
        routes routename=r-2 net=10.8.0.0
        nics node=cn1 nicips='eth0!10.0.0.1' nicdevices='bond0!eth0'
        switches switch=cn1 snmpversion=3 username=watch password=hush2
        zone zonename=red defaultzone=yes sshbetweennodes=yes
        cfgmgt node=cn1 cfgmgr=puppet cfgserver=mn1
        nodetype node=compute provmethod=img"
    ));
    let list = |name: &str, text: &str| {
        let path = bed.directory.path().join(name);
        std::fs::write(&path, text).expect("file");
        path.display().to_string()
    };
    let (own, others) = (
        list("os", "bash\n@server\n#ENV:A=1#\n-nano\n"),
        list("others", "one/tool\n#NEW_INSTALL_LIST#\n#ENV:B=2#\ntwo\n--old\n"),
    );
    let bad = list("bad", "good $(reboot)\n");
    bed.run(&format!(
        "chdef -t osimage img pkglist={own} otherpkglist={others},{bad} pkgdir=/install/os,/elsewhere \
         otherpkgdir=/install/post/other environvar='X=it;$(reboot)'"
    ));
    let layout = bed.directory.path().join("layout");
    std::fs::write(&layout, "enable=yes\n[disk]\ndev=/dev/sda\n").expect("file");
    bed.run(&format!("chdef -t osimage img partitionfile={} postscripts=setup", layout.display()));
    let mut text = String::new();
    for (who, elements) in [
        ("root", "<command>noderange</command><noderange>cn1-cn2,nope</noderange>"),
        ("root", "<command>extnoderange</command><noderange>cn2</noderange><arg>subgroups</arg>"),
        ("root", "<command>NodeRange</command><noderange>compute</noderange>"),
        ("root", "<command>NodeRange</command><noderange>nope</noderange>"),
        ("root", "<command>gennr</command><arg>x1-x3</arg>"),
        ("root", "<command>rnoderange</command><noderange>cn1,cn2,sw1</noderange>"),
        ("root", "<command>getAllEntries</command><table>networks</table>"),
        ("root", "<command>getAllEntries</command><table>zone</table>"),
        ("root", "<command>getAllEntries</command><table>nope</table>"),
        (
            "root",
            "<command>getNodesAttribs</command><table>hosts</table><noderange>cn1-cn2</noderange><attr>ip</attr>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>site</table><noderange>cn1</noderange><attr>ALL</attr>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>hosts</table><noderange>cn1</noderange><attr>nope</attr>",
        ),
        (
            "root",
            "<command>getTablesNodesAttribs</command><noderange>cn2</noderange><table><tablename>nodelist</tablename><attr>groups</attr></table><table><tablename>nodehm</tablename><attr>ALL</attr></table>",
        ),
        (
            "root",
            "<command>getTablesAllNodeAttribs</command><table><tablename>mac</tablename><attr>ALL</attr></table>",
        ),
        (
            "root",
            "<command>getTablesAllRowAttribs</command><table><tablename>osimage</tablename><attr>imagename</attr><attr>osvers</attr></table>",
        ),
        (
            "root",
            "<command>setNodesAttribs</command><noderange>cn1-cn2</noderange><arg><table><name>nodelist</name><attr><comments>a &amp; b</comments></attr></table><table><name>vpd</name><attr><serial>7</serial></attr></table></arg>",
        ),
        (
            "root",
            "<command>getNodesAttribs</command><table>vpd</table><noderange>cn2</noderange><attr>ALL</attr>",
        ),
        (
            "root",
            "<command>setAttribs</command><table>site</table><keys><key>domain</key></keys><attr><value>new.net</value></attr>",
        ),
        (
            "root",
            "<command>getAttribs</command><table>site</table><keys><key>domain</key></keys><attr>value</attr><attr>comments</attr>",
        ),
        ("root", "<command>getAttribs</command><table>site</table><keys></keys><attr>value</attr>"),
        (
            "root",
            "<command>delEntries</command><table><name>vpd</name><attr><node>cn2</node><serial>7</serial></attr></table>",
        ),
        ("root", "<command>getAllEntries</command><table>vpd</table>"),
        ("bob", "<command>getAllEntries</command><table>passwd</table>"),
        ("10.0.0.1", "<command>getAllEntries</command><table>passwd</table>"),
        ("10.0.0.1", "<command>getpostscript</command>"),
        ("10.0.0.1", "<command>getpostscript</command><arg>cn1</arg>"),
        ("10.0.0.1", "<command>getpostscript</command><arg>version2</arg>"),
        ("10.0.0.9", "<command>getpostscript</command>"),
        ("10.0.0.9", "<command>getpostscript</command><noderange>cn1</noderange>"),
        ("10.0.0.1", "<command>getcredentials</command><arg>ssh_root_key</arg>"),
        (
            "10.0.0.9",
            "<command>getcredentials</command><callback_port>300</callback_port><arg>ssh_root_key</arg>",
        ),
        ("10.0.0.9", "<command>getbmcconfig</command>"),
        ("10.0.0.1", "<command>getpartition</command>"),
        ("10.0.0.9", "<command>getpartition</command>"),
        (
            "10.0.0.1",
            "<command>getadapter</command><action>update</action><nic><interface>eth0</interface><mac>52:54:00:00:00:01</mac><linkstate>UP (ok)</linkstate><pcilocation>/0000:00:03.0</pcilocation><model>x,y=1|2</model></nic>",
        ),
        (
            "root",
            "<command>getAttribs</command><table>nics</table><keys><node>cn1</node></keys><attr>nicsadapter</attr>",
        ),
        ("10.0.0.1", "<command>getadapter</command>"),
        ("10.0.0.9", "<command>syncfiles</command>"),
        ("10.0.0.1", "<command>syncfiles</command><arg>-r</arg><arg>/usr/bin/rcp</arg>"),
        ("root", "<command>chtab</command><arg>imagename=img</arg><arg>osimage.synclists=/x</arg>"),
        ("10.0.0.1", "<command>syncfiles</command><arg>-r</arg><arg>/usr/bin/rcp</arg>"),
        ("10.0.0.1", "<command>remoteimmsetup</command>"),
        ("root", "<command>chtab</command><arg>key=nodeauthentication</arg><arg>site.value=1</arg>"),
        ("10.0.0.1", "<command>getpostscript</command>"),
        ("10.0.0.1", "<command>getdestiny</command>"),
        ("cn2", "<command>getdestiny</command><noderange>cn2</noderange>"),
        ("cn2", "<command>getdestiny</command><noderange>cn1</noderange>"),
        ("root", "<command>help</command><noderange>lsxcatd</noderange>"),
        ("root", "<command>help</command><noderange>rpower</noderange>"),
    ] {
        let (user, ip) = if who.contains('.') { (None, Some(who)) } else { (Some(who), None) };
        text.push_str(&format!("{who}: {elements}\n{}", bed.xml_for(elements, user, ip)));
    }
    expect_file!["requests.txt"].assert_eq(&text);
    let script = |words: &str| bed.run_as(&format!("getpostscript{words}"), None, None, Some("10.0.0.1"));
    bed.run("chtab -d key=nodeauthentication site");
    assert!(
        script("").contains("MASTER=") && script("") == script(" cn1"),
        "the name of the node changes nothing"
    );
    bed.run("chtab key=nodeauthentication site.value=1");
    // The status port answers the same: nothing was copied, and scripts go to certificates only.
    let report = |report| dawn_xcatd::node_status::NodeReports::report(&bed.daemon, "cn1", report);
    assert!(report(NodeReport::Syncfiles).concat().starts_with("syncfiles failed: nothing was copied"));
    assert_eq!(report(NodeReport::GetPostscript).len(), 2);
}

/// Whatever a node reports, undo takes back the administrator's change, and the node's row stays small.
#[test]
fn reports_of_nodes_are_bounded() {
    use crate::testbed::Bed;
    use dawn_xcatd::node_status::{NodeReport, NodeReports};
    let bed = Bed::new(CLUSTER);
    bed.run("nodech cn1 groups,=mark");
    let report = |report: NodeReport| {
        bed.daemon.keep("cn1", &report);
        bed.daemon.report("cn1", report);
    };
    for round in 0..1500 {
        let words = ["failed", "booting", "failed", "synced", "failed"];
        report(NodeReport::Status(words.map(str::to_owned).to_vec()));
        let apps = [(format!("app{round}"), "up".to_owned()), ("x".repeat(4000), "up".to_owned())];
        report(NodeReport::AppStatus(apps.to_vec()));
    }
    let events = bed.run("tabdump eventlog");
    assert_eq!(events.lines().count(), 2, "{events}");
    let status = bed.run("nodels cn1 nodelist.appstatus");
    assert!(status.len() < 4200 && status.contains("app1499=up"), "{status}");
    let undone = bed.run("undo");
    assert!(undone.contains("nodech cn1 groups,=mark"), "{undone}");
}
