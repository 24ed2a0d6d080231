//! Machines that boot next to a DHCP server that is not ours, and from behind a relay.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::net::{BRIDGE, Neighbour};
use dawn_qemu::node::Hardware;
use dawn_qemu::process::{self, Logged};
use dawn_qemu::{BootEvent, Cluster, Definition, Firmware, Options, wait};

/// From power-on to `booted`, software emulation on a busy machine included.
const BOOT_LIMIT: Duration = Duration::from_secs(420);
/// Time in which a foreign daemon has to start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The bridge behind the relay.
const FAR_BRIDGE: &str = "br1";

/// dnsmasq gives the addresses; ours only adds the boot file. Both the firmware's PXE and iPXE
/// after it find their way to the kernel.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn proxy_dhcp_beside_dnsmasq() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    cluster.dawn(["chtab", "key=proxydhcp", "site.value=cluster"])?;
    let hardware = Hardware::numbered(1, "cn1", Firmware::Uefi);
    let host = format!("--dhcp-host={},{}", hardware.mac, hardware.ip);
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    let other = Neighbour::create(cluster.network(), "dhcp", &[(BRIDGE, "10.77.0.2/24")])?;
    let mut command = other.command("dnsmasq");
    command.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
    ]);
    command.args(["--user=root", "--leasefile-ro", "--log-dhcp", &host]);
    command.arg("--dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,1h");
    let _dnsmasq = start(&cluster, &mut command, "dnsmasq", "IP range 10.77.0.100")?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let events = cluster.events("cn1")?;
    ensure!(!events.iter().any(|event| event.detail.contains("dhcp ack")), "we gave an address: {events:#?}");
    has_steps(&events, &["loader", "script", "kernel", "initrd", "root", "booted"])?;
    cluster.down()
}

/// A relay with option 82 between two links: the node's network has no interface of ours.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn a_node_behind_a_relay() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    let far = ["net=10.78.0.0", "mask=255.255.255.0", "mgtifname=!remote!br0", "gateway=10.78.0.1"];
    let far = [&["mkdef", "-f", "-t", "network", "-o", "far", "tftpserver=10.77.0.1"], &far[..]].concat();
    cluster.dawn(far)?;
    let mut hardware = Hardware::numbered(1, "cn1", Firmware::BiosIpxeRom);
    hardware.ip = [10, 78, 0, 11].into();
    cluster.network().add_bridge(FAR_BRIDGE)?;
    cluster.add_nodes(&[Definition { hardware, image: STATELESS.into() }])?;
    cluster.network().move_tap("cn1", FAR_BRIDGE)?;
    let ends = [(BRIDGE, "10.77.0.2/24"), (FAR_BRIDGE, "10.78.0.1/24")];
    let relay = Neighbour::create(cluster.network(), "relay", &ends)?;
    process::run(relay.command("sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))?;
    cluster.network().add_route("10.78.0.0/24", "10.77.0.2")?;
    let mut command = relay.command("dhcrelay");
    command.args(["-4", "-d", "-a", "-iu", "eth0", "-id", "eth1", "10.77.0.1"]);
    let _dhcrelay = start(&cluster, &mut command, "dhcrelay", "Sending on   Socket/fallback")?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", BOOT_LIMIT)?;
    let events = cluster.events("cn1")?;
    has_steps(&events, &["discover", "offer", "script", "kernel", "initrd", "root", "booted"])?;
    let offered = events.iter().any(|event| event.step == "offer" && event.detail.contains("10.78.0.11"));
    ensure!(offered, "no offer of its address: {events:#?}");
    cluster.down()
}

/// Starts a daemon and waits until its log says that it is ready.
fn start(cluster: &Cluster, command: &mut std::process::Command, name: &str, ready: &str) -> Result<Logged> {
    let log = cluster.daemon_log().with_file_name(format!("{name}.log"));
    let mut daemon = Logged::spawn(command, &log)?;
    let seen = wait::until(START_LIMIT, || {
        let ended = daemon.ended()?;
        ensure!(ended.is_none(), "{name} ended: {ended:?}\n{}", process::tail(&log));
        Ok(process::read_log(&log).contains(ready).then_some(()))
    })?;
    ensure!(seen.is_some(), "{name} is not ready in {START_LIMIT:?}\n{}", process::tail(&log));
    Ok(daemon)
}

fn has_steps(events: &[BootEvent], steps: &[&str]) -> Result<()> {
    for step in steps {
        ensure!(events.iter().any(|event| event.step == *step), "no event `{step}` in {events:#?}");
    }
    Ok(())
}
