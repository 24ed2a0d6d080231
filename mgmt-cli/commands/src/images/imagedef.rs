//! `imagedef`: what `genimage` and `packimage` need of an image.

use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

/// Print the definition of an image for genimage and packimage
///
/// They ask for it by themselves. Where the builder cannot reach the daemon, the output can be given to
/// them with --definition.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Command for Args {
    const NAME: &'static str = "imagedef";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        out.report(&crate::imagedef::attributes(&ctx.snapshot, &self.image)?)
    }
}
