//! What is written when a machine becomes a node (xCAT's "discovered"): the edits of one change, computed
//! from the newest tables.
//!
//! Values of the machine fill what is empty or describe what it is; what an administrator has chosen stays,
//! but for the inventory. That is one difference from xCAT, which turns nodes with another boot loader than
//! its own to `xnba`.

use std::net::{IpAddr, Ipv4Addr};

use dawn_cluster::list::steps;
use dawn_cluster::{Col, Edit, EditError, MacAddr, Netboot, Snapshot, col, parse_mac_column, schema};

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
    }
    let granted = assignment.grant.as_ref().is_some_and(|grant| grant.host_ip.is_some());
    if !granted && !has_address(snapshot, &assignment.node) {
        return Err(NotNow::NoAddress(assignment.node.to_string()));
    }
    change.macs(machine, deployment)?;
    change.inventory(machine)?;
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
/// hardware, and neither its state nor its chain.
pub fn is_settled(snapshot: &Snapshot, node: &str, machine: &Machine) -> bool {
    let state = snapshot.attr(node, col::chain::CURRSTATE).unwrap_or_default();
    !matches!(state.trim(), "" | "discover") && has_its_machine(snapshot, node, machine)
}

/// What a packet of a node's own machine changes.
///
/// # Errors
/// [`NotNow::Refused`].
pub fn inventory(snapshot: &Snapshot, node: &str, machine: &Machine) -> Result<Vec<Edit>, NotNow> {
    let mut change = Writer { snapshot, node, edits: Vec::new() };
    // Nothing a packet says is where passwords of a BMC are sent to.
    change.inventory(&Machine { bmc: None, ..machine.clone() })?;
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
        )?;
        if let Some(bmc) = machine.bmc {
            self.fill(col::ipmi::BMC, &bmc.to_string())?;
        }
        Ok(())
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

/// The row of `discoverydata`, which keeps the packet for people and for a later decision. `time` is the
/// local one, `MM-DD-YYYY hh:mm:ss`.
///
/// # Errors
/// The table refuses a value.
pub fn record(machine: &Machine, node: &str, method: &str, time: &str) -> Result<Edit, EditError> {
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
        ("node", node),
        ("method", method),
        ("discoverytime", time),
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
    Edit::set("discoverydata", &[("uuid", key(machine).as_str())], &values)
}

/// The first management address of each neighbour.
fn switch_addresses(machine: &Machine) -> String {
    let of = |nic: &Nic| {
        let address = nic.neighbour.as_ref()?.addresses.first()?;
        Some(format!("{}!{address}", nic.device))
    };
    cut(&machine.nics.iter().filter_map(of).collect::<Vec<_>>().join(",")).to_owned()
}

/// The UUID, or the key that replaces a missing one.
pub fn key(machine: &Machine) -> String {
    let mac = machine.macs().next().map(|mac| mac.to_string().replace(':', "")).unwrap_or_default();
    match cut(&machine.uuid) {
        "" => format!("{}-{}-{mac}", machine.mtm, machine.serial).to_lowercase(),
        uuid => uuid.to_owned(),
    }
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
        let after = after.with(&[record(&machine(), "cn1", "mtms", "11-30-2026 12:00:00").unwrap()]).unwrap();
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
