//! `imgexport`: an image as one file.

use crate::defs;
use crate::edits::{FileDifference, answers, written};
use crate::imagedef;
use crate::lite::check_image;
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::csv::{header_line, row_line};
use dawn_cluster::{Snapshot, col, schema};
use dawn_imagebuilder::bundle::{BundleError, Export, Manifest, check, export};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Provisioning methods whose images can be exported.
const METHODS: [&str; 4] = ["install", "netboot", "statelite", "raw"];

/// Write an image with its definition, lists and scripts into one file
///
/// The file is IMAGE.tgz in the caller's directory. Of another name only the last part counts: the file is
/// still in the caller's directory, as in xCAT.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Extra file to include, as FILE:DIR with the directory to install it in; repeatable
    #[arg(short = 'e', long, value_name = "FILE:DIR")]
    extra: Vec<String>,
    /// Accepted for compatibility
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Also pack the post scripts of this node
    #[arg(short = 'p', long, value_name = "NODE")]
    postscripts: Option<String>,
    /// Refused: copy the file yourself
    #[arg(short = 'R', long, value_name = "USER@HOST")]
    remotehost: Option<String>,
    /// Image
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Name of the file in the caller's directory
    #[arg(value_name = "FILE")]
    destination: Option<String>,
}

impl Command for Args {
    const NAME: &'static str = "imgexport";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let (image, snapshot) = (self.image.as_str(), &ctx.snapshot);
        if let Some(host) = &self.remotehost {
            return Err(Stop::refused(format!(
                "-R is not supported, as the daemon does not log in to other machines. \
                 Export without it, then: scp FILE {host}:DIRECTORY"
            )));
        }
        check_image(snapshot, image)?;
        let bundle = self.place(ctx)?;
        let lines: Vec<String> = imagedef::attributes(snapshot, image)?.lines().collect();
        let definition = imagedef::read(lines.iter().map(String::as_str))?.image;
        let method = definition.provmethod.as_str();
        if !METHODS.contains(&method) {
            let text = format!("Exporting images with osimage.provmethod {method:?} is not supported.");
            return Err(Stop::usage(text));
        }
        let mut manifest = Manifest {
            osimage: columns(snapshot, "osimage", image),
            linuximage: columns(snapshot, "linuximage", image),
            extra: Vec::new(),
        };
        answers(&definition.rootimgdir)?;
        answers(&bundle)?;
        let directory = definition.rootimgdir.to_string_lossy().into_owned();
        manifest.linuximage.entry("rootimgdir".into()).or_insert(directory);
        let statelite = method == "statelite";
        let job = Export {
            def: &definition,
            manifest,
            litefile: if statelite { litefile(snapshot, image) } else { None },
            extra: self.extra_files(ctx)?,
            bundle,
        };
        let failed = |error: BundleError| Stop::unavailable(error.to_string());
        check(&job).map_err(failed)?;
        if self.dry_run {
            return out.report(&FileDifference::of(written(&job.bundle), &job.bundle));
        }
        let mut gone = Ok(());
        let result = export(&job, &mut |line| {
            if gone.is_ok() {
                gone = out.notice(line).and_then(|()| out.flush());
            }
        });
        gone?;
        result.map_err(failed)
    }
}

impl Args {
    /// Of the destination the base name counts.
    fn place(&self, ctx: &Ctx<'_>) -> Result<PathBuf, Stop> {
        let name = self.destination.as_deref().and_then(|path| Path::new(path).file_name());
        let name =
            name.map_or_else(|| format!("{}.tgz", self.image), |name| name.to_string_lossy().into_owned());
        ctx.output_of_caller(&name)
    }

    fn extra_files(&self, ctx: &Ctx<'_>) -> Result<Vec<(PathBuf, String)>, Stop> {
        let one = |text: &String| {
            let (file, directory) = text.split_once(':').unwrap_or((text, ""));
            let file = ctx.path_of_caller(file);
            if !look(&file, Path::is_file)? {
                return Err(Stop::not_found(format!("{} does not exist.", file.display())));
            }
            let parent = file.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            Ok((file, if directory.is_empty() { parent } else { directory.to_owned() }))
        };
        let mut files = self.extra.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        if let Some(node) = &self.postscripts {
            files.extend(script_files(node, &ctx.snapshot)?);
        }
        Ok(files)
    }
}

/// The scripts of a node and of all nodes, with the directory they go back to. An element of the list is a
/// path below `postscripts` and words for the script.
fn script_files(node: &str, snapshot: &Snapshot) -> Result<Vec<(PathBuf, String)>, Stop> {
    if !snapshot.has_node(node) {
        return Err(CommandError::unknown_nodes(&[node.to_owned()]).into());
    }
    let installdir =
        snapshot.site("installdir").ok_or_else(|| Stop::conflict("site.installdir is not set"))?;
    let directory = Path::new(&*installdir).join("postscripts");
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for column in [col::postscripts::POSTSCRIPTS, col::postscripts::POSTBOOTSCRIPTS] {
        let own = snapshot.attr(node, column);
        for element in defs::default_scripts_of(snapshot, column.name())
            .iter()
            .chain(own.iter())
            .flat_map(|list| list.split(','))
        {
            let Some(name) = element.split_whitespace().next() else { continue };
            let relative = Path::new(name);
            if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(Stop::usage(format!("{name} is not a path below {}", directory.display())));
            }
            let file = directory.join(relative);
            // Scripts that come with the daemon (remoteshell, syncfiles …) are on every management node.
            if look(&file, Path::is_file)? && !files.iter().any(|(known, _)| *known == file) {
                let parent = file.parent().unwrap_or(&directory).to_string_lossy().into_owned();
                files.push((file, parent));
            }
        }
    }
    Ok(files)
}

/// The row of an image as column and value.
pub fn columns(snapshot: &Snapshot, table: &str, image: &str) -> BTreeMap<String, String> {
    let Some(table) = schema().find(table) else { return BTreeMap::new() };
    let row = table.col("imagename").and_then(|key| snapshot.find_row(&[(key, image)]));
    let Some(row) = row else { return BTreeMap::new() };
    table.cols().filter_map(|col| Some((col.name().to_owned(), row.get(col)?.to_string()))).collect()
}

/// Rows of `litefile` that name the image, as table text.
fn litefile(snapshot: &Snapshot, image: &str) -> Option<String> {
    let table = schema().find("litefile")?;
    let of = col::litefile::IMAGE;
    let own = snapshot.rows(table.id).filter(|row| row.get(of).is_some_and(|text| **text == *image));
    let rows: Vec<String> = own.map(row_line).collect();
    (!rows.is_empty()).then(|| format!("{}\n{}\n", header_line(table), rows.join("\n")))
}
