//! Addresses among each other: no two names share one, and no node's is in a dynamic range.

use super::{changed, networks};
use crate::address_index::FOLLOWED_MAX;
use crate::defaults::MANAGEMENT_GROUP;
use crate::edit::EditError;
use crate::effect::Effect;
use crate::inherited::{Address, Touched, touched};
use crate::names::{Guid, MacAddr};
use crate::row::{Row, Text};
use crate::snapshot::{KNOWN, Snapshot};
use crate::subnet::Subnet;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr};

/// Refuses a change after which two names share a MAC, an InfiniBand GUID or an address, or a node's address
/// is in a dynamic range.
pub(super) fn check(base: &Snapshot, next: &Snapshot, effects: &[Effect]) -> Result<(), EditError> {
    let usable = Usable::new(next);
    for effect in effects {
        let Some(after) = &effect.after else { continue };
        if effect.table == KNOWN.mac.table && changed(effect, KNOWN.mac) {
            own_row::<MacAddr>(next, after)?;
            own_row::<Guid>(next, after)?;
        }
        if effect.table == KNOWN.ip.table && changed(effect, KNOWN.ip) {
            own_row::<IpAddr>(next, after)?;
            own_row_is_usable(&usable, after)?;
        }
    }
    inherited::<MacAddr>(base, next, effects, |_, _| Ok(()))?;
    inherited::<Guid>(base, next, effects, |_, _| Ok(()))?;
    inherited::<IpAddr>(base, next, effects, |ip, node| usable.check(*ip, node))
}

/// The addresses that a row names by itself, and whose row it is.
fn own_addresses<K: Address>(row: &Row) -> Option<(&Text, Vec<K>)> {
    let name = row.get(K::col().table.info().node_col()?)?;
    Some((name, K::read(row.get(K::col())?)))
}

fn own_row<K: Address>(next: &Snapshot, row: &Row) -> Result<(), EditError> {
    let Some((name, addresses)) = own_addresses::<K>(row) else { return Ok(()) };
    for address in addresses {
        let others = next.holders(K::col(), &address.to_string(), |cell| K::read(cell).contains(&address));
        if let Some(other) = others.into_iter().find(|other| other != name) {
            return Err(taken(&address, name, &other));
        }
        // A group's row is not a node: its members are looked at one by one.
        let inherited = next.index::<K>().holders(&address).find(|other| *other != name);
        if let Some(other) = inherited.filter(|_| !next.is_listed_group(name)) {
            return Err(taken(&address, name, other));
        }
    }
    Ok(())
}

fn taken<K: Address>(address: &K, name: &Text, other: &Text) -> EditError {
    EditError::Taken { col: K::col(), value: address.to_string(), name: name.clone(), other: other.clone() }
}

fn own_row_is_usable(usable: &Usable<'_>, row: &Row) -> Result<(), EditError> {
    let Some((name, addresses)) = own_addresses::<IpAddr>(row) else { return Ok(()) };
    addresses.into_iter().try_for_each(|address| usable.check(address, name))
}

/// Why no machine on a network can have the address as its own, if so.
pub(super) fn of_no_machine(address: IpAddr) -> Option<&'static str> {
    if let IpAddr::V6(six) = address
        && six.to_ipv4_mapped().is_some()
    {
        return Some("it is an IPv4 address in the form of IPv6: write it as 10.1.2.3");
    }
    match address {
        _ if address.is_loopback() => Some("it is a loopback address, which every machine has for itself"),
        _ if address.is_multicast() => Some("it is a multicast address, which is not one machine's"),
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        IpAddr::V4(four) if four.is_broadcast() => Some("it is the broadcast address"),
        _ => None,
    }
}

/// Whether an address cannot be a node's by its form or by the networks of the tables.
pub(crate) fn no_machine(snapshot: &Snapshot) -> impl Fn(IpAddr) -> bool + '_ {
    let networks = networks::wide_networks(snapshot);
    let in_network = move |address: Ipv4Addr| {
        networks::own_address(&networks, address).is_some()
            || snapshot.dynamic_ranges().iter().any(|(range, _)| range.contains(address))
    };
    move |address| {
        of_no_machine(address).is_some() || matches!(address, IpAddr::V4(address) if in_network(address))
    }
}

/// Whether no machine but the management node can have an address: by its form, by the networks of the
/// tables, or because `site.master` has it.
pub fn no_other_machine(snapshot: &Snapshot) -> impl Fn(IpAddr) -> bool + '_ {
    let (no_machine, master) = (no_machine(snapshot), master(snapshot));
    move |address| master == Some(address) || no_machine(address)
}

fn master(snapshot: &Snapshot) -> Option<IpAddr> {
    snapshot.site("master").and_then(|master| master.trim().parse().ok())
}

/// Which addresses a node can have: not the management node's, no network's own, and none in a dynamic range.
struct Usable<'a> {
    next: &'a Snapshot,
    /// `site.master` and the networks, read for the first address.
    fixed: OnceCell<(Option<IpAddr>, Vec<Subnet>)>,
}

impl<'a> Usable<'a> {
    fn new(next: &'a Snapshot) -> Self {
        Self { next, fixed: OnceCell::new() }
    }

    fn check(&self, address: IpAddr, name: &Text) -> Result<(), EditError> {
        let next = self.next;
        let refuse = |reason: String| {
            let reason = format!("for {name}: {reason}").into();
            Err(EditError::BadValue { col: KNOWN.ip, value: address.to_string(), reason })
        };
        let (master, networks) = self.fixed.get_or_init(|| (master(next), networks::wide_networks(next)));
        if let IpAddr::V4(address) = address
            && let Some(reason) = networks::own_address(networks, address)
        {
            return refuse(reason);
        }
        let is_itself = || next.groups_of(name).iter().any(|group| &**group == MANAGEMENT_GROUP);
        if *master == Some(address) && next.has_node(name) && !is_itself() {
            return refuse("the management node has it (site.master)".to_owned());
        }
        networks::outside_ranges(next, address, name)
    }
}

/// Addresses that come by a group's row or a template: of the nodes that the change touches, or of all.
fn inherited<K: Address>(
    base: &Snapshot,
    next: &Snapshot,
    effects: &[Effect],
    also: impl Fn(&K, &Text) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let is_new = |key: &K, node: &Text| !base.index::<K>().has(key, node);
    match touched::<K>(base, next, effects) {
        Touched::Nodes(nodes) if nodes.is_empty() => Ok(()),
        // Without shared rows and templates, the rows themselves are everything.
        _ if next.index::<K>().is_empty() => Ok(()),
        Touched::Nodes(nodes) if nodes.len() <= FOLLOWED_MAX => {
            let index = next.index::<K>();
            for (key, node) in nodes
                .iter()
                .flat_map(|node| next.addresses::<K>(node).into_iter().map(move |key| (key, node)))
            {
                let other = index.holders(&key).find(|other| *other != node);
                if let Some(other) = other.filter(|other| is_new(&key, node) || is_new(&key, other)) {
                    return Err(taken(&key, node, other));
                }
                if index.has(&key, node) && is_new(&key, node) {
                    also(&key, node)?;
                }
            }
            Ok(())
        }
        Touched::Nodes(_) | Touched::All => {
            let mut last: Option<(&K, &Text)> = None;
            for (key, node) in next.index::<K>().iter() {
                if let Some((_, other)) = last.filter(|(same, _)| *same == key)
                    && (is_new(key, node) || is_new(key, other))
                {
                    return Err(taken(key, node, other));
                }
                if is_new(key, node) {
                    also(key, node)?;
                }
                last = Some((key, node));
            }
            Ok(())
        }
    }
}
