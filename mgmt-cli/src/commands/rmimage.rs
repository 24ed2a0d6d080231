//! `rmimage`: the files of an image removed.

use crate::edits::{Edits, transact};
use crate::frame::{Command, Ctx, Kind};
use crate::lite::check_image;
use crate::output::{Done, Out, Stop};
use std::path::{Path, PathBuf};

/// Provisioning methods whose images have files here.
const METHODS: [&str; 5] = ["", "netboot", "statelite", "raw", "sysclone"];
/// Files of an image beside the root tree.
const FILES: [&str; 3] = ["kernel", "initrd-stateless.gz", "initrd-statelite.gz"];
const MOUNTS: &str = "/proc/self/mounts";

/// Remove the files of an image: root tree, packed root, kernel, initramfs images
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove the image's definition too
    #[arg(long)]
    xcatdef: bool,
    /// Show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Command for Args {
    const NAME: &'static str = "rmimage";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let (image, snapshot) = (&self.image, &ctx.snapshot);
        check_image(snapshot, image)?;
        let Some(definition) = snapshot.osimage(image) else { return Ok(()) };
        let method = definition.provmethod().map(|text| text.to_string()).unwrap_or_default();
        if !METHODS.contains(&method.as_str()) {
            return Err(Stop::message(format!("Invalid image type: {method}")));
        }
        let directory = definition.rootimgdir(snapshot).map(PathBuf::from);
        let directory = directory.filter(|path| path.is_absolute() && path.components().count() > 2);
        let directory = directory.ok_or_else(|| Stop::message(format!("{image} has no usable rootimgdir")))?;
        if !directory.is_dir() && !self.xcatdef {
            return Err(Stop::message(format!("Image directory {} does not exist", directory.display())));
        }
        self.remove_files(&directory, ctx, out)?;
        if self.dry_run {
            return Ok(());
        }
        out.line("Image files have been removed successfully from this management node.")?;
        if !self.xcatdef {
            return Ok(());
        }
        transact(ctx, out, false, |now, _| {
            let mut edits = Edits::new();
            edits.extend(now.delete_object(crate::defs::kind("osimage")?, image));
            Ok(edits)
        })?;
        out.line(format!("osimage definition for {image} is removed successfully."))
    }
}

impl Args {
    fn remove_files(&self, directory: &Path, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let rootimg = directory.join("rootimg");
        if let Some(mount) = mounted_below(&rootimg) {
            return Err(Stop::message(format!("{mount} is mounted; unmount it first")));
        }
        let mut doomed = vec![rootimg];
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let packed = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("rootimg."));
        doomed.extend(packed.map(|entry| entry.path()));
        doomed.extend(FILES.iter().map(|name| directory.join(name)));
        if let Some(tftpdir) = ctx.snapshot.site("tftpdir") {
            let name = Path::new(&self.image).file_name().unwrap_or_default();
            doomed.push(Path::new(&*tftpdir).join("xcat/osimage").join(name));
        }
        for path in doomed {
            let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
            let users = if metadata.is_dir() { ctx.hooks.tree_users(&path) } else { Vec::new() };
            if !users.is_empty() {
                self.keep(&path, directory, &users, out)?;
                continue;
            }
            let word = if metadata.is_dir() { "directory" } else { "file" };
            out.line(format!("Removing {word} {}", path.display()))?;
            if self.dry_run {
                continue;
            }
            out.flush()?;
            let removed =
                if metadata.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(|error| Stop::message(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }
}

impl Args {
    /// Nodes run from this tree: it only loses its name, and goes when they have gone.
    fn keep(&self, path: &Path, directory: &Path, users: &[String], out: &mut Out<'_>) -> Done {
        let mut kept = path.to_owned();
        if path == directory.join("rootimg") {
            kept = dawn_imagebuilder::genimage::set_aside(directory)
                .map_err(|error| Stop::message(error.to_string()))?;
            if !self.dry_run {
                std::fs::rename(path, &kept)
                    .map_err(|error| Stop::message(format!("{}: {error}", path.display())))?;
            }
        }
        let names = users.join(",");
        out.line(format!("Keeping directory {} until {names} run from it no more", kept.display()))
    }
}

/// A file system that is mounted inside the tree would be emptied with it.
fn mounted_below(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(MOUNTS).ok()?;
    let mounts = text.lines().filter_map(|line| line.split(' ').nth(1));
    mounts.map(|mount| mount.replace("\\040", " ")).find(|mount| Path::new(mount).starts_with(directory))
}
