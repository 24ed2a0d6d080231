//! The changes `liteimg` makes on disk, each of which is done or not done.
//!
//! Files are written and trees copied next to their place and then renamed into it. Copies are made by `cp
//! -a`, which keeps owners, attributes, links and devices.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use dawn_serving::beneath::{Beneath, Kind};

use super::{LiteimgError, STATELITE_DIR, file_error};

/// Where copies are made; below the directory that nodes cover with a tmpfs.
const WORK: &str = ".statelite/.work";
/// The copy that is being made.
const NEW: &str = ".statelite/.work/new";
/// Mode of directories and files that are made.
const DIR_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// The root of an image. All paths are relative to it.
pub(super) struct Disk {
    root: Beneath,
    /// Changes until the next one fails; for tests of interrupted runs.
    pub(super) changes_left: Option<usize>,
}

impl Disk {
    pub(super) fn open(root: &Path) -> Result<Self, LiteimgError> {
        let top = Beneath::open(root).map_err(|source| file_error(root, source))?;
        Ok(Self { root: top, changes_left: None })
    }

    /// Throw away what an interrupted run was copying.
    pub(super) fn clean(&mut self) -> Result<(), LiteimgError> {
        self.make_dir(STATELITE_DIR)?;
        self.remove(WORK)
    }

    /// Looked for as a node would: links of an earlier run lead to where the originals are kept.
    fn kind(&self, path: &str) -> Option<Kind> {
        self.root.find(Path::new(path)).ok().flatten()
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.kind(path).is_some()
    }

    pub(super) fn is_symlink(&self, path: &str) -> bool {
        self.kind(path) == Some(Kind::Link)
    }

    /// Whether there is a directory; `None` when there is nothing.
    pub(super) fn is_dir(&self, path: &str) -> Option<bool> {
        self.kind(path).map(|kind| kind == Kind::Directory)
    }

    /// Whether there is an empty file or directory.
    pub(super) fn is_empty(&self, path: &str) -> bool {
        let at = Path::new(path);
        match self.root.kind(at) {
            Ok(Some(Kind::Directory)) => self.root.names(at).is_ok_and(|names| names.is_empty()),
            Ok(Some(Kind::File)) => self.root.read(at).is_ok_and(|bytes| bytes.is_empty()),
            _ => false,
        }
    }

    pub(super) fn link_target(&self, path: &str) -> Option<String> {
        Some(self.root.link_target(Path::new(path))?.to_string_lossy().into_owned())
    }

    /// The text of a file, `None` when it is missing.
    pub(super) fn read_text(&self, path: &str) -> Result<Option<String>, LiteimgError> {
        match self.root.read(Path::new(path)) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error(path, source)),
        }
    }

    /// Replace a file, keeping its mode.
    pub(super) fn write_text(&mut self, path: &str, text: &str) -> Result<(), LiteimgError> {
        if self.read_text(path)?.as_deref() == Some(text) {
            return Ok(());
        }
        let old = self.root.open_file(Path::new(path)).and_then(|file| file.metadata());
        let mode = old.map_or(FILE_MODE, |old| old.permissions().mode() & 0o7777);
        self.step(path, |root, at| root.write(at, mode, text.as_bytes()))
    }

    /// Make a directory with those above it.
    pub(super) fn make_dir(&mut self, path: &str) -> Result<(), LiteimgError> {
        match self.root.kind(Path::new(path)) {
            Ok(Some(Kind::Directory)) => Ok(()),
            _ => self.step(path, |root, at| root.make_directories(at, DIR_MODE).map(drop)),
        }
    }

    pub(super) fn make_file(&mut self, path: &str) -> Result<(), LiteimgError> {
        self.parent(path)?;
        self.step(path, |root, at| root.write(at, FILE_MODE, b""))
    }

    /// Remove a file, link or tree; nothing if it is missing.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), LiteimgError> {
        match self.root.kind(Path::new(path)) {
            Ok(None) => Ok(()),
            _ => self.step(path, Beneath::remove_all),
        }
    }

    /// Remove the directories above `path` that have become empty, up to `top`.
    pub(super) fn prune(&mut self, path: &str, top: &str) -> Result<(), LiteimgError> {
        let mut above = path.rsplit_once('/').map_or("", |(above, _)| above);
        while above.len() > top.len() {
            match self.root.names(Path::new(above)) {
                Ok(names) if names.is_empty() => self.step(above, Beneath::remove_directory)?,
                Ok(_) => return Ok(()),
                // Gone already: continue above.
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
        self.work()?;
        self.step(NEW, |root, new| root.symlink(Path::new(target), new))?;
        self.rename(NEW, path)
    }

    /// Copy a tree over another one.
    pub(super) fn copy(&mut self, from: &str, to: &str) -> Result<(), LiteimgError> {
        self.work()?;
        self.step(from, |root, from| copy_all(root, from, Path::new(NEW)))?;
        self.absolute(NEW, from)?;
        self.remove(to)?;
        self.parent(to)?;
        self.rename(NEW, to)
    }

    /// Move the original to where it is kept. If both are there, an earlier run was interrupted or the image
    /// has got a new file, and the one in the image is the newer.
    pub(super) fn keep(&mut self, original: &str, kept: &str) -> Result<(), LiteimgError> {
        if !self.exists(original) {
            return Ok(());
        }
        // While it is still in its place, where both spellings lead to the same file.
        self.absolute(original, original)?;
        self.parent(kept)?;
        self.remove(kept)?;
        self.rename(original, kept)
    }

    /// Move what was kept back, unless the image has something there.
    pub(super) fn give_back(&mut self, kept: &str, original: &str) -> Result<(), LiteimgError> {
        if !self.exists(kept) || self.exists(original) {
            return Ok(());
        }
        self.parent(original)?;
        self.rename(kept, original)
    }

    /// A relative link that is kept elsewhere must lead to the same place: it becomes an absolute one.
    fn absolute(&mut self, at: &str, original: &str) -> Result<(), LiteimgError> {
        let Some(target) = self.root.link_target(Path::new(at)) else { return Ok(()) };
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
        let new = format!("{WORK}/link");
        self.make_dir(WORK)?;
        self.remove(&new)?;
        let target = format!("/{}", parts.join("/"));
        self.step(&new, |root, new| root.symlink(Path::new(&target), new))?;
        self.rename(&new, at)
    }

    fn parent(&mut self, path: &str) -> Result<(), LiteimgError> {
        path.rsplit_once('/').map_or(Ok(()), |(above, _)| self.make_dir(above))
    }

    /// The working directory, with nothing at [`NEW`].
    fn work(&mut self) -> Result<(), LiteimgError> {
        self.make_dir(WORK)?;
        self.remove(NEW)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), LiteimgError> {
        self.step(to, |root, to| root.rename(Path::new(from), to))
    }

    /// One change.
    fn step(
        &mut self,
        path: &str,
        change: impl FnOnce(&Beneath, &Path) -> io::Result<()>,
    ) -> Result<(), LiteimgError> {
        if let Some(left) = self.changes_left {
            let next = left.checked_sub(1);
            let interrupted = || self.error(path, io::Error::from(io::ErrorKind::Interrupted));
            self.changes_left = Some(next.ok_or_else(interrupted)?);
        }
        change(&self.root, Path::new(path)).map_err(|source| self.error(path, source))
    }

    fn error(&self, path: &str, source: io::Error) -> LiteimgError {
        file_error(&self.root.path().join(path), source)
    }
}

fn copy_all(root: &Beneath, from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (root.place(from)?, root.place(to)?);
    let mut command = Command::new("cp");
    let out =
        command.args(["-a", "-T", "--"]).args([from.path(), to.path()]).stdin(Stdio::null()).output()?;
    match out.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&out.stderr).trim().to_owned())),
    }
}
