//! `ilitefile`: the special files of an image.

use crate::lite::{check_image, file_lines, file_objects};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};
use dawn_statelite::files_of_image;

/// List the files of an image that each node has of its own, with their options
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Command for Args {
    const NAME: &'static str = "ilitefile";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        check_image(&ctx.snapshot, &self.image)?;
        let files = files_of_image(&ctx.snapshot, &self.image);
        if self.json {
            return out.json(&file_objects("image", &self.image, &files));
        }
        file_lines(&self.image, &files, out)
    }
}
