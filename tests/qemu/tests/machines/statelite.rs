//! Machines whose root is one shared tree over NFS, with files of their own over it.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATELITE, TestImage};
use dawn_qemu::net::SERVER;
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options, fingerprint, process, wait};

/// From power-on to `booted`, two machines at once under software emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(90);
/// Within which a change is seen: a sweep of the server, what the client believes of directories, and a slow
/// machine.
const CHANGE_LIMIT: Duration = Duration::from_secs(120);
/// What the clock of a node may be wrong after its boot, emulation included, in seconds.
const CLOCK_SECONDS_MAX: u64 = 600;
/// Size of the disk of a machine that has one, in bytes.
const DISK_BYTES: u64 = 64 << 20;
/// One partition, made where the disk has no table; `%` says whether.
const LAYOUT: &str =
    "enable=yes\nenablepart=%\n[disk]\ndev=/dev/vda\nparts=100\n[localspace]\ndev=/dev/vda1\n";
/// How long the server stays dead: longer than the NFS client's first retries.
const OUTAGE: Duration = Duration::from_secs(10);
/// For a command that has to outlast a dead server: NFS clients back off up to a minute.
const EXEC_AFTER_OUTAGE_LIMIT: Duration = Duration::from_secs(180);

fn cluster(nodes: &[&str]) -> Result<Cluster> {
    cluster_with_disk(nodes, "")
}

/// The machine of the name `disk` has an empty disk.
fn cluster_with_disk(nodes: &[&str], disk: &str) -> Result<Cluster> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let path = cluster.data().join("disk");
    fs::File::create(&path)?.set_len(DISK_BYTES)?;
    let definitions = nodes.iter().zip(1..).map(|(name, index)| {
        let hardware = Hardware::numbered(index, name, Firmware::Bios);
        let disk = (*name == disk).then(|| path.clone());
        Definition { hardware: Hardware { disk, ..hardware }, image: STATELITE.into() }
    });
    cluster.add_nodes(&definitions.collect::<Vec<_>>())?;
    Ok(cluster)
}

fn boot(cluster: &mut Cluster, nodes: &[&str]) -> Result<()> {
    for name in nodes {
        cluster.power_on(name)?;
    }
    nodes.iter().try_for_each(|name| cluster.wait_for_status(name, "booted", BOOT_LIMIT))
}

fn expect(cluster: &Cluster, node: &str, command: &str, want: &str) -> Result<()> {
    let got = cluster.node(node)?.exec(command, EXEC_LIMIT)?;
    ensure!(got == want, "{node}: `{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence(node));
    Ok(())
}

/// A persistent file is there after a reboot, a tmpfs file is not; two nodes on one image do not see each
/// other's files; the image on the server stays what it was.
#[test]
#[ignore = "boots machines; run by `cargo xtask test`"]
fn bios_statelite_with_reboot() -> Result<()> {
    let mut cluster = cluster(&["cn1", "cn2"])?;
    let image = cluster.install_dir().join(ROOTIMGDIR).join("rootimg");
    let before = fingerprint::of_tree(&image)?;
    boot(&mut cluster, &["cn1", "cn2"])?;

    for node in ["cn1", "cn2"] {
        expect(&cluster, node, "hostname", node)?;
        let root = "grep -q ' / nfs rw' /proc/mounts && echo shared";
        expect(&cluster, node, root, "shared")?;
        expect(
            &cluster,
            node,
            "touch /usr/proof 2>/dev/null; test ! -e /usr/proof && echo protected",
            "protected",
        )?;
        expect(
            &cluster,
            node,
            &format!("echo kept-{node} > /srv/kept && echo lost-{node} > /root/lost && sync"),
            "",
        )?;
    }
    for node in ["cn1", "cn2"] {
        expect(&cluster, node, "cat /srv/kept /root/lost", &format!("kept-{node}\nlost-{node}"))?;
    }

    reboot(&mut cluster, "cn1")?;
    expect(&cluster, "cn1", "cat /srv/kept", "kept-cn1")?;
    expect(&cluster, "cn1", "test ! -e /root/lost && echo gone", "gone")?;
    expect(&cluster, "cn2", "cat /srv/kept /root/lost", "kept-cn2\nlost-cn2")?;

    let after = fingerprint::of_tree(&image)?;
    ensure!(before == after, "the shared image changed on the server");
    cluster.down()
}

/// README and docs/statelite.md as they are, and nothing else: an image of the default packages with the rows
/// that `genimage` writes. No unit of the node fails, root gets in with the key of `dawn init`, names
/// resolve, and a clock that was years wrong is right.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn a_first_image_runs_and_lets_root_in() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    let image = "debian12-x86_64-statelite-first";
    let attributes = ["imagetype=linux", "osname=Linux", "osvers=debian12", "osarch=x86_64", "profile=first"];
    cluster
        .dawn([&["mkdef", "-t", "osimage", "-o", image, "provmethod=statelite"], &attributes[..]].concat())?;
    let built = process::run(&mut cluster.outside_command(["genimage", image]))?;
    ensure!(built.contains("had no rows in litefile and got the default ones"), "genimage said: {built}");
    let hardware = Hardware::numbered(1, "cn1", Firmware::Bios);
    let hardware = Hardware { clock: Some("2001-01-01".into()), ..hardware };
    cluster.add_nodes(&[Definition { hardware, image: image.into() }])?;
    // Root's keys are in this cluster's home directory and not in this machine's.
    let [(_, home), _] = cluster.environment();
    let keys = format!("zone.sshkeydir={home}/.ssh");
    cluster.dawn(["chtab", "zonename=test", "zone.defaultzone=yes", "zone.sshbetweennodes=yes", &keys])?;
    // A name that only the cluster's name server knows.
    cluster.dawn(["mkdef", "-t", "node", "-o", "cn2", "groups=all", "ip=10.77.0.12"])?;
    boot(&mut cluster, &["cn1"])?;

    wait::until(EXEC_LIMIT, || {
        let scanned = cluster.dawn_output(["makeknownhosts", "cn1", "--scan"])?;
        Ok(scanned.status.success().then_some(()))
    })?
    .with_context(|| format!("no host key of cn1 was found\n{}", cluster.evidence("cn1")))?;
    let state = "systemctl is-system-running --wait; systemctl --failed --no-legend --plain";
    for (command, want) in [
        (state, "running"),
        ("getent hosts cn2.cluster.test | cut -d' ' -f1", "10.77.0.12"),
        ("hostname -f", "cn1.cluster.test"),
    ] {
        let output = cluster.dawn_output(["xdsh", "cn1", command])?;
        let got = String::from_utf8_lossy(&output.stdout);
        ensure!(
            got == format!("cn1: {want}\n"),
            "`{command}` gave {got:?}, {}, not {want:?}\n{}",
            String::from_utf8_lossy(&output.stderr),
            cluster.evidence("cn1")
        );
    }
    let seconds: u64 = ssh(&cluster, "10.77.0.11", "date +%s")?.trim().parse()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    ensure!(
        now.abs_diff(seconds) < CLOCK_SECONDS_MAX,
        "the clock of cn1 shows {seconds}, this machine's {now}"
    );
    cluster.down()
}

/// What a command says that OpenSSH's client runs as root on a node, with the cluster's key and known hosts.
fn ssh(cluster: &Cluster, address: &str, command: &str) -> Result<String> {
    let [(_, home), _] = cluster.environment();
    let mut ssh = cluster.network().command("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        &format!("UserKnownHostsFile={home}/.ssh/known_hosts"),
    ]);
    ssh.args(["-i", &format!("{home}/.ssh/id_rsa"), &format!("root@{address}"), command]);
    process::run(&mut ssh)
}

fn reboot(cluster: &mut Cluster, name: &str) -> Result<()> {
    cluster.clear_status(name)?;
    // The answer may be lost with the machine.
    let _ = cluster.node(name)?.exec("systemctl --no-block reboot", EXEC_LIMIT);
    cluster.wait_for_status(name, "booted", BOOT_LIMIT)
}

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

    // What the node has stays, whatever the tables say, with open files; at its next boot the tables count.
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

/// A node with its root on NFS survives the death of the server: it waits, and goes on with the same files.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn statelite_survives_a_killed_server() -> Result<()> {
    let mut cluster = cluster(&["cn1"])?;
    boot(&mut cluster, &["cn1"])?;
    let node = cluster.node("cn1")?;
    // A writer that runs through the outage, with its file open all the time, and its pace given by a file in
    // memory.
    let writer = "exec 3>>/srv/log; i=0; while :; do i=$((i+1)); echo $i >&3; sync /srv/log; echo $i > /root/pace; sleep 1; done";
    node.exec(&format!("nohup sh -c '{writer}' >/dev/null 2>&1 &"), EXEC_LIMIT)?;
    node.exec("echo before > /srv/before && sync", EXEC_LIMIT)?;

    // Without caches every program that starts must ask the server. While it is dead that includes the shell
    // of `exec`, so the machine is left alone.
    node.exec("echo 3 > /proc/sys/vm/drop_caches", EXEC_LIMIT)?;
    cluster.kill_daemon()?;
    dawn_qemu::wait::pause(OUTAGE);
    cluster.serve()?;

    let node = cluster.node("cn1")?;
    let checks = "cat /srv/before && ls -lR /usr/lib/systemd > /dev/null && md5sum /usr/bin/* > /dev/null && echo alive";
    let got = node.exec(checks, EXEC_AFTER_OUTAGE_LIMIT)?;
    ensure!(got == "before\nalive", "after the restart: {got:?}\n{}", cluster.evidence("cn1"));
    let pace: u64 = node.exec("cat /root/pace", EXEC_LIMIT)?.trim().parse()?;
    dawn_qemu::wait::pause(Duration::from_secs(10));
    let now: u64 = node.exec("cat /root/pace", EXEC_LIMIT)?.trim().parse()?;
    ensure!(now > pace, "the writer stands still at {now}\n{}", cluster.evidence("cn1"));
    // Every line the node wrote is in the server's file, in order.
    node.exec("sync /srv/log", EXEC_LIMIT)?;
    let holes = node.exec("awk '$1 != NR' /srv/log | head -3", EXEC_LIMIT)?;
    ensure!(holes.is_empty(), "the log has holes: {holes}");
    expect(&cluster, "cn1", "systemctl is-active multi-user.target", "active")?;
    cluster.down()
}
