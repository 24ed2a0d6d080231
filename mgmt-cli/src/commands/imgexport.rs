//! `imgexport`: an image as one file.

use crate::csv::{header_line, row_line};
use crate::edits::{file_line, written};
use crate::frame::{Command, Ctx, Kind};
use crate::imagedef;
use crate::lite::check_image;
use crate::output::{Done, Out, Stop};
use dawn_cluster::{Col, Snapshot, schema};
use dawn_imagebuilder::bundle::{Export, Manifest, export};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Provisioning methods whose images can be exported.
const METHODS: [&str; 4] = ["install", "netboot", "statelite", "raw"];

/// Write an image with its definition, lists and scripts into one file
///
/// The file is IMAGE.tgz in the caller's directory. Of another name only the last part counts: the file is in the
/// caller's directory all the same, as in xCAT.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file to go along, and the directory it belongs to: FILE:DIR; repeatable
    #[arg(short = 'e', long, value_name = "FILE:DIR")]
    extra: Vec<String>,
    /// Accepted for compatibility
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(short = 'p', long, hide = true)]
    postscripts: Option<String>,
    #[arg(short = 'R', long, hide = true)]
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
        if self.remotehost.is_some() || self.postscripts.is_some() {
            return Err(Stop::message("-R and -p are not supported: copy the file, export scripts with -e"));
        }
        check_image(snapshot, image)?;
        ctx.require_root("write a file")?;
        let lines = imagedef::lines(snapshot, image).map_err(Stop::message)?;
        let definition = imagedef::read(lines.iter().map(String::as_str)).map_err(Stop::message)?.image;
        let method = definition.provmethod.as_str();
        if !METHODS.contains(&method) {
            let text = format!("Exporting images with osimage.provmethod {method:?} is not supported.");
            return Err(Stop::message(text));
        }
        let mut manifest = Manifest {
            osimage: columns(snapshot, "osimage", image),
            linuximage: columns(snapshot, "linuximage", image),
            extra: Vec::new(),
        };
        let directory = definition.rootimgdir.to_string_lossy().into_owned();
        manifest.linuximage.entry("rootimgdir".into()).or_insert(directory);
        let statelite = method == "statelite";
        let job = Export {
            def: &definition,
            manifest,
            litefile: if statelite { litefile(snapshot, image) } else { None },
            extra: self.extra_files(ctx)?,
            bundle: self.place(ctx),
        };
        if self.dry_run {
            return out.line(file_line(written(&job.bundle), &job.bundle));
        }
        let mut gone = Ok(());
        let result = export(&job, &mut |line| {
            if gone.is_ok() {
                gone = out.line(line).and_then(|()| out.flush());
            }
        });
        gone?;
        result.map_err(|error| Stop::message(error.to_string()))
    }
}

impl Args {
    /// Of the destination the base name counts.
    fn place(&self, ctx: &Ctx<'_>) -> PathBuf {
        let name = self.destination.as_deref().and_then(|path| Path::new(path).file_name());
        let name = name.map_or_else(|| format!("{}.tgz", self.image).into(), ToOwned::to_owned);
        ctx.path_of_caller("").join(name)
    }

    fn extra_files(&self, ctx: &Ctx<'_>) -> Result<Vec<(PathBuf, String)>, Stop> {
        let one = |text: &String| {
            let (file, directory) = text.split_once(':').unwrap_or((text, ""));
            let file = ctx.path_of_caller(file);
            if !file.is_file() {
                return Err(Stop::message(format!("{} does not exist.", file.display())));
            }
            let parent = file.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            Ok((file, if directory.is_empty() { parent } else { directory.to_owned() }))
        };
        self.extra.iter().map(one).collect()
    }
}

/// The row of an image as column and value.
fn columns(snapshot: &Snapshot, table: &str, image: &str) -> BTreeMap<String, String> {
    let Some(table) = schema().find(table) else { return BTreeMap::new() };
    let row = table.col("imagename").and_then(|key| snapshot.find_row(&[(key, image)]));
    let Some(row) = row else { return BTreeMap::new() };
    table.cols().filter_map(|col| Some((col.name().to_owned(), row.get(col)?.to_string()))).collect()
}

/// Rows of `litefile` that name the image, as table text.
fn litefile(snapshot: &Snapshot, image: &str) -> Option<String> {
    let table = schema().find("litefile")?;
    let of = Col::known("litefile.image");
    let own = snapshot.rows(table.id).filter(|row| row.get(of).is_some_and(|text| **text == *image));
    let rows: Vec<String> = own.map(row_line).collect();
    (!rows.is_empty()).then(|| format!("{}\n{}\n", header_line(table), rows.join("\n")))
}
