//! The tables as the DHCP engine sees them: networks, reservations, boot rules.
//!
//! Networks are read once per change of the tables they come from; reservations are looked up
//! per packet in the snapshot's index. Nothing is generated, so `makedhcp` has nothing to write.

mod answers;
mod problems;

pub use answers::{Answers, Interface, Silence};
pub use dawn_dhcp::probe;
pub use problems::{problems, without_address};

use crate::address::{NameServerAddresses, host_name};
use dawn_cluster::{
    Col, Guid, MANAGEMENT_GROUP, MacAddr, MacOwner, Model, NamedAddress, NamedServer, Netboot, Row, Snapshot,
    Text, col, dynamic_ranges, row_subnet,
};
use dawn_dhcp::HwAddr;
use dawn_dhcp::boot::BootRule;
use dawn_dhcp::client::{Arch, Client};
use dawn_dhcp::directory::{Directory, Mode, Network, Range, Reservation};
use dawn_plan::loader::{Loader, arch, loader};
use dawn_plan::view::boot_image_path;
use dawn_plan::{CurrentAddresses, LocalAddresses, is_proxied, node_ip, tftpdir};
use dawn_wire::loader::SHIM;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Lease time if `site.dhcplease` is empty, in seconds (12 hours).
const LEASE_SECONDS_DEFAULT: u32 = 43_200;
/// Shortest lease time that `site.dhcplease` can set, in seconds: below it renewals would be a storm.
const LEASE_SECONDS_MIN: u32 = 60;

/// For texts about the interfaces that are served.
const WHERE_INTERFACES_ARE_NAMED: &str =
    "site.dhcpinterfaces (or servicenode.dhcpinterfaces of this machine)";

/// `site` key: what unknown machines load by UEFI PXE.
const DISCOVERY_NETBOOT: &str = "discoverynetboot";

/// Domains in a search list at most; resolvers of clients stop there or earlier.
const SEARCH_MAX: usize = 16;

/// Answers the DHCP engine from the model.
pub struct TableDirectory {
    model: Arc<Model>,
    addresses: Arc<CurrentAddresses>,
    /// Where the cluster's name server answers.
    names: Arc<NameServerAddresses>,
    networks: Mutex<Cached>,
    /// The names by which `dhcpinterfaces` may refer to this machine.
    host: String,
    /// Whether boot images can be made; looked up at start, because an answer never waits for a disk.
    images: bool,
}

/// Networks, and what they were made from: the tables in these versions, and this machine's addresses, also
/// those of its name server.
#[derive(Default)]
struct Cached {
    versions: Option<[u64; 5]>,
    addresses: Arc<LocalAddresses>,
    names: Arc<BTreeSet<IpAddr>>,
    networks: Arc<Vec<Network>>,
}

impl TableDirectory {
    /// A directory over the published snapshot of `model`.
    #[must_use]
    pub fn new(model: Arc<Model>, addresses: Arc<CurrentAddresses>, names: Arc<NameServerAddresses>) -> Self {
        let images = crate::loaders::can_make_images(&tftpdir(&model.snapshot()));
        Self { model, addresses, names, networks: Mutex::default(), host: host_name(), images }
    }
}

impl Directory for TableDirectory {
    fn networks(&self) -> Arc<Vec<Network>> {
        let snapshot = self.model.snapshot();
        let versions =
            ["networks", "site", "hosts", "nodelist", "servicenode"].map(|table| snapshot.version(table));
        let mut cached = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let (addresses, names) = (self.addresses.now(), self.names.now());
        let same = Arc::ptr_eq(&cached.addresses, &addresses) && Arc::ptr_eq(&cached.names, &names);
        if cached.versions != Some(versions) || !same {
            let here = Here {
                snapshot: &snapshot,
                addresses: &addresses,
                host: &self.host,
                forwards: addresses.forwards(),
                name_servers: &names,
            };
            for netname in unreadable(here) {
                tracing::warn!(netname, "networks: row without usable net and mask");
            }
            let mut networks = networks(here);
            if self.images {
                networks.iter_mut().for_each(|network| boot_strangers_signed(network, &snapshot));
            }
            cached.networks = Arc::new(networks);
            (cached.versions, cached.addresses, cached.names) = (Some(versions), addresses, names);
        }
        Arc::clone(&cached.networks)
    }

    fn reservations(&self, hw: &HwAddr) -> Arc<Vec<Reservation>> {
        let snapshot = self.model.snapshot();
        let mut found = interface_owner(&snapshot, hw).map(|owner| reservation(&snapshot, owner));
        if let Some(found) = found.as_mut().filter(|_| self.images) {
            found.boot = with_signed_loaders(found.boot.clone(), &found.node, &arch(&snapshot, &found.node));
        }
        Arc::new(found.into_iter().collect())
    }

    fn owner(&self, address: Ipv4Addr) -> Option<Arc<str>> {
        self.model.snapshot().node_by_ip(IpAddr::V4(address))
    }
}

/// Six bytes are an Ethernet address, eight the GUID of an InfiniBand port.
fn interface_owner(snapshot: &Snapshot, hw: &HwAddr) -> Option<MacOwner> {
    match hw.bytes().len() {
        6 => snapshot.mac_owner(MacAddr(hw.bytes().try_into().ok()?)),
        8 => snapshot.guid_owner(Guid(hw.bytes().try_into().ok()?)),
        _ => None,
    }
}

fn reservation(snapshot: &Snapshot, owner: MacOwner) -> Reservation {
    let hostname = owner.host.clone().unwrap_or_else(|| owner.node.to_string());
    let address = if owner.no_ip { None } else { interface_ip(snapshot, &owner.node, &hostname) };
    Reservation {
        address,
        no_ip: owner.no_ip,
        next_server: next_server(snapshot, &owner.node),
        boot: boot_rule(snapshot, &owner.node),
        hostname,
        node: owner.node,
        options: Vec::new(),
    }
}

/// The address of an interface by its host name: a node of that name, else what `hosts` and `nics` say of the
/// node.
fn interface_ip(snapshot: &Snapshot, node: &str, hostname: &str) -> Option<Ipv4Addr> {
    node_ip(snapshot, hostname).or_else(|| {
        let is_it = |known: &NamedAddress| {
            known.name == hostname || known.aliases.iter().any(|alias| alias == hostname)
        };
        let addresses = snapshot.named_addresses(node).into_iter().filter(is_it);
        addresses
            .filter_map(|known| match known.ip {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .next()
    })
}

/// The server of a node's files, where it is not the one of its network. Petitboot and ONIE have no other way
/// to find their management node, so it applies to them too.
fn next_server(snapshot: &Snapshot, node: &str) -> Option<Ipv4Addr> {
    let named = |column: Col| named_address(snapshot, &snapshot.attr(node, column)?);
    let by_master = || {
        let by_master = Netboot::of(snapshot, node).is_sent_a_url();
        by_master.then(|| named(col::noderes::XCATMASTER))?
    };
    named(col::noderes::TFTPSERVER).or_else(by_master)
}

/// The loader of a node, in the words of the engine.
fn boot_rule(snapshot: &Snapshot, node: &str) -> BootRule {
    rule_for(loader(snapshot, node))
}

/// A loader in the words of the engine.
pub(crate) fn rule_for(loader: Loader) -> BootRule {
    match loader {
        Loader::Disk => BootRule::Disk,
        Loader::Xnba { script, uefi } => BootRule::Xnba { script, uefi },
        Loader::Pxe => BootRule::Pxe,
        Loader::Grub2 { file, suffix } => BootRule::Grub2 { file, suffix, shim: None },
        Loader::Petitboot { config } => BootRule::Petitboot { config },
        Loader::Onie { path } => BootRule::Onie { path },
    }
}

/// What changes where the signed loaders are there. UEFI HTTP Boot gets an image of the node's own: nothing
/// else works under Secure Boot, and it works without Secure Boot too. A node that is to boot GRUB gets it by
/// way of shim. The loaders are those of x86-64, and so must be the image that they load.
pub(crate) fn with_signed_loaders(rule: BootRule, node: &str, arch: &str) -> BootRule {
    match rule {
        other if arch != "x86_64" => other,
        BootRule::Xnba { uefi: true, .. } => {
            for_one(Client::Http(Arch::UefiX64), boot_image_path(node), rule)
        }
        BootRule::Grub2 { file, suffix, .. } => BootRule::Grub2 { file, suffix, shim: Some(SHIM.to_owned()) },
        other => other,
    }
}

/// The same for machines that no node is known for. Firmware that boots by PXE does not say whether Secure
/// Boot is on, and GRUB's files come by TFTP alone, so there the site decides.
fn boot_strangers_signed(network: &mut Network, snapshot: &Snapshot) {
    let BootRule::Xnba { script, uefi: true } = &network.boot else { return };
    let image = boot_image_path(script);
    network.boot = for_one(Client::Http(Arch::UefiX64), image, network.boot.clone());
    if snapshot.site(DISCOVERY_NETBOOT).is_some_and(|text| text.trim() == "grub2") {
        network.boot = for_one(Client::Pxe(Arch::UefiX64), SHIM.to_owned(), network.boot.clone());
    }
}

fn for_one(client: Client, file: String, otherwise: BootRule) -> BootRule {
    BootRule::ForOne { client, file, otherwise: Box::new(otherwise) }
}

fn named_address(snapshot: &Snapshot, name: &str) -> Option<Ipv4Addr> {
    name.parse().ok().or_else(|| node_ip(snapshot, name))
}

/// All usable rows of `networks`: one bad row must not stop the others.
fn networks(here: Here<'_>) -> Vec<Network> {
    let served = Interfaces::read(here);
    let rows = here.snapshot.enabled_rows("networks");
    rows.filter_map(|row| NetworkRow { row, here, served: &served }.network()).collect()
}

/// Names of the rows that are left out.
fn unreadable(here: Here<'_>) -> Vec<&str> {
    let served = Interfaces { listed: None };
    let rows = here.snapshot.enabled_rows("networks");
    let lost = rows.filter(|row| NetworkRow { row, here, served: &served }.network().is_none());
    let col = col::networks::NETNAME;
    lost.map(|row| row.get(col).map_or("?", |name| &**name)).collect()
}

/// The tables, and what they do not say of this machine.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) addresses: &'a LocalAddresses,
    pub(crate) host: &'a str,
    /// It forwards packets, so it can be a router.
    pub(crate) forwards: bool,
    /// Addresses on which its name server answers.
    pub(crate) name_servers: &'a BTreeSet<IpAddr>,
}

/// A machine whose name server does not run.
static NO_NAME_SERVER: BTreeSet<IpAddr> = BTreeSet::new();

impl<'a> Here<'a> {
    /// Interfaces with an IPv4 address, loopback left out.
    fn own_interface_names(self) -> impl Iterator<Item = &'a str> {
        let own = self.addresses.iter().filter(|local| !local.address.is_loopback());
        own.map(|local| local.interface.as_str())
    }

    /// Whether the name or address is this machine's.
    fn is_named(self, name: &str) -> bool {
        let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        let has = |address| self.addresses.contains(address);
        short(name) == short(self.host) || named_address(self.snapshot, name).is_some_and(has)
    }

    /// Whether the name, address or group means this machine.
    fn is_meant(self, name: &str) -> bool {
        let is_master = || self.snapshot.site("master").is_some_and(|master| self.is_named(&master));
        let members = || self.snapshot.nodes_listing_group(name);
        self.is_named(name)
            || members().iter().any(|member| self.is_named(member))
            || name == MANAGEMENT_GROUP && is_master()
    }

    /// `servicenode.dhcpinterfaces` of this machine; its own rows take precedence over those of its groups.
    fn own_interfaces(self) -> Option<Text> {
        let (node, interfaces) = (col::servicenode::NODE, col::servicenode::DHCPINTERFACES);
        let cells = |row: &Row| Some((row.get(node)?.clone(), row.get(interfaces)?.clone()));
        let rows: Vec<(Text, Text)> = self.snapshot.enabled_rows("servicenode").filter_map(cells).collect();
        let own = rows.iter().find(|(name, _)| self.is_named(name));
        own.or_else(|| rows.iter().find(|(name, _)| self.is_meant(name))).map(|(_, text)| text.clone())
    }
}

/// `servicenode.dhcpinterfaces` of this machine, else `site.dhcpinterfaces`: `eth1,eth2:noboot` for every
/// server, or `mn|eth1,eth2;service|eth0` with the name, address or group of the server before the bar.
pub(crate) struct Interfaces {
    /// Name, and whether unknown machines there get a boot file; `None` means all of them, and they
    /// are.
    listed: Option<Vec<(String, bool)>>,
}

impl Interfaces {
    fn read(here: Here<'_>) -> Self {
        let says_something = |text: &Text| !text.trim().is_empty();
        let own = here.own_interfaces().filter(says_something);
        let text = own.or_else(|| here.snapshot.site("dhcpinterfaces").filter(says_something));
        text.map_or(Self { listed: None }, |text| Self::listed(here, &text))
    }

    /// A list of interfaces as `dhcpinterfaces` and `dnsinterfaces` write it.
    pub(crate) fn listed(here: Here<'_>, text: &str) -> Self {
        let parts = text.split(';').filter_map(|part| match part.split_once('|') {
            Some((name, list)) => here.is_meant(name.trim()).then_some(list),
            None => Some(part),
        });
        let words = parts.flat_map(|list| list.split([',', ' '])).filter(|word| !word.is_empty());
        let listed = words.map(|word| match word.split_once(':') {
            Some((name, mark)) => (name.to_owned(), mark != "noboot"),
            None => (word.to_owned(), true),
        });
        Self { listed: Some(listed.collect()) }
    }

    /// Whether the interface is served, and if so whether unknown machines there get a boot file.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<bool> {
        let Some(listed) = &self.listed else { return Some(true) };
        listed.iter().find(|(known, _)| Some(known.as_str()) == name).map(|(_, boot)| *boot)
    }
}

struct NetworkRow<'a> {
    row: &'a Row,
    here: Here<'a>,
    served: &'a Interfaces,
}

impl NetworkRow<'_> {
    fn get(&self, column: Col) -> Option<&str> {
        self.row.get(column).map(|text| &**text)
    }

    fn network(&self) -> Option<Network> {
        let subnet = row_subnet(self.row)?;
        let mut network =
            Network::new(self.get(col::networks::NETNAME).unwrap_or("?"), subnet.address(), subnet.prefix());
        let (own, snapshot) = (self.own_address(&network), self.here.snapshot);
        let nic = self.nic(&network);
        network.interface = self.interface();
        network.routers = self.own_list(col::networks::GATEWAY, own.filter(|_| self.here.forwards));
        network.dns = self.name_servers(own);
        network.ntp = self.addresses(&snapshot.servers_of(Some(self.row), col::networks::NTPSERVERS), own);
        network.log_servers =
            self.addresses(&snapshot.servers_of(Some(self.row), col::networks::LOGSERVERS), own);
        network.domain = snapshot.domain_in(Some(self.row)).map(|domain| domain.name);
        network.search = search_list(network.domain.as_deref(), snapshot);
        network.mtu = self.get(col::networks::MTU).and_then(|text| text.parse().ok());
        network.lease_seconds = lease_seconds(snapshot);
        network.next_server = self.own_list(col::networks::TFTPSERVER, own).first().copied();
        network.ranges = self.ranges();
        let boots = self.served.find(nic.as_deref());
        network.mode = match boots {
            None => Mode::Off,
            Some(_) if is_proxied(snapshot, &network.name) => Mode::Proxy,
            Some(_) => Mode::Authoritative,
        };
        if boots == Some(false) {
            network.boot = BootRule::Disk;
        }
        Some(network)
    }

    /// The interface of ours that leads to the network: named in `mgtifname` (after `!remote!` for one behind
    /// a relay), else the one with an address in it.
    fn nic(&self, network: &Network) -> Option<String> {
        let named =
            self.get(col::networks::MGTIFNAME).map(|name| name.trim_start_matches("!remote!").to_owned());
        let facing = || self.here.addresses.iter().find(|local| network.contains(local.address));
        named.filter(|name| !name.is_empty()).or_else(|| facing().map(|local| local.interface.clone()))
    }

    fn own_address(&self, network: &Network) -> Option<Ipv4Addr> {
        self.here.addresses.iter().map(|local| local.address).find(|address| network.contains(*address))
    }

    /// `mgtifname`. `!remote!eth1` is a network behind a relay: the mark stays, so that no interface of ours
    /// has the name and clients on our own links are not taken for its machines.
    fn interface(&self) -> Option<String> {
        self.get(col::networks::MGTIFNAME).map(str::to_owned)
    }

    /// Those that the tables name; if they name none, this machine if its name server answers there.
    fn name_servers(&self, own: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
        let named = self.here.snapshot.name_servers_of(Some(self.row));
        let answers = |own: &Ipv4Addr| self.here.name_servers.contains(&IpAddr::V4(*own));
        match own.filter(|own| named.is_empty() && answers(own)) {
            Some(own) => vec![own],
            None => self.addresses(&named, own),
        }
    }

    /// The servers of a column that `site` has no attribute for.
    fn own_list(&self, column: Col, own: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
        self.addresses(&NamedServer::list(self.get(column).unwrap_or_default()), own)
    }

    /// Their addresses; `<xcatmaster>` is our own.
    fn addresses(&self, servers: &[NamedServer], own: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
        let one = |server: &NamedServer| match server {
            NamedServer::Master => own,
            NamedServer::Other(name) => named_address(self.here.snapshot, name),
        };
        servers.iter().filter_map(one).collect()
    }

    /// `dynamicrange`: ranges separated by `;`, each `a-b`, `a,b`, `a b` or a prefix; only when no other
    /// server is named in `dhcpserver`.
    fn ranges(&self) -> Vec<Range> {
        let ours = self.get(col::networks::DHCPSERVER).is_none_or(|server| {
            let address = named_address(self.here.snapshot, server);
            address.is_none_or(|address| self.here.addresses.contains(address))
        });
        let text = self.get(col::networks::DYNAMICRANGE).filter(|_| ours).unwrap_or_default();
        let good = dynamic_ranges(text).filter_map(Result::ok);
        good.filter_map(|range| Range::new(range.first, range.last)).collect()
    }
}

/// The domains a client searches: its network's first, then every other that the tables know.
fn search_list(own: Option<&str>, snapshot: &Snapshot) -> Vec<String> {
    let is_other = |name: &String| own.is_none_or(|own| !own.eq_ignore_ascii_case(name));
    let others = snapshot.domains().into_iter().filter(is_other);
    own.map(str::to_owned).into_iter().chain(others).take(SEARCH_MAX).collect()
}

fn lease_seconds(snapshot: &Snapshot) -> u32 {
    let set = snapshot.site("dhcplease").and_then(|text| text.trim().parse::<u32>().ok());
    set.map_or(LEASE_SECONDS_DEFAULT, |seconds| seconds.max(LEASE_SECONDS_MIN))
}

#[cfg(test)]
#[path = "dhcp_tests.rs"]
mod tests;
