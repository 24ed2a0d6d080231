//! Every option of `litefile` and `litetree` on an untouched image. This is the longest test: the name that
//! comes first in the alphabet makes it run next to others.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATELITE};
use dawn_qemu::net::SERVER;
use dawn_qemu::{Cluster, fingerprint};

use crate::statelite::{EXEC_LIMIT, boot, cluster_with_disk, expect, reboot};

/// Within which a change is seen: a sweep of the server, what the client believes of directories, and a slow
/// machine.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);
/// One partition, made where the disk has no table; `%` says whether.
const LAYOUT: &str =
    "enable=yes\nenablepart=%\n[disk]\ndev=/dev/vda\nparts=100\n[localspace]\ndev=/dev/vda1\n";

/// One line of `litefile` for the test image.
fn special(cluster: &Cluster, file: &str, options: &str) -> Result<()> {
    let row = format!("image={STATELITE},file={file}");
    cluster.dawn(["chtab", &row, &format!("litefile.options={options}")]).map(drop)
}

fn source(cluster: &Cluster, path: &str, text: &str) -> Result<()> {
    let path = cluster.install_dir().join(path);
    let above = path.parent().context("a path below the install directory")?;
    fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Asks until the answer is right: what a client still knows of directories may be old.
fn expect_soon(cluster: &Cluster, node: &str, command: &str, want: &str) -> Result<()> {
    let mut got = String::new();
    let seen = dawn_qemu::wait::until(CHANGE_LIMIT, || {
        got = cluster.node(node)?.exec(command, EXEC_LIMIT)?;
        Ok((got == want).then_some(()))
    })?;
    ensure!(
        seen.is_some(),
        "{node}: `{command}` still gives {got:?}, not {want:?}\n{}",
        cluster.evidence(node)
    );
    Ok(())
}

/// A program of the node writes a line a second to a file that it has open all the time.
fn node_keeps_writing(cluster: &Cluster, node: &str, file: &str) -> Result<()> {
    let writer = format!("exec 3>>{file}; while echo line >&3; do sync {file}; sleep 1; done");
    cluster.node(node)?.exec(&format!("nohup sh -c '{writer}' >/dev/null 2>&1 &"), EXEC_LIMIT)?;
    Ok(())
}

/// Every option on an untouched image, done by the server: content by priority, two nodes apart, over a
/// reboot, and changes of sources and tables under the running node.
#[test]
#[ignore = "boots machines; run by `cargo xtask test`"]
fn live_overlay_of_an_untouched_image() -> Result<()> {
    let mut cluster = cluster_with_disk(&["cn1", "cn2"], "cn1")?;
    let image = cluster.install_dir().join(ROOTIMGDIR).join("rootimg");
    let before = fingerprint::of_tree(&image)?;
    source(&cluster, "custom/layout", &LAYOUT.replace('%', "yes"))?;
    let layout = format!("linuximage.partitionfile={}/custom/layout", cluster.install_dir().display());
    cluster.dawn(["chtab", &format!("imagename={STATELITE}"), &layout])?;
    for (priority, directory) in [("1", "/install/trees/$node"), ("2", "/install/trees/shared")] {
        let row = format!("priority={priority},image={STATELITE}");
        cluster.dawn(["chtab", &row, &format!("litetree.directory={SERVER}:{directory}")])?;
    }
    for (file, options) in [
        ("/etc/issue", "ro"),
        ("/opt/conf/", "ro"),
        ("/etc/joined", "con"),
        ("/etc/kept", "con,persistent"),
        ("/etc/ram", "rw"),
        ("/etc/linked", "link"),
        ("/etc/linkro", "link,ro"),
        ("/etc/linkcon", "link,con"),
        ("/opt/linkkept", "link,persistent"),
        ("/scratch/", "localdisk"),
        ("/etc/nowhere", "ro"),
        ("/var/log/fixed", "ro"),
        ("/var/log/kept/", "persistent"),
    ] {
        special(&cluster, file, options)?;
    }
    for (path, text) in [
        ("trees/cn1/etc/issue", "issue of cn1\n"),
        ("trees/shared/etc/issue", "issue of all\n"),
        ("trees/shared/opt/conf/a", "a\n"),
        ("trees/cn1/etc/joined", "1\n"),
        ("trees/shared/etc/joined", "2\n"),
        ("trees/cn1/etc/kept", "k1\n"),
        ("trees/shared/etc/kept", "k2\n"),
        ("trees/shared/etc/ram", "ram\n"),
        ("trees/shared/etc/linked", "linked\n"),
        ("trees/shared/etc/linkro", "linkro\n"),
        ("trees/cn1/etc/linkcon", "lc1\n"),
        ("trees/shared/etc/linkcon", "lc2\n"),
        ("trees/shared/var/log/fixed", "fixed\n"),
    ] {
        source(&cluster, path, text)?;
    }
    boot(&mut cluster, &["cn1", "cn2"])?;

    // One mount, and no layer of the node's own between it and the programs.
    let root = format!("{SERVER}:/install/{ROOTIMGDIR}/rootimg");
    let others = format!("awk '$3 ~ /^(nfs|overlay)/ && index($1, \"{root}\") != 1' /proc/mounts");
    expect(&cluster, "cn1", &others, "")?;
    let all = "cat /etc/issue /opt/conf/a /etc/joined /etc/kept /etc/ram /etc/linked /var/log/fixed";
    let cn1 = "issue of cn1\na\n1\n2\nk1\nk2\nram\nlinked\nfixed";
    expect(&cluster, "cn1", all, cn1)?;
    expect(&cluster, "cn2", all, "issue of all\na\n2\nk2\nram\nlinked\nfixed")?;
    expect(&cluster, "cn1", "cat /etc/linkro /etc/linkcon", "linkro\nlc1\nlc2")?;
    expect(&cluster, "cn2", "cat /etc/linkro /etc/linkcon", "linkro\nlc2")?;
    expect(&cluster, "cn1", "stat -f -c %T /scratch", "ext2/ext3")?;
    expect(&cluster, "cn2", "stat -f -c %T /scratch", "tmpfs")?;
    expect(&cluster, "cn1", "test ! -e /etc/nowhere && echo nowhere", "nowhere")?;
    let refused = "for f in /etc/issue /opt/conf/a; do (echo x >$f) 2>/dev/null && echo $f; done; echo done";
    expect(&cluster, "cn1", refused, "done")?;
    let told = cluster.events("cn1")?.iter().any(|event| event.detail.contains("/etc/nowhere is neither"));
    ensure!(told, "no event says that /etc/nowhere is nowhere\n{}", cluster.evidence("cn1"));
    let write = "for f in /etc/ram /etc/linked /etc/joined /etc/kept /srv/s /var/log/kept/l /opt/linkkept /scratch/f; do echo $(hostname) > $f; done; sync";
    for node in ["cn1", "cn2"] {
        expect(&cluster, node, write, "")?;
    }

    // Content of a source, a better source, a row of litefile, a row of litetree.
    source(&cluster, "trees/cn1/etc/issue", "changed\n")?;
    source(&cluster, "trees/cn2/etc/issue", "issue of cn2\n")?;
    expect_soon(&cluster, "cn1", "cat /etc/issue /etc/joined", "changed\ncn1")?;
    expect_soon(&cluster, "cn2", "cat /etc/issue", "issue of cn2")?;
    source(&cluster, "trees/shared/opt/late", "late\n")?;
    special(&cluster, "/opt/late", "ro")?;
    special(&cluster, "/opt/data/", "persistent")?;
    expect_soon(
        &cluster,
        "cn1",
        "cat /opt/late 2>/dev/null; (hostname >/opt/data/d) 2>/dev/null && cat /opt/data/d; true",
        "late\ncn1",
    )?;
    source(&cluster, "trees/first/etc/issue", "first\n")?;
    let row = format!("priority=0,image={STATELITE}");
    cluster.dawn(["chtab", &row, &format!("litetree.directory={SERVER}:/install/trees/first")])?;
    expect_soon(&cluster, "cn1", "cat /etc/issue", "first")?;

    // What the node has stays when the tables change, with open files; at its next boot the tables count.
    node_keeps_writing(&cluster, "cn1", "/opt/data/log")?;
    let opt = format!("image={STATELITE},file=/opt/");
    let told = cluster.dawn_output(["chtab", &opt, "litefile.options=tmpfs"])?;
    let told = String::from_utf8_lossy(&told.stderr);
    ensure!(told.contains("takes effect at the next boot of cn1"), "the command says only {told:?}");
    let data = format!("image={STATELITE},file=/opt/data/");
    cluster.dawn(["chtab", "-d", &data, "litefile"])?;
    dawn_qemu::wait::pause(CHANGE_LIMIT);
    expect(
        &cluster,
        "cn1",
        "cat /opt/data/d; n=$(wc -l </opt/data/log); \
         for i in $(seq 20); do sleep 1; [ $(wc -l </opt/data/log) -gt $n ] && echo on && break; done",
        "cn1\non",
    )?;
    cluster.dawn(["chtab", "-d", &opt, "litefile"])?;
    special(&cluster, "/opt/data/", "persistent")?;

    source(&cluster, "custom/layout", &LAYOUT.replace('%', "no"))?;
    reboot(&mut cluster, "cn1")?;
    let after = "cat /etc/ram /etc/linked /etc/joined /etc/issue";
    expect(&cluster, "cn1", after, "ram\nlinked\n1\n2\nfirst")?;
    let kept = "cat /etc/kept /srv/s /var/log/kept/l /opt/data/d /opt/linkkept /scratch/f";
    expect(&cluster, "cn1", kept, "cn1\ncn1\ncn1\ncn1\ncn1\ncn1")?;
    expect(&cluster, "cn2", "cat /etc/ram /etc/kept /srv/s /var/log/kept/l", "cn2\ncn2\ncn2\ncn2")?;
    let kept = fs::read_to_string(cluster.install_dir().join("state/cn2/srv/s"))?;
    ensure!(kept == "cn2\n", "the store of cn2 holds {kept:?}");
    ensure!(before == fingerprint::of_tree(&image)?, "the shared image changed on the server");
    cluster.down()
}
