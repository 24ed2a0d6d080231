//! Rows that are of no use as they are, reported by the command that writes them: several nodes at one port
//! of a switch, unknown steps of a chain, commands that do not exist, rules of the policy that cannot be
//! read.
//!
//! All are stored: the other node may be moved next, the image be made later. A node whose chain comes to
//! such a step stays where it is, and a machine at such a port waits for an administrator.

use dawn_bootd::command::{Kind, Registry};
use dawn_bootd::discovery::NodeKind;
use dawn_bootd::output::{Done, Out};
use dawn_cluster::list::steps;
use dawn_cluster::{Col, RowChange, RowChangeKind, Snapshot, Text, col};
use dawn_plan::destiny::State;
use dawn_plan::ondiscover;
use std::collections::{BTreeMap, BTreeSet};

/// Warnings of each kind after one change at most.
const TOLD_MAX: usize = 10;
/// Nodes named in one warning.
const NAMED_MAX: usize = 6;

/// Warns of what the changed rows make unusable.
pub fn warn(rows: &[RowChange], after: &Snapshot, registry: &Registry, out: &mut Out<'_>) -> Done {
    for texts in [
        shared_ports(rows, after),
        unknown_steps(rows, after),
        unknown_commands(rows, registry),
        bad_rules(rows, after),
    ] {
        out.warnings(texts, TOLD_MAX, |more| format!("and {more} more of this kind").into())?;
    }
    Ok(())
}

/// Ports with several nodes, of which the change has written one.
fn shared_ports(rows: &[RowChange], after: &Snapshot) -> Vec<String> {
    let table = col::switch::SWITCH.table;
    let written = rows.iter().filter(|row| row.table == table && row.kind != RowChangeKind::Deleted);
    let mut written: BTreeSet<Text> = written.filter_map(|row| row.node().cloned()).collect();
    let of_groups: Vec<Text> = written.iter().flat_map(|name| after.nodes_listing_group(name)).collect();
    written.extend(of_groups);
    if written.is_empty() {
        return Vec::new();
    }
    let mut ports: BTreeMap<(String, Text), BTreeSet<&Text>> = BTreeMap::new();
    // A switch has the port of its uplink, which no machine is found by.
    for node in after.node_names().filter(|node| !NodeKind::of(after, node).is_switch) {
        for row in after.attr_rows(node, table, &[col::switch::SWITCH, col::switch::PORT]) {
            if let [Some(switch), Some(port)] = row.as_slice() {
                let key = (switch.value.to_ascii_lowercase(), port.value.clone());
                ports.entry(key).or_default().insert(node);
            }
        }
    }
    let shared = ports.iter().filter(|(_, nodes)| nodes.len() > 1);
    let shared = shared.filter(|(_, nodes)| nodes.iter().any(|node| written.contains(*node)));
    let text = |((switch, port), nodes): (&(String, Text), &BTreeSet<&Text>)| {
        let named: Vec<&str> = nodes.iter().take(NAMED_MAX).map(|node| &***node).collect();
        let more = match nodes.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "{}{more} are all at port {port} of {switch}: a machine there becomes none of them by its port alone",
            named.join(", ")
        )
    };
    shared.map(text).collect()
}

/// Columns with the steps of a chain.
const CHAINS: [Col; 2] = [col::chain::CHAIN, col::chain::CURRCHAIN];

/// Steps of written chains that are no step, or whose image does not exist.
fn unknown_steps(rows: &[RowChange], after: &Snapshot) -> Vec<String> {
    let mut texts = BTreeSet::new();
    for row in rows.iter().filter(|row| row.kind != RowChangeKind::Deleted) {
        let chains = row.cells.iter().filter(|(column, ..)| CHAINS.contains(column));
        let steps = chains.flat_map(|(column, _, chain)| {
            chain.as_deref().into_iter().flat_map(steps).map(move |step| (column, step))
        });
        for (column, step) in steps {
            match State::parse(step) {
                Err(error) => drop(texts.insert(format!("{column}: {error}"))),
                Ok(State::Image { name: Some(name), .. }) if after.osimage(&name).is_none() => {
                    texts.insert(format!("{column}: there is no image {name} yet"));
                }
                Ok(State::Word(step)) if is_fetched_otherwise(&step) => {
                    texts.insert(format!(
                        "{column}: {step}: the discovery system fetches http:// addresses only"
                    ));
                }
                Ok(_) => {}
            }
        }
    }
    texts.into_iter().collect()
}

/// An archive that is not fetched by HTTP.
fn is_fetched_otherwise(step: &str) -> bool {
    step.strip_prefix("runimage=").is_some_and(|url| !url.starts_with("http://"))
}

/// Written rules of the policy with a part that cannot be read.
fn bad_rules(rows: &[RowChange], after: &Snapshot) -> Vec<String> {
    let table = col::policy::PRIORITY.table;
    let written = rows.iter().filter(|row| row.table == table && row.kind != RowChangeKind::Deleted);
    written.filter_map(|row| row.key.first()).flat_map(|priority| after.policy_problems(priority)).collect()
}

/// Commands for a node that has got its machine, or as a step of its chain, that the server does not run.
fn unknown_commands(rows: &[RowChange], registry: &Registry) -> Vec<String> {
    let mut texts = BTreeSet::new();
    for row in rows.iter().filter(|row| row.kind != RowChangeKind::Deleted) {
        for (column, _, new) in &row.cells {
            let cell = new.as_deref().unwrap_or_default();
            let lists: Vec<&str> = match *column {
                col::chain::ONDISCOVER => vec![cell],
                column if CHAINS.contains(&column) => steps(cell).filter_map(ondiscover::of_step).collect(),
                _ => continue,
            };
            for list in lists {
                match ondiscover::commands(list) {
                    Err(error) => drop(texts.insert(format!("{column}: {error}"))),
                    Ok(list) => texts.extend(
                        list.iter()
                            .filter(|one| {
                                registry.find(&one.name).is_none_or(|entry| entry.kind == Kind::Local)
                            })
                            .map(|one| {
                                format!("{column}: '{}' is not a command that the daemon runs", one.name)
                            }),
                    ),
                }
            }
        }
    }
    texts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Edit;

    fn after(table: &str, node: &str, cells: &[(&str, &str)]) -> (Vec<RowChange>, Snapshot) {
        let before = Snapshot::from_rows([
            ("nodelist", [("node", "cn1"), ("groups", "rack,all")].as_slice()),
            ("nodelist", &[("node", "cn2"), ("groups", "rack,all")]),
            ("nodelist", &[("node", "sw1"), ("groups", "all")]),
            ("nodetype", &[("node", "sw1"), ("nodetype", "switch")]),
            ("switch", &[("node", "cn1"), ("switch", "sw1"), ("port", "7")]),
            ("switch", &[("node", "sw1"), ("switch", "sw1"), ("port", "8")]),
            ("osimage", &[("imagename", "img"), ("provmethod", "netboot")]),
        ]);
        let edits = [Edit::set(table, &[("node", node)], cells).unwrap()];
        (before.preview(&edits).unwrap(), before.with(&edits).unwrap())
    }

    #[test]
    fn two_nodes_at_one_port() {
        let said = |node, port| {
            let (rows, after) = after("switch", node, &[("switch", "SW1"), ("port", port)]);
            shared_ports(&rows, &after)
        };
        let shared =
            "cn1, cn2 are all at port 7 of sw1: a machine there becomes none of them by its port alone";
        assert_eq!(said("cn2", "7"), [shared]);
        assert_eq!(said("cn2", "8"), Vec::<String>::new());
        // A group's row counts for nodes that have no row.
        assert_eq!(said("rack", "7"), [shared]);
        assert_eq!(said("rack", r"|cn(\d+)|swp($1)|"), Vec::<String>::new());
    }

    #[test]
    fn chains_with_unknown_steps() {
        let said = |chain| {
            let (rows, after) = after("chain", "rack", &[("chain", chain)]);
            unknown_steps(&rows, &after)
        };
        assert_eq!(said("runcmd=bmcsetup, osimage=img;standby"), Vec::<String>::new());
        assert_eq!(said("osimage=nope,boot"), ["chain.chain: there is no image nope yet"]);
        let texts = said("shel,boot");
        assert!(texts[0].starts_with("chain.chain: Unknown state shel requested"), "{texts:?}");
    }
}
