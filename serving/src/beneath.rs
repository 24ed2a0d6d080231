//! Writing beneath a directory, whatever links lie in it.
//!
//! A path from a table cell, a bundle or an image is walked by the kernel with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS` (openat2(2), Linux 5.6): a link on the way is an error, and nothing outside of the
//! directory is touched. The last name is replaced and never written through. The directory itself is the
//! administrator's choice and may be reached by links.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::lookup;

/// Other names tried for a temporary file when one of an earlier process is still there.
const NAMES_MAX: u32 = 16;

/// A directory that is written beneath.
#[derive(Debug)]
pub struct Beneath {
    top: OwnedFd,
    path: PathBuf,
}

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A link, device, FIFO or socket.
    Other,
}

impl Beneath {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it is not there or not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { top: fs::open(path, flags, Mode::empty())?, path: path.to_owned() })
    }

    /// The directory's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory `inside`, empty for the top.
    ///
    /// # Errors
    /// A link on the way, `..`, or the system's error.
    pub fn directory(&self, inside: &Path) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        lookup::open(&self.top, inside, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve)
            .map_err(explained)
    }

    /// What is at `inside`; a link there is not followed.
    ///
    /// # Errors
    /// As [`Beneath::directory`], but for a directory on the way that is not there.
    pub fn kind(&self, inside: &Path) -> io::Result<Option<Kind>> {
        let found =
            self.parent(inside).and_then(|(dir, name)| Ok(fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Kind::Directory,
                FileType::RegularFile => Kind::File,
                _ => Kind::Other,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory `inside` with those above it, and says which were made, the uppermost first.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn make_directories(&self, inside: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
        let (mut at, mut made) = (PathBuf::new(), Vec::new());
        for part in inside.components() {
            let Component::Normal(name) = part else { return Err(explained(Errno::XDEV)) };
            let above = self.directory(&at)?;
            at.push(name);
            match fs::mkdirat(&above, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => {
                    made.push(at.clone());
                    // Whatever the umask is.
                    fs::chmodat(&above, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
                }
                Err(Errno::EXIST) => drop(self.directory(&at)?),
                Err(other) => return Err(explained(other)),
            }
        }
        Ok(made)
    }

    /// Writes a new file beside `inside`, private until it is complete, and gives its path.
    ///
    /// # Errors
    /// As [`Beneath::directory`], and those of `fill`; nothing is left then.
    pub fn write_beside(
        &self,
        inside: &Path,
        mode: u32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (dir, _) = self.parent(inside)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut tried = 0;
        let (name, file) = loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".dawn-{}-{number}.new", std::process::id());
            match fs::openat(&dir, &*name, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::EXIST) if tried < NAMES_MAX => tried += 1,
                made => break (name, made?),
            }
        };
        let mut file = File::from(file);
        let done = fill(&mut file)
            .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
            .and_then(|()| file.sync_all());
        if let Err(error) = done {
            let _ = fs::unlinkat(&dir, &*name, AtFlags::empty());
            return Err(error);
        }
        Ok(inside.with_file_name(name))
    }

    /// Replaces whatever file or link is at `inside`, whole or not at all. The directory must be there.
    ///
    /// # Errors
    /// As [`Beneath::write_beside`].
    pub fn write(&self, inside: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let new = self.write_beside(inside, mode, |file| io::Write::write_all(file, bytes))?;
        let renamed = self.rename(&new, inside);
        if renamed.is_err() {
            let _ = self.remove_file(&new);
        }
        renamed
    }

    /// Renames within the directory.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::renameat(from_dir, from, to_dir, to)?)
    }

    /// Makes a link at `inside`, where nothing is.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn symlink(&self, target: &Path, inside: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(inside)?;
        Ok(fs::symlinkat(target, dir, name)?)
    }

    /// Removes the file or link at `inside`.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn remove_file(&self, inside: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(inside)?;
        Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
    }

    /// Removes the empty directory at `inside`.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn remove_directory(&self, inside: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(inside)?;
        Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }

    fn parent<'a>(&self, inside: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = inside.file_name().ok_or_else(|| explained(Errno::XDEV))?;
        Ok((self.directory(inside.parent().unwrap_or(Path::new("")))?, name))
    }
}

fn explained(errno: Errno) -> io::Error {
    match errno {
        Errno::LOOP => io::Error::other("a symbolic link is on the way, and none is followed here"),
        Errno::XDEV => io::Error::other("the path leads out of the directory that is written to"),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_and_directories_are_made_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        assert_eq!(
            beneath.make_directories(Path::new("a/b"), 0o755).unwrap(),
            [Path::new("a"), Path::new("a/b")]
        );
        assert!(beneath.make_directories(Path::new("a/b"), 0o755).unwrap().is_empty());
        for (text, mode) in [("one", 0o644), ("other", 0o600)] {
            beneath.write(Path::new("a/b/file"), mode, text.as_bytes()).unwrap();
            let file = dir.path().join("a/b/file");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(beneath.kind(Path::new("a/b/file")).unwrap(), Some(Kind::File));
        assert_eq!(beneath.kind(Path::new("a/none/file")).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn no_link_is_followed_and_nothing_outside_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("top"), dir.path().join("outside"));
        std::fs::create_dir_all(top.join("sub")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("victim"), "untouched").unwrap();
        symlink(&outside, top.join("absolute")).unwrap();
        symlink("../outside", top.join("relative")).unwrap();
        symlink("sub", top.join("inside")).unwrap();
        symlink(outside.join("victim"), top.join("sub/link")).unwrap();
        let beneath = Beneath::open(&top).unwrap();
        for path in
            ["absolute/x", "relative/x", "inside/x", "../outside/x", "/etc/x", "sub/../../outside/x", ".."]
        {
            let path = Path::new(path);
            assert!(beneath.write(path, 0o644, b"x").is_err(), "{path:?}");
            assert!(beneath.make_directories(&path.join("y"), 0o755).is_err(), "{path:?}");
            assert!(beneath.rename(Path::new("sub"), path).is_err(), "{path:?}");
        }
        // A link as the last name is replaced.
        beneath.write(Path::new("sub/link"), 0o644, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(beneath.kind(Path::new("sub/link")).unwrap(), Some(Kind::File));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let failed = beneath.write_beside(Path::new("f"), 0o644, |_| Err(io::Error::other("full")));
        assert!(failed.is_err());
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        assert!(beneath.write(Path::new("sub"), 0o644, b"x").is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
