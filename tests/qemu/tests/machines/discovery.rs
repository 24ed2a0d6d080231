//! Unknown machines that become nodes.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::node::{Hardware, MANUFACTURER, PRODUCT};
use dawn_qemu::{Cluster, Firmware, Options};

/// From power-on through the discovery system to `booted`: two boots of the machine, on a busy one.
const LIMIT: Duration = Duration::from_secs(600);

/// One machine is known by its machine type and serial number, another is the next of a range; both walk
/// their chain from the discovery system into their image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn unknown_machines_become_nodes() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    cluster.dawn(["chtab", "netname=cluster", "networks.dynamicrange=10.77.0.200-10.77.0.220"])?;
    cluster.dawn(["chtab", "key=defserialport", "site.value=0"])?;
    cluster.dawn(["chtab", "key=defserialspeed", "site.value=115200"])?;
    let made = cluster.dawn(["mknb", "x86_64", "--image", STATELESS])?;
    eprintln!("{made}");
    let machine = |index, name: &str, firmware, serial: &str| Hardware {
        serial_number: Some(serial.to_owned()),
        ..Hardware::numbered(index, name, firmware)
    };
    let image = format!("chain=osimage={STATELESS}");
    let mtm = format!("mtm={MANUFACTURER}:{PRODUCT}");
    let console = ["serialport=0", "serialspeed=115200", "addkcmdline=no_timer_check"];
    let named = ["groups=all", "ip=10.77.0.11", "netboot=xnba", "serial=SN0001", &mtm, &image];
    cluster.dawn([&["mkdef", "-f", "-t", "node", "-o", "cn1"], &named[..], &console[..]].concat())?;
    cluster.add_machine(machine(1, "cn1", Firmware::Uefi, "SN0001"))?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", LIMIT)?;
    let mac = cluster.dawn(["lsdef", "cn1", "-i", "mac,memory,serial"])?;
    ensure!(mac.contains("mac=52:54:00:da:00:01") && mac.contains("memory="), "{mac}");
    cluster.power_off("cn1")?;

    let image = format!("osimage={STATELESS}");
    let range = ["nodediscoverstart", "noderange=cn2", "hostiprange=10.77.0.12-10.77.0.12", &image];
    ensure!(cluster.dawn(range)?.contains("Number of free node names: 1"));
    let second = ["mkdef", "-f", "-t", "node", "-o", "cn2", "groups=all", "netboot=xnba"];
    cluster.dawn([&second[..], &console[..]].concat())?;
    cluster.add_machine(machine(2, "cn2", Firmware::BiosIpxeRom, "SN0002"))?;
    cluster.power_on("cn2")?;
    cluster.wait_for_status("cn2", "booted", LIMIT)?;
    let listed = cluster.dawn(["nodediscoverls", "-t", "all"])?;
    let found = |node: &str, method: &str| {
        listed
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>().get(1..3) == Some(&[node, method]))
    };
    ensure!(found("cn1", "mtms") && found("cn2", "sequential"), "{listed}");
    ensure!(cluster.dawn(["nodediscoverstop"])?.contains("Discovered 1 nodes."));
    cluster.down()
}
