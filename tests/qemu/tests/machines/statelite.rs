//! Machines whose root is one shared tree over NFS, with their own files over it.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATELITE, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options, fingerprint, process, wait};

/// From power-on to `booted`, two machines at once under software emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside a machine.
pub(crate) const EXEC_LIMIT: Duration = Duration::from_secs(90);
/// What the clock of a node may be wrong after its boot, emulation included, in seconds.
const CLOCK_SECONDS_MAX: u64 = 600;
/// Size of the disk of a machine that has one, in bytes.
const DISK_BYTES: u64 = 64 << 20;
/// How long the server stays dead: longer than the NFS client's first retries.
const OUTAGE: Duration = Duration::from_secs(10);
/// For a command that has to outlast a dead server: NFS clients back off up to a minute.
const EXEC_AFTER_OUTAGE_LIMIT: Duration = Duration::from_secs(180);

fn cluster(nodes: &[&str]) -> Result<Cluster> {
    cluster_with_disk(nodes, "")
}

/// The machine of the name `disk` has an empty disk.
pub(crate) fn cluster_with_disk(nodes: &[&str], disk: &str) -> Result<Cluster> {
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

pub(crate) fn boot(cluster: &mut Cluster, nodes: &[&str]) -> Result<()> {
    for name in nodes {
        cluster.power_on(name)?;
    }
    nodes.iter().try_for_each(|name| cluster.wait_for_status(name, "booted", BOOT_LIMIT))
}

pub(crate) fn expect(cluster: &Cluster, node: &str, command: &str, want: &str) -> Result<()> {
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

/// Exactly the steps of README and docs/statelite.md: an image of the default packages with the rows
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

pub(crate) fn reboot(cluster: &mut Cluster, name: &str) -> Result<()> {
    cluster.clear_status(name)?;
    // The answer may be lost with the machine.
    let _ = cluster.node(name)?.exec("systemctl --no-block reboot", EXEC_LIMIT);
    cluster.wait_for_status(name, "booted", BOOT_LIMIT)
}

/// A node with its root on NFS survives the death of the server: it waits, and continues with the same files.
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
