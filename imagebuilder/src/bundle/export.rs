//! Making a bundle.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use dawn_wire::image::PACKED_ROOTS;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{BundleError, Extra, LITEFILE, MANIFEST, Manifest, PIECES, TREE, file_error, is_file};
use crate::archive::{self, Compress};
use crate::exlist::Exlist;
use crate::image::ImageDef;
use crate::new_file::create_new;
use crate::tree::Tree;

/// The pieces are compressed already; this only shrinks the lists.
const BUNDLE_LEVEL: u32 = 1;
/// Compression of the tree of a statelite image.
const TREE_LEVEL: u32 = 6;

/// What goes into a bundle.
#[derive(Debug)]
pub struct Export<'a> {
    /// The image.
    pub def: &'a ImageDef,
    /// Its rows; `extra` is filled here.
    pub manifest: Manifest,
    /// The image's rows of litefile as `tabdump` writes them, for statelite images.
    pub litefile: Option<String>,
    /// Files to add, each with the directory it belongs into.
    pub extra: Vec<(PathBuf, String)>,
    /// The file to write.
    pub bundle: PathBuf,
}

/// Looks whether everything is there that the bundle needs, without writing anything.
///
/// # Errors
/// Like those of [`export`].
pub fn check(job: &Export<'_>) -> Result<(), BundleError> {
    job.def.check()?;
    let paths = job.def.paths();
    if !is_file(&paths.kernel)? {
        return Err(BundleError::Missing(paths.kernel));
    }
    if job.def.provmethod == "statelite" {
        return if paths.rootimg.is_dir() { Ok(()) } else { Err(BundleError::Missing(paths.rootimg)) };
    }
    for name in PACKED_ROOTS {
        if is_file(&paths.dir.join(name))? {
            return Ok(());
        }
    }
    Err(BundleError::Missing(paths.dir.join(PACKED_ROOTS[0])))
}

/// Write the bundle next to its place and rename it there.
///
/// # Errors
/// A missing kernel, packed root or list is an error: a bundle is complete or it is not made.
pub fn export(job: &Export<'_>, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
    check(job)?;
    line(&format!("Exporting {} to {}...", job.def.name, job.bundle.display()));
    let name = job.bundle.file_name().unwrap_or_default().to_string_lossy();
    let new = job.bundle.with_file_name(format!(".{name}.new"));
    let result = write(job, &new, line);
    let result = result.and_then(|()| fs::rename(&new, &job.bundle).map_err(|e| file_error(&job.bundle, e)));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result?;
    line("Done!");
    Ok(())
}

fn write(job: &Export<'_>, new: &Path, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
    let file = create_new(new).map_err(|source| file_error(new, source))?;
    let gzip = GzEncoder::new(BufWriter::new(file), Compression::new(BUNDLE_LEVEL));
    let mut bundle = Bundle { tar: tar::Builder::new(gzip), top: job.def.name.clone(), path: new };
    let mut manifest = job.manifest.clone();
    for (number, (file, dest)) in job.extra.iter().enumerate() {
        let base = file.file_name().unwrap_or_default().to_string_lossy();
        manifest.extra.push(Extra { name: format!("{number}/{base}"), dest: dest.clone() });
    }
    bundle.bytes(MANIFEST, &manifest.to_xml().map_err(|source| file_error(new, source))?)?;
    if let Some(rows) = &job.litefile {
        bundle.bytes(LITEFILE, rows.as_bytes())?;
    }
    for path in manifest.files() {
        bundle.file(&format!("files{path}"), Path::new(&path))?;
    }
    for ((file, _), extra) in job.extra.iter().zip(&manifest.extra) {
        bundle.file(&format!("extra/{}", extra.name), file)?;
    }
    line(&format!("Compressing {} bundle.  Please be patient.", job.def.name));
    pieces(job, &mut bundle)?;
    let finish = |error| file_error(new, error);
    let mut out = bundle.tar.into_inner().and_then(GzEncoder::finish).map_err(finish)?;
    out.flush().map_err(finish)?;
    out.get_ref().sync_all().map_err(finish)
}

fn pieces(job: &Export<'_>, bundle: &mut Bundle<'_>) -> Result<(), BundleError> {
    let dir = job.def.paths().dir;
    for name in PIECES.iter().chain(&PACKED_ROOTS) {
        let path = dir.join(name);
        if is_file(&path)? {
            bundle.file(name, &path)?;
        }
    }
    if job.def.provmethod == "statelite" { tree(job, bundle) } else { Ok(()) }
}

/// The tree is first written to a file next to the bundle: a tar needs the length first.
fn tree(job: &Export<'_>, bundle: &mut Bundle<'_>) -> Result<(), BundleError> {
    let rootimg = job.def.paths().rootimg;
    let tree = Tree::scan(&rootimg, &Exlist::default())?;
    let part = bundle.path.with_extension("tree");
    let file = create_new(&part).map_err(|source| file_error(&part, source))?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let packed = archive::tar(&tree, BufWriter::new(file), Compress::Gzip(TREE_LEVEL), threads, &mut |_| {});
    let result = packed.map_err(BundleError::from).and_then(|()| bundle.file(TREE, &part));
    let _ = fs::remove_file(&part);
    result
}

struct Bundle<'a> {
    tar: tar::Builder<GzEncoder<BufWriter<File>>>,
    top: String,
    path: &'a Path,
}

impl Bundle<'_> {
    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        let path = format!("{}/{name}", self.top);
        self.tar.append_data(&mut header, path, bytes).map_err(|source| file_error(self.path, source))
    }

    fn file(&mut self, name: &str, path: &Path) -> Result<(), BundleError> {
        let place = format!("{}/{name}", self.top);
        match is_file(path)? {
            true => self.tar.append_path_with_name(path, place).map_err(|source| file_error(path, source)),
            false => Err(file_error(path, std::io::ErrorKind::NotFound.into())),
        }
    }
}
