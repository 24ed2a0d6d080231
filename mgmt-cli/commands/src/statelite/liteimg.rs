//! `liteimg`: prepare an image for nodes that follow its links.

use crate::conflicts::needs;
use crate::edits::answers;
use crate::images::named::NamedImage;
use crate::lite::check_image;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_imagebuilder::packimage::pack_statelite;
use dawn_plan::is_ramdisk;
use dawn_statelite::{files_of_image, liteimg};
use dawn_wire::image::ROOT;
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
    #[command(flatten)]
    named: NamedImage,
}

impl Args {
    /// The requested image, by its name or by the parts of its name.
    fn image(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let NamedImage { os, arch, profile, image } = &self.named;
        match image {
            Some(name) => name.clone(),
            None => format!("{}-{}-statelite-{}", part(os), part(arch), part(profile)),
        }
    }
}

impl Command for Args {
    const NAME: &'static str = "liteimg";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> =
        Some("Only the tables: the files of the image stay as they are.");

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let snapshot = &ctx.snapshot;
        let name = &self.image();
        check_image(snapshot, name)?;
        let directory = snapshot.osimage(name).and_then(|image| image.rootimgdir(snapshot));
        let directory = directory.ok_or_else(|| Stop::conflict(format!("{name} has no rootimgdir")))?;
        let rootimg = Path::new(&directory).join(ROOT);
        answers(&rootimg)?;
        let mut lines = Vec::new();
        let files = if self.undo { Vec::new() } else { files_of_image(snapshot, name) };
        let result = if self.dry_run {
            liteimg::preview(name, &rootimg, &files, self.undo).map(|changes| {
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
            liteimg::liteimg(name, &rootimg, &files, &mut |line| lines.push(line.to_owned()))
        };
        lines.into_iter().try_for_each(|line| out.notice(line))?;
        result.map_err(|error| Stop::unavailable(error.to_string()))?;
        if !self.undo && !self.dry_run {
            needs(snapshot, name).into_iter().try_for_each(|unmet| out.warning(unmet.to_string()))?;
        }
        if self.dry_run || !snapshot.osimage(name).is_some_and(|image| is_ramdisk(&image)) {
            return Ok(());
        }
        out.notice(format!("Packing contents of {}", rootimg.display()))?;
        out.flush()?;
        let packed =
            pack_statelite(Path::new(&directory)).map_err(|error| Stop::unavailable(error.to_string()))?;
        let deed = Deed::new("packed", "osimage", name.as_str()).with("path", packed.display().to_string());
        out.report(&deed.line(format!("The image is in {}.", packed.display())))
    }
}
