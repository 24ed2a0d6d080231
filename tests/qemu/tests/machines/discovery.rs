//! Unknown machines that become nodes.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::image::{STATELESS, TestImage};
use dawn_qemu::node::{Hardware, MANUFACTURER, PRODUCT};
use dawn_qemu::{Cluster, Firmware, Options, Switch, process, switch, wait};

/// From power-on through the discovery system to `booted`: two boots of the machine, on a busy one.
const LIMIT: Duration = Duration::from_secs(600);
/// A step that fails.
const WRONG: &str = "runcmd=ls /not-there";
/// Attributes of nodes whose console the tests read.
const CONSOLE: [&str; 3] = ["serialport=0", "serialspeed=115200", "addkcmdline=no_timer_check"];

/// One machine is known by its machine type and serial number, another is the next of a range; both walk
/// their chain from the discovery system into their image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn unknown_machines_become_nodes() -> Result<()> {
    let mut cluster = prepared()?;
    let (chain, mtm) = (format!("chain=osimage={STATELESS}"), machine_type());
    define(&cluster, "cn1", &["ip=10.77.0.11", "netboot=xnba", "serial=SN0001", &mtm, &chain])?;
    cluster.add_machine(machine(1, "cn1", Firmware::Uefi))?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "booted", LIMIT)?;
    let mac = cluster.dawn(["lsdef", "cn1", "-i", "mac,memory,serial"])?;
    ensure!(mac.contains("mac=52:54:00:da:00:01") && mac.contains("memory="), "{mac}");
    cluster.power_off("cn1")?;

    let image = format!("osimage={STATELESS}");
    let range = ["nodediscoverstart", "noderange=cn2", "hostiprange=10.77.0.12-10.77.0.12", &image];
    ensure!(cluster.dawn(range)?.contains("Number of free node names: 1"));
    define(&cluster, "cn2", &["netboot=xnba"])?;
    cluster.add_machine(machine(2, "cn2", Firmware::BiosIpxeRom))?;
    cluster.power_on("cn2")?;
    cluster.wait_for_status("cn2", "booted", LIMIT)?;
    let found = found(&cluster)?;
    ensure!(found == [named("cn1", "mtms"), named("cn2", "sequential")], "{found:?}");
    ensure!(cluster.dawn(["nodediscoverstop"])?.contains("Discovered 1 nodes."));
    cluster.down()
}

/// Two machines are switched on together and become the nodes of their ports, which are not in their order.
/// The daemon is killed after one has become a node, while its first command runs. The second command of the
/// other fails: its output is an event, and the chain stays where it is. Both end in their image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn two_machines_are_found_by_their_ports() -> Result<()> {
    let mut cluster = prepared()?;
    let _switch = managed(&cluster)?;
    let slow = "runcmd=busybox sleep 20";
    for (node, ip, port, chain) in [
        ("cn1", "ip=10.77.0.11", "switchport=swp2", format!("chain={slow},osimage={STATELESS}")),
        ("cn2", "ip=10.77.0.12", "switchport=swp1", format!("chain={slow},{WRONG},osimage={STATELESS}")),
    ] {
        define(&cluster, node, &[ip, "netboot=xnba", &at_switch(), port, &chain])?;
    }
    for (index, port) in [(1, "swp1"), (2, "swp2")] {
        cluster.add_machine(machine(index, port, Firmware::BiosIpxeRom))?;
        cluster.power_on(port)?;
    }
    cluster.node("swp2")?.wait_for_console(&format!("destiny: {slow}"), 0, LIMIT)?;
    cluster.kill_daemon()?;
    cluster.serve()?;

    let failed = wait::until(LIMIT, || {
        let events = cluster.events("cn2")?;
        Ok(events.into_iter().find(|event| event.detail.contains(WRONG)))
    })?;
    let failed = failed.with_context(|| cluster.evidence("swp1"))?;
    ensure!(failed.detail.contains("No such file"), "{failed:?}");
    let state = cluster.dawn(["nodeset", "cn2", "stat"])?;
    ensure!(state.contains(WRONG), "{state}");
    cluster.dawn(["nodeset", "cn2", &format!("runcmd=cat /proc/sys/kernel/ostype,osimage={STATELESS}")])?;
    send_again(&cluster, "10.77.0.12")?;

    cluster.wait_for_status_of("cn1", "swp2", "booted", LIMIT)?;
    cluster.wait_for_status_of("cn2", "swp1", "booted", LIMIT)?;
    let console = cluster.node("swp1")?.console();
    ensure!(console.contains("cat: Linux"), "{}", cluster.evidence("swp1"));
    for (node, mac) in [("cn1", "52:54:00:da:00:02"), ("cn2", "52:54:00:da:00:01")] {
        let shown = cluster.dawn(["lsdef", node, "-i", "mac"])?;
        ensure!(shown.contains(&format!("mac={mac}")), "{shown}");
    }
    let found = found(&cluster)?;
    ensure!(found == [named("cn1", "switch"), named("cn2", "switch")], "{found:?}");
    cluster.down()
}

/// A cluster with an image, a discovery system made of its kernel, and addresses for unknown machines.
fn prepared() -> Result<Cluster> {
    let cluster = Cluster::up(Options::test())?;
    TestImage::new()?.provide(&cluster, &mut |line| eprintln!("{line}"))?;
    cluster.dawn(["chtab", "netname=cluster", "networks.dynamicrange=10.77.0.200-10.77.0.220"])?;
    cluster.dawn(["chtab", "key=defserialport", "site.value=0"])?;
    cluster.dawn(["chtab", "key=defserialspeed", "site.value=115200"])?;
    let made = cluster.dawn(["mknb", "x86_64", "--image", STATELESS])?;
    eprintln!("{made}");
    Ok(cluster)
}

/// The bridge answers SNMP, and is defined.
fn managed(cluster: &Cluster) -> Result<Switch> {
    let switch = Switch::start(cluster.network(), cluster.dir())?;
    let words = ["mkdef", "-t", "node", "-o", switch::NAME].map(str::to_owned);
    cluster.dawn(words.into_iter().chain(Switch::attributes()))?;
    Ok(switch)
}

fn define(cluster: &Cluster, node: &str, words: &[&str]) -> Result<()> {
    let command = ["mkdef", "-f", "-t", "node", "-o", node, "groups=all"];
    cluster.dawn([&command[..], words, &CONSOLE[..]].concat()).map(drop)
}

/// A machine that looks like real hardware, with the serial number of its index.
fn machine(index: u8, name: &str, firmware: Firmware) -> Hardware {
    Hardware { serial_number: Some(format!("SN{index:04}")), ..Hardware::numbered(index, name, firmware) }
}

fn machine_type() -> String {
    format!("mtm={MANUFACTURER}:{PRODUCT}")
}

fn at_switch() -> String {
    format!("switch={}", switch::NAME)
}

fn named(node: &str, method: &str) -> (String, String) {
    (node.to_owned(), method.to_owned())
}

/// Node and method of each machine that was seen, in the order of the nodes.
fn found(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let listed = cluster.dawn(["nodediscoverls", "-t", "all"])?;
    let rows = listed.lines().skip_while(|line| !line.contains("METHOD")).skip(1);
    let mut found: Vec<_> = rows
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some(named(words.next()?, words.next()?))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Says the server's word to a machine that pauses, so that the test does not wait for the end of the pause.
fn send_again(cluster: &Cluster, address: &str) -> Result<()> {
    let say = format!("exec 3<>/dev/tcp/{address}/3001 && echo restart >&3 && cat <&3");
    let mut command: Command = cluster.network().command("bash");
    let heard = process::run(command.args(["-c", &say]))?;
    ensure!(heard.contains("restarting"), "{address} heard nothing: {heard}");
    Ok(())
}
