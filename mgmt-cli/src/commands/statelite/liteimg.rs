//! `liteimg`: prepare an image for nodes that follow its links.

use crate::command::{Command, Ctx, Kind};
use crate::conflicts::needs;
use crate::lite::check_image;
use crate::output::{Done, Out, Stop};
use dawn_bootd::plan::is_ramdisk;
use dawn_imagebuilder::packimage::pack_statelite;
use dawn_statelite::{files_of_image, liteimg};
use std::path::Path;

/// Prepare the root tree of an image for statelite by links
///
/// Dawn's own /init needs no prepared image; this is for images that other initramfs programs boot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Undo the preparation of the tree
    #[arg(long)]
    undo: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Command for Args {
    const NAME: &'static str = "liteimg";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let snapshot = &ctx.snapshot;
        check_image(snapshot, &self.image)?;
        let directory = snapshot.osimage(&self.image).and_then(|image| image.rootimgdir(snapshot));
        let directory =
            directory.ok_or_else(|| Stop::message(format!("{} has no rootimgdir", self.image)))?;
        let rootimg = Path::new(&directory).join("rootimg");
        let mut lines = Vec::new();
        let files = if self.undo { Vec::new() } else { files_of_image(snapshot, &self.image) };
        let result = if self.dry_run {
            liteimg::preview(&self.image, &rootimg, &files, self.undo).map(|changes| {
                let changes = changes.iter();
                lines.extend(changes.map(|(sign, path)| {
                    format!("{sign} file {}", rootimg.join(path.trim_start_matches('/')).display())
                }));
                if lines.is_empty() {
                    lines.push("Nothing would change.".to_owned());
                }
            })
        } else if self.undo {
            liteimg::undo(&rootimg)
        } else {
            liteimg::liteimg(&self.image, &rootimg, &files, &mut |line| lines.push(line.to_owned()))
        };
        lines.into_iter().try_for_each(|line| out.line(line))?;
        result.map_err(|error| Stop::message(error.to_string()))?;
        if !self.undo && !self.dry_run {
            needs(snapshot, &self.image).into_iter().try_for_each(|text| out.warning(text))?;
        }
        if self.dry_run || !snapshot.osimage(&self.image).is_some_and(|image| is_ramdisk(&image)) {
            return Ok(());
        }
        out.line(format!("Packing contents of {}", rootimg.display()))?;
        out.flush()?;
        let packed =
            pack_statelite(Path::new(&directory)).map_err(|error| Stop::message(error.to_string()))?;
        out.line(format!("The image is in {}.", packed.display()))
    }
}
