//! `explain`: which directory each entry of `litefile` has its content from.

use super::CLUSTER;
use crate::testbed::Bed;
use expect_test::expect;
use std::path::Path;

/// Lines of `explain` about entries, with `TOP` for the directory of the test.
fn explained(bed: &Bed, top: &str, node: &str) -> String {
    let text = bed.run(&format!("explain {node}"));
    let lines = text.lines().filter_map(|line| line.split_once(": statelite: "));
    lines.map(|(_, line)| format!("{}\n", line.replace(top, "TOP"))).collect()
}

fn write(path: &str) {
    std::fs::create_dir_all(Path::new(path).parent().expect("parent")).expect("directory");
    std::fs::write(path, "x").expect("file");
}

#[test]
fn entries_name_their_trees_and_the_store() {
    let bed = Bed::new(CLUSTER);
    let outside = tempfile::tempdir().expect("a directory");
    let top = &outside.path().to_string_lossy().into_owned();
    for path in [
        "img/rootimg/etc/issue",
        "img/rootimg/etc/motd",
        "all/etc/issue",
        "all/etc/hosts",
        "cn1/etc/hosts",
        "store/cn1/srv/data/file",
    ] {
        write(&format!("{top}/{path}"));
    }
    let run = |line: &str| bed.run(&line.replace("TOP", top));
    run("chdef -t osimage img rootimgdir=TOP/img provmethod=statelite");
    run("chtab node=all nodetype.provmethod=img chain.currstate='statelite debian12-x86_64-compute'");
    run("chtab priority=1,image=img 'litetree.directory=TOP/$node'");
    run("chtab priority=2,image=img litetree.directory=TOP/all");
    run("chtab node=all statelite.statemnt=TOP/store");
    for (file, options) in [
        ("/etc/issue", "ro"),
        ("/etc/motd", "tmpfs"),
        ("/etc/hosts", "con"),
        ("/etc/none", "ro"),
        ("/srv/data/", "persistent"),
        ("/opt/", "persistent"),
        ("/run/mine", "tmpfs"),
    ] {
        run(&format!("chtab image=img,file={file} litefile.options={options}"));
    }
    expect![[r#"
        con /etc/hosts: litetree 1, TOP/cn1 and litetree 2, TOP/all
        ro /etc/issue: litetree 2, TOP/all
        tmpfs /etc/motd: the image
        link /etc/mtab
        ro /etc/none: in no tree and not in the image: left out
        persistent /opt/: in no tree and not in the image: made empty; kept in TOP/store/cn1 from its first use
        tmpfs /run/mine: no effect: the node mounts its own file system there
        persistent /srv/data/: the store TOP/store/cn1
    "#]]
    .assert_eq(&explained(&bed, top, "cn1"));
    expect![[r#"
        con /etc/hosts: litetree 2, TOP/all
        ro /etc/issue: litetree 2, TOP/all
        tmpfs /etc/motd: the image
        link /etc/mtab
        ro /etc/none: in no tree and not in the image: left out
        persistent /opt/: in no tree and not in the image: made empty; kept in TOP/store/cn2 from its first use
        tmpfs /run/mine: no effect: the node mounts its own file system there
        persistent /srv/data/: in no tree and not in the image: made empty; kept in TOP/store/cn2 from its first use
    "#]]
    .assert_eq(&explained(&bed, top, "cn2"));

    // The object of the same line.
    let json: serde_json::Value = serde_json::from_str(&bed.run("explain --json cn1")).expect("JSON");
    let entry = json.pointer("/0/statelite/0").expect("the first entry");
    expect![[r#"
        {
          "file": "/etc/hosts",
          "from": [
            {
              "directory": "TOP/cn1",
              "kind": "litetree",
              "priority": "1"
            },
            {
              "directory": "TOP/all",
              "kind": "litetree",
              "priority": "2"
            }
          ],
          "options": "con"
        }
    "#]]
    .assert_eq(&format!("{entry:#}\n").replace(top, "TOP"));

    // With another server's tree the node does the search; missing files are reported.
    run("chtab priority=1,image=img 'litetree.directory=far:/trees/$node'");
    run("chtab node=all statelite.statemnt=far:/store");
    expect![[r#"
        con /etc/hosts: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image
        ro /etc/issue: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image
        tmpfs /etc/motd: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image
        link /etc/mtab
        ro /etc/none: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image
        persistent /opt/: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image; kept in far:/store/cn1 from its first use
        tmpfs /run/mine: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image
        persistent /srv/data/: searched by the node itself in litetree 1, far:/trees/cn1, then in litetree 2, TOP/all, then in the image; kept in far:/store/cn1 from its first use
    "#]]
    .assert_eq(&explained(&bed, top, "cn1"));
    run("chtab -d priority=1,image=img litetree");
    std::fs::remove_dir_all(format!("{top}/img")).expect("the image");
    expect![[r#"
        con /etc/hosts: not known: TOP/img/rootimg does not exist: the image is not built
        ro /etc/issue: not known: TOP/img/rootimg does not exist: the image is not built
        tmpfs /etc/motd: not known: TOP/img/rootimg does not exist: the image is not built
        link /etc/mtab
        ro /etc/none: not known: TOP/img/rootimg does not exist: the image is not built
        persistent /opt/: not known: TOP/img/rootimg does not exist: the image is not built; kept in far:/store/cn1 from its first use
        tmpfs /run/mine: not known: TOP/img/rootimg does not exist: the image is not built
        persistent /srv/data/: not known: TOP/img/rootimg does not exist: the image is not built; kept in far:/store/cn1 from its first use
    "#]]
    .assert_eq(&explained(&bed, top, "cn1"));
}
