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
/// What a machine writes that does not wait for its own pause to end.
const NOTIFIED: &str = "notified by the server";
/// Attributes of nodes whose console the tests read.
const CONSOLE: [&str; 3] = ["serialport=0", "serialspeed=115200", "addkcmdline=no_timer_check"];

/// One machine is known by its machine type and serial number; its datagrams are lost, so the server has its
/// packet by HTTPS. Two more are switched on together and become the nodes of a range. All walk their chain
/// from the discovery system into their image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn unknown_machines_become_nodes() -> Result<()> {
    let mut cluster = prepared()?;
    let (chain, mtm) = (format!("chain=osimage={STATELESS}"), machine_type());
    define(&cluster, "cn1", &["ip=10.77.0.11", "netboot=xnba", "serial=SN0001", &mtm, &chain])?;
    cluster.add_machine(machine(1, "cn1", Firmware::Uefi))?;
    lose_datagrams(&cluster)?;
    cluster.power_on("cn1")?;
    cluster.node("cn1")?.wait_for_console("it has the description by HTTPS", 0, LIMIT)?;
    cluster.wait_for_status("cn1", "booted", LIMIT)?;
    let mac = cluster.dawn(["lsdef", "cn1", "-i", "mac,memory,serial"])?;
    ensure!(mac.contains("mac=52:54:00:da:00:01") && mac.contains("memory="), "{mac}");
    cluster.power_off("cn1")?;
    rule(&cluster, &["del", "pref", LOST])?;

    let image = format!("osimage={STATELESS}");
    let range = ["nodediscoverstart", "noderange=cn[2-3]", "hostiprange=10.77.0.12-10.77.0.13", &image];
    ensure!(cluster.dawn(range)?.contains("Number of free node names: 2"));
    for (index, name) in [(2, "cn2"), (3, "cn3")] {
        define(&cluster, name, &["netboot=xnba"])?;
        cluster.add_machine(machine(index, name, Firmware::BiosIpxeRom))?;
        cluster.power_on(name)?;
    }
    // Which of them becomes which is chance.
    let mac_of = |node: &str| cluster.dawn(["lsdef", node, "-i", "mac"]);
    let named_both = wait::until(LIMIT, || {
        let macs = [mac_of("cn2")?, mac_of("cn3")?];
        Ok(macs.iter().all(|mac| mac.contains("mac=52:54:")).then_some(()))
    })?;
    named_both.with_context(|| cluster.evidence("cn2"))?;
    let is_crossed = mac_of("cn2")?.contains("52:54:00:da:00:03");
    ensure!(is_crossed == mac_of("cn3")?.contains("52:54:00:da:00:02"));
    let machines = if is_crossed { ["cn3", "cn2"] } else { ["cn2", "cn3"] };
    for (node, machine) in ["cn2", "cn3"].into_iter().zip(machines) {
        cluster.wait_for_status_of(node, machine, "booted", LIMIT)?;
    }
    let found = found(&cluster)?;
    let expected = [named("cn1", "mtms"), named("cn2", "sequential"), named("cn3", "sequential")];
    ensure!(found == expected, "{found:?}");
    cluster.dawn(["nodediscoverstop"])?;
    cluster.down()
}

/// The place of the rule that loses datagrams.
const LOST: &str = "0";

/// The server's network loses the datagrams of unknown machines: a rule before that for its own addresses.
fn lose_datagrams(cluster: &Cluster) -> Result<()> {
    rule(cluster, &["add", "pref", "1", "lookup", "local"])?;
    rule(cluster, &["del", "pref", LOST, "lookup", "local"])?;
    rule(cluster, &["add", "pref", LOST, "ipproto", "udp", "dport", "3001", "blackhole"])
}

fn rule(cluster: &Cluster, words: &[&str]) -> Result<()> {
    process::run(cluster.network().command("ip").arg("rule").args(words)).map(drop)
}

/// With `site.discoverykexec` a machine goes from its chain into its image without its firmware, with BIOS
/// and with UEFI; the time between the two is shown. A kernel that refuses leaves it to the firmware.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn into_the_image_without_the_firmware() -> Result<()> {
    let mut cluster = prepared()?;
    let task = format!("runcmd=true,osimage={STATELESS}");
    let refused = format!("runcmd=sysctl -w kernel.kexec_load_disabled=1,osimage={STATELESS}");
    for (index, name, firmware) in [(1, "cn1", Firmware::BiosIpxeRom), (2, "cn2", Firmware::Uefi)] {
        let hardware = Hardware::numbered(index, name, firmware);
        let own = [format!("ip={}", hardware.ip), format!("mac={}", hardware.mac)];
        define(&cluster, name, &["arch=x86_64", "netboot=xnba", &own[0], &own[1]])?;
        cluster.dawn(["makedhcp", name])?;
        cluster.add_machine(hardware)?;
        let mut starts = Vec::new();
        let by_firmware = match firmware {
            Firmware::Uefi => ("no", &task),
            _ => ("yes", &refused),
        };
        for (kexec, task) in [("yes", &task), by_firmware] {
            cluster.dawn(["chtab", "key=discoverykexec", &format!("site.value={kexec}")])?;
            cluster.dawn(["nodeset", name, task])?;
            let seen = cluster.node(name)?.console().len();
            cluster.power_on(name)?;
            cluster.node(name)?.wait_for_console("destiny: netboot", seen, LIMIT)?;
            let from = std::time::Instant::now();
            let at = cluster.node(name)?.console().len();
            cluster.node(name)?.wait_for_console("dawn-init ", at, LIMIT)?;
            starts.push(from.elapsed().as_secs());
            cluster.wait_for_status(name, "booted", LIMIT)?;
            let since = cluster.node(name)?.console();
            let since = since.get(seen..).unwrap_or_default();
            let has_kexec = since.contains("starting the image without the firmware");
            ensure!(has_kexec == ((kexec, task) != by_firmware), "{}", cluster.evidence(name));
            cluster.power_off(name)?;
        }
        eprintln!("{}: seconds to the image's /init with and without kexec: {starts:?}", firmware.name());
    }
    cluster.down()
}

/// Two machines are switched on together and become the nodes of their ports, which are not in their order.
/// The daemon is killed after one has become a node, while its first command runs. The second command of the
/// other fails: its output is an event, the node's status says it, and the chain stays where it is until
/// `nodeset` sets the step again, or another one. Both end in their image.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn two_machines_are_found_by_their_ports() -> Result<()> {
    let mut cluster = prepared()?;
    let _switch = managed(&cluster)?;
    let slow = "runcmd=busybox sleep 20";
    let archive = archive(&cluster)?;
    for (node, ip, port, chain) in [
        ("cn1", "ip=10.77.0.11", "switchport=swp2", format!("chain={slow},{archive},osimage={STATELESS}")),
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
    cluster.wait_for_status_of("cn2", "swp1", "failed", LIMIT)?;
    let retry = format!("`nodeset cn2 '{WRONG}'`");
    ensure!(
        cluster.events("cn2")?.iter().any(|event| event.detail.contains(&retry)),
        "nothing names {retry}"
    );
    let other = archive.replace("sha256=", "sha256=00").get(..archive.len()).unwrap_or_default().to_owned();
    cluster.dawn(["nodeset", "cn2", &other])?;
    let refused = wait::until(LIMIT, || {
        let events = cluster.events("cn2")?;
        Ok(events.iter().any(|event| event.detail.contains("has the SHA-256")).then_some(()))
    })?;
    refused.with_context(|| cluster.evidence("swp1"))?;
    // The machine waits; the daemon that was started again notifies it, for the same step, too.
    cluster.dawn(["nodeset", "cn2", &format!("{WRONG},standby")])?;
    let again = wait::until(LIMIT, || {
        let console = cluster.node("swp1")?.console();
        Ok((console.matches(&format!("destiny: {WRONG}")).count() == 2).then_some(()))
    })?;
    again.with_context(|| cluster.evidence("swp1"))?;
    cluster.dawn(["nodeset", "cn2", &format!("runcmd=cat /proc/sys/kernel/ostype,osimage={STATELESS}")])?;
    cluster.node("swp1")?.wait_for_console(NOTIFIED, 0, LIMIT)?;

    cluster.wait_for_status_of("cn1", "swp2", "booted", LIMIT)?;
    cluster.wait_for_status_of("cn2", "swp1", "booted", LIMIT)?;
    let console = cluster.node("swp1")?.console();
    ensure!(console.contains("cat: Linux"), "{}", cluster.evidence("swp1"));
    for (node, said) in [("cn2", "ostype: done: Linux"), ("cn1", ": done: archive runs")] {
        let events = cluster.events(node)?;
        ensure!(events.iter().any(|event| event.detail.ends_with(said)), "{events:?}");
    }
    for (node, mac) in [("cn1", "52:54:00:da:00:02"), ("cn2", "52:54:00:da:00:01")] {
        let shown = cluster.dawn(["lsdef", node, "-i", "mac"])?;
        ensure!(shown.contains(&format!("mac={mac}")), "{shown}");
    }
    let found = found(&cluster)?;
    ensure!(found == [named("cn1", "switch"), named("cn2", "switch")], "{found:?}");
    cluster.down()
}

/// A machine under Secure Boot loads the discovery system by shim and the signed GRUB. It hears its port by
/// LLDP, and the switch shows the same port. While two nodes are at that port, or its serial number is the
/// other's, it waits; an administrator gives it a node, and it goes on without a restart. Taken from that
/// node again, it becomes the node of its port, by what it hears itself, and goes into its image without the
/// firmware.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn queue_and_lldp_under_secure_boot() -> Result<()> {
    let mut cluster = prepared()?;
    cluster.dawn(["chtab", "key=discoverynetboot", "site.value=grub2"])?;
    let mut switch = managed(&cluster)?;
    let port = [at_switch(), "switchport=swp1".into()];
    for (node, ip) in [("cn1", "ip=10.77.0.11"), ("cn2", "ip=10.77.0.12"), ("cn3", "ip=10.77.0.13")] {
        define(&cluster, node, &[ip, "netboot=grub2", "chain=standby"])?;
    }
    for node in ["cn1", "cn2"] {
        cluster.dawn(["chdef", node, &port[0], &port[1]])?;
    }
    let hardware = machine(1, "swp1", Firmware::SecurePxe);
    let uuid = hardware.uuid();
    cluster.add_machine(hardware)?;
    switch.send_lldp(cluster.network(), &["swp1"])?;
    cluster.power_on("swp1")?;

    // Two nodes at one port.
    let mac = "52:54:00:da:00:01";
    let (heard, seen) =
        (format!("cn1, cn2: {mac} hears port swp1 of sw1"), format!("cn1, cn2: sw1 sees {mac} on port swp1"));
    let why = waits(&cluster, &uuid, &["several nodes fit: cn1, cn2", &heard, &seen])?;
    ensure!(why.find(&heard) < why.find(&seen), "LLDP is asked first: {why}");
    ensure!(cluster.node("swp1")?.console().contains("is plugged into swp1 of sw1"));
    let address = address_of(&cluster, &uuid)?;

    // The port says cn1, the serial number cn2.
    cluster.dawn(["chdef", "cn2", "switchport=swp9", "serial=SN0001", &machine_type()])?;
    send_again(&cluster, &address)?;
    let contradiction = ["the evidence points to different nodes", "mtms: cn2", "lldp: cn1", "switch: cn1"];
    waits(&cluster, &uuid, &contradiction)?;

    cluster.dawn(["nodediscoverdef", "-u", &uuid, "-n", "cn3"])?;
    cluster.node("swp1")?.wait_for_console("destiny: standby", 0, LIMIT)?;
    let found_by_hand = found(&cluster)?;
    ensure!(found_by_hand == [named("cn3", "manual")], "{found_by_hand:?}");

    // The machine is taken from the node again, and the tables are put right.
    cluster.dawn(["chdef", "cn2", "serial=", "mtm="])?;
    for table in ["mac", "vpd"] {
        cluster.dawn(["chtab", "-d", "node=cn3", table])?;
    }
    cluster.dawn(["makedhcp", "-d", "cn3"])?;
    send_again(&cluster, "10.77.0.13")?;
    let by_lldp = format!("cn1 by lldp: cn1: {mac} hears port swp1 of sw1");
    let seen = wait::until(LIMIT, || Ok(cluster.dawn(["log"])?.contains(&by_lldp).then_some(())))?;
    seen.with_context(|| cluster.evidence("swp1"))?;
    cluster.wait_for_status_of("cn1", "swp1", "standingby", LIMIT)?;
    let console = cluster.node("swp1")?.console();
    ensure!(console.matches("Secure boot enabled").count() == 1, "{}", cluster.evidence("swp1"));

    // Its kernel starts the image's, which is signed as well.
    cluster.dawn(["chtab", "key=discoverykexec", "site.value=yes"])?;
    cluster.dawn(["nodeset", "cn1", &format!("osimage={STATELESS}")])?;
    cluster.wait_for_status_of("cn1", "swp1", "booted", LIMIT)?;
    let console = cluster.node("swp1")?.console();
    ensure!(console.contains("starting the image without the firmware"), "{}", cluster.evidence("swp1"));
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

/// An archive with a program, which the daemon serves; the step that runs it.
fn archive(cluster: &Cluster) -> Result<String> {
    let dir = cluster.dir().join("task");
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join("runme.sh"), "#!/bin/sh\necho archive runs\n")?;
    process::run(Command::new("chmod").arg("755").arg(dir.join("runme.sh")))?;
    let file = cluster.install_dir().join("task.tgz");
    process::run(Command::new("tar").arg("-czf").arg(&file).arg("-C").arg(&dir).arg("runme.sh"))?;
    let sum = process::run(Command::new("sha256sum").arg(&file))?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    Ok(format!("runimage=http://$xcatmaster/install/task.tgz#sha256={digest}"))
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

/// Waits until the machine waits for an administrator for these reasons; everything that is said about it.
fn waits(cluster: &Cluster, uuid: &str, reasons: &[&str]) -> Result<String> {
    let mut last = String::new();
    let seen = wait::until(LIMIT, || {
        let output = cluster.dawn_output(["discover", "explain", uuid])?;
        last = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(reasons.iter().all(|reason| last.contains(reason)).then_some(()))
    })?;
    seen.with_context(|| format!("{reasons:?} not in\n{last}\n{}", cluster.evidence("swp1")))?;
    Ok(last)
}

/// The address of a machine that no node is known for.
fn address_of(cluster: &Cluster, uuid: &str) -> Result<String> {
    let shown = cluster.dawn(["nodediscoverls", "-l", "-u", uuid])?;
    let list = shown.lines().find_map(|line| line.trim().strip_prefix("nicipv4="));
    let address = list.and_then(|list| list.split_once('!')?.1.split(['/', ',']).next());
    address.map(str::to_owned).with_context(|| shown.clone())
}

/// Says the server's word to a machine that pauses, so that the test does not wait for the end of the pause.
fn send_again(cluster: &Cluster, address: &str) -> Result<()> {
    let say = format!("exec 3<>/dev/tcp/{address}/3001 && echo restart >&3 && cat <&3");
    let mut command: Command = cluster.network().command("bash");
    let heard = process::run(command.args(["-c", &say]))?;
    ensure!(heard.contains("restarting"), "{address} heard nothing: {heard}");
    Ok(())
}
