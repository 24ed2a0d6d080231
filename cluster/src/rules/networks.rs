//! Rows of `networks`: each by itself, among each other, and against the addresses that are taken.
//!
//! Two rows for one network are refused, and dynamic ranges that share an address. A network inside of
//! another is allowed: supernets and networks behind relays are written so; `makedhcp -n` names them.

use super::changed;
use crate::edit::EditError;
use crate::effect::Effect;
use crate::inherited::Address;
use crate::row::{Row, Text};
use crate::schema::Col;
use crate::snapshot::{KNOWN, Snapshot};
use crate::subnet::{AddressRange, Subnet, dynamic_ranges, row_subnet as subnet};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

struct Columns {
    name: Col,
    net: Col,
    mask: Col,
    gateway: Col,
    range: Col,
    disable: Col,
}

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns {
    name: Col::known("networks.netname"),
    net: Col::known("networks.net"),
    mask: Col::known("networks.mask"),
    gateway: Col::known("networks.gateway"),
    range: Col::known("networks.dynamicrange"),
    disable: Col::known("networks.disable"),
});

/// Refuses rows that cannot work.
pub(super) fn check(base: &Snapshot, next: &Snapshot, effects: &[Effect]) -> Result<(), EditError> {
    let columns = [COLUMNS.net, COLUMNS.mask, COLUMNS.gateway, COLUMNS.range, COLUMNS.disable];
    let written = |effect: &&Effect| {
        effect.table == COLUMNS.net.table && columns.iter().any(|col| changed(effect, *col))
    };
    let mut any = false;
    for row in effects.iter().filter(written).filter_map(|effect| effect.after.as_ref()) {
        if row.enabled(COLUMNS.net.table) {
            alone(row)?;
            among_others(next, row)?;
            any = true;
        }
    }
    if any { nodes_outside(base, next) } else { Ok(()) }
}

/// The networks in which some addresses belong to no machine: all but those of one or two addresses.
pub(super) fn wide_networks(next: &Snapshot) -> Vec<Subnet> {
    let is_wide = |net: &Subnet| u32::from(net.broadcast()).saturating_sub(u32::from(net.address())) > 1;
    next.networks().map(|(net, _)| net).filter(is_wide).collect()
}

/// Why no machine of one of these networks can have the address.
pub(super) fn own_address(networks: &[Subnet], address: Ipv4Addr) -> Option<String> {
    networks.iter().find_map(|net| match address {
        _ if address == net.address() => Some(format!("it is the address of the network {net} itself")),
        _ if address == net.broadcast() => Some(format!("it is the broadcast address of the network {net}")),
        _ => None,
    })
}

fn ranges(row: &Row) -> impl Iterator<Item = AddressRange> + '_ {
    let text = row.get(COLUMNS.range).map_or("", |text| text);
    dynamic_ranges(text).filter_map(Result::ok)
}

fn refuse(col: Col, row: &Row, reason: impl Into<Cow<'static, str>>) -> EditError {
    let value = row.get(col).map(ToString::to_string).unwrap_or_default();
    EditError::BadValue { col, value, reason: reason.into() }
}

/// What is wrong with a row by itself.
fn alone(row: &Row) -> Result<(), EditError> {
    let Some(net) = subnet(row) else { return Ok(()) };
    let written: Option<Ipv4Addr> = row.get(COLUMNS.net).and_then(|text| text.trim().parse().ok());
    if written != Some(net.address()) {
        let reason = format!("with mask {} the network is {}", net.mask(), net.address());
        return Err(refuse(COLUMNS.net, row, reason));
    }
    let gateway = row.get(COLUMNS.gateway).and_then(|text| text.trim().parse::<Ipv4Addr>().ok());
    if let Some(gateway) = gateway.filter(|gateway| !net.contains(*gateway)) {
        let (address, mask) = (net.address(), net.mask());
        let reason =
            format!("Specified gateway {gateway} is not valid for {address}/{mask}, must be on same network");
        return Err(refuse(COLUMNS.gateway, row, reason));
    }
    match ranges(row).find(|range| !net.contains(range.first) || !net.contains(range.last)) {
        Some(range) => Err(refuse(COLUMNS.range, row, format!("{range} is not inside the network {net}"))),
        None => Ok(()),
    }
}

/// What is wrong with a row among the others.
fn among_others(next: &Snapshot, row: &Row) -> Result<(), EditError> {
    let name =
        |row: &Row| row.get(COLUMNS.name).or_else(|| row.get(COLUMNS.net)).cloned().unwrap_or_default();
    let mut own: Vec<AddressRange> = Vec::new();
    for range in ranges(row) {
        if let Some(other) = own.iter().find(|other| other.overlaps(&range)) {
            return Err(refuse(COLUMNS.range, row, format!("{range} and {other} overlap")));
        }
        own.push(range);
    }
    let is_same =
        |other: &&Row| [COLUMNS.net, COLUMNS.mask].iter().all(|col| other.get(*col) == row.get(*col));
    for other in next.enabled_rows(COLUMNS.net.table).filter(|other| !is_same(other)) {
        if let Some(net) = subnet(row).filter(|net| subnet(other) == Some(*net)) {
            return Err(refuse(COLUMNS.net, row, format!("{} is the same network {net}", name(other))));
        }
        for range in &own {
            if let Some(clash) = ranges(other).find(|clash| clash.overlaps(range)) {
                let reason = format!("{range} overlaps with {clash} of {}", name(other));
                return Err(refuse(COLUMNS.range, row, reason));
            }
        }
    }
    Ok(())
}

/// No node has an address inside a range that is new.
fn nodes_outside(base: &Snapshot, next: &Snapshot) -> Result<(), EditError> {
    let new = |range: &AddressRange| !base.dynamic_ranges().iter().any(|(old, _)| old == range);
    if !next.dynamic_ranges().iter().any(|(range, _)| new(range)) {
        return Ok(());
    }
    // Checked for the newest ranges only: a database with old wrong values can still be changed.
    let was_inside = |address: &IpAddr| match address {
        IpAddr::V4(address) => base.dynamic_ranges().iter().any(|(range, _)| range.contains(*address)),
        IpAddr::V6(_) => false,
    };
    let check = |address: IpAddr, name: &Text| match was_inside(&address) {
        true => Ok(()),
        false => outside_ranges(next, address, name),
    };
    let Some(node) = KNOWN.ip.table.info().node_col() else { return Ok(()) };
    for row in next.enabled_rows(KNOWN.ip.table) {
        if let (Some(name), Some(text)) = (row.get(node), row.get(KNOWN.ip)) {
            IpAddr::read(text).into_iter().try_for_each(|address| check(address, name))?;
        }
    }
    next.index::<IpAddr>().iter().try_for_each(|(address, name)| check(*address, name))
}

/// The address is in no dynamic range.
pub(super) fn outside_ranges(next: &Snapshot, address: IpAddr, name: &Text) -> Result<(), EditError> {
    let IpAddr::V4(address) = address else { return Ok(()) };
    match next.dynamic_ranges().iter().find(|(range, _)| range.contains(address)) {
        None => Ok(()),
        Some((range, network)) => Err(EditError::InsideRange {
            name: name.clone(),
            address,
            range: *range,
            network: network.clone(),
        }),
    }
}

impl Snapshot {
    /// The dynamic ranges of all networks, each with its network's name.
    pub(crate) fn dynamic_ranges(&self) -> &[(AddressRange, Text)] {
        let read = || {
            let of_row = |row: &'_ Row| {
                let name =
                    row.get(COLUMNS.name).or_else(|| row.get(COLUMNS.net)).cloned().unwrap_or_default();
                ranges(row).map(|range| (range, name.clone())).collect::<Vec<_>>()
            };
            self.enabled_rows(COLUMNS.net.table).flat_map(of_row).collect()
        };
        self.data(COLUMNS.net.table).derived.ranges.get_or_init(read)
    }

    /// Networks that lie inside of another on the same interface: the inner and the outer one, by name. On
    /// different interfaces, or on the other side of a relay, that is intended;
    /// else clients of the link may get an address of either.
    pub fn nested_networks(&self) -> Vec<(Text, Text)> {
        let interface = Col::known("networks.mgtifname");
        let name =
            |row: &Row| row.get(COLUMNS.name).or_else(|| row.get(COLUMNS.net)).cloned().unwrap_or_default();
        let rows: Vec<(&Row, Subnet)> =
            self.enabled_rows(COLUMNS.net.table).filter_map(|row| Some((row, subnet(row)?))).collect();
        let mut found = Vec::new();
        for (at, (row, net)) in rows.iter().enumerate() {
            for (other, wide) in rows.iter().skip(at + 1) {
                if net.overlaps(*wide) && row.get(interface) == other.get(interface) {
                    let inner_first = net.mask() >= wide.mask();
                    let (inner, outer) = if inner_first { (row, other) } else { (other, row) };
                    found.push((name(inner), name(outer)));
                }
            }
        }
        found
    }
}
