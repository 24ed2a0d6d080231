//! `lslite`: everything about statelite of nodes or an image.

use crate::lite::{check_image, describe_image, describe_node, image_object, node_object};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};

/// Show image, persistent directory, special files and trees of statelite nodes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show this image instead of nodes
    #[arg(short = 'i', value_name = "IMAGE")]
    image: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
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
            return match self.json {
                true => out.json(&[image_object(image, &ctx.snapshot)]),
                false => describe_image(image, &ctx.snapshot, out),
            };
        }
        if self.noderange.is_none() {
            out.line("Usage: lslite NODERANGE | lslite -i IMAGE")?;
            return Err(Stop::Code(1));
        }
        if self.json {
            let objects = ctx.nodes().iter().map(|node| node_object(node, &ctx.snapshot, out));
            let objects = objects.collect::<Result<Vec<_>, Stop>>()?;
            return out.json(&objects);
        }
        ctx.nodes().iter().try_for_each(|node| describe_node(node, &ctx.snapshot, out))
    }
}
