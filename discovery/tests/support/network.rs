//! The other side: the packet of a machine, and the tables of a switch as rows of walks.

use std::io::Write;
use std::time::Duration;

use dawn_cluster::MacAddr;
use dawn_discovery::bridge::{Cell, Reading, Row, SwitchTable};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::storm::Machine;
use super::tables::{MACHINES_PER_SWITCH, UPLINK, port_of, serial};

/// How long before its first packet a machine is on the network: firmware and loader.
const BOOT_TIME: Duration = Duration::from_secs(30);
/// Where a walk finds names of ports, numbers of bridge ports, and addresses.
const IF_NAME: &[u32] = &[1, 3, 6, 1, 2, 1, 31, 1, 1, 1, 1];
const BRIDGE_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 1, 4, 1, 2];
const BRIDGE_ADDRESS: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 1, 1];
const Q_PORT: &[u32] = &[1, 3, 6, 1, 2, 1, 17, 7, 1, 2, 2, 1, 2];

/// The machine's own interface.
pub(crate) fn mac(machine: u32) -> MacAddr {
    let [a, b, c, d] = machine.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

/// The packet, as a discovery system sends it.
pub(crate) fn packet(machine: u32) -> Vec<u8> {
    let (mac, serial) = (mac(machine).to_string().to_uppercase(), serial(machine));
    let lease = format!("10.1.255.{}/16", machine % 250);
    let xml = format!(
        "<xcatrequest>\n<command>findme</command>\n<sequential>1</sequential>\n<arch>x86_64</arch>\n\
         <cpucount>32</cpucount>\n<memory>128645MB</memory>\n<disksize>sda:960GB</disksize>\n\
         <mtm>8335GTA</mtm>\n<serial>{serial}</serial>\n<mac>i40e|eno1|{mac}|{lease}</mac>\n\
         <nic>\n<devname>eno1</devname>\n<driver>i40e</driver>\n<ip4address>{lease}</ip4address>\n\
         <hwaddr>{mac}</hwaddr>\n</nic>\n</xcatrequest>\n"
    );
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(xml.as_bytes()).unwrap();
    packed.finish().unwrap()
}

/// What a walk of the switch finds at `now`: machines that are on, at their ports or behind the uplink.
pub(crate) fn read(switch: u32, now: Duration, machines: &[Machine]) -> SwitchTable {
    let on: Vec<u32> = (0..)
        .zip(machines)
        .filter(|(_, machine)| machine.on <= now + BOOT_TIME)
        .map(|(number, _)| number)
        .collect();
    let row = |index: Vec<u32>, cell| Row { index, cell };
    let mut reading = Reading::new(false);
    while let Some(need) = reading.need() {
        let rows = match need.root {
            IF_NAME => {
                let port = |n: u32| row(vec![n + 100], Cell::Bytes(format!("swp{n}").into_bytes()));
                (1..=UPLINK).map(port).collect()
            }
            BRIDGE_PORT => (1..=UPLINK).map(|n| row(vec![n], Cell::Number(i64::from(n) + 100))).collect(),
            BRIDGE_ADDRESS => vec![row(vec![0], Cell::Bytes(switch_mac(switch).0.to_vec()))],
            Q_PORT => on
                .iter()
                .map(|machine| {
                    let (at, port) = port_of(*machine);
                    let port = if at == switch { port } else { UPLINK };
                    let index = [1].into_iter().chain(mac(*machine).0.map(u32::from)).collect();
                    row(index, Cell::Number(i64::from(port)))
                })
                .collect(),
            _ => Vec::new(),
        };
        reading.take(&rows);
    }
    reading.finish()
}

/// The own address of a switch.
pub(crate) fn switch_mac(switch: u32) -> MacAddr {
    let [.., c, d] = switch.to_be_bytes();
    MacAddr([6, 0, 0, 0, c, d])
}

/// How many switches so many machines need.
pub(crate) fn switches(machines: u32) -> u32 {
    machines.div_ceil(MACHINES_PER_SWITCH)
}
