//! `imgimport`: an image from one file.

use crate::edits::{Edits, answers, show, transact};
use crate::images::imgexport::columns;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_cluster::csv::{read_header, read_records};
use dawn_cluster::{Col, Edit, ImageName, OsImage, RowChange, Snapshot, Text, col, schema};
use dawn_imagebuilder::bundle::{BundleError, Import, Imported, Known, Manifest, import};
use dawn_serving::bounded_read::{self, Refused};
use std::path::PathBuf;

/// Read an image with its definition, lists and scripts from the file that imgexport wrote
///
/// The image's files go below its own rootimgdir, its lists there or below custom/ of the install directory,
/// and nothing is written elsewhere. Files of this image that exist are kept as FILE.ORIG; others are not
/// replaced, and directories of another image are refused. An image of the same name that is defined
/// otherwise is replaced with --replace only, and scripts are taken with --scripts only.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes to use the image
    #[arg(short = 'p', long = "postscripts", value_name = "NODERANGE")]
    nodes: Option<String>,
    /// Another profile name
    #[arg(short = 'f', long = "profile", value_name = "PROFILE")]
    profile: Option<String>,
    /// Accepted for compatibility
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Show which files and rows would be written, without writing any
    #[arg(long)]
    dry_run: bool,
    /// Take scripts: the postinstall script, which genimage runs here as root, files for postscripts/ and
    /// prescripts/, which nodes run, and templates and files for custom/install/, which installers use
    #[arg(long)]
    scripts: bool,
    /// Replace what defines an image of the same name here
    #[arg(long)]
    replace: bool,
    /// Refused: copy the file yourself
    #[arg(short = 'R', long, value_name = "USER@HOST")]
    remotehost: Option<String>,
    /// Refused: files are compressed
    #[arg(short = 'n', long = "nozip")]
    nozip: bool,
    /// The file
    #[arg(value_name = "FILE", required = true)]
    bundle: String,
}

impl Command for Args {
    const NAME: &'static str = "imgimport";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> = Some("Only the tables: the files that were unpacked stay.");

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if let Some(host) = &self.remotehost {
            return Err(Stop::refused(format!(
                "-R is not supported, as the daemon does not log in to other machines. \
                 First: scp {host}:{} . and then import the file without -R",
                self.bundle
            )));
        }
        if self.nozip {
            return Err(Stop::refused(
                "-n is not supported: pack the directory as a gzip tar and import that",
            ));
        }
        ctx.require_root("read and write files")?;
        let bundle = ctx.path_of_caller(&self.bundle);
        bounded_read::look(&bundle).map_err(|why| match why {
            Refused::Missing => Stop::not_found(format!("{} does not exist.", bundle.display())),
            why => Stop::refused(format!("{} cannot be imported: {why}", bundle.display())),
        })?;
        if let Some(profile) = &self.profile {
            profile.parse::<ImageName>().map_err(|error| Stop::usage(error.to_string()))?;
        }
        let nodes = match &self.nodes {
            Some(noderange) => crate::defs::members(&ctx.snapshot, &ctx.view, noderange)?,
            None => Vec::new(),
        };
        let installdir = ctx.snapshot.site("installdir");
        let installdir = installdir.ok_or_else(|| Stop::conflict("site.installdir is not set"))?;
        let installdir = PathBuf::from(&*installdir);
        answers(&installdir)?;
        let job = Import {
            bundle,
            work: installdir.clone(),
            profile: self.profile.clone(),
            within: installdir,
            known: known(&ctx.snapshot),
            scripts: self.scripts,
            dry_run: self.dry_run,
        };
        let mut lines = Vec::new();
        let mut refused = None;
        let mut accept = |imported: &Imported| {
            let checked =
                edits(imported, &nodes).and_then(|edits| Ok(ctx.snapshot.preview(&edits.into_list())?));
            let checked =
                checked.and_then(|rows| if self.replace { Ok(()) } else { is_new(imported, &rows) });
            refused = checked.err();
            refused.is_none()
        };
        let imported = import(&job, &mut accept, &mut |line| lines.push(line.to_owned()));
        if let Some(stop) = refused {
            return Err(stop);
        }
        // The last line says that all is done, which it is when the tables are written.
        let last = if imported.is_ok() { lines.pop() } else { None };
        lines.into_iter().try_for_each(|line| out.notice(line))?;
        let imported = imported.map_err(refusal)?;
        if self.dry_run {
            let changes = ctx.snapshot.preview(&edits(&imported, &nodes)?.into_list())?;
            // Files were shown already; rows that stay as they are need no word.
            return if changes.is_empty() { Ok(()) } else { show(&changes, out) };
        }
        transact(ctx, out, false, |_, _| edits(&imported, &nodes))?;
        let name = imported.manifest.osimage.get("imagename").cloned().unwrap_or_default();
        let deed = Deed::new("imported", "osimage", name);
        out.report(&last.into_iter().fold(deed, Deed::line))
    }
}

/// Refuses rows that change what defines an image here.
fn is_new(imported: &Imported, rows: &[RowChange]) -> Done {
    let of_images = [col::osimage::IMAGENAME.table, col::linuximage::IMAGENAME.table];
    let rows = rows.iter().filter(|row| of_images.contains(&row.table));
    let replaced =
        |(_, old, _): &&(Col, Option<Text>, Option<Text>)| old.as_ref().is_some_and(|old| !old.is_empty());
    let columns: Vec<&str> =
        rows.flat_map(|row| row.cells.iter().filter(replaced)).map(|(col, ..)| col.name()).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let name = imported.manifest.name().unwrap_or_default();
    let text = format!("an image {name} is defined here, and otherwise: {}", columns.join(", "));
    let hint = "-f PROFILE imports the bundle under another profile; --replace takes its definition.";
    Err(CommandError::refused(text).hint(hint).into())
}

/// The directories, lists and scripts of the images that are here.
fn known(snapshot: &Snapshot) -> Vec<Known> {
    let key = col::osimage::IMAGENAME;
    let names = snapshot.rows(key.table).filter_map(|row| row.get(key));
    names.map(|name| known_image(snapshot, name)).collect()
}

fn known_image(snapshot: &Snapshot, name: &str) -> Known {
    let [osimage, linuximage] = ["osimage", "linuximage"].map(|table| columns(snapshot, table, name));
    let files = Manifest { osimage, linuximage, extra: Vec::new() }.files();
    let image = snapshot.osimage(name);
    let rootimgdir = image.as_ref().and_then(|image| image.rootimgdir(snapshot)).map(PathBuf::from);
    let packages = image.map(|image| package_directories(snapshot, &image)).unwrap_or_default();
    Known {
        name: name.to_owned(),
        rootimgdir,
        packages,
        files: files.into_iter().map(PathBuf::from).collect(),
    }
}

/// Where the packages of an image are on this server: what it names, and where `copycds` puts them.
fn package_directories(snapshot: &Snapshot, image: &OsImage) -> Vec<PathBuf> {
    let named = [col::linuximage::PKGDIR, col::linuximage::OTHERPKGDIR]
        .into_iter()
        .filter_map(|column| image.get(column));
    let elements = named.flat_map(|list| list.split([',', ' '])).filter(|element| element.starts_with('/'));
    let mut directories: Vec<PathBuf> = elements.map(PathBuf::from).collect();
    let parts =
        [image.get(col::osimage::OSVERS), image.get(col::osimage::OSARCH)].map(Option::<&Text>::cloned);
    if let (Some(top), [Some(os), Some(arch)]) = (snapshot.site("installdir"), parts) {
        directories.push([&*top, &*os, &*arch].iter().collect());
    }
    directories
}

fn refusal(error: BundleError) -> Stop {
    let hint = match &error {
        BundleError::Scripts(_) => {
            "`imgimport --dry-run --scripts` shows where they would go; --scripts takes them."
        }
        BundleError::OfOther { .. } => {
            "-f PROFILE imports it under another profile, into a separate directory."
        }
        _ => return Stop::unavailable(error.to_string()),
    };
    CommandError::refused(error.to_string()).hint(hint).into()
}

/// The rows of the image, its litefile entries, and the nodes that are to use it.
fn edits(imported: &Imported, nodes: &[Text]) -> Result<Edits, Stop> {
    let manifest = &imported.manifest;
    let image = manifest.name().ok_or_else(|| Stop::conflict("the bundle names no image"))?;
    image.parse::<ImageName>().map_err(|error| Stop::usage(error.to_string()))?;
    let mut edits = Edits::new();
    for (table, columns) in [("osimage", &manifest.osimage), ("linuximage", &manifest.linuximage)] {
        let values: Vec<(&str, &str)> = columns
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| *name != "imagename")
            .collect();
        edits.push(Edit::set(table, &[("imagename", image)], &values)?);
    }
    edits.extend(litefile_edits(image, imported.litefile.as_deref().unwrap_or_default())?);
    let value = |name: &str| manifest.osimage.get(name).map(String::as_str).unwrap_or_default();
    for node in nodes {
        let values = [
            ("provmethod", image),
            ("os", value("osvers")),
            ("arch", value("osarch")),
            ("profile", value("profile")),
        ];
        edits.push(Edit::set("nodetype", &[("node", node)], &values)?);
    }
    Ok(edits)
}

/// The rows name the image as it is called here.
fn litefile_edits(image: &str, text: &str) -> Result<Vec<Edit>, Stop> {
    let mut lines = text.lines();
    let Some(header) = lines.next() else { return Ok(Vec::new()) };
    let columns = read_header(header)?;
    let Some(table) = schema().find("litefile") else { return Ok(Vec::new()) };
    let mut edits = Vec::new();
    for record in read_records(lines) {
        let fields = record.fields?;
        let cell = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            fields.get(at).cloned().flatten()
        };
        let Some(file) = cell("file") else { continue };
        let keys = vec![(col::litefile::IMAGE, Text::from(image)), (col::litefile::FILE, Text::from(file))];
        let values = vec![(col::litefile::OPTIONS, cell("options").map(Text::from))];
        edits.push(Edit::Set { table: table.id, keys, values });
    }
    Ok(edits)
}
