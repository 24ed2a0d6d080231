//! What a machine is: processors, memory, disks, firmware, network interfaces, as `/proc` and `/sys` show it.

use dawn_wire::text::without_control;
use std::fs;
use std::path::{Path, PathBuf};

use super::bmc::{self, Lan};
use crate::cmdline::mac_text;
use crate::log;
use crate::modules::Loader;
use crate::nic::{self, Nic};

/// Disks that are named in the packet.
const DISKS_MAX: usize = 64;
/// PCI devices that are named in the packet.
const PCI_DEVICES_MAX: usize = 256;
/// Characters kept of one value.
const TEXT_CHARS_MAX: usize = 255;
/// Rounds of loading drivers: a bus shows its devices after its own driver is loaded.
const ROUNDS_MAX: usize = 8;
/// Block devices that are no disks of the machine.
const NOT_DISKS: [&str; 8] = ["loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"];
/// Bytes of a sector in `/sys/block/*/size`.
const SECTOR_BYTES: u64 = 512;

/// A machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) arch: String,
    pub(super) is_guest: bool,
    pub(super) cpus: usize,
    pub(super) cpu: String,
    /// Mebibytes.
    pub(super) memory: u64,
    /// Names and sizes in gibibytes.
    pub(super) disks: Vec<(String, u64)>,
    pub(super) uuid: String,
    pub(super) mtm: String,
    pub(super) serial: String,
    pub(super) has_bmc: bool,
    pub(super) bmc: Option<Lan>,
    /// As in `0000:18:00.0 8086:1572 020000`: address, vendor and device, class.
    pub(super) pci: Vec<String>,
    pub(super) nics: Vec<Card>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) nic: Nic,
    pub(super) driver: String,
    pub(super) pci: String,
    pub(super) location: String,
    pub(super) onboard: String,
    pub(super) label: String,
    pub(super) has_link: bool,
    /// Mbit/s, where the driver says it.
    pub(super) speed: Option<u32>,
}

impl Machine {
    /// For the console.
    pub(super) fn summary(&self) -> Vec<String> {
        let disks: Vec<String> = self.disks.iter().map(|(name, size)| format!("{name} {size} GB")).collect();
        let mut lines = vec![
            format!("{} x {}, {} MB of memory", self.cpus, or_unknown(&self.cpu), self.memory),
            format!("disks: {}", if disks.is_empty() { "none".to_owned() } else { disks.join(", ") }),
            format!(
                "machine type {}, serial number {}, UUID {}",
                or_unknown(&self.mtm),
                or_unknown(&self.serial),
                or_unknown(&self.uuid)
            ),
        ];
        lines.extend(self.nics.iter().map(|card| {
            let link = if card.has_link { "link" } else { "no link" };
            format!("{} {} ({}, {link})", card.nic.name, mac_text(&card.nic.mac), card.driver)
        }));
        lines
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// Loads the drivers of everything that the machine has.
pub(super) fn load_drivers(loader: &mut Loader) {
    for _ in 0..ROUNDS_MAX {
        if loader.coldplug() == 0 {
            break;
        }
    }
    for module in ["ipmi_si", "ipmi_devintf"] {
        if let Err(error) = loader.load(module) {
            log::debug(&error.to_string());
        }
    }
}

/// Looks at this machine.
pub(super) fn collect() -> Machine {
    let mut machine = read(Path::new("/"));
    machine.arch = rustix::system::uname().machine().to_string_lossy().into_owned();
    machine.bmc = if machine.has_bmc { bmc::lan() } else { None };
    machine.nics = nic::present().into_iter().map(card).collect();
    if machine.uuid.is_empty()
        && let Some(first) = machine.nics.first()
    {
        let mac = mac_text(&first.nic.mac).replace(':', "");
        machine.uuid = format!("{}-{}-{mac}", machine.mtm, machine.serial).to_lowercase();
    }
    machine
}

/// What files below `root` say.
fn read(root: &Path) -> Machine {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let dmi = |name: &str| clean(&text(&format!("sys/class/dmi/id/{name}")));
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    let guest = guest(&vendor, &product);
    let (cpus, cpu) = processors(&text("proc/cpuinfo"));
    Machine {
        is_guest: guest.is_some(),
        cpus,
        cpu,
        memory: memory(&text("proc/meminfo")),
        disks: disks(&root.join("sys/block")),
        uuid: swapped(&dmi("product_uuid").to_lowercase()),
        mtm: guest.map_or_else(|| machine_type(&vendor, &product), str::to_owned),
        serial: meaningful(&dmi("product_serial")),
        has_bmc: root.join("dev/ipmi0").exists(),
        pci: pci(&root.join("sys/bus/pci/devices")),
        ..Machine::default()
    }
}

/// The machine type of a guest of a hypervisor.
fn guest(vendor: &str, product: &str) -> Option<&'static str> {
    if vendor == "QEMU" || product == "KVM" {
        return Some("KVM");
    }
    vendor.starts_with("VMware").then_some("VMware")
}

/// What stands in brackets in the product's name, else vendor and product.
fn machine_type(vendor: &str, product: &str) -> String {
    let bracketed = product.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(text, _)| text);
    let text = bracketed.map_or_else(|| format!("{vendor}:{product}"), str::to_owned);
    if text == ":" { String::new() } else { meaningful(&text) }
}

/// Without dots; nothing if only zeros are left.
fn meaningful(text: &str) -> String {
    let text = text.replace('.', "");
    if text.chars().all(|c| c == '0') { String::new() } else { text }
}

/// The first three groups with their bytes in reverse, as xCAT's packets have it (SMBIOS §7.2.1).
fn swapped(uuid: &str) -> String {
    let reverse = |group: &str| -> Option<String> {
        let pairs = (0..group.len() / 2).rev().map(|at| group.get(at * 2..at * 2 + 2));
        pairs.collect::<Option<Vec<_>>>().map(|pairs| pairs.concat())
    };
    let groups: Vec<&str> = uuid.split('-').collect();
    let [a, b, c, d, e] = groups.as_slice() else { return String::new() };
    match (reverse(a), reverse(b), reverse(c)) {
        (Some(a), Some(b), Some(c)) => [&a, &b, &c, *d, *e].join("-"),
        _ => String::new(),
    }
}

fn processors(text: &str) -> (usize, String) {
    let mut models = text.lines().filter_map(|line| line.strip_prefix("model name"));
    let first = models.next().map(|rest| clean(rest.trim_start_matches([' ', '\t', ':'])));
    (usize::from(first.is_some()) + models.count(), first.unwrap_or_default())
}

fn memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    (kibibytes + 512) / 1024
}

fn disks(dir: &Path) -> Vec<(String, u64)> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut disks: Vec<(String, u64)> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            if NOT_DISKS.iter().any(|start| name.starts_with(start)) {
                return None;
            }
            let sectors: u64 = fs::read_to_string(entry.path().join("size")).ok()?.trim().parse().ok()?;
            let gibibytes = (sectors.saturating_mul(SECTOR_BYTES) + (1 << 29)) >> 30;
            (sectors > 0).then_some((name, gibibytes))
        })
        .collect();
    disks.sort();
    disks.truncate(DISKS_MAX);
    disks
}

/// The PCI devices, by address.
fn pci(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut devices: Vec<String> = names
        .filter_map(|entry| {
            let number = |file: &str| {
                let text = fs::read_to_string(entry.path().join(file)).ok()?;
                Some(text.trim().trim_start_matches("0x").to_owned())
            };
            let address = entry.file_name().into_string().ok()?;
            Some(format!("{address} {}:{} {}", number("vendor")?, number("device")?, number("class")?))
        })
        .collect();
    devices.sort();
    devices.truncate(PCI_DEVICES_MAX);
    devices
}

fn card(nic: Nic) -> Card {
    let dir = PathBuf::from("/sys/class/net").join(&nic.name);
    let text = |file: &str| clean(&fs::read_to_string(dir.join("device").join(file)).unwrap_or_default());
    let bus = fs::read_link(dir.join("device")).unwrap_or_default();
    let pci = bus.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // A virtio interface hangs below its PCI device.
    let pci = if pci.contains(':') { pci } else { parent_of(&dir.join("device")) };
    let location = slot(&pci).unwrap_or_default();
    Card {
        driver: nic.driver(),
        location,
        onboard: text("index"),
        label: text("label"),
        has_link: nic.has_link(),
        speed: fs::read_to_string(dir.join("speed")).ok().and_then(|text| text.trim().parse().ok()),
        pci,
        nic,
    }
}

fn parent_of(device: &Path) -> String {
    let real = fs::canonicalize(device).unwrap_or_default();
    let parent = real.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    parent.filter(|name| name.contains(':')).unwrap_or_default()
}

/// The slot whose address the device has.
fn slot(pci: &str) -> Option<String> {
    let device = pci.split('.').next().filter(|device| !device.is_empty())?;
    let slots = fs::read_dir("/sys/bus/pci/slots").ok()?.flatten();
    let mut found = slots.filter(|slot| {
        fs::read_to_string(slot.path().join("address")).is_ok_and(|address| address.trim() == device)
    });
    found.next().map(|slot| format!("Slot {}", slot.file_name().to_string_lossy()))
}

fn clean(text: &str) -> String {
    let kept: String = without_control(text.trim()).chars().take(TEXT_CHARS_MAX).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(root.path())
    }

    #[test]
    fn a_server() {
        let machine = machine(&[
            ("sys/class/dmi/id/sys_vendor", "LENOVO\n"),
            ("sys/class/dmi/id/product_name", "System x3550 M5 -[8869.AC1]-\n"),
            ("sys/class/dmi/id/product_serial", "KQ.01234\n"),
            ("sys/class/dmi/id/product_uuid", "00010203-0405-0607-0809-0A0B0C0D0E0F\n"),
            ("proc/cpuinfo", "model name\t: Xeon  X\nflags : a\nmodel name\t: Xeon  X\n"),
            ("proc/meminfo", "MemFree: 1 kB\nMemTotal:  131732480 kB\n"),
            ("sys/block/sda/size", "1875385008\n"),
            ("sys/block/loop0/size", "8\n"),
            ("sys/block/nvme0n1/size", "0\n"),
            ("dev/ipmi0", ""),
            ("sys/bus/pci/devices/0000:18:00.0/vendor", "0x8086\n"),
            ("sys/bus/pci/devices/0000:18:00.0/device", "0x1572\n"),
            ("sys/bus/pci/devices/0000:18:00.0/class", "0x020000\n"),
            ("sys/bus/pci/devices/0000:19:00.0/vendor", "0x8086\n"),
        ]);
        assert_eq!((machine.mtm.as_str(), machine.serial.as_str()), ("8869AC1", "KQ01234"));
        assert_eq!(machine.uuid, "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!((machine.cpus, machine.cpu.as_str()), (2, "Xeon X"));
        assert_eq!(machine.memory, 128_645);
        assert_eq!(machine.disks, [("sda".to_owned(), 894)]);
        assert_eq!(machine.pci, ["0000:18:00.0 8086:1572 020000"]);
        assert!(machine.has_bmc && !machine.is_guest);
        assert_eq!(machine.summary().len(), 3);
    }

    #[test]
    fn guests_and_machines_that_say_nothing() {
        let guest = machine(&[("sys/class/dmi/id/sys_vendor", "QEMU\n")]);
        assert!(guest.is_guest);
        assert_eq!(guest.mtm, "KVM");
        let silent = machine(&[("sys/class/dmi/id/product_serial", "000.0\n")]);
        assert_eq!(silent, Machine::default());
    }
}
