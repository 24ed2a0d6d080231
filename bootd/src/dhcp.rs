//! The tables as the DHCP engine sees them: networks, reservations, boot rules.
//!
//! Networks are read once per change of the tables they come from; reservations are looked up
//! per packet in the snapshot's index. Nothing is generated, so `makedhcp` has nothing to write.

use crate::address::LocalAddresses;
use crate::plan::{BootState, node_ip};
use dawn_cluster::{MacAddr, Model, Row, Snapshot, Text, dynamic_ranges, prefix_length, schema};
use dawn_dhcp::HwAddr;
use dawn_dhcp::boot::BootRule;
use dawn_dhcp::directory::{Directory, Mode, Network, Range, Reservation};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Lease time where `site.dhcplease` says nothing, in seconds (12 hours).
const LEASE_SECONDS_DEFAULT: u32 = 43_200;
/// Shortest lease time that `site.dhcplease` can set, in seconds: below it renewals would be a storm.
const LEASE_SECONDS_MIN: u32 = 60;

/// Domains in a search list at most; resolvers of clients stop there or earlier.
const SEARCH_MAX: usize = 16;

/// Answers the DHCP engine from the model.
pub struct TableDirectory {
    model: Arc<Model>,
    addresses: Arc<LocalAddresses>,
    networks: Mutex<Cached>,
    /// Whether boot images can be made; looked up at start, because an answer never waits for a disk.
    images: bool,
}

/// Networks, and the versions of the tables they were read from.
#[derive(Default)]
struct Cached {
    versions: Option<[u64; 2]>,
    networks: Arc<Vec<Network>>,
}

impl TableDirectory {
    /// A directory over the published snapshot of `model`.
    #[must_use]
    pub fn new(model: Arc<Model>, addresses: Arc<LocalAddresses>) -> Self {
        let tftpdir = model.snapshot().site("tftpdir").unwrap_or_else(|| "/tftpboot".into());
        let images = crate::loaders::can_make_images(Path::new(&*tftpdir));
        Self { model, addresses, networks: Mutex::default(), images }
    }
}

impl Directory for TableDirectory {
    fn networks(&self) -> Arc<Vec<Network>> {
        let snapshot = self.model.snapshot();
        let versions = [snapshot.version("networks"), snapshot.version("site")];
        let mut cached = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.versions != Some(versions) {
            cached.networks = Arc::new(networks(&snapshot, &self.addresses));
            cached.versions = Some(versions);
        }
        Arc::clone(&cached.networks)
    }

    fn reservations(&self, hw: &HwAddr) -> Arc<Vec<Reservation>> {
        let Ok(bytes) = <[u8; 6]>::try_from(hw.bytes()) else { return Arc::default() };
        let snapshot = self.model.snapshot();
        let mut found = reservation(&snapshot, MacAddr(bytes));
        if let Some(found) = found.as_mut().filter(|_| self.images) {
            let x86_64 = snapshot.attr(&found.node, "nodetype.arch").is_none_or(|arch| &*arch == "x86_64");
            found.boot = with_signed_loaders(found.boot.clone(), &found.node, x86_64);
        }
        Arc::new(found.into_iter().collect())
    }

    fn owner(&self, address: Ipv4Addr) -> Option<Arc<str>> {
        self.model.snapshot().node_by_ip(IpAddr::V4(address))
    }
}

fn reservation(snapshot: &Snapshot, mac: MacAddr) -> Option<Reservation> {
    let owner = snapshot.mac_owner(mac)?;
    let hostname = owner.host.clone().unwrap_or_else(|| owner.node.to_string());
    let address = if owner.no_ip { None } else { node_ip(snapshot, &hostname) };
    let server = snapshot.attr(&owner.node, "noderes.tftpserver");
    Some(Reservation {
        address,
        next_server: server.and_then(|text| named_address(snapshot, &text)),
        boot: boot_rule(snapshot, &owner.node),
        hostname,
        node: owner.node,
        options: Vec::new(),
    })
}

/// What the loader of a node shall be, by `noderes.netboot` and the boot state.
fn boot_rule(snapshot: &Snapshot, node: &Text) -> BootRule {
    let state = snapshot.attr(node, "chain.currstate").and_then(|text| BootState::parse(&text));
    if state == Some(BootState::Offline) {
        return BootRule::Disk;
    }
    let netboot = snapshot.attr(node, "noderes.netboot");
    match netboot.as_deref().unwrap_or("xnba") {
        "pxe" => BootRule::Pxe,
        "petitboot" => BootRule::Petitboot { config: format!("petitboot/{node}") },
        grub if grub.starts_with("grub2") => BootRule::Grub2 { file: format!("/boot/grub2/grub2-{node}") },
        "onie" => BootRule::Onie { path: "/install/onie/onie-installer".to_owned() },
        // UEFI firmware of a node that shall boot its disk gets no file and goes on by itself.
        _ => BootRule::Xnba { script: format!("nodes/{node}"), uefi: state != Some(BootState::Boot) },
    }
}

/// What changes where the signed loaders are there. UEFI HTTP Boot gets an image of the node's own: under Secure Boot
/// nothing else works, and without it this does too. A node that shall boot GRUB gets it by way of shim.
fn with_signed_loaders(rule: BootRule, node: &str, x86_64: bool) -> BootRule {
    match rule {
        BootRule::Xnba { uefi: true, .. } => {
            BootRule::HttpImage { file: crate::view::boot_image_path(node), otherwise: Box::new(rule) }
        }
        BootRule::Grub2 { .. } if x86_64 => BootRule::File { file: crate::loaders::SHIM.to_owned() },
        other => other,
    }
}

fn named_address(snapshot: &Snapshot, name: &str) -> Option<Ipv4Addr> {
    name.parse().ok().or_else(|| node_ip(snapshot, name))
}

/// All usable rows of `networks`. A row that cannot be read is left out and said in the log: one bad row
/// must not stop the others.
fn networks(snapshot: &Snapshot, addresses: &LocalAddresses) -> Vec<Network> {
    let read = |row: &Row| {
        let row = NetworkRow { row, snapshot, addresses };
        let network = row.network();
        if network.is_none() {
            tracing::warn!(netname = ?row.get("netname"), "networks: row without usable net and mask");
        }
        network
    };
    snapshot.enabled_rows("networks").filter_map(read).collect()
}

struct NetworkRow<'a> {
    row: &'a Row,
    snapshot: &'a Snapshot,
    addresses: &'a LocalAddresses,
}

impl NetworkRow<'_> {
    fn get(&self, column: &str) -> Option<&str> {
        let column = schema().find("networks")?.col(column)?;
        self.row.get(column).map(|text| &**text)
    }

    fn network(&self) -> Option<Network> {
        let address: Ipv4Addr = self.get("net")?.parse().ok()?;
        let prefix = prefix_length(self.get("mask")?)?;
        let mut network = Network::new(self.get("netname").unwrap_or("?"), address, prefix);
        let own = self.own_address(&network);
        network.interface = self.interface();
        network.routers = self.addresses_in("gateway", None, None);
        network.dns = self.addresses_in("nameservers", Some("nameservers"), own);
        network.ntp = self.addresses_in("ntpservers", Some("ntpservers"), own);
        network.log_servers = self.addresses_in("logservers", Some("logservers"), own);
        let domain = self.get("domain").map(Text::from).or_else(|| self.snapshot.site("domain"));
        network.domain = domain.map(|text| text.to_string());
        network.search = search_list(network.domain.as_deref(), self.snapshot);
        network.mtu = self.get("mtu").and_then(|text| text.parse().ok());
        network.lease_seconds = lease_seconds(self.snapshot);
        network.next_server = self.addresses_in("tftpserver", None, own).first().copied();
        network.ranges = self.ranges();
        network.mode = Mode::Authoritative;
        Some(network)
    }

    fn own_address(&self, network: &Network) -> Option<Ipv4Addr> {
        self.addresses.iter().map(|local| local.address).find(|address| network.contains(*address))
    }

    /// `mgtifname`. `!remote!eth1` is a network behind a relay: the mark stays, so that no interface of ours has the
    /// name and clients on our own links are not taken for its machines.
    fn interface(&self) -> Option<String> {
        self.get("mgtifname").map(str::to_owned)
    }

    /// A list of servers: the column, else the `site` attribute; `<xcatmaster>` is our own address.
    fn addresses_in(&self, column: &str, site: Option<&str>, own: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
        let from_site = || site.and_then(|key| self.snapshot.site(key));
        let Some(text) = self.get(column).map(Text::from).or_else(from_site) else { return Vec::new() };
        let one = |word: &str| match word {
            "<xcatmaster>" => own,
            name => named_address(self.snapshot, name),
        };
        text.split([',', ' ']).filter(|word| !word.is_empty()).filter_map(one).collect()
    }

    /// `dynamicrange`: ranges separated by `;`, each `a-b`, `a,b`, `a b` or a prefix; only when no other
    /// server is named in `dhcpserver`.
    fn ranges(&self) -> Vec<Range> {
        let ours = self.get("dhcpserver").is_none_or(|server| {
            named_address(self.snapshot, server).is_none_or(|address| self.addresses.contains(address))
        });
        let text = self.get("dynamicrange").filter(|_| ours).unwrap_or_default();
        let good = dynamic_ranges(text).filter_map(Result::ok);
        good.filter_map(|range| Range::new(range.first, range.last)).collect()
    }
}

/// The domains a client searches: its network's first, then every other that the tables know.
fn search_list(own: Option<&str>, snapshot: &Snapshot) -> Vec<String> {
    let domain = schema().find_col("networks.domain");
    let others =
        snapshot.enabled_rows("networks").filter_map(|row| row.get(domain?).map(|text| text.to_string()));
    let mut found: Vec<String> = Vec::new();
    for name in own
        .map(str::to_owned)
        .into_iter()
        .chain(others)
        .chain(snapshot.site("domain").map(|text| text.to_string()))
    {
        let name = name.trim().trim_end_matches('.').to_owned();
        if !name.is_empty() && !found.contains(&name) && found.len() < SEARCH_MAX {
            found.push(name);
        }
    }
    found
}

fn lease_seconds(snapshot: &Snapshot) -> u32 {
    let set = snapshot.site("dhcplease").and_then(|text| text.trim().parse::<u32>().ok());
    set.map_or(LEASE_SECONDS_DEFAULT, |seconds| seconds.max(LEASE_SECONDS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::LocalAddress;

    fn here() -> LocalAddresses {
        let local = LocalAddress {
            interface: "eth1".into(),
            address: [10, 1, 0, 1].into(),
            mask: [255, 255, 0, 0].into(),
        };
        LocalAddresses::new(vec![local])
    }

    #[test]
    fn a_network_row_with_its_defaults() {
        let row: &[(&str, &str)] = &[
            ("netname", "boot"),
            ("net", "10.1.0.0"),
            ("mask", "255.255.0.0"),
            ("gateway", "<xcatmaster>"),
            ("nameservers", "<xcatmaster>,10.1.0.9"),
            ("tftpserver", "<xcatmaster>"),
        ];
        let bad: &[(&str, &str)] = &[("netname", "bad"), ("net", "nonsense"), ("mask", "255.255.0.0")];
        let domain: &[(&str, &str)] = &[("key", "domain"), ("value", "cluster.example")];
        let snapshot = Snapshot::from_rows([("networks", row), ("networks", bad), ("site", domain)]);
        let networks = networks(&snapshot, &here());
        assert_eq!(networks.len(), 1);
        let network = &networks[0];
        assert_eq!(network.dns, [Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 9)]);
        assert_eq!(network.next_server, Some(Ipv4Addr::new(10, 1, 0, 1)));
        assert_eq!(network.domain.as_deref(), Some("cluster.example"));
        assert_eq!(network.search, ["cluster.example"]);
        // Without IP forwarding this machine is no router, so the placeholder means none.
        assert!(network.routers.is_empty());
        assert_eq!(network.lease_seconds, LEASE_SECONDS_DEFAULT);
    }

    #[test]
    fn a_client_searches_its_own_domain_first() {
        let snapshot = Snapshot::from_rows([
            (
                "networks",
                &[("netname", "a"), ("net", "10.1.0.0"), ("mask", "/16"), ("domain", "a.example.")]
                    as &[(&str, &str)],
            ),
            ("networks", &[("netname", "b"), ("net", "10.2.0.0"), ("mask", "/16"), ("domain", "b.example")]),
            ("networks", &[("netname", "c"), ("net", "10.3.0.0"), ("mask", "/16")]),
            ("site", &[("key", "domain"), ("value", "cluster.example")]),
        ]);
        let lists: Vec<String> =
            networks(&snapshot, &here()).iter().map(|network| network.search.join(" ")).collect();
        assert_eq!(
            lists,
            [
                "a.example b.example cluster.example",
                "b.example a.example cluster.example",
                "cluster.example a.example b.example",
            ]
        );
    }

    #[test]
    fn the_rule_follows_netboot_and_state() {
        for (netboot, state, expected) in [
            ("", "netboot a-b-c", BootRule::Xnba { script: "nodes/cn1".into(), uefi: true }),
            ("xnba", "boot", BootRule::Xnba { script: "nodes/cn1".into(), uefi: false }),
            ("xnba", "offline", BootRule::Disk),
            ("grub2", "netboot a-b-c", BootRule::Grub2 { file: "/boot/grub2/grub2-cn1".into() }),
            ("petitboot", "", BootRule::Petitboot { config: "petitboot/cn1".into() }),
        ] {
            let snapshot = Snapshot::from_rows([
                ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
                ("noderes", &[("node", "cn1"), ("netboot", netboot)]),
                ("chain", &[("node", "cn1"), ("currstate", state)]),
            ]);
            assert_eq!(boot_rule(&snapshot, &"cn1".into()), expected, "{netboot} {state}");
        }
    }

    #[test]
    fn a_reservation_per_interface() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
            ("hosts", &[("node", "cn1"), ("ip", "10.1.0.5")]),
            ("hosts", &[("node", "cn1-ib"), ("ip", "10.2.0.5")]),
            (
                "mac",
                &[
                    ("node", "cn1"),
                    ("mac", "52:54:00:00:00:01|52:54:00:00:00:02!cn1-ib|52:54:00:00:00:03!*NOIP*"),
                ],
            ),
        ]);
        let at = |last: u8| reservation(&snapshot, MacAddr([0x52, 0x54, 0, 0, 0, last]));
        assert_eq!(at(1).and_then(|r| r.address), Some(Ipv4Addr::new(10, 1, 0, 5)));
        assert_eq!(
            at(2).map(|r| (r.hostname, r.address)),
            Some(("cn1-ib".into(), Some(Ipv4Addr::new(10, 2, 0, 5))))
        );
        assert_eq!(at(3).map(|r| r.address), Some(None));
        assert_eq!(at(4), None);
    }
}
