//! Taking a bundle over.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use dawn_wire::image::{PACKED_ROOTS, ROOT};
use flate2::read::MultiGzDecoder;

use super::places::{Known, Places};
use super::placing::Placing;
use super::{BundleError, LITEFILE, MANIFEST, Manifest, PIECES, TREE, file_error, is_file};

/// Most entries a bundle may have; ours have some dozen.
const ENTRIES_MAX: usize = 10_000;
/// Largest manifest and litefile list (bytes).
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bits of a file's mode in the bundle that count: only scripts are executable.
const FILE_MODE: u32 = 0o644;
const SCRIPT_MODE: u32 = 0o755;

/// What to take over.
#[derive(Debug, Clone)]
pub struct Import {
    /// The bundle.
    pub bundle: PathBuf,
    /// A directory to unpack in, on a disk with room for the image.
    pub work: PathBuf,
    /// Take the image over under another profile.
    pub profile: Option<String>,
    /// The directory (`site.installdir`) that files may go into.
    pub within: PathBuf,
    /// The images that are here.
    pub known: Vec<Known>,
    /// Take scripts, too: post scripts, which nodes run, and the postinstall script, which `genimage` runs.
    pub scripts: bool,
    /// Only say which files would be written: `+ file PATH`, or `~ file PATH` if a file exists there.
    pub dry_run: bool,
}

/// What the caller puts into the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Rows of `osimage` and `linuximage`.
    pub manifest: Manifest,
    /// Rows of litefile, as `tabrestore` reads them.
    pub litefile: Option<String>,
}

/// Puts the files of a bundle into their places. The caller writes the tables: `accept` returns whether they
/// can take the rows, before any file is in its place.
///
/// # Errors
/// [`BundleError::Bad`] for a file that is not a bundle. After any error, everything is as it was before.
pub fn import(
    job: &Import,
    accept: &mut dyn FnMut(&Imported) -> bool,
    line: &mut dyn FnMut(&str),
) -> Result<Imported, BundleError> {
    if !job.dry_run {
        line("Unbundling image...");
    }
    fs::create_dir_all(&job.work).map_err(|source| file_error(&job.work, source))?;
    let work = job.work.join(format!(".imgimport-{}", std::process::id()));
    fs::create_dir(&work).map_err(|source| file_error(&work, source))?;
    fs::set_permissions(&work, Permissions::from_mode(0o700)).map_err(|source| file_error(&work, source))?;
    let result = take_over(job, &work, accept, line);
    let _ = fs::remove_dir_all(&work);
    let imported = result?;
    let name = imported.manifest.name().unwrap_or_default();
    line(&format!("Successfully imported the image {name}."));
    Ok(imported)
}

fn take_over(
    job: &Import,
    work: &Path,
    accept: &mut dyn FnMut(&Imported) -> bool,
    line: &mut dyn FnMut(&str),
) -> Result<Imported, BundleError> {
    let top = unpack(&job.bundle, work)?;
    let text =
        text(&top.join(MANIFEST))?.ok_or_else(|| BundleError::Bad("it has no manifest.xml".to_owned()))?;
    let mut manifest = Manifest::from_xml(&text)?;
    if let Some(profile) = &job.profile {
        rename_profile(&mut manifest, profile);
    }
    let litefile = self::text(&top.join(LITEFILE))?;
    let dir = manifest.linuximage.get("rootimgdir").cloned().unwrap_or_default();
    let dir = PathBuf::from(dir);
    let places = Places::new(&job.within, &job.known, &manifest, &dir, job.scripts)?;
    let mut files: Vec<(PathBuf, PathBuf)> =
        PIECES.iter().chain(&PACKED_ROOTS).map(|name| (top.join(name), dir.join(name))).collect();
    files.extend(manifest.files().into_iter().map(|path| (top.join(format!("files{path}")), path.into())));
    for extra in &manifest.extra {
        let from = top.join("extra").join(&extra.name);
        let base = from.file_name().unwrap_or_default().to_owned();
        files.push((from, Path::new(&extra.dest).join(base)));
    }
    files.retain(|(from, _)| from.is_file());
    files.iter().try_for_each(|(_, to)| is_file(to).map(drop))?;
    let mut placing = Placing::new(&job.within)?;
    files.iter().try_for_each(|(from, to)| placing.check(from, to, &places))?;
    let tree = Some(top.join(TREE)).filter(|packed| packed.is_file()).map(|packed| (packed, dir.join(ROOT)));
    let imported = Imported { manifest, litefile };
    if !accept(&imported) {
        return Err(BundleError::Refused);
    }
    if job.dry_run {
        let targets = files.iter().chain(&tree).map(|(_, to)| to);
        targets.for_each(|to| line(&format!("{} file {}", placing.sign(to), to.display())));
        return Ok(imported);
    }
    // Everything is written next to its place before anything is moved into it.
    for (from, to) in &files {
        let is_script = places.is_script(to, &imported.manifest);
        placing.stage_file(from, to, if is_script { SCRIPT_MODE } else { FILE_MODE })?;
    }
    if let Some((packed, to)) = &tree {
        placing.stage_tree(packed, to, line)?;
    }
    placing.put(line)?;
    Ok(imported)
}

/// Unpack regular files and directories below one top directory.
fn unpack(bundle: &Path, work: &Path) -> Result<PathBuf, BundleError> {
    let file = File::open(bundle).map_err(|source| file_error(bundle, source))?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
    let bad = |error: io::Error| BundleError::Bad(error.to_string());
    let mut top: Option<OsString> = None;
    for (number, entry) in tar.entries().map_err(bad)?.enumerate() {
        let mut entry = entry.map_err(bad)?;
        let path = entry.path().map_err(bad)?.into_owned();
        let parts: Vec<Component<'_>> = path.components().filter(|part| *part != Component::CurDir).collect();
        let [Component::Normal(first), rest @ ..] = parts.as_slice() else {
            return Err(BundleError::Bad(format!("entry {}", path.display())));
        };
        let inside = rest.iter().all(|part| matches!(part, Component::Normal(_)));
        let first = (*first).to_owned();
        if !inside || number >= ENTRIES_MAX || *top.get_or_insert_with(|| first.clone()) != first {
            return Err(BundleError::Bad(format!("entry {}", path.display())));
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(BundleError::Bad(format!("{} is not a regular file", path.display())));
        }
        write_entry(&mut entry, &work.join(&first).join(rest.iter().collect::<PathBuf>()))?;
    }
    top.map(|top| work.join(top)).ok_or_else(|| BundleError::Bad("it is empty".to_owned()))
}

fn write_entry(entry: &mut tar::Entry<'_, impl Read>, to: &Path) -> Result<(), BundleError> {
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(|source| file_error(parent, source))?;
    let mode = entry.header().mode().unwrap_or(0o644) & 0o755;
    let mut file =
        File::options().write(true).create_new(true).open(to).map_err(|source| file_error(to, source))?;
    io::copy(entry, &mut file).map_err(|source| file_error(to, source))?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(|source| file_error(to, source))
}

/// The text of a small file of the bundle, `None` without it.
fn text(path: &Path) -> Result<Option<String>, BundleError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error(path, source)),
    };
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(|source| file_error(path, source))?;
    let text = String::from_utf8(bytes).map_err(|_| BundleError::Bad("a text is not UTF-8".to_owned()))?;
    Ok(Some(text))
}

/// The image under another profile: its name, directory and profile change, its lists stay.
fn rename_profile(manifest: &mut Manifest, profile: &str) {
    let old = manifest.osimage.insert("profile".to_owned(), profile.to_owned()).unwrap_or_default();
    let renamed = |name: &str| match name.strip_suffix(&old) {
        Some(start) if !old.is_empty() && (start.ends_with('-') || start.ends_with('/')) => {
            format!("{start}{profile}")
        }
        _ => format!("{name}-{profile}"),
    };
    for section in [&mut manifest.osimage, &mut manifest.linuximage] {
        for column in ["imagename", "rootimgdir"] {
            if let Some(value) = section.get_mut(column) {
                *value = renamed(value.trim_end_matches('/'));
            }
        }
    }
}
