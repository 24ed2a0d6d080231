//! Addresses that do not serve a node although each may be stored, told by the command that makes them.
//!
//! A group's template may come to anything with a node's name, and a name that it does not match is its own result; the
//! other members are served none the less, so that it is a warning. What two nodes cannot share is refused by the model.

use crate::hooks::BootHooks;
use crate::output::{Done, Out};
use crate::sources;
use dawn_cluster::{
    Col, Guid, Row, RowChange, Snapshot, Subnet, Text, parse_mac_column, parse_mac_column_as, prefix_length,
    schema,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Nodes told of after a change at most; `makedhcp` tells the rest.
const TOLD_MAX: usize = 5;
/// What the tables have for the management node, which is right to have its address.
const OWN_GROUP: &str = "__mgmtnode";

/// Warns of addresses that nodes got by the change and cannot use.
pub fn warn(
    rows: &[RowChange],
    before: &Snapshot,
    after: &Snapshot,
    hooks: &dyn BootHooks,
    out: &mut Out<'_>,
) -> Done {
    let mut problems =
        touched(rows, after).into_iter().flat_map(|node| problems(&node, before, after, hooks));
    for text in problems.by_ref().take(TOLD_MAX) {
        out.warning(text)?;
    }
    match problems.count() {
        0 => Ok(()),
        more => {
            out.warning(format!("There are {more} more such nodes; `dawn makedhcp NODERANGE` tells them."))
        }
    }
}

/// Nodes whose addresses the rows may have changed.
fn touched(rows: &[RowChange], after: &Snapshot) -> BTreeSet<Text> {
    let mut nodes = BTreeSet::new();
    for row in rows {
        let wrote = |column: &str| row.cells.iter().any(|(col, ..)| col.name() == column);
        let Some(name) = row.node() else { continue };
        match row.table.name() {
            "nodelist" if wrote("groups") => drop(nodes.insert(name.clone())),
            "hosts" if wrote("ip") => nodes.extend(members(name, after)),
            "mac" if wrote("mac") => nodes.extend(members(name, after)),
            _ => {}
        }
    }
    nodes.retain(|node| after.has_node(node));
    nodes
}

/// The name itself and, if it is a group's, its members.
fn members(name: &Text, after: &Snapshot) -> impl Iterator<Item = Text> {
    after.nodes_listing_group(name).into_iter().chain([name.clone()])
}

fn problems(node: &str, before: &Snapshot, after: &Snapshot, hooks: &dyn BootHooks) -> Vec<String> {
    let new = |name: &'static str| {
        let found = after.attr_with_source(node, Col::known(name))?;
        (before.attr(node, name).as_ref() != Some(&found.value)).then_some(found)
    };
    let mut list = Vec::new();
    if let Some(ip) = new("hosts.ip") {
        let row = sources::row_of(&ip.source, node);
        match ip.value.trim().parse::<IpAddr>() {
            Err(_) => list.push(format!("hosts.ip of {node} is '{}' ({row}), which is no IP address", ip.value)),
            Ok(address) if hooks.is_own_address(address) && !is_itself(after, node) => list.push(format!(
                "hosts.ip of {node} is {address} ({row}), which this machine has itself; its own node is in the group \
                 {OWN_GROUP}"
            )),
            Ok(_) => {}
        }
    }
    if let Some(mac) = new("mac.mac")
        && parse_mac_column(&mac.value).is_empty()
        && parse_mac_column_as::<Guid>(&mac.value).is_empty()
    {
        let row = sources::row_of(&mac.source, node);
        list.push(format!("mac.mac of {node} is '{}' ({row}), which is no MAC address", mac.value));
    }
    list
}

fn is_itself(snapshot: &Snapshot, node: &str) -> bool {
    snapshot.groups_of(node).iter().any(|group| &**group == OWN_GROUP)
}

/// A node in this state boots by network.
pub fn needs_network(state: &str) -> bool {
    !matches!(state, "boot" | "offline")
}

/// The node's address is in no network, so that DHCP has no answer for it.
pub fn outside_networks(snapshot: &Snapshot, node: &str) -> Option<String> {
    let address = snapshot.attr(node, "hosts.ip")?.trim().parse().ok()?;
    (!is_served(snapshot, address)).then(|| {
        format!(
            "its address {address} is in no network of the networks table, so that DHCP does not answer it; \
             `makenetworks` or `mkdef -t network` makes one"
        )
    })
}

/// Whether a row of `networks` has the address.
fn is_served(snapshot: &Snapshot, address: Ipv4Addr) -> bool {
    let holds = |row: &Row| {
        let cell =
            |name| schema().find_col(name).and_then(|col| row.get(col)).map(|text| text.trim().to_owned());
        let net = cell("networks.net").and_then(|net| net.parse().ok());
        let prefix = cell("networks.mask").and_then(|mask| prefix_length(&mask));
        net.zip(prefix)
            .and_then(|(net, prefix)| Subnet::around(net, prefix))
            .is_some_and(|net| net.contains(address))
    };
    snapshot.enabled_rows("networks").any(holds)
}
