//! Addresses that do not serve a node although each may be stored, reported by the command that makes them.
//!
//! A group's template may come to anything with a node's name, and a name that it does not match is its own
//! result; the other members are served none the less, so that it is a warning. What two nodes cannot share
//! is refused by the model.

use crate::sources;
use dawn_bootd::boot_services::BootServices;
use dawn_bootd::dhcp::{Answers, Silence};
use dawn_bootd::output::{Done, Out, Warning};
use dawn_cluster::{
    Col, Guid, MANAGEMENT_GROUP, RowChange, Snapshot, Text, col, parse_mac_column, parse_mac_column_as,
};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Nodes reported after a change at most; `makedhcp` lists the rest.
const TOLD_MAX: usize = 5;

/// Tables from which DHCP learns what to serve.
const DHCP_TABLES: [&str; 3] = ["networks", "site", "servicenode"];

/// Warns of words about DHCP that are new and that this machine cannot follow.
pub fn warn_dhcp(
    rows: &[RowChange],
    before: &Snapshot,
    after: &Snapshot,
    boot: &dyn BootServices,
    out: &mut Out<'_>,
) -> Done {
    if !rows.iter().any(|row| DHCP_TABLES.contains(&row.table.name())) {
        return Ok(());
    }
    let old = boot.dhcp_problems(before);
    let all = boot.dhcp_problems(after);
    let new = all.into_iter().filter(|problem| !old.contains(problem));
    out.warnings(new, TOLD_MAX, |more| {
        Warning::new(format!("{more} more invalid values")).hint("`dawn makedhcp -n` lists them.")
    })
}

/// Warns of addresses that nodes got by the change and cannot use.
pub fn warn(
    rows: &[RowChange],
    before: &Snapshot,
    after: &Snapshot,
    boot: &dyn BootServices,
    out: &mut Out<'_>,
) -> Done {
    let nodes = touched(rows, after);
    if nodes.is_empty() {
        return Ok(());
    }
    let answers = boot.dhcp_answers(after);
    let problems = nodes.into_iter().flat_map(|node| problems(&node, before, after, &answers, boot));
    let rest =
        |more| Warning::new(format!("{more} more such nodes")).hint("`dawn makedhcp NODERANGE` lists them.");
    out.warnings(problems, TOLD_MAX, rest)
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

fn problems(
    node: &str,
    before: &Snapshot,
    after: &Snapshot,
    answers: &Answers<'_>,
    boot: &dyn BootServices,
) -> Vec<String> {
    let new = |name: Col| {
        let found = after.attr_with_source(node, name)?;
        (before.attr(node, name).as_ref() != Some(&found.value)).then_some(found)
    };
    let mut list = Vec::new();
    if let Some(ip) = new(col::hosts::IP) {
        let row = sources::row_of(&ip.source, node);
        match ip.value.trim().parse::<IpAddr>() {
            Err(_) => list.push(format!("hosts.ip of {node} is '{}' ({row}), which is not an IP address", ip.value)),
            Ok(address) if boot.is_own_address(address) && !is_itself(after, node) => list.push(format!(
                "hosts.ip of {node} is {address} ({row}), which this machine has itself; its own node is in the group \
                 {MANAGEMENT_GROUP}"
            )),
            Ok(_) => {}
        }
    }
    if let Some(mac) = new(col::mac::MAC)
        && parse_mac_column(&mac.value).is_empty()
        && parse_mac_column_as::<Guid>(&mac.value).is_empty()
    {
        let row = sources::row_of(&mac.source, node);
        list.push(format!("mac.mac of {node} is '{}' ({row}), which is not a MAC address", mac.value));
    }
    if new(col::mac::MAC).is_some() {
        let unresolved = answers.of_node(node).into_iter().filter(|interface| interface.hostname != node);
        list.extend(unresolved.filter_map(|interface| match interface.answer {
            Err(silence @ Silence::Unresolved { .. }) => {
                Some(format!("{node} ({}): DHCP does not answer it, because {silence}", interface.mac))
            }
            _ => None,
        }));
    }
    list
}

fn is_itself(snapshot: &Snapshot, node: &str) -> bool {
    snapshot.groups_of(node).iter().any(|group| &**group == MANAGEMENT_GROUP)
}

/// A node in this state boots by network.
pub fn needs_network(state: &str) -> bool {
    !matches!(state, "boot" | "offline")
}

/// Why DHCP gives no interface of the node an address, although no other server does.
pub fn unanswered(answers: &Answers<'_>, node: &str) -> Option<Silence> {
    let interfaces = answers.of_node(node);
    let is_served = |answer: &Result<_, Silence>| matches!(answer, Ok(_) | Err(Silence::Proxied(_)));
    if interfaces.iter().any(|interface| is_served(&interface.answer)) {
        return None;
    }
    match interfaces.is_empty() {
        true => answers.of_own_address(node).filter(|silence| !matches!(silence, Silence::Proxied(_))),
        false => interfaces.into_iter().find_map(|interface| interface.answer.err()),
    }
}

/// The word by which programs know why DHCP does not answer.
pub fn code_of(silence: &Silence) -> &'static str {
    match silence {
        Silence::NoIp(_) => "noip",
        Silence::Unresolved { .. } => "no_address",
        Silence::Outside(_) => "no_network",
        Silence::NotServed { .. } => "network_not_served",
        Silence::Proxied(_) => "other_dhcp_server",
    }
}
