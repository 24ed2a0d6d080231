//! `rmimage`: the files of an image removed.

use crate::defs;
use crate::edits::{Edits, FileDifference, answers, transact};
use crate::images::named::NamedImage;
use crate::lite::check_image;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_cluster::Snapshot;
use dawn_imagebuilder::genimage::{pieces, remove_image};
use std::path::{Path, PathBuf};

/// Provisioning methods whose images have files here.
const METHODS: [&str; 5] = ["", "netboot", "statelite", "raw", "sysclone"];

/// Remove the files of an image: root tree, packed root, kernel and initramfs images
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also remove the definition of the image
    #[arg(long)]
    xcatdef: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    named: NamedImage,
}

impl Args {
    /// The requested image, by its name or by its attributes.
    fn image(&self, snapshot: &Snapshot) -> Result<String, Stop> {
        if let Some(name) = &self.named.image {
            return Ok(name.clone());
        }
        let osimage = defs::kind("osimage")?;
        let wanted =
            [("osvers", &self.named.os), ("osarch", &self.named.arch), ("profile", &self.named.profile)];
        let says = |name: &str, attr: &str, value: &Option<String>| {
            snapshot.object_attr(osimage, name, attr).as_deref() == value.as_deref()
        };
        let method = |name: &str| snapshot.object_attr(osimage, name, "provmethod");
        let names = snapshot.osimage_names().filter(|name| {
            wanted.iter().all(|(attr, value)| says(name, attr, value))
                && METHODS.contains(&method(name).as_deref().unwrap_or_default())
        });
        // Images of one release, architecture and profile share their directory, unless rootimgdir says
        // otherwise.
        let names: Vec<String> = names.map(ToString::to_string).collect();
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => Err(Stop::not_found("No image has this osvers, osarch and profile.")),
            _ => Err(Stop::conflict(format!("Several images match, name one of them: {}", names.join(", ")))),
        }
    }
}

impl Command for Args {
    const NAME: &'static str = "rmimage";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> =
        Some("Only the tables: the files of the image that were removed are not brought back.");

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let snapshot = &ctx.snapshot;
        let image = &self.image(snapshot)?;
        check_image(snapshot, image)?;
        let Some(definition) = snapshot.osimage(image) else { return Ok(()) };
        let method = definition.provmethod().map(|text| text.to_string()).unwrap_or_default();
        if !METHODS.contains(&method.as_str()) {
            return Err(Stop::conflict(format!("Invalid image type: {method}")));
        }
        let directory = definition.rootimgdir(snapshot).map(PathBuf::from);
        let directory = directory.filter(|path| path.is_absolute() && path.components().count() > 2);
        let directory =
            directory.ok_or_else(|| Stop::conflict(format!("{image} has no usable rootimgdir")))?;
        let installdir = snapshot.site("installdir").unwrap_or_else(|| "/install".into());
        answers(Path::new(&*installdir))?;
        let outer = PathBuf::from(&*installdir);
        if !look(&directory, move |directory| is_below(directory, &outer))? {
            let problem = format!("{image}: {} is not below {installdir}", directory.display());
            return Err(Stop::refused(format!(
                "{problem} (site.installdir), rmimage removes nothing elsewhere"
            )));
        }
        if !answers(&directory)? && !self.xcatdef {
            return Err(Stop::not_found(format!("Image directory {} does not exist", directory.display())));
        }
        if self.dry_run {
            show_files(&directory, ctx, image, out)?;
        } else {
            remove_files(&directory, ctx, image, out)?;
            let removed =
                Deed::new("removed", "image files", image).with("path", directory.display().to_string());
            out.report(
                &removed.line("Image files have been removed successfully from this management node."),
            )?;
        }
        if !self.xcatdef {
            return Ok(());
        }
        transact(ctx, out, self.dry_run, |now, _| {
            let mut edits = Edits::new();
            edits.extend(now.delete_object(defs::kind("osimage")?, image));
            Ok(edits)
        })?;
        if self.dry_run {
            return Ok(());
        }
        let removed = Deed::new("removed", "osimage", image);
        out.report(&removed.line(format!("osimage definition for {image} is removed successfully.")))
    }
}

/// The directory is below the other one, by its name and, if it exists, by where its links lead.
fn is_below(directory: &Path, installdir: &Path) -> bool {
    let below = |inner: &Path, outer: &Path| inner != outer && inner.starts_with(outer);
    let upwards = directory.components().any(|part| part == std::path::Component::ParentDir);
    let real = match (directory.canonicalize(), installdir.canonicalize()) {
        (Ok(inner), Ok(outer)) => below(&inner, &outer),
        (inner, _) => inner.is_err() && below(directory, installdir),
    };
    real && !upwards
}

/// What the TFTP service has of the image, from a management node that copied boot files.
fn copies(ctx: &Ctx<'_>, image: &str) -> Result<Option<PathBuf>, Stop> {
    let (Some(tftpdir), Some(name)) = (ctx.snapshot.site("tftpdir"), Path::new(image).file_name()) else {
        return Ok(None);
    };
    let copies = Path::new(&*tftpdir).join(dawn_wire::boot_path::IMAGES).join(name);
    Ok(answers(&copies)?.then_some(copies))
}

/// The difference, as other commands show it.
fn show_files(directory: &Path, ctx: &Ctx<'_>, image: &str, out: &mut Out<'_>) -> Done {
    for path in look(directory, pieces)?.into_iter().chain(copies(ctx, image)?) {
        let users = if answers(&path)? { ctx.boot.tree_users(&path) } else { Vec::new() };
        let mut difference = FileDifference::of(if users.is_empty() { '-' } else { '~' }, &path);
        difference.note =
            (!users.is_empty()).then(|| format!("kept until {} no longer use it", users.join(",")));
        out.report(&difference)?;
    }
    Ok(())
}

fn remove_files(directory: &Path, ctx: &Ctx<'_>, image: &str, out: &mut Out<'_>) -> Done {
    // Looked at before anything is removed.
    let (is_there, copies) = (answers(directory)?, copies(ctx, image)?);
    let mut gone = Ok(());
    let mut line = |text: &str| {
        if gone.is_ok() {
            gone = out.notice(text).and_then(|()| out.flush());
        }
    };
    if is_there {
        let users = |tree: &Path| ctx.boot.tree_users(tree);
        remove_image(directory, &users, &mut line).map_err(|error| Stop::unavailable(error.to_string()))?;
    }
    if let Some(copies) = copies {
        line(&format!("Removing directory {}", copies.display()));
        std::fs::remove_dir_all(&copies)
            .map_err(|error| Stop::unavailable(format!("{}: {error}", copies.display())))?;
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_installdir_is_removed() {
        let top = tempfile::tempdir().unwrap();
        let install = top.path().join("install");
        for name in ["install/netboot/a", "elsewhere/deep"] {
            std::fs::create_dir_all(top.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(top.path().join("elsewhere"), install.join("link")).unwrap();
        for (path, expected) in [
            ("install/netboot/a", true),
            ("install/netboot/gone", true),
            ("install", false),
            ("elsewhere/deep", false),
            ("elsewhere/gone", false),
            ("install/link/deep", false),
            ("install/netboot/../../elsewhere/deep", false),
            ("install/netboot/../netboot/a", false),
        ] {
            assert_eq!(is_below(&top.path().join(path), &install), expected, "{path}");
        }
    }
}
