//! Images in other shapes than a plain tree: prepared by `liteimg`, packed as cpio, loaded into memory for
//! statelite, exchanged under running nodes, and taken from a container image. And files on a local disk.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATELESS, STATELITE, TestImage};
use dawn_qemu::net::SERVER;
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Options, process};

/// From power-on to `booted`, two machines at once under software emulation.
const BOOT_LIMIT: Duration = Duration::from_secs(480);
/// For a command inside a machine.
const EXEC_LIMIT: Duration = Duration::from_secs(90);
/// For a command that reads much of the root from the server.
const READ_LIMIT: Duration = Duration::from_secs(240);
/// Size of the disk of a machine that has one, in bytes.
const DISK_BYTES: u64 = 64 << 20;

fn up() -> Result<Cluster> {
    let cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    Ok(cluster)
}

fn node(index: u8, name: &str, image: &str) -> Definition {
    Definition { hardware: Hardware::numbered(index, name, Firmware::Bios), image: image.into() }
}

fn boot(cluster: &mut Cluster, names: &[&str]) -> Result<()> {
    names.iter().try_for_each(|name| cluster.power_on(name))?;
    names.iter().try_for_each(|name| cluster.wait_for_status(name, "booted", BOOT_LIMIT))
}

fn reboot(cluster: &mut Cluster, name: &str) -> Result<()> {
    cluster.clear_status(name)?;
    // The answer may be lost with the machine.
    let _ = cluster.node(name)?.exec("sync; systemctl --no-block reboot", EXEC_LIMIT);
    cluster.wait_for_status(name, "booted", BOOT_LIMIT)
}

fn expect(cluster: &Cluster, node: &str, command: &str, want: &str) -> Result<()> {
    let got = cluster.node(node)?.exec(command, READ_LIMIT)?;
    ensure!(got == want, "{node}: `{command}` gave {got:?}, not {want:?}\n{}", cluster.evidence(node));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("a file has a directory")?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("{}", path.display()))
}

/// A disk with nothing on it.
fn disk(cluster: &Cluster) -> Result<PathBuf> {
    let path = cluster.data().join("disk");
    fs::File::create(&path)?.set_len(DISK_BYTES)?;
    Ok(path)
}

/// Makes `text` the layout of the local disk; `kind` is `s:` for a script.
fn define_layout(cluster: &Cluster, kind: &str, text: &str) -> Result<()> {
    let layout = cluster.install_dir().join("custom/layout");
    write(&layout, text)?;
    let row = format!("imagename={STATELITE}");
    let cell = format!("linuximage.partitionfile={kind}{}", layout.display());
    cluster.dawn(["chtab", &row, &cell]).map(drop)
}

/// Two partitions, one of them for swapping; `%` says whether they are made.
const LAYOUT: &str = "enable=yes\nenablepart=%\n[disk]\ndev=/dev/vda\nclear=yes\nptype=gpt\nparts=60,30\n\
                      [localspace]\ndev=/dev/vda1\nfstype=ext4\n[swapspace]\ndev=/dev/vda2\n";
/// The same disk without a partition, made by a script.
const LAYOUT_SCRIPT: &str =
    "#!/bin/sh\nmkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /.sllocal/localmnt\n";

/// One entry of every option in addition to those of the test image, with content in two trees.
const ENTRIES: [(&str, &str); 10] = [
    ("/etc/issue", "link"),
    ("/etc/motd", "tmpfs"),
    ("/etc/lite-ro", "ro"),
    ("/etc/lite-linkro", "link,ro"),
    ("/etc/lite-con", "con"),
    ("/etc/lite-linkcon", "link,con"),
    ("/opt/kept", "persistent"),
    ("/opt/linkkept", "link,persistent"),
    ("/etc/lite-conkept", "con,persistent"),
    ("/scratch/", "localdisk"),
];

fn define_entries(cluster: &Cluster) -> Result<()> {
    for (path, options) in ENTRIES {
        let row = format!("image={STATELITE},file={path}");
        cluster.dawn(["chtab", &row, &format!("litefile.options={options}")])?;
    }
    let install = cluster.install_dir();
    for (priority, tree, files) in [
        (
            1,
            "a",
            &[
                ("lite-con", "a\n"),
                ("lite-linkcon", "la\n"),
                ("lite-linkro", "linkro-a\n"),
                ("lite-conkept", "ka\n"),
            ][..],
        ),
        (
            2,
            "b",
            &[
                ("lite-con", "b\n"),
                ("lite-linkcon", "lb\n"),
                ("lite-linkro", "linkro-b\n"),
                ("lite-ro", "ro-b\n"),
                ("motd", "motd-b\n"),
                ("lite-conkept", "kb\n"),
            ],
        ),
    ] {
        for (name, text) in files {
            write(&install.join("trees").join(tree).join("etc").join(name), text)?;
        }
        let directory = format!("litetree.directory={SERVER}:/install/trees/{tree}");
        cluster.dawn(["chtab", &format!("priority={priority}"), &directory])?;
    }
    define_layout(cluster, "", &LAYOUT.replace('%', "yes"))
}

/// A tree prepared by `liteimg` boots with every option; persistent files and those on a disk survive a
/// reboot; a node without a disk keeps them in memory and reports that; an entry that was removed is the
/// image's own file again.
#[test]
#[ignore = "boots machines; run by `cargo xtask test`"]
fn liteimg_tree_with_all_options() -> Result<()> {
    let mut cluster = up()?;
    define_entries(&cluster)?;
    let image = cluster.install_dir().join(ROOTIMGDIR).join("rootimg");
    let issue = fs::read_to_string(image.join("etc/issue"))?;
    cluster.dawn(["liteimg", STATELITE])?;
    ensure!(fs::read_link(image.join("etc/issue"))? == Path::new("../.statelite/tmpfs/etc/issue"));
    let mut with_disk = node(1, "cn1", STATELITE);
    with_disk.hardware.disk = Some(disk(&cluster)?);
    cluster.add_nodes(&[with_disk, node(2, "cn2", STATELITE)])?;
    boot(&mut cluster, &["cn1", "cn2"])?;

    for name in ["cn1", "cn2"] {
        check_entries(&cluster, name)?;
    }
    expect(&cluster, "cn1", "stat -f -c %T /scratch", "ext2/ext3")?;
    expect(&cluster, "cn2", "stat -f -c %T /scratch", "tmpfs")?;
    expect(&cluster, "cn1", "awk '{ print $1 }' /proc/swaps", "Filename\n/dev/vda2")?;
    let said = cluster.node("cn2")?.console();
    ensure!(said.contains("its files are kept in memory"), "cn2 does not say that it has no disk:\n{said}");
    let told = cluster.events("cn2")?.iter().any(|event| event.detail.contains("/dev/vda has not appeared"));
    ensure!(told, "no event says that cn2 has no disk\n{}", cluster.evidence("cn2"));

    expect(&cluster, "cn1", "cat /etc/lite-conkept", "ka\nkb")?;
    let fill = "for f in /etc/lite-conkept /opt/kept /opt/linkkept /scratch/file /etc/issue; do echo mine > $f || exit 1; done";
    expect(&cluster, "cn1", fill, "")?;
    define_layout(&cluster, "", &LAYOUT.replace('%', "no"))?;
    reboot(&mut cluster, "cn1")?;
    let kept = "cat /etc/lite-conkept /opt/kept /opt/linkkept /scratch/file";
    expect(&cluster, "cn1", kept, "mine\nmine\nmine\nmine")?;
    expect(&cluster, "cn1", "cat /etc/issue", issue.trim_end())?;
    check_entries(&cluster, "cn1")?;

    cluster.dawn(["chtab", "-d", &format!("image={STATELITE},file=/etc/issue"), "litefile"])?;
    cluster.dawn(["liteimg", STATELITE])?;
    ensure!(fs::symlink_metadata(image.join("etc/issue"))?.is_file(), "the entry was not taken back");
    ensure!(fs::read_to_string(image.join("etc/issue"))? == issue);
    reboot(&mut cluster, "cn1")?;
    expect(&cluster, "cn1", "echo x 2>/dev/null > /etc/issue || echo protected", "protected")?;
    cluster.down()
}

fn check_entries(cluster: &Cluster, name: &str) -> Result<()> {
    let cases = [
        ("cat /etc/motd", "motd-b"),
        ("cat /etc/lite-ro", "ro-b"),
        ("(echo x > /etc/lite-ro) 2>/dev/null || echo protected", "protected"),
        ("cat /etc/lite-linkro", "linkro-a"),
        ("(echo x > /etc/lite-linkro) 2>/dev/null || echo protected", "protected"),
        ("cat /etc/lite-con", "a\nb"),
        ("cat /etc/lite-linkcon", "la\nlb"),
        ("readlink /etc/lite-linkcon", "../.statelite/tmpfs/etc/lite-linkcon"),
        ("readlink /opt/linkkept", "../.statelite/tmpfs/opt/linkkept"),
        ("readlink /.statelite/tmpfs/opt/linkkept", "/.statelite/persistent/opt/linkkept"),
        ("grep -c '^append tree2:/etc/lite-con tmpfs:/etc/lite-con$' /.statelite/statelite.log", "1"),
        ("grep -c FAILED /.statelite/statelite.log || true", "0"),
        // A prepared tree needs no layer of mount points: the root is the export itself.
        ("awk '$2 == \"/\" { print $3 }' /proc/mounts | tail -1", "nfs"),
        ("hostname", name),
    ];
    cases.iter().try_for_each(|(command, want)| expect(cluster, name, command, want))
}

/// A tree exchanged under a running node: the node keeps its own, also after the daemon was killed, and a
/// node that boots gets the new one. An image that is removed stays for nodes that run from it.
#[test]
#[ignore = "boots machines; run by `cargo xtask test`"]
fn image_generations() -> Result<()> {
    let mut cluster = up()?;
    cluster.add_nodes(&[node(1, "cn1", STATELITE), node(2, "cn2", STATELITE)])?;
    boot(&mut cluster, &["cn1"])?;

    // What genimage does at its end, with a tree that differs in one file.
    let dir = cluster.install_dir().join(ROOTIMGDIR);
    process::run(Command::new("cp").arg("-a").arg(dir.join("rootimg")).arg(dir.join("new")))?;
    write(&dir.join("new/etc/generation"), "two\n")?;
    fs::rename(dir.join("rootimg"), dir.join("rootimg.1"))?;
    fs::rename(dir.join("new"), dir.join("rootimg"))?;

    boot(&mut cluster, &["cn2"])?;
    expect(&cluster, "cn2", "cat /etc/generation", "two")?;
    still_runs(&cluster, "cn1", "one")?;
    cluster.node("cn1")?.exec("echo 3 > /proc/sys/vm/drop_caches", EXEC_LIMIT)?;
    cluster.kill_daemon()?;
    cluster.serve()?;
    still_runs(&cluster, "cn1", "one")?;
    still_runs(&cluster, "cn2", "two")?;

    let said = cluster.dawn(["rmimage", STATELITE])?;
    ensure!(said.contains("rootimg.2 until cn2") && said.contains("rootimg.1 until cn1"), "{said}");
    ensure!(!dir.join("rootimg").exists() && dir.join("rootimg.1/etc").is_dir());
    still_runs(&cluster, "cn1", "one")?;
    still_runs(&cluster, "cn2", "two")?;
    cluster.down()
}

/// Every program of the tree can be read again from the server, and it is the tree of that generation.
fn still_runs(cluster: &Cluster, name: &str, generation: &str) -> Result<()> {
    let work = "echo 3 > /proc/sys/vm/drop_caches; ls -lR /usr/lib/systemd /etc >/dev/null && \
                md5sum /usr/bin/* >/dev/null && echo read; cat /etc/generation 2>/dev/null || echo one";
    expect(cluster, name, work, &format!("read\n{generation}"))
}

/// A root packed as cpio is what the plan names, and it is unpacked into memory.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn cpio_root() -> Result<()> {
    let mut cluster = up()?;
    process::run(&mut cluster.outside_command(["packimage", "-m", "cpio", STATELESS]))?;
    let dir = cluster.install_dir().join(ROOTIMGDIR);
    ensure!(dir.join("rootimg.cpio.gz").exists() && !dir.join("rootimg.sfs").exists());
    cluster.add_nodes(&[node(1, "cn1", STATELESS)])?;
    boot(&mut cluster, &["cn1"])?;
    expect(&cluster, "cn1", "stat -f -c %T /", "tmpfs")?;
    expect(&cluster, "cn1", "systemctl is-active multi-user.target", "active")?;
    let events = cluster.events("cn1")?;
    let fetched = events.iter().any(|event| event.step == "root" && event.detail.contains("rootimg.cpio.gz"));
    ensure!(fetched, "rootimg.cpio.gz was not fetched: {events:#?}");
    cluster.down()
}

/// A statelite image with `rootfstype=ramdisk`: the root is in memory, persistent files are on the server.
/// Its local disk is set up by a script.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn statelite_in_memory() -> Result<()> {
    let mut cluster = up()?;
    cluster.dawn(["chdef", "-t", "osimage", "-o", STATELITE, "rootfstype=ramdisk"])?;
    define_layout(&cluster, "s:", LAYOUT_SCRIPT)?;
    cluster.dawn(["chtab", &format!("image={STATELITE},file=/scratch/"), "litefile.options=localdisk"])?;
    cluster.dawn(["liteimg", STATELITE])?;
    let mut machine = node(1, "cn1", STATELITE);
    machine.hardware.disk = Some(disk(&cluster)?);
    cluster.add_nodes(&[machine])?;
    boot(&mut cluster, &["cn1"])?;
    expect(&cluster, "cn1", "stat -f -c %T /scratch", "ext2/ext3")?;
    expect(&cluster, "cn1", "grep -c rootimg /proc/mounts || true", "0")?;
    expect(&cluster, "cn1", "stat -f -c %T /srv", "nfs")?;
    expect(&cluster, "cn1", "echo kept > /srv/kept && sync && cat /srv/kept", "kept")?;
    let kept = cluster.install_dir().join("state/cn1/srv/kept");
    ensure!(fs::read_to_string(&kept)? == "kept\n", "{} is not there", kept.display());
    cluster.down()
}

/// The tree of the tests' image, as one layer of a container image, becomes another image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn a_container_image_boots() -> Result<()> {
    const IMAGE: &str = "debian12-x86_64-netboot-container";
    let mut cluster = up()?;
    let tagged = format!("{}:node", cluster.install_dir().join("layout").display());
    let (layout, _) = tagged.rsplit_once(':').context("a tag")?;
    let tree = cluster.install_dir().join(ROOTIMGDIR).join("rootimg").display().to_string();
    for words in [
        &["init", "--layout", layout][..],
        &["new", "--image", &tagged],
        &["insert", "--image", &tagged, &tree, "/"],
    ] {
        process::run(Command::new("umoci").args(words))?;
    }
    let pkgdir = format!("pkgdir=oci:{tagged}");
    let same = ["imagetype=linux", "osname=Linux", "osvers=debian12", "osarch=x86_64", "profile=container"];
    let own = ["-t", "osimage", "-o", IMAGE, "provmethod=netboot", &pkgdir];
    cluster.dawn(["mkdef"].iter().chain(&own).chain(&same))?;
    process::run(&mut cluster.outside_command(["genimage", IMAGE]))?;
    process::run(&mut cluster.outside_command(["packimage", "-m", "squashfs", IMAGE]))?;
    cluster.add_nodes(&[node(1, "cn1", IMAGE)])?;
    boot(&mut cluster, &["cn1"])?;
    expect(&cluster, "cn1", "stat -f -c %T /", "overlayfs")?;
    expect(&cluster, "cn1", "systemctl is-active multi-user.target", "active")?;
    expect(&cluster, "cn1", "stat -c %a /usr/bin/su", "4755")?;
    cluster.down()
}
