//! `lslite`: everything about statelite of nodes or an image.

use crate::lite::{ImageListing, NodeListing, check_image};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Out};

/// Show image, persistent directory, special files and trees of statelite nodes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show this image instead of nodes
    #[arg(short = 'i', value_name = "IMAGE", conflicts_with = "noderange")]
    image: Option<String>,
    /// Nodes
    #[arg(value_name = "NODERANGE")]
    noderange: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "lslite";
    const KIND: Kind = Kind::Nodes;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if let Some(image) = &self.image {
            check_image(&ctx.snapshot, image)?;
            return out.report(&ImageListing::of(image, &ctx.snapshot));
        }
        if self.noderange.is_none() {
            return out.plain_error(CommandError::usage("Usage: lslite NODERANGE | lslite -i IMAGE"));
        }
        ctx.nodes().iter().try_for_each(|node| {
            let listing = NodeListing::of(node, &ctx.snapshot, out)?;
            out.report(&listing)
        })
    }
}
