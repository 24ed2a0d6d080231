//! The discovery system sets up the service processor of its machine.
//!
//! Ignored by a plain `cargo test`: needs root, QEMU and the release binary. `cargo xtask test` runs them.

use std::time::Duration;

use anyhow::{Result, ensure};
use dawn_qemu::bmc::{self, Bmc, FACTORY_PASSWORD, FACTORY_USER};
use dawn_qemu::node::Hardware;
use dawn_qemu::{Cluster, Firmware, Options, kernel};

/// One boot of the machine, on a busy one.
const LIMIT: Duration = Duration::from_secs(600);
/// The password that the tables have for it.
const PASSWORD: &str = "dawnpw16";

/// `runcmd=bmcsetup,standby`: the service processor gets the address and the user of the tables, the user of
/// the factory is disabled, and our own `rpower` speaks to it. The machine then waits, `nodeset` notifies it,
/// and its step `reboot` has the service processor boot it from the network. The machine has no source of
/// entropy, which it must not wait for.
#[test]
#[ignore = "boots a machine; run by `cargo xtask test`"]
fn bmcsetup_to_rpower() -> Result<()> {
    let mut cluster = Cluster::up(Options::test())?;
    kernel::provide(&cluster)?;
    cluster.dawn(["chtab", "key=defserialport", "site.value=0"])?;
    cluster.dawn(["chtab", "key=defserialspeed", "site.value=115200"])?;
    eprintln!("{}", cluster.dawn(["mknb", "x86_64", "--image", kernel::IMAGE])?);
    let bmc = Bmc::start(cluster.network(), cluster.dir())?;
    let hardware =
        Hardware { has_bmc: true, has_entropy: false, ..Hardware::numbered(1, "cn1", Firmware::BiosIpxeRom) };
    let own = [format!("ip={}", hardware.ip), format!("mac={}", hardware.mac)];
    let (address, password) = (format!("bmc={}", bmc::ADDRESS), format!("bmcpassword={PASSWORD}"));
    let words = ["mkdef", "-f", "-t", "node", "-o", "cn1", "groups=all", "arch=x86_64", "netboot=xnba"];
    let access = ["mgt=ipmi", "bmcusername=dawn", &address, &password];
    let console = ["serialport=0", "serialspeed=115200", "addkcmdline=no_timer_check"];
    cluster.dawn([&words[..], &access, &console, &own.each_ref().map(String::as_str)].concat())?;
    cluster.dawn(["makedhcp", "cn1"])?;
    cluster.dawn(["nodeset", "cn1", "runcmd=bmcsetup,standby"])?;
    cluster.add_machine(hardware)?;
    cluster.power_on("cn1")?;
    cluster.wait_for_status("cn1", "standingby", LIMIT)?;

    let network = [bmc.value("ip_addr")?, bmc.value("subnet_mask")?, bmc.value("ip_addr_src")?];
    ensure!(network == [bmc::ADDRESS, "255.255.255.0", "static"], "{network:?}");
    let power = cluster.dawn(["rpower", "cn1", "stat"])?;
    ensure!(power == "cn1: on\n", "{power}");
    Bmc::ask(cluster.network(), "dawn", PASSWORD, &["mc", "info"])?;
    let factory = Bmc::ask(cluster.network(), FACTORY_USER, FACTORY_PASSWORD, &["mc", "info"]);
    ensure!(factory.is_err(), "the user of the factory still gets in");
    let statuses = cluster.events("cn1")?;
    ensure!(statuses.iter().any(|event| event.detail.contains("bmcready")), "{statuses:?}");

    cluster.dawn(["nodeset", "cn1", "reboot,shell"])?;
    cluster.node("cn1")?.wait_for_console("notified by the server", 0, LIMIT)?;
    cluster.wait_for_status("cn1", "shell", LIMIT)?;
    // The simulator does not boot the machine itself, so nothing has used it up.
    let next = bmc.value("boot")?;
    ensure!(next == "pxe", "{next}");
    cluster.down()
}
