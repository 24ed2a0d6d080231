//! The changes `liteimg` makes on disk, each of which is done or not done.
//!
//! Files are written and trees copied beside their place and renamed into it. Copies are made by `cp -a`,
//! which keeps owners, attributes, links and devices.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{LiteimgError, STATELITE_DIR, file_error};

/// Where copies are made; below the directory that nodes cover with a tmpfs.
const WORK: &str = ".statelite/.work";

/// The root of an image.
pub(super) struct Disk {
    root: PathBuf,
    /// Changes until the next one fails; for tests of interrupted runs.
    pub(super) changes_left: Option<usize>,
}

impl Disk {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), changes_left: None }
    }

    /// Throw away what an interrupted run was copying.
    pub(super) fn clean(&mut self) -> Result<(), LiteimgError> {
        self.make_dir(STATELITE_DIR)?;
        self.remove(WORK)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok()
    }

    pub(super) fn is_symlink(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root.join(path)).is_ok_and(|stat| stat.is_symlink())
    }

    /// Whether there is a directory; `None` when there is nothing.
    pub(super) fn is_dir(&self, path: &str) -> Option<bool> {
        fs::symlink_metadata(self.root.join(path)).ok().map(|stat| stat.is_dir())
    }

    /// Whether there is an empty file or directory.
    pub(super) fn is_empty(&self, path: &str) -> bool {
        let at = self.root.join(path);
        let empty = |mut entries: fs::ReadDir| entries.next().is_none();
        fs::symlink_metadata(&at).is_ok_and(|stat| match stat.is_dir() {
            true => fs::read_dir(&at).is_ok_and(empty),
            false => stat.is_file() && stat.len() == 0,
        })
    }

    pub(super) fn link_target(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.root.join(path)).ok()?.to_string_lossy().into_owned())
    }

    /// The text of a file, `None` when it is missing.
    pub(super) fn read_text(&self, path: &str) -> Result<Option<String>, LiteimgError> {
        let at = self.root.join(path);
        match fs::read(&at) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error(&at, source)),
        }
    }

    /// Replace a file, keeping its mode.
    pub(super) fn write_text(&mut self, path: &str, text: &str) -> Result<(), LiteimgError> {
        if self.read_text(path)?.as_deref() == Some(text) {
            return Ok(());
        }
        let new = self.work()?;
        let at = self.root.join(path);
        self.step(&new, |new| fs::write(new, text))?;
        if let Ok(stat) = fs::metadata(&at) {
            self.step(&new, |new| fs::set_permissions(new, stat.permissions()))?;
        }
        self.rename(&new, &at)
    }

    /// Make a directory with those above it.
    pub(super) fn make_dir(&mut self, path: &str) -> Result<(), LiteimgError> {
        let at = self.root.join(path);
        match at.is_dir() {
            true => Ok(()),
            false => self.step(&at, |at| fs::create_dir_all(at)),
        }
    }

    pub(super) fn make_file(&mut self, path: &str) -> Result<(), LiteimgError> {
        self.parent(path)?;
        let at = self.root.join(path);
        self.step(&at, |at| fs::write(at, ""))
    }

    /// Remove a file, link or tree; nothing if it is missing.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), LiteimgError> {
        let at = self.root.join(path);
        match fs::symlink_metadata(&at) {
            Ok(stat) if stat.is_dir() => self.step(&at, |at| fs::remove_dir_all(at)),
            Ok(_) => self.step(&at, |at| fs::remove_file(at)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(file_error(&at, source)),
        }
    }

    /// Remove the directories above `path` that have become empty, up to `top`.
    pub(super) fn prune(&mut self, path: &str, top: &str) -> Result<(), LiteimgError> {
        let mut above = path.rsplit_once('/').map_or("", |(above, _)| above);
        while above.len() > top.len() {
            let at = self.root.join(above);
            match fs::read_dir(&at).map(|mut entries| entries.next().is_none()) {
                Ok(true) => self.step(&at, |at| fs::remove_dir(at))?,
                Ok(false) => return Ok(()),
                // Gone already: go on above.
                Err(_) => {}
            }
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
        Ok(())
    }

    /// Make the link at `path`; a right one stays, another link is replaced in one step.
    pub(super) fn link(&mut self, target: &str, path: &str) -> Result<(), LiteimgError> {
        if self.link_target(path).as_deref() == Some(target) {
            return Ok(());
        }
        self.parent(path)?;
        let new = self.work()?;
        self.step(&new, |new| symlink(target, new))?;
        self.rename(&new, &self.root.join(path))
    }

    /// Copy a tree over another one.
    pub(super) fn copy(&mut self, from: &str, to: &str) -> Result<(), LiteimgError> {
        let (source, new) = (self.root.join(from), self.work()?);
        self.step(&source, |source| copy_all(source, &new))?;
        self.absolute(&new, from)?;
        self.remove(to)?;
        self.parent(to)?;
        self.rename(&new, &self.root.join(to))
    }

    /// Move the original to where it is kept. If both are there, an earlier run was interrupted or the image
    /// has got a new file, and the one in the image is the newer.
    pub(super) fn keep(&mut self, original: &str, kept: &str) -> Result<(), LiteimgError> {
        if !self.exists(original) {
            return Ok(());
        }
        // While it is still in its place, where both spellings lead to the same file.
        self.absolute(&self.root.join(original), original)?;
        self.parent(kept)?;
        self.remove(kept)?;
        self.rename(&self.root.join(original), &self.root.join(kept))
    }

    /// Move what was kept back, unless the image has something there.
    pub(super) fn give_back(&mut self, kept: &str, original: &str) -> Result<(), LiteimgError> {
        if !self.exists(kept) || self.exists(original) {
            return Ok(());
        }
        self.parent(original)?;
        self.rename(&self.root.join(kept), &self.root.join(original))
    }

    /// A relative link that is kept elsewhere must lead to the same place: it becomes an absolute one.
    fn absolute(&mut self, at: &Path, original: &str) -> Result<(), LiteimgError> {
        let Ok(target) = fs::read_link(at) else { return Ok(()) };
        if target.is_absolute() {
            return Ok(());
        }
        let above = original.rsplit_once('/').map_or("", |(above, _)| above);
        let mut parts: Vec<String> = Vec::new();
        for part in format!("{above}/{}", target.to_string_lossy()).split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part.to_owned()),
            }
        }
        let new = self.work()?.with_extension("link");
        self.step(&new, |new| symlink(format!("/{}", parts.join("/")), new))?;
        self.rename(&new, at)
    }

    fn parent(&mut self, path: &str) -> Result<(), LiteimgError> {
        path.rsplit_once('/').map_or(Ok(()), |(above, _)| self.make_dir(above))
    }

    /// A fresh name in the working directory.
    fn work(&mut self) -> Result<PathBuf, LiteimgError> {
        self.make_dir(WORK)?;
        self.remove(&format!("{WORK}/new"))?;
        Ok(self.root.join(WORK).join("new"))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), LiteimgError> {
        self.step(to, |to| fs::rename(from, to))
    }

    /// One change.
    fn step(
        &mut self,
        path: &Path,
        change: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), LiteimgError> {
        if let Some(left) = &mut self.changes_left {
            *left = left
                .checked_sub(1)
                .ok_or_else(|| file_error(path, io::Error::from(io::ErrorKind::Interrupted)))?;
        }
        change(path).map_err(|source| file_error(path, source))
    }
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let out = Command::new("cp").args(["-a", "-T", "--"]).arg(from).arg(to).stdin(Stdio::null()).output()?;
    match out.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&out.stderr).trim().to_owned())),
    }
}
