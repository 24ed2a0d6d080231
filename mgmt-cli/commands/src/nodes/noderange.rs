//! `noderange`: the nodes of a noderange; also asked by programs, which read the `<node>` elements.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_xcatd::{Element, Expanded};
use std::collections::BTreeMap;

/// Print the nodes of a noderange, one per line
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The expression
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Print one line, names separated by commas
    #[arg(long)]
    comma: bool,
}

impl Command for Args {
    const NAME: &'static str = "noderange";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let found = expand(ctx, &self.noderange)?;
        unknown_names(&found).into_iter().try_for_each(|text| out.warning(text))?;
        out.report(&Names { nodes: &found.nodes, comma: self.comma })
    }
}

/// The nodes of a noderange.
struct Names<'a> {
    nodes: &'a [String],
    comma: bool,
}

impl serde::Serialize for Names<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.nodes.iter().map(|node| BTreeMap::from([("node", node)])))
    }
}

impl Report for Names<'_> {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        match self.comma {
            true => lines.line(self.nodes.join(",")),
            false => lines.elements(node_elements(self.nodes)),
        }
    }
}

/// Expands a noderange of the caller's; one that cannot be read ends the command.
pub fn expand(ctx: &Ctx<'_>, noderange: &str) -> Result<Expanded, Stop> {
    let found = ctx.view.expand(&ctx.snapshot, noderange);
    found.fatal.clone().map_or(Ok(found), |reason| Err(Stop::usage(reason)))
}

/// The warning about names that are neither node nor group, if there are any.
pub fn unknown_names(found: &Expanded) -> Vec<String> {
    let names = &found.unknown;
    if names.is_empty() {
        Vec::new()
    } else {
        vec![format!("Invalid nodes in noderange:{}", names.join(","))]
    }
}

/// `<node>name</node>` for each.
pub fn node_elements(nodes: &[String]) -> Vec<Element> {
    nodes.iter().map(|node| Element::text("node", node)).collect()
}
