//! `getpartition`: a node asks for the layout of its local disk (`linuximage.partitionfile` of its
//! image).
//!
//! The first line says whether the rest is a script or a layout. Errors are data that begin with `Error: `:
//! the node prints what it gets.

use crate::caller::calling_node;
use crate::command::{Command, Ctx, Kind};
use crate::localdisk;
use crate::output::{Done, Out, Stop};
use dawn_cluster::col;

/// Print the disk layout of the calling node's image
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "getpartition";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        match layout(ctx) {
            Ok(lines) => lines.into_iter().try_for_each(|line| out.data(line)),
            Err(reason) => out.data(format!("Error: {reason}")),
        }
    }
}

fn layout(ctx: &Ctx<'_>) -> Result<Vec<String>, Stop> {
    let node = calling_node(&ctx.snapshot, ctx.call)?;
    let name = dawn_statelite::image_of(&ctx.snapshot, &node)
        .ok_or_else(|| Stop::conflict(format!("{node} has no image")))?;
    let image =
        ctx.snapshot.osimage(&name).ok_or_else(|| Stop::not_found(format!("there is no image {name}")))?;
    let entry = image
        .get(col::linuximage::PARTITIONFILE)
        .ok_or_else(|| Stop::conflict(format!("the image {name} has no partitionfile")))?;
    let layout = localdisk::read(entry).map_err(|error| Stop::conflict(error.to_string()))?;
    let kind = if layout.is_script { "script" } else { "format" };
    Ok(std::iter::once(format!("type={kind}")).chain(layout.text.lines().map(str::to_owned)).collect())
}
