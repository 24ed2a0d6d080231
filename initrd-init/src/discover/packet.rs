//! The packet that describes the machine: xCAT's `findme` request, XML compressed with gzip, one datagram.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::facts::{Card, Machine};
use super::lldp::Neighbours;
use crate::cmdline::mac_text;

/// The interface with the lease.
pub(super) struct Own<'a> {
    pub(super) nic: &'a str,
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
}

/// The datagram.
pub(super) fn encode(machine: &Machine, own: &Own<'_>, neighbours: &Neighbours) -> Vec<u8> {
    let xml = xml(machine, own, neighbours);
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    // Memory takes every byte.
    let _ = packed.write_all(xml.as_bytes());
    packed.finish().unwrap_or_default()
}

fn xml(machine: &Machine, own: &Own<'_>, neighbours: &Neighbours) -> String {
    let mut text = String::from("<xcatrequest>\n<command>findme</command>\n<sequential>1</sequential>\n");
    let mut add = |name: &str, value: &str| element(&mut text, name, value);
    add("arch", &machine.arch);
    if machine.is_guest {
        add("nodetype", "virtual");
    }
    add("cpucount", &machine.cpus.to_string());
    add("cputype", &machine.cpu);
    add("memory", &format!("{}MB", machine.memory));
    let disks: Vec<String> = machine.disks.iter().map(|(name, size)| format!("{name}:{size}GB")).collect();
    add("disksize", &disks.join(","));
    add("uuid", &machine.uuid);
    add("mtm", &machine.mtm);
    add("serial", &machine.serial);
    if machine.has_bmc {
        add("bmcinband", "1");
    }
    if let Some(bmc) = &machine.bmc {
        add("bmc", &bmc.address.map(|address| address.to_string()).unwrap_or_default());
        add("bmcmac", &bmc.mac.map(|mac| mac_text(&mac)).unwrap_or_default());
    }
    machine.pci.iter().for_each(|device| add("pci", device));
    for card in &machine.nics {
        let address =
            if card.nic.name == own.nic { format!("{}/{}", own.address, own.prefix) } else { String::new() };
        nic(&mut text, card, &address, neighbours);
    }
    text.push_str("</xcatrequest>\n");
    text
}

fn nic(text: &mut String, card: &Card, address: &str, neighbours: &Neighbours) {
    let mac = mac_text(&card.nic.mac).to_uppercase();
    element(text, "mac", &format!("{}|{}|{mac}|{address}", card.driver, card.nic.name));
    text.push_str("<nic>\n");
    element(text, "devname", &card.nic.name);
    element(text, "driver", &card.driver);
    element(text, "ip4address", address);
    element(text, "hwaddr", &mac);
    element(text, "pcidev", &card.pci);
    element(text, "location", &card.location);
    element(text, "onboardeth", &card.onboard);
    element(text, "firmdesc", &card.label);
    element(text, "link", &link(card));
    if let Some(neighbour) = neighbours.get(&card.nic.name) {
        element(text, "switchname", &neighbour.name);
        neighbour.addresses.iter().for_each(|address| element(text, "switchaddr", &address.to_string()));
        element(text, "switchdesc", &neighbour.description);
        element(text, "switchport", &neighbour.port);
        element(text, "switchportname", &neighbour.port_name);
    }
    text.push_str("</nic>\n");
}

/// `up` with the speed in Mbit/s, or `down`.
fn link(card: &Card) -> String {
    match (card.has_link, card.speed) {
        (true, Some(speed)) => format!("up {speed}"),
        (true, None) => "up".to_owned(),
        (false, _) => "down".to_owned(),
    }
}

/// One element a line; nothing for an empty value.
fn element(text: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let _ = write!(text, "<{name}>");
    for c in value.chars() {
        match c {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            '"' => text.push_str("&quot;"),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    let _ = writeln!(text, "</{name}>");
}

#[cfg(test)]
mod tests {
    use super::super::bmc::Lan;
    use super::super::lldp::Neighbour;
    use super::*;
    use crate::nic::Nic;
    use std::io::Read;

    #[test]
    fn a_packet() {
        let nic = Nic { name: "eno1".into(), mac: [2, 0, 0, 0, 0, 0xaa] };
        let card = Card {
            nic,
            driver: "i40e".into(),
            pci: "0000:18:00.0".into(),
            location: String::new(),
            onboard: "1".into(),
            label: "LOM <1>".into(),
            has_link: true,
            speed: Some(10_000),
        };
        let machine = Machine {
            arch: "x86_64".into(),
            cpus: 2,
            memory: 512,
            disks: vec![("sda".into(), 894), ("sdb".into(), 4)],
            nics: vec![card],
            bmc: Some(Lan { address: Some(Ipv4Addr::new(10, 2, 0, 7)), mac: Some([2, 0, 0, 0, 0, 9]) }),
            pci: vec!["0000:18:00.0 8086:1572 020000".into()],
            ..Machine::default()
        };
        let own = Own { nic: "eno1", address: Ipv4Addr::new(10, 1, 255, 17), prefix: 16 };
        let neighbour = Neighbour {
            name: "sw1".into(),
            port: "swp7".into(),
            addresses: vec![[10, 3, 0, 1].into()],
            ..Neighbour::default()
        };
        let packed = encode(&machine, &own, &[("eno1".to_owned(), neighbour)].into());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
        for line in [
            "<command>findme</command>",
            "<disksize>sda:894GB,sdb:4GB</disksize>",
            "<mac>i40e|eno1|02:00:00:00:00:AA|10.1.255.17/16</mac>",
            "<firmdesc>LOM &lt;1&gt;</firmdesc>",
            "<switchaddr>10.3.0.1</switchaddr>",
            "<switchport>swp7</switchport>",
            "<link>up 10000</link>",
            "<bmc>10.2.0.7</bmc>",
            "<bmcmac>02:00:00:00:00:09</bmcmac>",
            "<pci>0000:18:00.0 8086:1572 020000</pci>",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
        }
        assert!(!text.contains("<location>") && !text.contains("<nodetype>"));
    }
}
