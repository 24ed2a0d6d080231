//! Files of outside console servers, as the commands leave them.

use crate::testbed::Bed;
use expect_test::expect;

const ROWS: &str = "
    policy priority=1 name=root rule=allow
    nodelist node=cn1 groups=all
    nodelist node=cn2 groups=all
    nodelist node=cn3 groups=all
    nodehm node=cn1 mgt=ipmi cons=ipmi consoleondemand=yes
    nodehm node=cn2 cons=ipmi conserver=sn1
    nodehm node=cn3 mgt=ipmi";

/// Headings and consoles that somebody else has written stay; ours follow the tables.
#[test]
fn conserver_cf() {
    let bed = Bed::new(ROWS);
    let path = bed.directory.path().join("conserver.cf");
    let theirs = "access * {\n  trusted mine;\n}\ndefault * {\n  master localhost;\n}\nconsole own {\n  type exec;\n}\n";
    std::fs::write(&path, theirs).expect("a file");
    bed.run("chtab key=consoleservice site.value=conserver");
    bed.run(&format!("chtab key=conserverconf site.value={}", path.display()));
    let run = |line: &str| bed.run(line).replace(&bed.directory.path().display().to_string(), "DIR");
    let text = || std::fs::read_to_string(&path).expect("a file");
    expect![[r#"
        ~ file DIR/conserver.cf
            + #xCAT BEGIN cn1 CONS
            + console cn1 {
            +   exec /usr/bin/dawn rcons cn1;
            +   options ondemand;
            + #xCAT END cn1 CONS
            + #xCAT BEGIN cn2 CONS
            + console cn2 {
            +   master sn1;
            + #xCAT END cn2 CONS
    "#]]
    .assert_eq(&run("makeconservercf --dry-run"));
    assert_eq!(text(), theirs);
    expect![[r#"
        ! cn3: [mn1]: Error: Bad configuration, check attributes under the nodehm category: neither cons nor serialport is set
        ! Warning: [mn1]: conserver does not run as a service of systemd here: it reads DIR/conserver.cf when it starts
        rc=1
    "#]]
    .assert_eq(&run("makeconservercf all"));
    assert!(text().starts_with(theirs), "{}", text());
    expect![[r#"
        #xCAT BEGIN cn1 CONS
        console cn1 {
          type exec;
          exec /usr/bin/dawn rcons cn1;
          options ondemand;
        }
        #xCAT END cn1 CONS
        #xCAT BEGIN cn2 CONS
        console cn2 {
          type exec;
          master sn1;
        }
        #xCAT END cn2 CONS
    "#]]
    .assert_eq(&text()[theirs.len()..]);
    assert_eq!(run("makeconservercf cn1"), "", "the same again writes nothing");
    run("noderm cn2");
    expect![[r#"
        Remove console entry for the nodes:cn2
        ! Warning: [mn1]: conserver does not run as a service of systemd here: it reads DIR/conserver.cf when it starts
    "#]]
    .assert_eq(&run("makeconservercf -C"));
    expect![[r#"
        Nothing removed
    "#]]
    .assert_eq(&run("makeconservercf -C"));
    run("makeconservercf -d cn1");
    assert_eq!(text(), theirs);
    std::fs::write(&path, "#xCAT BEGIN cn1 CONS\n").expect("a file");
    expect![[r#"
        ! Error: [mn1]: DIR/conserver.cf: line 1: the mark `#xCAT BEGIN cn1 CONS` has no other half; nothing was changed
        rc=1
    "#]]
    .assert_eq(&run("makeconservercf cn1"));
    assert_eq!(text(), "#xCAT BEGIN cn1 CONS\n");
}

/// Without a file there is one afterwards, with this machine among those who may ask.
#[test]
fn a_new_conserver_cf() {
    let bed = Bed::new(ROWS);
    let path = bed.directory.path().join("conserver.cf");
    bed.run("chtab key=consoleservice site.value=conserver");
    bed.run("chtab key=consoleondemand site.value=yes");
    bed.run(&format!("chtab key=conserverconf site.value={}", path.display()));
    bed.run("makeconservercf -t ts9 cn1");
    let text = std::fs::read_to_string(&path).expect("a file");
    for line in [
        "  trusted 127.0.0.1;\n",
        "  trusted ts9;\n",
        "  options ondemand;\n",
        "  exec /usr/bin/dawn rcons cn1;\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn nodes_of_goconserver() {
    let bed = Bed::new(ROWS);
    let path = bed.directory.path().join("nodes.json");
    let theirs = r#"{"x1": {"name": "x1", "driver": "ssh", "params": {"host": "h"}, "ondemand": true}}"#;
    std::fs::write(&path, theirs).expect("a file");
    bed.run("chtab key=consoleservice site.value=goconserver");
    bed.run(&format!("chtab key=goconserverdir site.value={}", bed.directory.path().display()));
    let run = |line: &str| bed.run(line).replace(&bed.directory.path().display().to_string(), "DIR");
    expect![[r#"
        ~ file DIR/nodes.json
            - {"x1": {"name": "x1", "driver": "ssh", "params": {"host": "h"}, "ondemand": true}}
            + {
            +   "cn1": {
            +     "driver": "cmd",
            +     "name": "cn1",
            +     "ondemand": true,
            +     "params": {
            +       "cmd": "/usr/bin/dawn rcons cn1",
            +       "env": ""
            +     }
            +   },
            +   "x1": {
            +     "driver": "ssh",
            +     "name": "x1",
            +     "ondemand": true,
            +     "params": {
            +       "host": "h"
            +     }
            +   }
            + }
    "#]]
    .assert_eq(&run("makegocons --dry-run cn1"));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), theirs);
    expect![[r#"
        cn1: Created
        cn2: Created
        cn3: ignore, cons attribute or serialport attribute is not specified.
        ! Warning: [mn1]: goconserver does not run as a service of systemd here: it reads its nodes when it starts
    "#]]
    .assert_eq(&run("makegocons all"));
    expect![[r#"

        NODE                             SERVER                           STATE
        cn1                              mn1                              registered
        cn2                              mn1                              registered
    "#]]
    .assert_eq(&run("makegocons -q"));
    run("noderm cn2");
    expect![[r#"
        cn2: Deleted
        ! Warning: [mn1]: goconserver does not run as a service of systemd here: it reads its nodes when it starts
    "#]]
    .assert_eq(&run("makegocons -C"));
    expect![[r#"
        cn1: Deleted
        ! Warning: [mn1]: goconserver does not run as a service of systemd here: it reads its nodes when it starts
    "#]]
    .assert_eq(&run("makegocons -d"));
    let left: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("a file")).expect("JSON");
    assert_eq!(left, serde_json::from_str::<serde_json::Value>(theirs).expect("JSON"));
}
