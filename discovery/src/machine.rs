//! What a machine says of itself. Nothing in it is proved.

use std::net::IpAddr;

use dawn_cluster::MacAddr;

/// A machine, as its packet describes it. Texts are as the machine sent them, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `x86_64`, `ppc64le`, …
    pub arch: String,
    /// What kind of machine it is.
    pub kind: Kind,
    /// Processors, as text.
    pub cpucount: String,
    /// Name of the processor.
    pub cputype: String,
    /// Memory, `128645MB`.
    pub memory: String,
    /// Disks, `sda:960GB,sdb:480GB`.
    pub disksize: String,
    /// UUID of the firmware, in small letters.
    pub uuid: String,
    /// Machine type and model.
    pub mtm: String,
    /// Serial number.
    pub serial: String,
    /// `PowerNV`, `pSeries`; empty on others.
    pub platform: String,
    /// The static address of the BMC.
    pub bmc: Option<IpAddr>,
    /// The MAC of the BMC.
    pub bmc_mac: Option<MacAddr>,
    /// The machine has a local IPMI device.
    pub has_inband_bmc: bool,
    /// Interfaces with an Ethernet address.
    pub nics: Vec<Nic>,
    /// PCI devices: address, vendor and device, class, as in `0000:18:00.0 8086:1572 020000`.
    pub pci: Vec<String>,
    /// Elements of the packet without a meaning here, with their names.
    pub other: Vec<(String, String)>,
    /// The public key of the discovery system, base64.
    pub public_key: String,
}

/// Kinds of machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A machine of its own.
    #[default]
    Physical,
    /// A guest of KVM or VMware.
    Virtual,
    /// A switch.
    Switch,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its address.
    pub mac: MacAddr,
    /// The kernel's name.
    pub device: String,
    /// The driver.
    pub driver: String,
    /// `10.1.255.17/16`, empty without one.
    pub address: String,
    /// PCI address.
    pub pci: String,
    /// Where it is, by SMBIOS.
    pub location: String,
    /// Number of an interface on the board, by SMBIOS.
    pub onboard: String,
    /// The firmware's description.
    pub firmware: String,
    /// `up 10000` with the speed in Mbit/s, or `down`; empty if the machine does not say it.
    pub link: String,
    /// The switch that was heard on it by LLDP.
    pub neighbour: Option<Neighbour>,
}

/// An LLDP neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    /// System name.
    pub name: String,
    /// Management addresses.
    pub addresses: Vec<IpAddr>,
    /// System description.
    pub description: String,
    /// Port description, or what the port is called.
    pub port: String,
    /// What the switch itself calls the port, if it says so (port ID of subtype 5 or 7, IEEE 802.1AB §8.5.3).
    pub port_name: String,
}

impl Neighbour {
    /// Names under which the tables may have the neighbour: its own, and the first part of that.
    pub(crate) fn system_names(&self) -> [&str; 2] {
        [&self.name, self.name.split('.').next().unwrap_or_default()]
    }

    /// The names of the port: the switch's own first.
    pub fn port_names(&self) -> impl Iterator<Item = &str> {
        [&self.port_name, &self.port].into_iter().map(String::as_str).filter(|name| !name.is_empty())
    }
}

impl Nic {
    /// An interface of which only the address is known.
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            device: String::new(),
            driver: String::new(),
            address: String::new(),
            pci: String::new(),
            location: String::new(),
            onboard: String::new(),
            firmware: String::new(),
            link: String::new(),
            neighbour: None,
        }
    }
}

impl Nic {
    fn bytes(&self) -> usize {
        let texts = [
            &self.device,
            &self.driver,
            &self.address,
            &self.pci,
            &self.location,
            &self.onboard,
            &self.firmware,
            &self.link,
        ];
        let own: usize = texts.iter().map(|text| text.len()).sum();
        size_of::<Self>() + own + self.neighbour.as_ref().map_or(0, Neighbour::bytes)
    }
}

impl Neighbour {
    fn bytes(&self) -> usize {
        let texts = self.name.len() + self.description.len() + self.port.len() + self.port_name.len();
        texts + self.addresses.len() * size_of::<IpAddr>()
    }
}

impl Machine {
    /// Bytes that it takes up in memory, about.
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.arch,
            &self.cpucount,
            &self.cputype,
            &self.memory,
            &self.disksize,
            &self.uuid,
            &self.mtm,
            &self.serial,
            &self.platform,
            &self.public_key,
        ];
        let own: usize = texts.iter().map(|text| text.len()).sum();
        let pci: usize = self.pci.iter().map(|device| size_of::<String>() + device.len()).sum();
        let other = self.other.iter();
        let other: usize =
            other.map(|(name, text)| size_of::<(String, String)>() + name.len() + text.len()).sum();
        size_of::<Self>() + own + pci + other + self.nics.iter().map(Nic::bytes).sum::<usize>()
    }

    /// Its addresses, in the order of the packet.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> + Clone + '_ {
        self.nics.iter().map(|nic| nic.mac)
    }
}

/// The other spelling of a UUID: its first three groups with their bytes in reverse (SMBIOS 2.6 §7.2.1).
/// Firmware, kernels and xCAT do not agree on one.
pub fn swapped_uuid(uuid: &str) -> Option<String> {
    let groups: Vec<&str> = uuid.split('-').collect();
    let [a, b, c, d, e] = groups.as_slice() else { return None };
    let lengths = [a, b, c, d, e].map(|group| group.len());
    if lengths != [8, 4, 4, 4, 12] || !uuid.is_ascii() {
        return None;
    }
    let reversed = |group: &str| -> String {
        let pairs = group.as_bytes().chunks(2).rev();
        pairs.flatten().map(|byte| char::from(*byte)).collect()
    };
    Some([&reversed(a), &reversed(b), &reversed(c), *d, *e].join("-"))
}

#[cfg(test)]
mod tests {
    use super::swapped_uuid;

    #[test]
    fn uuids_are_swapped() {
        assert_eq!(
            swapped_uuid("00010203-0405-0607-0809-0a0b0c0d0e0f").as_deref(),
            Some("03020100-0504-0706-0809-0a0b0c0d0e0f")
        );
        for text in [
            "",
            "8335gta-10abcde-aabbccddee01",
            "00010203-0405-0607-0809",
            "é0010203-0405-0607-0809-0a0b0c0d0e0",
        ] {
            assert_eq!(swapped_uuid(text), None, "{text}");
        }
    }
}
