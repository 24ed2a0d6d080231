//! `ilitefile`: the special files of an image.

use crate::lite::{Files, check_image};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_statelite::files_of_image;

/// List the files of an image that are separate on each node, with their options
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Command for Args {
    const NAME: &'static str = "ilitefile";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        check_image(&ctx.snapshot, &self.image)?;
        let list = files_of_image(&ctx.snapshot, &self.image);
        out.report(&Files { of_image: true, name: &self.image, list })
    }
}
