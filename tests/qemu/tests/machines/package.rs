//! A machine with a plain Debian installs only Dawn's package, and boots a second machine under
//! the package's unit.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the packages. `cargo xtask test` makes them and runs
//! it.
//!
//! The Debian of the first machine is the test image, which another daemon boots it from; that daemon is
//! stopped before the package is installed. Package and image of the second machine come on a disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{ROOTIMGDIR, STATELESS, TestImage};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Definition, Firmware, Node, Options, paths, process, wait};

use crate::nfs_server::Server;

/// From power-on to `booted`, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(900);
/// For a command inside the machine.
const EXEC_LIMIT: Duration = Duration::from_secs(300);
/// Memory of the manager, in MiB: its root, an image and the daemon are in it.
const MANAGER_MEMORY_MIB: u32 = 2048;
/// Where the manager's image is in its data directory.
const IMAGE_DIR: &str = "/var/lib/dawn/install/netboot/debian12/x86_64/compute";
/// Where a directory of another server is mounted in it.
const FAR_DIR: &str = "/var/lib/dawn/install/far";
/// The manager's address.
const MANAGER: &str = "10.77.0.11";

#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn a_packaged_manager_boots_a_node() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let manager = Hardware {
        memory_mib: MANAGER_MEMORY_MIB,
        disk: Some(disk(&cluster)?),
        ..Hardware::numbered(1, "manager", Firmware::BiosIpxeRom)
    };
    let node = Hardware::numbered(2, "cn1", Firmware::BiosIpxeRom);
    let definitions = [manager, node].map(|hardware| Definition { hardware, image: STATELESS.into() });
    cluster.add_nodes(&definitions)?;
    cluster.power_on("manager")?;
    cluster.wait_for_status("manager", "booted", BOOT_LIMIT)?;
    cluster.stop_daemon()?;

    install(cluster.node("manager")?)?;
    serve(cluster.node("manager")?)?;
    define_node(cluster.node("manager")?)?;
    cluster.power_on("cn1")?;
    wait_until_booted(&cluster)?;
    commands_write_where_their_caller_says(cluster.node("manager")?)?;
    a_silent_server_of_images_costs_its_own_files(&cluster)?;
    remove(cluster.node("manager")?)?;
    // Its daemon has ended already.
    cluster.serve()?;
    cluster.down()
}

/// A disk that holds a tar archive: the package, and the packed image.
fn disk(cluster: &Cluster) -> Result<PathBuf> {
    let image = cluster.install_dir().join(ROOTIMGDIR);
    let top = cluster.data().parent().context("the data directory lies nowhere")?.to_owned();
    let (disk, package) = (top.join("payload.tar"), package()?);
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&disk).arg("-C").arg(package.parent().unwrap_or(Path::new("/")));
    tar.arg(package.file_name().unwrap_or_default()).arg("-C").arg(image);
    process::run(tar.args(["kernel", "initrd-stateless.gz", "rootimg.sfs"]))?;
    Ok(disk)
}

fn package() -> Result<PathBuf> {
    let out = paths::workspace().join("dist/out");
    let entries = fs::read_dir(&out)
        .with_context(|| format!("cannot list {}; `cargo xtask dist` makes the packages", out.display()))?;
    let mut files = entries.flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("dawn_") && name.ends_with("_amd64.deb")
    };
    files.find(is_package).with_context(|| format!("no package in {}", out.display()))
}

/// Runs commands and compares what each prints.
fn expect(machine: &Node, cases: &[(&str, &str)]) -> Result<()> {
    for (command, want) in cases {
        let got = machine.exec(command, EXEC_LIMIT)?;
        let log = || machine.exec("journalctl -u dawn --no-pager | tail -40", EXEC_LIMIT).unwrap_or_default();
        ensure!(got.trim() == *want, "`{command}` gave {got:?}, not {want:?}\n{}", log());
    }
    Ok(())
}

fn install(manager: &Node) -> Result<()> {
    expect(
        manager,
        &[
            ("mkdir /root/payload && tar -xf /dev/vda -C /root/payload && echo unpacked", "unpacked"),
            ("dpkg -i /root/payload/*.deb > /root/dpkg.log 2>&1 && echo installed", "installed"),
            ("systemctl is-enabled dawn || true", "disabled"),
            ("systemctl is-active dawn || true", "inactive"),
            ("systemd-analyze verify --man=no dawn.service 2>&1 || true", ""),
        ],
    )
}

fn serve(manager: &Node) -> Result<()> {
    let init = format!(
        "dawn init --data /var/lib/dawn --master {MANAGER} --domain cluster.test > /root/init.log 2>&1 && echo made"
    );
    let fill = format!(
        "mkdir -p {IMAGE_DIR} && mv /root/payload/kernel /root/payload/initrd-stateless.gz \
         /root/payload/rootimg.sfs {IMAGE_DIR}/ && echo filled"
    );
    expect(
        manager,
        &[(&init, "made"), (&fill, "filled"), ("systemctl start dawn && systemctl is-active dawn", "active")],
    )
}

fn define_node(manager: &Node) -> Result<()> {
    let image = format!(
        "dawn mkdef -t osimage -o {STATELESS} imagetype=linux osname=Linux osvers=debian12 osarch=x86_64 \
         profile=compute provmethod=netboot rootimgdir={IMAGE_DIR} > /dev/null && echo defined"
    );
    let Hardware { mac, ip, .. } = Hardware::numbered(2, "cn1", Firmware::BiosIpxeRom);
    let node = format!(
        "dawn mkdef -t node -o cn1 groups=all arch=x86_64 netboot=xnba mac={mac} ip={ip} serialport=0 \
         serialspeed=115200 addkcmdline=no_timer_check > /dev/null && echo defined"
    );
    let state = format!("dawn nodeset cn1 osimage={STATELESS} > /root/nodeset.log 2>&1; echo $?");
    expect(manager, &[(&image, "defined"), (&node, "defined"), (&state, "0")])
}

fn wait_until_booted(cluster: &Cluster) -> Result<()> {
    let manager = cluster.node("manager")?;
    let booted = wait::until(BOOT_LIMIT, || {
        // The manager has the processor for cn1 meanwhile.
        let status = manager.exec("sleep 5; dawn lsdef cn1 -i status", EXEC_LIMIT)?;
        Ok(status.contains("status=booted").then_some(()))
    })?;
    let log = || manager.exec("journalctl -u dawn --no-pager | tail -40", EXEC_LIMIT).unwrap_or_default();
    ensure!(booted.is_some(), "cn1 did not boot\n{}{}", cluster.node("cn1")?.console_tail(), log());
    expect(
        manager,
        &[
            ("systemctl show dawn -p NRestarts --value", "0"),
            ("journalctl -u dawn --no-pager | grep -c 'Operation not permitted' || true", "0"),
        ],
    )
}

/// The unit's protection keeps no command from writing where root may write.
fn commands_write_where_their_caller_says(manager: &Node) -> Result<()> {
    expect(
        manager,
        &[
            (
                "dawn dumpxCATdb -p /root/dump > /dev/null && test -s /root/dump/site.csv && echo there",
                "there",
            ),
            ("dawn dumpxCATdb -p /tmp/dump > /dev/null && test -s /tmp/dump/site.csv && echo there", "there"),
            ("dawn makehosts > /dev/null && grep -c cn1 /etc/hosts", "1"),
        ],
    )
}

/// Part of `/install` is on an NFS server that stops answering: requests for files there are refused, all
/// others are served, and the files are back when the server is.
fn a_silent_server_of_images_costs_its_own_files(cluster: &Cluster) -> Result<()> {
    let manager = cluster.node("manager")?;
    let far = Server::start(cluster, "far", "10.77.0.3")?;
    fs::write(far.files.join("root"), "far").context("a file on the server")?;
    let mount = format!(
        "mkdir {FAR_DIR} && mount -i -t nfs -o vers=3,nolock,noac,hard,proto=tcp,mountproto=tcp,addr=10.77.0.3 \
         10.77.0.3:{} {FAR_DIR} && cat {FAR_DIR}/root",
        far.files.display()
    );
    expect(manager, &[(&mount, "far")])?;
    let path = |dir: &str| dir.replace("/var/lib/dawn", &format!("http://{MANAGER}"));
    let root = format!("{}/root", path(FAR_DIR));
    expect_answer(cluster, &root, "200")?;
    far.hang()?;
    expect_answer(cluster, &root, "503")?;
    expect_answer(cluster, &format!("{}/kernel", path(IMAGE_DIR)), "200")?;
    expect(manager, &[("dawn nodels cn1", "cn1"), ("dawn lsdef cn1 -i status | grep -c booted", "1")])?;
    far.go_on()?;
    // The kernel of the manager asks again after its own delay.
    let back = wait::until(EXEC_LIMIT, || Ok((answer(cluster, &root)? == "200").then_some(())))?;
    ensure!(back.is_some(), "{root} does not come back");
    expect(manager, &[(&format!("umount {FAR_DIR} && rmdir {FAR_DIR} && echo gone"), "gone")])
}

fn expect_answer(cluster: &Cluster, url: &str, want: &str) -> Result<()> {
    let got = answer(cluster, url)?;
    ensure!(got == want, "{url} is answered with {got}, not {want}");
    Ok(())
}

/// The status of the manager's answer to another machine; `000` for none.
fn answer(cluster: &Cluster, url: &str) -> Result<String> {
    let mut curl = cluster.network().command("curl");
    let limit = EXEC_LIMIT.as_secs().to_string();
    curl.args([
        "--silent",
        "--max-time",
        &limit,
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        url,
    ]);
    Ok(String::from_utf8_lossy(&process::output(&mut curl)?.stdout).into_owned())
}

fn remove(manager: &Node) -> Result<()> {
    expect(
        manager,
        &[
            ("dpkg -r dawn > /root/remove.log 2>&1 && echo removed", "removed"),
            ("systemctl is-active dawn || true", "inactive"),
            ("dpkg -P dawn 2>&1 | grep -c '/var/lib/dawn is left'", "1"),
            ("test -f /var/lib/dawn/dawn.sqlite && echo there", "there"),
        ],
    )
}
