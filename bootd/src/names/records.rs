//! Every name and address that the tables give, as records of zones (xCAT's `makedns`, spec run.md §6.2 and
//! §6.4).
//!
//! A node has its own name with `hosts.ip`, names of its other interfaces (`hosts.otherinterfaces`, `nics`),
//! and aliases. The domain is that of the network that holds the address, else `site.domain`. An address
//! outside the networks of the tables, or in one whose names another server has, is left out and reported
//! ([`Item::LeftOut`]).
//!
//! Deliberately missing: MX, SRV and TXT records, for which xCAT has no table, and the lines of `/etc/hosts`.

use dawn_cluster::{NamedAddress, NamedServer, Row, Snapshot, Text, col, is_host_name, row_network};
use dawn_dns::name::DomainName;
use dawn_dns::view::Prefix;
use dawn_dns::zones::{Builder, Data, Zone, Zones};
use dawn_plan::{LocalAddresses, node_ip};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reverse zones at most; a network of 17 bits alone makes 128.
pub const REVERSE_ZONES_MAX: usize = 4096;
/// Other name servers that are asked at most.
pub const FORWARDERS_MAX: usize = 8;
/// Port of name servers.
pub const DNS_PORT: u16 = 53;

/// This machine, as far as names go.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// Its host name; what follows the first dot does not count.
    pub name: &'a str,
    /// Its IPv4 addresses.
    pub addresses: &'a LocalAddresses,
}

impl Host<'_> {
    fn short(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }
}

/// A network whose names we may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// `networks.netname`.
    pub netname: String,
    /// Its addresses.
    pub prefix: Prefix,
    /// The domain of its machines.
    domain: Option<String>,
    /// Names of its machines are ours: no other name server is named for it.
    pub ours: bool,
}

/// Why a name has no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The node has no address.
    NoAddress,
    /// `hosts.ip` is not an address.
    NotAnAddress(String),
    /// No network of the tables holds the address.
    NoNetwork(IpAddr),
    /// `networks.nameservers` names another server for this network.
    External(IpAddr, String),
    /// Neither the network nor the site has a domain.
    NoDomain(IpAddr),
    /// It is not a host name.
    NotAName(String),
    /// An alias with a domain that is not ours.
    ForeignDomain(DomainName),
    /// Another record has the name already.
    Taken(DomainName),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("it has no address: hosts.ip and nics.nicips are empty"),
            Self::NotAnAddress(text) => write!(f, "hosts.ip is '{text}', which is not an address"),
            Self::NoNetwork(ip) => {
                write!(f, "its address {ip} is in no network of the networks table (makenetworks makes one)")
            }
            Self::External(ip, net) => {
                write!(f, "its address {ip} is in the network {net}, whose nameservers are others")
            }
            Self::NoDomain(ip) => write!(
                f,
                "its address {ip} has no domain: set networks.domain of its network, or site.domain"
            ),
            Self::NotAName(name) => write!(f, "'{name}' is not a host name"),
            Self::ForeignDomain(name) => {
                write!(f, "the alias {name} is in a domain that is not the cluster's")
            }
            Self::Taken(name) => write!(f, "the name {name} belongs to a host already"),
        }
    }
}

/// One thing that the tables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A host and its address; the name of the address is the host.
    Address {
        /// Node it belongs to.
        node: Text,
        /// Its name.
        name: DomainName,
        /// Its address.
        ip: IpAddr,
    },
    /// Another name of a host. All aliases come after all addresses.
    Alias {
        /// Node it belongs to.
        node: Text,
        /// The other name.
        name: DomainName,
        /// The host.
        host: DomainName,
    },
    /// A name without a record.
    LeftOut {
        /// The node, or host name of an interface.
        name: String,
        /// Why.
        why: Why,
    },
}

/// The zones and networks that the tables ask for.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Networks, longest prefix first.
    pub nets: Vec<Net>,
    /// Domains of names, then reverse zones; each once.
    pub zones: Vec<DomainName>,
    /// How many of the zones are domains.
    pub domains: usize,
    /// Name of this machine's name server.
    pub server: DomainName,
}

impl Frame {
    /// Reads `networks` and `site`.
    #[must_use]
    pub fn read(snapshot: &Snapshot, host: Host<'_>) -> Self {
        let nets = nets(snapshot, host);
        let names = snapshot.zone_domains().into_iter().filter_map(|text| text.parse::<DomainName>().ok());
        let mut zones: Vec<DomainName> = names.collect();
        let domains = zones.len();
        let reverse: BTreeSet<DomainName> =
            nets.iter().filter(|net| net.ours).flat_map(|net| reverse_zones(net.prefix)).collect();
        zones.extend(reverse.into_iter().take(REVERSE_ZONES_MAX));
        let server = server_name(snapshot, host, zones.first().filter(|_| domains > 0));
        Self { nets, zones, domains, server }
    }

    /// The network that holds an address.
    #[must_use]
    pub fn net(&self, ip: IpAddr) -> Option<&Net> {
        self.nets.iter().find(|net| net.prefix.contains(ip))
    }

    fn is_ours(&self, name: &DomainName) -> bool {
        self.zones.iter().take(self.domains).any(|zone| name.is_within(zone))
    }

    /// The full name of a host with this address.
    fn full_name(&self, name: &str, ip: IpAddr) -> Result<DomainName, Why> {
        let net = self.net(ip).ok_or(Why::NoNetwork(ip))?;
        if !net.ours {
            return Err(Why::External(ip, net.netname.clone()));
        }
        let domain = net.domain.as_deref().ok_or(Why::NoDomain(ip))?;
        self.within(name, domain)
    }

    /// A name with a domain of ours as it is, any other with `domain` appended.
    fn within(&self, name: &str, domain: &str) -> Result<DomainName, Why> {
        let bad = || Why::NotAName(name.to_owned());
        if !is_host_name(name) {
            return Err(bad());
        }
        if name.contains('.') {
            let whole: DomainName = name.parse().map_err(|_| bad())?;
            if self.is_ours(&whole) {
                return Ok(whole);
            }
        }
        format!("{name}.{domain}").parse().map_err(|_| bad())
    }
}

/// The name of this machine as name server: in its own domain, else the site's.
fn server_name(snapshot: &Snapshot, host: Host<'_>, domain: Option<&DomainName>) -> DomainName {
    let short = Some(host.short()).filter(|name| is_host_name(name)).unwrap_or("localhost");
    let known = |name: &str| snapshot.has_node(name);
    let label = if known(host.name) && !host.name.contains('.') { host.name } else { short };
    let text = domain.map_or_else(|| label.to_owned(), |domain| format!("{label}.{domain}"));
    text.parse().unwrap_or_else(|_| DomainName::reverse(Ipv4Addr::LOCALHOST.into()))
}

fn nets(snapshot: &Snapshot, host: Host<'_>) -> Vec<Net> {
    let of_site = snapshot.name_servers_of(None);
    let one = |row: &Row| {
        let servers = snapshot.name_servers_of(Some(row));
        Some(Net {
            netname: row.get(col::networks::NETNAME).map(|name| name.to_string()).unwrap_or_default(),
            prefix: row_network(row).and_then(|(address, bits)| Prefix::new(address, bits))?,
            domain: snapshot.domain_in(Some(row)).map(|domain| domain.name),
            ours: servers.is_empty() || servers == of_site || names_us(snapshot, host, &servers),
        })
    };
    let mut nets: Vec<Net> = snapshot.enabled_rows("networks").filter_map(one).collect();
    nets.sort_by_key(|net| std::cmp::Reverse(net.prefix.bits()));
    nets
}

fn names_us(snapshot: &Snapshot, host: Host<'_>, servers: &[NamedServer]) -> bool {
    servers.iter().any(|server| match server {
        NamedServer::Master => true,
        NamedServer::Other(word) => {
            let ip = word.parse().ok().or_else(|| node_ip(snapshot, word));
            ip.is_some_and(|ip| host.addresses.contains(ip)) || word.split('.').next() == Some(host.short())
        }
    })
}

/// Names of the zones that hold the names of a network's addresses: of IPv4 whole octets, of IPv6 whole
/// nibbles; a network between two of them has several zones.
fn reverse_zones(prefix: Prefix) -> Vec<DomainName> {
    match prefix.address() {
        IpAddr::V4(address) => {
            let zone_bits = match prefix.bits() {
                0..=8 => 8_u32,
                9..=16 => 16,
                _ => 24,
            };
            let spare = zone_bits.saturating_sub(prefix.bits().into()).min(8);
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.bits().into())).unwrap_or(0);
            let first = address.to_bits() & mask;
            (0..1_u32 << spare)
                .map(|number| Ipv4Addr::from_bits(first | number << (32 - zone_bits)))
                .map(|ip| DomainName::reverse(ip.into()).without(usize::from(4 - zone_bits as u8 / 8)))
                .collect()
        }
        IpAddr::V6(address) => {
            let nibbles = prefix.bits().div_ceil(4);
            let spare = u32::from(nibbles * 4 - prefix.bits());
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.bits().into())).unwrap_or(0);
            let first = address.to_bits() & mask;
            let shift = 128 - u32::from(nibbles) * 4;
            (0..1_u128 << spare)
                .map(|number| Ipv6Addr::from_bits(first | number.checked_shl(shift).unwrap_or(0)))
                .map(|ip| DomainName::reverse(ip.into()).without(usize::from(32 - nibbles)))
                .collect()
        }
    }
}

/// Passes on everything about these nodes: addresses first, aliases after them. Without `nodes`, about all
/// nodes and this machine.
pub fn walk(
    snapshot: &Snapshot,
    host: Host<'_>,
    frame: &Frame,
    nodes: Option<&[String]>,
    tell: &mut dyn FnMut(Item),
) {
    let mut aliases = Vec::new();
    let mut one = |node: Text| of_node(snapshot, frame, &node, tell, &mut aliases);
    match nodes {
        Some(nodes) => nodes.iter().for_each(|node| one(Text::from(node.as_str()))),
        None => snapshot.node_names().for_each(|node| one(node.clone())),
    }
    if nodes.is_none() {
        this_machine(snapshot, host, frame, tell);
    }
    aliases.into_iter().for_each(tell);
}

fn of_node(
    snapshot: &Snapshot,
    frame: &Frame,
    node: &Text,
    tell: &mut dyn FnMut(Item),
    aliases: &mut Vec<Item>,
) {
    let addresses = snapshot.named_addresses(node);
    if addresses.is_empty() {
        let why = match snapshot.attr(node, col::hosts::IP) {
            Some(text) if !text.trim().is_empty() => Why::NotAnAddress(text.to_string()),
            _ => Why::NoAddress,
        };
        return tell(Item::LeftOut { name: node.to_string(), why });
    }
    for NamedAddress { name, ip, aliases: others } in addresses {
        let host = match frame.full_name(&name, ip) {
            Ok(host) => host,
            Err(why) => {
                tell(Item::LeftOut { name, why });
                continue;
            }
        };
        tell(Item::Address { node: node.clone(), name: host.clone(), ip });
        let domain = frame.net(ip).and_then(|net| net.domain.as_deref()).unwrap_or_default();
        for other in others {
            let dotted = other.contains('.').then(|| other.parse::<DomainName>().ok()).flatten();
            let item = match (dotted.filter(|whole| !frame.is_ours(whole)), frame.within(&other, domain)) {
                (Some(whole), Ok(_)) => Item::LeftOut { name: name.clone(), why: Why::ForeignDomain(whole) },
                (_, Err(why)) => Item::LeftOut { name: name.clone(), why },
                (None, Ok(other)) if other == host => continue,
                (None, Ok(other)) => Item::Alias { node: node.clone(), name: other, host: host.clone() },
            };
            aliases.push(item);
        }
    }
}

/// This machine's own name, unless a node has it: with every address that faces a network of ours.
fn this_machine(snapshot: &Snapshot, host: Host<'_>, frame: &Frame, tell: &mut dyn FnMut(Item)) {
    if snapshot.has_node(host.name) || snapshot.has_node(host.short()) {
        return;
    }
    let own = host.addresses.iter().map(|local| local.address).filter(|address| !address.is_loopback());
    for ip in own.map(IpAddr::from) {
        if let Ok(name) = frame.full_name(host.short(), ip) {
            tell(Item::Address { node: Text::from(host.short()), name, ip });
        }
    }
}

/// The zones as the name server answers from them. Names that are taken are passed to `tell`.
#[must_use]
pub fn zones(snapshot: &Snapshot, host: Host<'_>, frame: &Frame, tell: &mut dyn FnMut(Item)) -> Zones {
    // Secondaries compare serial numbers in a circle of 32 bits (RFC 1982), so only their end counts.
    let serial = u32::try_from(snapshot.seq() & u64::from(u32::MAX)).unwrap_or(0);
    let mut builder = Builder::new(serial, snapshot.node_count() * 2);
    let mailbox: DomainName =
        format!("root.{}", frame.server).parse().unwrap_or_else(|_| frame.server.clone());
    for apex in &frame.zones {
        builder.zone(Zone { apex: apex.clone(), server: frame.server.clone(), mailbox: mailbox.clone() });
    }
    let mut server_has_address = false;
    walk(snapshot, host, frame, None, &mut |item| match item {
        Item::Address { name, ip, .. } => {
            server_has_address |= name == frame.server;
            builder.record(&name, ip.into());
            builder.record(&DomainName::reverse(ip), Data::Ptr(name));
        }
        Item::Alias { name, host, .. } => {
            if !builder.record(&name, Data::Cname(host)) {
                tell(Item::LeftOut { name: name.to_string(), why: Why::Taken(name) });
            }
        }
        left_out @ Item::LeftOut { .. } => tell(left_out),
    });
    // The server that a zone names must have an address.
    let master = snapshot.site("master").and_then(|text| text.trim().parse::<IpAddr>().ok());
    if let Some(ip) = master.filter(|_| !server_has_address) {
        builder.record(&frame.server, ip.into());
    }
    builder.finish()
}

/// Servers that are asked for other names: `site.forwarders`, else `site.nameservers`; without this machine.
#[must_use]
pub fn forwarders(snapshot: &Snapshot, host: Host<'_>) -> Vec<SocketAddr> {
    let read = |key: &str| -> Vec<SocketAddr> {
        let text = snapshot.site(key).unwrap_or_default();
        let address = |server| match server {
            NamedServer::Master => None,
            NamedServer::Other(word) => {
                word.parse().ok().or_else(|| node_ip(snapshot, &word).map(IpAddr::from))
            }
        };
        let own = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) if ip.is_loopback() => *ip == Ipv4Addr::LOCALHOST,
            IpAddr::V4(ip) => host.addresses.contains(*ip),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        let servers = NamedServer::list(&text)
            .into_iter()
            .filter_map(address)
            .filter(|ip| !own(ip) && !ip.is_unspecified());
        servers.map(|ip| SocketAddr::new(ip, DNS_PORT)).take(FORWARDERS_MAX).collect()
    };
    let named = read("forwarders");
    if named.is_empty() { read("nameservers") } else { named }
}

/// Another name server that has the cluster's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// BIND on this machine, whose files `makedns` writes: `site.dnshandler=ddns`.
    Bind,
    /// One that Dawn does not touch: `site.externaldns`.
    External,
}

impl std::fmt::Display for Elsewhere {
    /// The setting that says so.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bind => "site.dnshandler=ddns",
            Self::External => "site.externaldns",
        })
    }
}

/// The other name server that the tables leave the cluster's names to, if they do.
#[must_use]
pub fn kept_elsewhere(snapshot: &Snapshot) -> Option<Elsewhere> {
    let says = |key: &str, word: fn(&str) -> bool| snapshot.site(key).is_some_and(|value| word(&value));
    if says("dnshandler", |value| value.contains("ddns")) {
        Some(Elsewhere::Bind)
    } else {
        says("externaldns", |value| !value.trim().is_empty()).then_some(Elsewhere::External)
    }
}

/// Machines that may transfer zones: the addresses of service nodes with `servicenode.nameserver=2`.
#[must_use]
pub fn secondaries(snapshot: &Snapshot) -> Vec<IpAddr> {
    let (node, mode) = (col::servicenode::NODE, col::servicenode::NAMESERVER);
    let rows =
        snapshot.enabled_rows("servicenode").filter(|row| row.get(mode).is_some_and(|mode| &**mode == "2"));
    let named = rows.filter_map(|row| row.get(node));
    let nodes = named.flat_map(|name| {
        let members = snapshot.nodes_listing_group(name);
        if members.is_empty() { vec![name.clone()] } else { members }
    });
    nodes.flat_map(|node| snapshot.named_addresses(&node)).map(|known| known.ip).collect()
}
