//! `noderange`: what a noderange stands for; also asked by programs, which read the `<node>` elements.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_xcatd::{Element, Expanded, Response};
use serde_json::json;

/// Print the nodes of a noderange, one per line
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The expression
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// Print as JSON
    #[arg(long)]
    json: bool,
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
        let mut response = Response { warning: unknown_names(&found), ..Response::default() };
        if self.json {
            let list: Vec<_> = found.nodes.iter().map(|node| json!({ "node": node })).collect();
            out.json(&list)?;
        } else if self.comma {
            response.info.push(found.nodes.join(","));
        } else {
            response.other = node_elements(&found.nodes);
        }
        out.send(response)
    }
}

/// Expands a noderange of the caller's; one that cannot be read ends the command.
pub fn expand(ctx: &Ctx<'_>, noderange: &str) -> Result<Expanded, Stop> {
    let found = ctx.view.expand(&ctx.snapshot, noderange);
    found.fatal.clone().map_or(Ok(found), |reason| Err(Stop::message(reason)))
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
