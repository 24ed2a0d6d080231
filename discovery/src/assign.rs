//! What is written when a machine becomes a node (xCAT's "discovered"): the edits of one change, computed
//! from the newest tables.
//!
//! Values of the machine fill what is empty or describe what it is; what an administrator has chosen stays,
//! but for the inventory. That is one difference from xCAT, which turns nodes with another boot loader than
//! its own to `xnba`.

use std::net::{IpAddr, Ipv4Addr};

use dawn_cluster::list::steps;
use dawn_cluster::{Col, Edit, EditError, MacAddr, Netboot, Snapshot, Text, col, parse_mac_column, schema};

use crate::evidence::{Assignment, Method};
use crate::machine::{Machine, Neighbour, Nic};
use crate::other_data;
use crate::sequential::Run;

/// Interfaces that are noted at most.
const MACS_MAX: usize = 32;
/// Bytes of one cell that a machine fills.
const CELL_BYTES_MAX: usize = 1024;

/// Why a machine cannot become the node.
#[derive(Debug, thiserror::Error)]
pub enum NotNow {
    /// It would have no address.
    #[error(
        "{0} has no address: set hosts.ip, and the machine becomes this node when it sends its packet again"
    )]
    NoAddress(String),
    /// The machine has no Ethernet interface.
    #[error("the machine names no Ethernet interface")]
    NoMac,
    /// The tables refuse a value.
    #[error(transparent)]
    Refused(#[from] EditError),
}

/// The edits of the node's own tables; its [`record`] is separate. `deployment` is the MAC of the
/// interface that the machine asks over.
///
/// # Errors
/// [`NotNow`].
pub fn edits(
    snapshot: &Snapshot,
    machine: &Machine,
    deployment: Option<MacAddr>,
    assignment: &Assignment,
    run: Option<&Run>,
) -> Result<Vec<Edit>, NotNow> {
    let mut change = Writer { snapshot, node: &assignment.node, edits: Vec::new() };
    if assignment.method == Method::Sequential {
        change.sequential(assignment, run)?;
        change.switch_port(machine, deployment)?;
    }
    let granted = assignment.grant.as_ref().is_some_and(|grant| grant.host_ip.is_some());
    if !granted && !has_address(snapshot, &assignment.node) {
        return Err(NotNow::NoAddress(assignment.node.to_string()));
    }
    change.macs(machine, deployment)?;
    // Passwords are sent to a BMC. Where the node has its machine already, a packet is no proof of its place.
    let bmc = machine.bmc.filter(|_| !has_its_machine(snapshot, &assignment.node, machine));
    change.inventory(machine)?;
    if let Some(bmc) = bmc {
        change.fill(col::ipmi::BMC, &bmc.to_string())?;
    }
    change.boot(machine)?;
    for stand_in in &assignment.stand_ins {
        if machine.has_inband_bmc {
            let kind = dawn_cluster::object_type("node");
            change.edits.extend(kind.into_iter().flat_map(|kind| snapshot.delete_object(kind, stand_in)));
        }
    }
    Ok(change.edits)
}

/// The node has this machine, and discovery was not asked for. A packet changes what is known of its
/// hardware, and neither its state nor its chain. A node whose MAC somebody wrote is found by its first
/// packet.
pub fn is_settled(snapshot: &Snapshot, node: &str, machine: &Machine) -> bool {
    let state = snapshot.attr(node, col::chain::CURRSTATE).unwrap_or_default();
    let is_asked_for = match state.trim() {
        "" => !has_record(snapshot, node),
        state => state == "discover",
    };
    !is_asked_for && has_its_machine(snapshot, node, machine)
}

fn has_record(snapshot: &Snapshot, node: &str) -> bool {
    snapshot.find_row(&[(col::discoverydata::NODE, node)]).is_some()
}

/// What a packet of a node's own machine changes.
///
/// # Errors
/// [`NotNow::Refused`].
pub fn inventory(snapshot: &Snapshot, node: &str, machine: &Machine) -> Result<Vec<Edit>, NotNow> {
    let mut change = Writer { snapshot, node, edits: Vec::new() };
    change.inventory(machine)?;
    Ok(change.edits)
}

/// A MAC of the machine is the node's.
fn has_its_machine(snapshot: &Snapshot, node: &str, machine: &Machine) -> bool {
    let known = parse_mac_column(&snapshot.attr(node, col::mac::MAC).unwrap_or_default());
    known.iter().any(|entry| machine.macs().any(|mac| mac == entry.mac))
}

/// Whether a machine that becomes the node gets an address.
pub(crate) fn has_address(snapshot: &Snapshot, node: &str) -> bool {
    let address = snapshot.attr(node, col::hosts::IP);
    address.is_some_and(|address| address.trim().parse::<IpAddr>().is_ok())
}

struct Writer<'a> {
    snapshot: &'a Snapshot,
    node: &'a str,
    edits: Vec<Edit>,
}

impl Writer<'_> {
    fn has(&self, column: Col) -> bool {
        self.snapshot.attr(self.node, column).is_some()
    }

    fn set(&mut self, table: &str, values: &[(&str, &str)]) -> Result<(), NotNow> {
        let values: Vec<(&str, &str)> =
            values.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
        if !values.is_empty() {
            self.edits.push(Edit::set(table, &[("node", self.node)], &values)?);
        }
        Ok(())
    }

    fn fill(&mut self, column: Col, value: &str) -> Result<(), NotNow> {
        if !self.has(column) {
            self.edits.push(Edit::set_node(self.node, column, value)?);
        }
        Ok(())
    }

    /// The interface that the machine asks over is the node's; others are noted without a name.
    fn macs(&mut self, machine: &Machine, deployment: Option<MacAddr>) -> Result<(), NotNow> {
        let wanted = self.snapshot.attr(self.node, col::noderes::DISCOVERYNICS);
        let wanted: Vec<&str> = wanted.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
        let is_wanted = |nic: &Nic, at: usize| {
            wanted.iter().any(|name| *name == nic.device || *name == format!("{}:{at}", nic.driver))
        };
        let own = own_mac(machine, deployment).ok_or(NotNow::NoMac)?;
        let mut cell = own.to_string();
        let others = machine
            .nics
            .iter()
            .enumerate()
            .filter(|(at, nic)| nic.mac != own && (!nic.address.is_empty() || is_wanted(nic, *at)));
        for (_, nic) in others.take(MACS_MAX) {
            cell.push_str(&format!("|{}!*NOIP*", nic.mac));
        }
        let known = self.snapshot.attr(self.node, col::mac::MAC).unwrap_or_default();
        // What an administrator wrote beside the MAC stays, if the machine is the one.
        if parse_mac_column(&known).iter().any(|entry| entry.mac == own) {
            return Ok(());
        }
        self.set("mac", &[("mac", &cell)])
    }

    fn inventory(&mut self, machine: &Machine) -> Result<(), NotNow> {
        let cell = |text: &str| cut(text).to_owned();
        self.set(
            "vpd",
            &[
                ("uuid", &cell(&machine.uuid)),
                ("mtm", &cell(&machine.mtm)),
                ("serial", &cell(&machine.serial)),
            ],
        )?;
        self.set(
            "hwinv",
            &[
                ("memory", &cell(&machine.memory)),
                ("disksize", &cell(&machine.disksize)),
                ("cpucount", &cell(&machine.cpucount)),
                ("cputype", &cell(&machine.cputype)),
            ],
        )
    }

    /// Architecture, loader, and the chain from its beginning.
    fn boot(&mut self, machine: &Machine) -> Result<(), NotNow> {
        match machine.arch.as_str() {
            "x86_64" => {
                let present = self.snapshot.attr(self.node, col::nodetype::ARCH);
                let arch = present.filter(|arch| arch.starts_with("x86"));
                let arch = arch.as_deref().unwrap_or("x86_64").to_owned();
                self.set("nodetype", &[("arch", &arch), ("supportedarchs", "x86,x86_64")])?;
                self.fill(col::noderes::NETBOOT, Netboot::Xnba.name())?;
            }
            arch if known_arch(arch) => {
                self.set("nodetype", &[("arch", arch), ("supportedarchs", arch)])?;
                match machine.platform.as_str() {
                    "PowerNV" => self.fill(col::noderes::NETBOOT, Netboot::Petitboot.name())?,
                    _ if arch.starts_with("ppc") => {
                        self.fill(col::noderes::NETBOOT, Netboot::Grub2.name())?
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        let chain = [("currstate", ""), ("currchain", "")];
        if self.has(col::chain::CURRSTATE) || self.has(col::chain::CURRCHAIN) {
            self.edits.push(Edit::set("chain", &[("node", self.node)], &chain)?);
        }
        Ok(())
    }

    /// A node of a range need not be defined yet; it gets its addresses and its place.
    fn sequential(&mut self, assignment: &Assignment, run: Option<&Run>) -> Result<(), NotNow> {
        let option = |name: &str| run.and_then(|run| run.options().get(name)).unwrap_or_default().to_owned();
        if !self.snapshot.has_node(self.node) {
            let groups = option("groups");
            self.set("nodelist", &[("groups", if groups.is_empty() { "all" } else { &groups })])?;
        }
        self.fill(col::nodehm::MGT, "ipmi")?;
        let Some(grant) = &assignment.grant else { return Ok(()) };
        if let Some(ip) = grant.host_ip {
            self.set("hosts", &[("ip", &ip.to_string())])?;
        }
        if let Some(ip) = grant.bmc_ip {
            self.bmc(ip)?;
        }
        let unit = grant.unit.map(|unit| unit.to_string()).unwrap_or_default();
        self.set(
            "nodepos",
            &[
                ("rack", &option("rack")),
                ("chassis", &option("chassis")),
                ("height", &option("height")),
                ("u", &unit),
            ],
        )?;
        self.sequential_chain(grant.bmc_ip.is_some() && option("skipbmcsetup").is_empty(), &option("osimage"))
    }

    /// The port that the interface of the machine heard, unless the tables know one of the node's, another
    /// node there, or no such switch: switches of the tables are read.
    fn switch_port(&mut self, machine: &Machine, deployment: Option<MacAddr>) -> Result<(), NotNow> {
        let own = own_mac(machine, deployment);
        let nic = machine.nics.iter().find(|nic| Some(nic.mac) == own);
        let Some(neighbour) = nic.and_then(|nic| nic.neighbour.as_ref()) else { return Ok(()) };
        let (switch, port) = (col::switch::SWITCH, col::switch::PORT);
        let heard = neighbour.port_names().next().map(cut).zip(node_of(self.snapshot, neighbour));
        let Some((port_name, node)) = heard else { return Ok(()) };
        let is_known = self.has(switch) || self.has(port);
        if is_known || self.snapshot.find_row(&[(switch, &node), (port, port_name)]).is_some() {
            return Ok(());
        }
        self.set("switch", &[("switch", &node), ("port", port_name)])
    }

    fn bmc(&mut self, ip: Ipv4Addr) -> Result<(), NotNow> {
        let name = format!("{}-bmc:{ip}", self.node);
        let others = self.snapshot.attr(self.node, col::hosts::OTHERINTERFACES);
        let others = others.map_or_else(|| name.clone(), |others| format!("{others},{name}"));
        self.set("hosts", &[("otherinterfaces", &others)])?;
        self.set("ipmi", &[("bmc", &ip.to_string())])
    }

    fn sequential_chain(&mut self, sets_up_bmc: bool, image: &str) -> Result<(), NotNow> {
        const SETUP: &str = "runcmd=bmcsetup";
        let stored = self.snapshot.attr(self.node, col::chain::CHAIN).unwrap_or_default();
        let mut chain: Vec<&str> = steps(&stored).collect();
        if sets_up_bmc && !chain.contains(&SETUP) {
            chain.insert(0, SETUP);
        }
        let wanted = format!("osimage={image}");
        if !image.is_empty() {
            chain.retain(|step| !step.starts_with("osimage="));
            chain.push(&wanted);
        }
        let chain = chain.join(",");
        if chain == *stored { Ok(()) } else { self.set("chain", &[("chain", &chain)]) }
    }
}

/// The row of `discoverydata`, which keeps the packet for people and for a later decision; a node has one.
/// `time` is the local one, [`TIME_FORM`].
///
/// # Errors
/// The table refuses a value.
pub fn record(
    snapshot: &Snapshot,
    machine: &Machine,
    node: &str,
    method: &str,
    time: &str,
) -> Result<Vec<Edit>, EditError> {
    let key = key(snapshot, machine);
    let row = row(machine, &key, [("node", node), ("method", method), ("discoverytime", time)])?;
    let others = match node {
        "" => Vec::new(),
        node => snapshot.find_rows(&[(col::discoverydata::NODE, node)]),
    };
    let others =
        others.iter().filter_map(|row| row.get(col::discoverydata::UUID)).filter(|uuid| ***uuid != *key);
    let others = others.map(|uuid| Edit::delete("discoverydata", &[("uuid", uuid)]));
    others.chain([Ok(row)]).collect()
}

/// The present time of a record, local: `discoverydata.discoverytime`, as `strftime` has it.
pub const TIME_FORM: &str = "%m-%d-%Y %H:%M:%S";

fn row(machine: &Machine, key: &str, about: [(&str, &str); 3]) -> Result<Edit, EditError> {
    let list = |value: fn(&Nic) -> &str| {
        let nics = machine.nics.iter().filter(|nic| !value(nic).is_empty());
        cut(&nics.map(|nic| format!("{}!{}", nic.device, value(nic))).collect::<Vec<_>>().join(","))
            .to_owned()
    };
    let neighbours = |value: fn(&Neighbour) -> String| {
        let nics = machine.nics.iter().filter_map(|nic| Some((nic, nic.neighbour.as_ref()?)));
        cut(&nics
            .map(|(nic, found)| format!("{}!{}", nic.device, value(found)))
            .collect::<Vec<_>>()
            .join(","))
        .to_owned()
    };
    let macs = machine.nics.iter().map(|nic| format!("{}!{}", nic.device, nic.mac));
    let macs = cut(&macs.collect::<Vec<_>>().join(",")).to_owned();
    let values = [
        ("arch", cut(&machine.arch)),
        ("cpucount", cut(&machine.cpucount)),
        ("cputype", cut(&machine.cputype)),
        ("memory", cut(&machine.memory)),
        ("mtm", cut(&machine.mtm)),
        ("serial", cut(&machine.serial)),
        ("nicdriver", &list(|nic| &nic.driver)),
        ("nicipv4", &list(|nic| &nic.address)),
        ("nichwaddr", &macs),
        ("nicpci", &list(|nic| &nic.pci)),
        ("nicloc", &list(|nic| &nic.location)),
        ("niconboard", &list(|nic| &nic.onboard)),
        ("nicfirm", &list(|nic| &nic.firmware)),
        ("switchname", &neighbours(|found| found.name.clone())),
        ("switchport", &neighbours(|found| found.port.clone())),
        ("switchdesc", &neighbours(|found| found.description.clone())),
        ("switchaddr", &switch_addresses(machine)),
        ("otherdata", &other_data::of(machine)),
    ];
    let values: Vec<(&str, &str)> = about.into_iter().chain(values).collect();
    Edit::set("discoverydata", &[("uuid", key)], &values)
}

/// The first management address of each neighbour.
fn switch_addresses(machine: &Machine) -> String {
    let of = |nic: &Nic| {
        let address = nic.neighbour.as_ref()?.addresses.first()?;
        Some(format!("{}!{address}", nic.device))
    };
    cut(&machine.nics.iter().filter_map(of).collect::<Vec<_>>().join(",")).to_owned()
}

/// The key of a machine's row in `discoverydata`: the UUID, or what replaces one that is missing, or that the
/// row of a machine with other interfaces has: boards of some makers share one.
pub fn key(snapshot: &Snapshot, machine: &Machine) -> String {
    let mac = machine.macs().next().map(|mac| mac.to_string().replace(':', "")).unwrap_or_default();
    let uuid = cut(&machine.uuid);
    if uuid.is_empty() {
        return format!("{}-{}-{mac}", machine.mtm, machine.serial).to_lowercase();
    }
    let of_its_own = format!("{uuid}-{mac}");
    let has_own = snapshot.find_row(&[(col::discoverydata::UUID, &of_its_own)]).is_some();
    let is_others = || {
        let known = of_record(snapshot, uuid).filter(|known| !known.nics.is_empty());
        known.is_some_and(|known| machine.macs().all(|mac| known.macs().all(|other| other != mac)))
    };
    if has_own || is_others() { of_its_own } else { uuid.to_owned() }
}

/// The machine that a row of `discoverydata` describes, as far as a decision needs it.
pub fn of_record(snapshot: &Snapshot, uuid: &str) -> Option<Machine> {
    let key = col::discoverydata::UUID;
    let row = snapshot.find_row(&[(key, uuid)])?;
    let cell = |name: &str| {
        let col = schema().find("discoverydata")?.col(name)?;
        row.get(col).map(|text| text.to_string())
    };
    let of_nics = |name: &str| -> Vec<(String, String)> {
        let list = cell(name).unwrap_or_default();
        let pairs = list.split(',').filter_map(|pair| pair.split_once('!'));
        pairs.map(|(device, value)| (device.to_owned(), value.to_owned())).collect()
    };
    let (addresses, drivers) = (of_nics("nicipv4"), of_nics("nicdriver"));
    let of = |list: &[(String, String)], device: &str| {
        list.iter().find(|(name, _)| name == device).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let nics = of_nics("nichwaddr").into_iter().filter_map(|(device, mac)| {
        let nic = Nic::new(mac.parse().ok()?);
        let (address, driver) = (of(&addresses, &device), of(&drivers, &device));
        Some(Nic { device, driver, address, ..nic })
    });
    let text = |name: &str| cell(name).unwrap_or_default();
    Some(Machine {
        arch: text("arch"),
        cpucount: text("cpucount"),
        cputype: text("cputype"),
        memory: text("memory"),
        uuid: uuid.to_owned(),
        mtm: text("mtm"),
        serial: text("serial"),
        nics: nics.take(MACS_MAX).collect(),
        ..Machine::default()
    })
}

/// The node that a neighbour is, by its name or by a management address.
fn node_of(snapshot: &Snapshot, neighbour: &Neighbour) -> Option<Text> {
    let named = neighbour.system_names().into_iter().find_map(|name| snapshot.node_name(name));
    named.or_else(|| neighbour.addresses.iter().find_map(|ip| snapshot.node_by_ip(*ip)))
}

/// The MAC that becomes the node's: of the interface that the machine asks over, if that is known, else of
/// one with an address, else the first.
pub(crate) fn own_mac(machine: &Machine, deployment: Option<MacAddr>) -> Option<MacAddr> {
    let asking = deployment.filter(|mac| machine.macs().any(|own| own == *mac));
    let addressed = || machine.nics.iter().find(|nic| !nic.address.is_empty()).map(|nic| nic.mac);
    asking.or_else(addressed).or_else(|| machine.macs().next())
}

fn known_arch(arch: &str) -> bool {
    ["aarch64", "armv7l", "ppc64", "ppc64le", "ppc64el", "riscv64"].contains(&arch)
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(CELL_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let nic = |last, device: &str, address: &str| Nic {
            device: device.into(),
            driver: "i40e".into(),
            address: address.into(),
            ..Nic::new(MacAddr([2, 0, 0, 0, 0, last]))
        };
        Machine {
            arch: "x86_64".into(),
            cpucount: "2".into(),
            memory: "512MB".into(),
            uuid: "u-1".into(),
            mtm: "8335GTA".into(),
            serial: "10ABCDE".into(),
            nics: vec![nic(1, "eno1", ""), nic(2, "eno2", "10.1.255.17/16"), nic(3, "eno3", "")],
            ..Machine::default()
        }
    }

    fn assignment(method: Method) -> Assignment {
        Assignment { node: "cn1".into(), method, stand_ins: Vec::new(), grant: None }
    }

    fn snapshot(rows: &[(&str, &[(&str, &str)])]) -> Snapshot {
        let base: [(&str, &[(&str, &str)]); 2] = [
            ("nodelist", &[("node", "cn1"), ("groups", "all")]),
            ("chain", &[("node", "cn1"), ("chain", "shell"), ("currstate", "boot"), ("currchain", "boot")]),
        ];
        Snapshot::from_rows(base.into_iter().chain(rows.iter().copied()))
    }

    fn after(snapshot: &Snapshot, method: Method) -> Snapshot {
        let edits = edits(snapshot, &machine(), None, &assignment(method), None).unwrap();
        snapshot.with(&edits).unwrap()
    }

    /// A replaced board that keeps a card of the old one: by hand, the new board's MAC becomes the node's.
    #[test]
    fn a_shared_card_does_not_keep_the_old_mac() {
        let cell = "02:00:00:00:00:09|02:00:00:00:00:03!*NOIP*";
        let known = snapshot(&[
            ("hosts", &[("node", "cn1"), ("ip", "10.1.0.1")]),
            ("mac", &[("node", "cn1"), ("mac", cell)]),
        ]);
        let after = after(&known, Method::Mac);
        assert!(after.attr("cn1", col::mac::MAC).unwrap().starts_with("02:00:00:00:00:02"));
    }

    /// A packet of a node's own machine changes what is known of its hardware and nothing else.
    #[test]
    fn a_node_that_goes_its_way_is_left_alone() {
        let at = |state: &str, mac| {
            let state = Edit::set("chain", &[("node", "cn1")], &[("currstate", state)]).unwrap();
            snapshot(&[("mac", &[("node", "cn1"), ("mac", mac)])]).with(&[state]).unwrap()
        };
        let own = "02:00:00:00:00:02";
        for (state, mac, expected) in [
            ("boot", own, true),
            ("discover", own, false),
            ("", own, false),
            ("boot", "02:00:00:00:00:09", false),
        ] {
            assert_eq!(is_settled(&at(state, mac), "cn1", &machine()), expected, "{state} {mac}");
        }
        let before = at("boot", own);
        let machine = Machine { bmc: "10.9.9.9".parse().ok(), ..machine() };
        let after = before.with(&inventory(&before, "cn1", &machine).unwrap()).unwrap();
        for column in [col::chain::CURRSTATE, col::chain::CURRCHAIN, col::mac::MAC, col::ipmi::BMC] {
            assert_eq!(after.attr("cn1", column), before.attr("cn1", column));
        }
        assert_eq!(after.attr("cn1", col::vpd::SERIAL).as_deref(), Some("10ABCDE"));
    }

    /// A node whose MAC somebody wrote is found by its first packet. No packet names its BMC.
    #[test]
    fn a_known_mac_is_no_proof_of_a_bmc() {
        let before = snapshot(&[("hosts", &[("node", "cn1"), ("ip", "10.1.0.1")])]);
        let without_state = Edit::set_node("cn1", col::chain::CURRSTATE, "").unwrap();
        let before = before.with(&[without_state]).unwrap();
        let machine = Machine { bmc: "10.9.9.9".parse().ok(), ..machine() };
        let found = |before: &Snapshot| {
            let edits = edits(before, &machine, None, &assignment(Method::Mac), None).unwrap();
            before.with(&edits).unwrap()
        };
        assert_eq!(found(&before).attr("cn1", col::ipmi::BMC).as_deref(), Some("10.9.9.9"));
        let mac = Edit::set_node("cn1", col::mac::MAC, "02:00:00:00:00:02").unwrap();
        let before = before.with(&[mac]).unwrap();
        assert!(!is_settled(&before, "cn1", &machine));
        let after = found(&before);
        assert_eq!(after.attr("cn1", col::ipmi::BMC), None);
        let after =
            after.with(&record(&after, &machine, "cn1", "mac", "11-30-2026 12:00:00").unwrap()).unwrap();
        assert!(is_settled(&after, "cn1", &machine));
    }

    /// Machines with one UUID have a row each, and a node has one row whatever its packets say.
    #[test]
    fn rows_of_machines() {
        let time = "11-30-2026 12:00:00";
        let with = |last, uuid: &str| Machine {
            uuid: uuid.into(),
            nics: vec![Nic { device: "eno1".into(), ..Nic::new(MacAddr([2, 0, 0, 0, 0, last])) }],
            ..machine()
        };
        let put = |before: &Snapshot, machine: &Machine, node: &str| {
            before.with(&record(before, machine, node, "undef", time).unwrap()).unwrap()
        };
        let keys = |snapshot: &Snapshot| -> Vec<String> {
            let rows = snapshot.rows("discoverydata");
            rows.map(|row| row.get(col::discoverydata::UUID).unwrap().to_string()).collect()
        };
        let both = [with(1, "u-1"), with(2, "u-1")];
        let now = both.iter().fold(snapshot(&[]), |now, machine| put(&now, machine, ""));
        let now = both.iter().fold(now, |now, machine| put(&now, machine, ""));
        assert_eq!(keys(&now), ["u-1", "u-1-020000000002"]);
        assert_eq!(of_record(&now, &key(&now, &both[1])).unwrap().nics, both[1].nics);
        // The row of the first is gone; the second keeps its own.
        let gone = now.with(&[Edit::delete("discoverydata", &[("uuid", "u-1")]).unwrap()]).unwrap();
        assert_eq!(key(&gone, &both[1]), "u-1-020000000002");

        let now = (0..5).fold(now, |now, at| put(&now, &with(7, &format!("u-{at}")), "cn1"));
        assert_eq!(keys(&now), ["u-1", "u-1-020000000002", "u-4"]);
    }

    /// The port is written for a switch of the tables, where no other node is.
    #[test]
    fn a_range_writes_ports() {
        let neighbour = |name: &str| Neighbour {
            name: name.into(),
            port_name: "swp7".into(),
            addresses: vec!["10.1.0.200".parse().unwrap()],
            ..Neighbour::default()
        };
        let machine = |name: &str| {
            let mut machine = machine();
            machine.nics[1].neighbour = Some(neighbour(name));
            machine
        };
        let node = |name: &'static str| ("nodelist", [("node", name), ("groups", "all")]);
        let (switch, other) = (node("sw1"), node("cn2"));
        let host = [("node", "cn1"), ("ip", "10.1.0.1")];
        let known = [("nodelist", &switch.1[..]), ("nodelist", &other.1[..]), ("hosts", &host[..])];
        let port = |machine: &Machine, rows: &[(&str, &[(&str, &str)])]| {
            let before = snapshot(&[&known[..], rows].concat());
            let edits = edits(&before, machine, None, &assignment(Method::Sequential), None).unwrap();
            let after = before.with(&edits).unwrap();
            let cell = |column| after.attr("cn1", column).map(|text| text.to_string()).unwrap_or_default();
            (cell(col::switch::SWITCH), cell(col::switch::PORT))
        };
        let pair = |switch: &str, port: &str| (switch.to_owned(), port.to_owned());
        assert_eq!(port(&machine("sw1.hall"), &[]), pair("sw1", "swp7"));
        assert_eq!(port(&machine("elsewhere"), &[]), pair("", ""));
        let by_address: [(&str, &[(&str, &str)]); 1] = [("hosts", &[("node", "sw1"), ("ip", "10.1.0.200")])];
        assert_eq!(port(&machine("elsewhere"), &by_address), pair("sw1", "swp7"));
        for taken in ["cn1", "cn2"] {
            let row = [("node", taken), ("switch", "sw1"), ("port", "swp7")];
            let expected = if taken == "cn1" { pair("sw1", "swp7") } else { pair("", "") };
            assert_eq!(port(&machine("sw1"), &[("switch", &row)]), expected);
        }
    }

    #[test]
    fn a_machine_becomes_a_node() {
        let before = snapshot(&[
            ("hosts", &[("node", "cn1"), ("ip", "10.1.0.11")]),
            ("noderes", &[("node", "cn1"), ("netboot", "grub2"), ("discoverynics", "eno3")]),
        ]);
        let after = after(&before, Method::Mtms);
        let cell = |column| after.attr("cn1", column).map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(cell("mac.mac"), "02:00:00:00:00:02|02:00:00:00:00:03!*NOIP*");
        assert_eq!((cell("vpd.serial"), cell("hwinv.memory")), ("10ABCDE".into(), "512MB".into()));
        assert_eq!((cell("nodetype.arch"), cell("noderes.netboot")), ("x86_64".into(), "grub2".into()));
        assert_eq!((cell("chain.currstate"), cell("chain.chain")), (String::new(), "shell".into()));
        let after =
            after.with(&record(&after, &machine(), "cn1", "mtms", "11-30-2026 12:00:00").unwrap()).unwrap();
        let stored = of_record(&after, "u-1").unwrap();
        assert_eq!(stored.nics.len(), 3);
        assert_eq!((stored.nics[1].address.as_str(), stored.mtm.as_str()), ("10.1.255.17/16", "8335GTA"));
    }

    #[test]
    fn a_node_without_address_waits() {
        let error =
            edits(&snapshot(&[]), &machine(), None, &assignment(Method::Mtms), None).unwrap_err().to_string();
        assert!(error.starts_with("cn1 has no address"), "{error}");
    }

    #[test]
    fn a_node_of_a_range_gets_everything() {
        let before = snapshot(&[]);
        let options = crate::sequential::Options::of_words([
            "noderange=cn5",
            "hostiprange=10.1.0.50-10.1.0.60",
            "bmciprange=10.2.0.5-10.2.0.9",
            "groups=rack1",
            "rack=1",
            "unit=7",
            "osimage=img",
        ]);
        let run = Run::new(&before, options.unwrap()).unwrap();
        let grant = crate::evidence::Grant {
            node: "cn5".into(),
            host_ip: Some(Ipv4Addr::new(10, 1, 0, 50)),
            bmc_ip: Some(Ipv4Addr::new(10, 2, 0, 5)),
            unit: Some(7),
        };
        let assignment = Assignment {
            node: "cn5".into(),
            method: Method::Sequential,
            stand_ins: Vec::new(),
            grant: Some(grant),
        };
        let edits = edits(&before, &machine(), None, &assignment, Some(&run)).unwrap();
        let after = before.with(&edits).unwrap();
        let cell = |column| after.attr("cn5", column).map(|text| text.to_string()).unwrap_or_default();
        assert_eq!(cell("nodelist.groups"), "rack1");
        assert_eq!((cell("hosts.ip"), cell("ipmi.bmc")), ("10.1.0.50".into(), "10.2.0.5".into()));
        assert_eq!(cell("hosts.otherinterfaces"), "cn5-bmc:10.2.0.5");
        assert_eq!(cell("chain.chain"), "runcmd=bmcsetup,osimage=img");
        assert_eq!((cell("nodepos.rack"), cell("nodepos.u")), ("1".into(), "7".into()));
        assert_eq!(cell("nodehm.mgt"), "ipmi");
    }
}
