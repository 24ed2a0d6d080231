//! `render`: what a node's installer would get, before the node asks for it.

use dawn_bootd::boot_services::RenderedFile;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Lines, Out, Report};
use serde::Serialize;

/// Show the answers that nodes' installers would get, with the secrets masked
///
/// The image is the one that nodetype.provmethod names; the state of the node does not matter. With several
/// nodes, each line begins with the node's name.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show each directive with its value and where that comes from, not the text
    #[arg(long)]
    sources: bool,
    /// Nodes
    #[arg(value_name = "NODERANGE", required = true)]
    noderange: String,
    /// user-data, meta-data or vendor-data for Ubuntu's installer; others ask for one file [default: the file
    /// with the answers]
    #[arg(value_name = "FILE")]
    file: Option<String>,
}

/// What is shown of one node.
#[derive(Serialize)]
struct Shown<'n> {
    node: &'n str,
    #[serde(flatten)]
    file: RenderedFile,
    /// The values are printed, not the text.
    #[serde(skip)]
    sources: bool,
    /// Lines begin with the node's name.
    #[serde(skip)]
    named: bool,
}

impl Command for Args {
    const NAME: &'static str = "render";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let named = ctx.nodes().len() > 1;
        ctx.nodes().iter().try_for_each(|node| {
            match ctx.boot.rendered(&ctx.snapshot, node, self.file.as_deref()) {
                Ok(file) => out.report(&Shown { node, file, sources: self.sources, named }),
                Err(reason) => out.node_error(node, reason.error(node)),
            }
        })
    }
}

impl Report for Shown<'_> {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let mut say = |text: &str| match self.named {
            true => lines.node(self.node, text),
            false => lines.line(text),
        };
        if self.sources {
            say(&format!("template {}", self.file.template))?;
            self.file.values.iter().try_for_each(|value| {
                let mut shown = value.value.lines();
                let first = shown.next().unwrap_or_default();
                let more = if shown.next().is_some() { " …" } else { "" };
                let place = format!("{}:{}", value.file, value.line);
                say(&format!("{place} {} = {first}{more} ({})", value.directive, value.source))
            })?;
        } else {
            self.file.text.lines().try_for_each(&mut say)?;
        }
        let unknown = self.file.unknown.iter();
        unknown
            .map(|text| format!("{text} is not a directive that Dawn knows; it stays in the text"))
            .try_for_each(|text| lines.warning(text))
    }
}
