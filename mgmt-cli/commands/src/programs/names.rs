//! Noderange for programs: `extnoderange`, `NodeRange`, `gennr`, `rnoderange`.

use crate::nodes::noderange::{expand, node_elements, unknown_names};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_cluster::Snapshot;
use dawn_xcatd::{Element, Response};
use std::collections::BTreeSet;

/// Nodes of a noderange, and the groups that have members among them
#[derive(Debug, clap::Args)]
pub struct Extended {
    /// The expression; `subgroups` after it asks for groups too
    #[arg(required = true)]
    words: Vec<String>,
}

impl Command for Extended {
    const NAME: &'static str = "extnoderange";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let noderange = self.words.first().map(String::as_str).unwrap_or_default();
        let found = expand(ctx, noderange)?;
        let mut other = node_elements(&found.nodes);
        if self.words.iter().skip(1).any(|word| word == "subgroups") {
            let groups = groups_among(&ctx.snapshot, &found.nodes);
            other.extend(groups.into_iter().map(|group| Element::text("intersectinggroups", group)));
        }
        out.send(Response { other, warning: unknown_names(&found), ..Response::default() })
    }
}

fn groups_among(snapshot: &Snapshot, nodes: &[String]) -> BTreeSet<String> {
    nodes.iter().flat_map(|node| snapshot.groups_of(node)).map(|group| group.to_string()).collect()
}

/// Nodes of a noderange in which every name is known
#[derive(Debug, clap::Args)]
pub struct Nodes {
    /// The expression
    noderange: Option<String>,
}

impl Command for Nodes {
    const NAME: &'static str = "NodeRange";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        out.elements(node_elements(ctx.nodes()))
    }
}

/// Names of a noderange, known or not, one a line
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// The expression
    noderange: String,
}

impl Command for Generate {
    const NAME: &'static str = "gennr";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let names = ctx.view.expand_unverified(&ctx.snapshot, &self.noderange)?;
        names.into_iter().try_for_each(|name| out.data(name))
    }
}

/// A noderange in its shortest form: whole groups first, then the nodes that are left
#[derive(Debug, clap::Args)]
pub struct Shorten {
    /// The expression
    noderange: Option<String>,
}

impl Command for Shorten {
    const NAME: &'static str = "rnoderange";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        out.data(shortest(ctx).join(","))
    }
}

/// The largest group whose members are all left is taken until there is none; of equal ones the first by
/// name.
fn shortest(ctx: &Ctx<'_>) -> Vec<String> {
    let (snapshot, nodes) = (&ctx.snapshot, ctx.nodes());
    let mut left: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    let members = |group: &String| ctx.view.expand(snapshot, group).nodes;
    let mut groups: Vec<(String, Vec<String>)> = groups_among(snapshot, nodes)
        .into_iter()
        .map(|group| (group.clone(), members(&group)))
        .filter(|(_, members)| members.len() > 1 && members.iter().all(|node| left.contains(node.as_str())))
        .collect();
    groups.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
    let mut words = Vec::new();
    for (group, members) in groups {
        if members.iter().any(|node| left.contains(node.as_str())) {
            members.iter().for_each(|node| {
                left.remove(node.as_str());
            });
            words.push(group);
        }
    }
    words.extend(left.into_iter().map(str::to_owned));
    words
}
