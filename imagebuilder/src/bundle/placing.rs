//! Putting the files of a bundle into their places, all of them or none.
//!
//! Everything is first written next to its place, beneath the install directory and through no link. Then
//! names are exchanged. When a step fails, all earlier ones are undone in reverse. Files that are there
//! already, byte for byte, stay.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use dawn_serving::beneath::{Beneath, Kind};

use super::places::Places;
use super::{BundleError, file_error};
use crate::exec;

/// Files up to this size are compared with what is in their place (bytes).
const COMPARED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One way back.
#[derive(Debug)]
enum Undo {
    RemoveFile(PathBuf),
    RemoveDirectory(PathBuf),
    RemoveTree(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
}

/// A file or tree that is next to its place.
#[derive(Debug)]
struct Staged {
    new: PathBuf,
    place: PathBuf,
    is_tree: bool,
}

/// What is being put beneath one directory; undone when dropped before [`Placing::put`] has succeeded.
#[derive(Debug)]
pub(super) struct Placing {
    beneath: Beneath,
    staged: Vec<Staged>,
    undo: Vec<Undo>,
}

impl Placing {
    pub(super) fn new(top: &Path) -> Result<Self, BundleError> {
        let beneath = Beneath::open(top).map_err(|source| file_error(top, source))?;
        Ok(Self { beneath, staged: Vec::new(), undo: Vec::new() })
    }

    /// `~` if something exists there, else `+`.
    pub(super) fn sign(&self, to: &Path) -> char {
        let there = self.inside(to).is_ok_and(|inside| !matches!(self.beneath.kind(&inside), Ok(None)));
        if there { '~' } else { '+' }
    }

    /// Refuses a place that is not the image's to take: a directory, and a file that is not the image's and
    /// that the bundle would change.
    pub(super) fn check(&self, from: &Path, to: &Path, places: &Places<'_>) -> Result<(), BundleError> {
        let inside = self.inside(to)?;
        places.check_script(to)?;
        let refused = |why: &str| Err(BundleError::Bad(format!("file '{}' {why}", to.display())));
        match self.beneath.kind(&inside) {
            Ok(None) if places.is_of_others(to) => return refused("is one that another image names"),
            // A link on the way is refused when the file is written next to its place.
            Ok(None) | Err(_) => return Ok(()),
            Ok(Some(Kind::Directory)) => return refused("is a directory"),
            Ok(Some(_)) => {}
        }
        if !places.may_replace(to) && !same(from, to) {
            return refused("is there already, and is not this image's; remove it to import the bundle's");
        }
        Ok(())
    }

    /// Writes a file next to its place, with those bits of its mode that `mask` has.
    pub(super) fn stage_file(&mut self, from: &Path, to: &Path, mask: u32) -> Result<(), BundleError> {
        let place = self.inside(to)?;
        self.directories(&place, to)?;
        let mut source = File::open(from).map_err(|error| file_error(from, error))?;
        let mode = source.metadata().map_err(|error| file_error(from, error))?.mode() & mask;
        let new = self.beneath.write_beside(&place, mode, |file| io::copy(&mut source, file).map(drop));
        let new = new.map_err(|error| file_error(to, error))?;
        self.undo.push(Undo::RemoveFile(new.clone()));
        self.staged.push(Staged { new, place, is_tree: false });
        Ok(())
    }

    /// Unpacks a tree next to its place.
    pub(super) fn stage_tree(
        &mut self,
        packed: &Path,
        to: &Path,
        line: &mut dyn FnMut(&str),
    ) -> Result<(), BundleError> {
        let place = self.inside(to)?;
        let new = place.with_file_name(".rootimg.new");
        self.directories(&place, to)?;
        self.beneath.remove_all(&new).map_err(|error| file_error(to, error))?;
        self.beneath.make_directories(&new, 0o755).map_err(|error| file_error(to, error))?;
        self.undo.push(Undo::RemoveTree(new.clone()));
        let made = self.beneath.place(&new).map_err(|error| file_error(to, error))?;
        let mut command = Command::new("tar");
        command.args(["--extract", "--gzip", "--numeric-owner", "--same-permissions", "--same-owner"]);
        command.args(["--xattrs", "--xattrs-include=*", "--file"]).arg(packed).arg("--directory");
        command.arg(made.path());
        exec::run(&mut command, line)?;
        self.staged.push(Staged { new, place, is_tree: true });
        Ok(())
    }

    /// Exchanges the names; an existing file that differs is kept as `.ORIG`.
    pub(super) fn put(mut self, line: &mut dyn FnMut(&str)) -> Result<(), BundleError> {
        for staged in std::mem::take(&mut self.staged) {
            let at = self.beneath.path().join(&staged.place);
            self.put_one(&staged, line).map_err(|error| file_error(&at, error))?;
        }
        self.undo.clear();
        Ok(())
    }

    fn put_one(&mut self, staged: &Staged, line: &mut dyn FnMut(&str)) -> io::Result<()> {
        let Staged { new, place, is_tree } = staged;
        let there = self.beneath.kind(place)?;
        let path = |inside: &Path| self.beneath.path().join(inside);
        if !is_tree && same(&path(new), &path(place)) {
            return self.beneath.remove_file(new);
        }
        if there.is_some() {
            let name = place.file_name().unwrap_or_default().to_string_lossy();
            let kept = place.with_file_name(format!("{name}.ORIG"));
            if *is_tree {
                self.beneath.remove_all(&kept)?;
            }
            line(&format!("Moving old {} to {}", path(place).display(), path(&kept).display()));
            self.rename(place, &kept)?;
        }
        self.rename(new, place)
    }

    /// Renames, and remembers the way back.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.beneath.rename(from, to)?;
        self.undo.push(Undo::Rename { from: to.to_owned(), to: from.to_owned() });
        Ok(())
    }

    fn directories(&mut self, place: &Path, to: &Path) -> Result<(), BundleError> {
        let parent = place.parent().unwrap_or(Path::new(""));
        let made = self.beneath.make_directories(parent, 0o755).map_err(|error| file_error(to, error))?;
        self.undo.extend(made.into_iter().map(Undo::RemoveDirectory));
        Ok(())
    }

    fn inside(&self, to: &Path) -> Result<PathBuf, BundleError> {
        let inside = to.strip_prefix(self.beneath.path());
        inside.map(Path::to_owned).map_err(|_| BundleError::Bad(format!("{} is outside", to.display())))
    }
}

/// Whether two regular files of a size that is compared have the same bytes.
fn same(one: &Path, other: &Path) -> bool {
    let length = |path: &Path| {
        let found = fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file);
        found.map(|found| found.len())
    };
    length(one) == length(other)
        && length(one).is_some_and(|length| length < COMPARED_BYTES_MAX)
        && fs::read(one).ok() == fs::read(other).ok()
}

impl Drop for Placing {
    fn drop(&mut self) {
        while let Some(step) = self.undo.pop() {
            // The original error is reported; a step that cannot be undone stays.
            let _ = match &step {
                Undo::RemoveFile(path) => self.beneath.remove_file(path),
                Undo::RemoveDirectory(path) => self.beneath.remove_directory(path),
                Undo::RemoveTree(path) => self.beneath.remove_all(path),
                Undo::Rename { from, to } => self.beneath.rename(from, to),
            };
        }
    }
}
