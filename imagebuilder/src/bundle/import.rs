//! Taking a bundle over.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use flate2::read::MultiGzDecoder;

use super::manifest::is_place;
use super::{BundleError, LITEFILE, MANIFEST, Manifest, PIECES, TREE, file_error};
use crate::exec;
use crate::packimage::OUTPUTS;

/// Most entries a bundle may have; ours have some dozen.
const ENTRIES_MAX: usize = 10_000;
/// Largest manifest and litefile list (bytes).
const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What to take over.
#[derive(Debug, Clone)]
pub struct Import {
    /// The bundle.
    pub bundle: PathBuf,
    /// A directory to unpack in, on a disk with room for the image.
    pub work: PathBuf,
    /// Take the image over under another profile.
    pub profile: Option<String>,
    /// Directories (`site.installdir`) that files may go into; empty: anywhere, for a bundle that is trusted like
    /// a package.
    pub within: Vec<PathBuf>,
    /// Only say which files would be written: `+ file PATH`, or `~ file PATH` where one is in the way.
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

/// Put the files of a bundle into their places. The tables are the caller's business.
///
/// # Errors
/// [`BundleError::Bad`] for a bundle that is none; then nothing has been put anywhere.
pub fn import(job: &Import, line: &mut dyn FnMut(&str)) -> Result<Imported, BundleError> {
    if !job.dry_run {
        line("Unbundling image...");
    }
    fs::create_dir_all(&job.work).map_err(|source| file_error(&job.work, source))?;
    let work = job.work.join(format!(".imgimport-{}", std::process::id()));
    fs::create_dir(&work).map_err(|source| file_error(&work, source))?;
    fs::set_permissions(&work, Permissions::from_mode(0o700)).map_err(|source| file_error(&work, source))?;
    let result = take_over(job, &work, line);
    let _ = fs::remove_dir_all(&work);
    let imported = result?;
    let name = imported.manifest.name().unwrap_or_default();
    line(&format!("Successfully imported the image {name}."));
    Ok(imported)
}

fn take_over(job: &Import, work: &Path, line: &mut dyn FnMut(&str)) -> Result<Imported, BundleError> {
    let top = unpack(&job.bundle, work)?;
    let text =
        text(&top.join(MANIFEST))?.ok_or_else(|| BundleError::Bad("it has no manifest.xml".to_owned()))?;
    let mut manifest = Manifest::from_xml(&text)?;
    if let Some(profile) = &job.profile {
        rename_profile(&mut manifest, profile);
    }
    let dir = manifest.linuximage.get("rootimgdir").cloned().unwrap_or_default();
    check_places(job, &manifest, &dir)?;
    let dir = PathBuf::from(dir);
    let mut put = |from: &Path, to: &Path| match job.dry_run {
        true => show(from, to, line),
        false => put(from, to, line),
    };
    for name in PIECES.iter().chain(&OUTPUTS) {
        put(&top.join(name), &dir.join(name))?;
    }
    for path in manifest.files() {
        put(&top.join(format!("files{path}")), Path::new(&path))?;
    }
    for extra in &manifest.extra {
        let from = top.join("extra").join(&extra.name);
        let base = from.file_name().unwrap_or_default().to_owned();
        put(&from, &Path::new(&extra.dest).join(base))?;
    }
    let packed = top.join(TREE);
    if packed.is_file() {
        match job.dry_run {
            true => show(&packed, &dir.join("rootimg"), line)?,
            false => tree(&packed, &dir, line)?,
        }
    }
    let litefile = self::text(&top.join(LITEFILE))?;
    Ok(Imported { manifest, litefile })
}

/// Everything has a place it may go to, before anything goes anywhere.
fn check_places(job: &Import, manifest: &Manifest, dir: &str) -> Result<(), BundleError> {
    let bad = |what: &str, path: &str, why: &str| Err(BundleError::Bad(format!("{what} '{path}' {why}")));
    let extra = manifest.extra.iter().map(|extra| ("extra directory", extra.dest.clone()));
    let files = manifest.files().into_iter().map(|file| ("file", file));
    for (what, path) in std::iter::once(("rootimgdir", dir.to_owned())).chain(extra).chain(files) {
        if !is_place(path.trim_end_matches('/')) {
            return bad(what, &path, "is no absolute path");
        }
        if !job.within.is_empty() && !job.within.iter().any(|top| Path::new(&path).starts_with(top)) {
            return bad(what, &path, "is outside of the directories that a bundle may write to");
        }
    }
    match manifest.extra.iter().find(|extra| !is_place(&format!("/{}", extra.name))) {
        Some(extra) => bad("extra file", &extra.name, "is no path of the bundle"),
        None => Ok(()),
    }
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
            return Err(BundleError::Bad(format!("{} is no regular file", path.display())));
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

/// What [`put`] would do.
fn show(from: &Path, to: &Path, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
    if from.is_file() {
        let sign = if fs::symlink_metadata(to).is_ok() { '~' } else { '+' };
        line(&format!("{sign} file {}", to.display()));
    }
    Ok(())
}

/// Put a file of the bundle (if it has it) into its place; what is there is kept as `.ORIG` if it differs.
fn put(from: &Path, to: &Path, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
    if !from.is_file() {
        return Ok(());
    }
    let parent = to.parent().unwrap_or(to);
    fs::create_dir_all(parent).map_err(|source| file_error(parent, source))?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // Beside its place first: the work directory may be on another disk.
    let new = to.with_file_name(format!(".{name}.new"));
    fs::copy(from, &new).map_err(|source| file_error(&new, source))?;
    if fs::symlink_metadata(to).is_ok() && !same(&new, to) {
        let kept = to.with_file_name(format!("{name}.ORIG"));
        line(&format!("Moving old {} to {}", to.display(), kept.display()));
        fs::rename(to, &kept).map_err(|source| file_error(to, source))?;
    }
    fs::rename(&new, to).map_err(|source| file_error(to, source))
}

fn same(a: &Path, b: &Path) -> bool {
    let (Ok(one), Ok(two)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    one.len() == two.len() && one.len() < TEXT_BYTES_MAX && fs::read(a).ok() == fs::read(b).ok()
}

/// Unpack the tree of a statelite image beside its place and exchange.
fn tree(packed: &Path, dir: &Path, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
    let (new, place) = (dir.join(".rootimg.new"), dir.join("rootimg"));
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new).map_err(|source| file_error(&new, source))?;
    let mut command = Command::new("tar");
    command.args([
        "--extract",
        "--gzip",
        "--numeric-owner",
        "--same-permissions",
        "--same-owner",
        "--xattrs",
    ]);
    command.args(["--xattrs-include=*", "--file"]).arg(packed).arg("--directory").arg(&new);
    exec::run(&mut command, line)?;
    if place.exists() {
        let kept = dir.join("rootimg.ORIG");
        if kept.exists() {
            fs::remove_dir_all(&kept).map_err(|source| file_error(&kept, source))?;
        }
        fs::rename(&place, &kept).map_err(|source| file_error(&place, source))?;
    }
    fs::rename(&new, &place).map_err(|source| file_error(&place, source))
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
