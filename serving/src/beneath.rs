//! Writing beneath a directory without following links out of it, and reading there.
//!
//! A path from a table cell, a bundle or an image is walked by the kernel with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS` (openat2(2), Linux 5.6): a link on the way is an error, and nothing outside of the
//! directory is touched. The last name is replaced and never written through. Files appear complete or not at
//! all: a reader, or the next start after a crash, sees either the old text or the new one. A crash in
//! between leaves a file whose name begins with a dot; nothing reads it.
//!
//! Reading follows links as if the directory were the root (`RESOLVE_IN_ROOT`), which is how the machine that
//! runs from the tree sees them.
//!
//! The directory itself is the administrator's choice and may be reached by links.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
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
    real: PathBuf,
}

/// The kind of file at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Other,
}

impl Beneath {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it is not there or not a directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = lookup::open(fs::CWD, path, flags, Mode::empty(), ResolveFlags::empty())?;
        let real = std::fs::read_link(descriptor_path(&top))?;
        Ok(Self { top, path: path.to_owned(), real })
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
        self.parent(inside).and_then(|(dir, name)| kind_of(&dir, name)).or_else(absent)
    }

    /// What is at `inside`, with links on the way followed as if the directory were the root; a link there is
    /// not followed.
    ///
    /// # Errors
    /// The system's error, but for a directory on the way that is not there.
    pub fn find(&self, inside: &Path) -> io::Result<Option<Kind>> {
        let Some(name) = inside.file_name() else { return Ok(Some(Kind::Directory)) };
        let above = inside.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let dir = lookup::open(&self.top, above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty(), resolve);
        dir.map_err(io::Error::from).and_then(|dir| kind_of(&dir, name)).or_else(absent)
    }

    /// The names in the directory `inside`; `.` and `..` are not among them.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn names(&self, inside: &Path) -> io::Result<Vec<OsString>> {
        let directory = self.directory(inside)?;
        std::fs::read_dir(descriptor_path(&directory))?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Where the link at `inside` points to; nothing if there is no link.
    #[must_use]
    pub fn link_target(&self, inside: &Path) -> Option<PathBuf> {
        let (dir, name) = self.parent(inside).ok()?;
        std::fs::read_link(descriptor_path(&dir).join(name)).ok()
    }

    /// The directory's path without links, as it was opened.
    #[must_use]
    pub fn real_path(&self) -> &Path {
        &self.real
    }

    /// Where `inside` leads, with all links followed as if the directory were the root: a path below
    /// [`Beneath::real_path`]. `None` if nothing is there.
    ///
    /// # Errors
    /// The system's error, except for a missing file.
    pub fn follow(&self, inside: &Path) -> io::Result<Option<PathBuf>> {
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        match lookup::open(&self.top, inside, OFlags::PATH, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(found) => Ok(Some(std::fs::read_link(descriptor_path(&found))?)),
            Err(errno) if lookup::failure(errno) == lookup::Failure::Absent => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens the regular file at `inside` to read it. Links are followed as if the directory were the root.
    ///
    /// # Errors
    /// The system's error; for anything but a regular file an error that names this reason.
    pub fn open_file(&self, inside: &Path) -> io::Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // Looked at before it is opened: opening a device or a FIFO has effects.
        let found = lookup::open(&self.top, inside, OFlags::PATH, Mode::empty(), resolve)?;
        if FileType::from_raw_mode(fs::fstat(&found)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is not a regular file"));
        }
        File::open(descriptor_path(&found))
    }

    /// The bytes of the regular file at `inside`, as [`Beneath::open_file`] finds it.
    ///
    /// # Errors
    /// As [`Beneath::open_file`].
    pub fn read(&self, inside: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(inside)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Holds the directory of `inside`, for a program that must be given a path.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn place(&self, inside: &Path) -> io::Result<Place> {
        let (directory, name) = self.parent(inside)?;
        Ok(Place { directory, name: name.to_owned() })
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
                    // Regardless of the umask.
                    fs::chmodat(&above, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
                }
                Err(Errno::EXIST) => drop(self.directory(&at)?),
                Err(other) => return Err(explained(other)),
            }
        }
        Ok(made)
    }

    /// Writes a new file next to `inside`, private until it is complete, and gives its path.
    ///
    /// # Errors
    /// As [`Beneath::directory`], and those of `fill`; nothing is left then.
    pub fn write_beside(
        &self,
        inside: &Path,
        mode: u32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        self.beside(inside, mode, |file| fill(file).and_then(|()| file.sync_all()))
    }

    /// [`Beneath::write_beside`] that does not wait for the disk.
    fn beside(
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
        // Regardless of the umask; after the owner, because changing the owner clears bits.
        let done = fill(&mut file).and_then(|()| file.set_permissions(Permissions::from_mode(mode)));
        if let Err(error) = done {
            let _ = fs::unlinkat(&dir, &*name, AtFlags::empty());
            return Err(error);
        }
        Ok(inside.with_file_name(name))
    }

    /// Replaces the file or link at `inside`, completely or not at all. The directory must be there.
    ///
    /// # Errors
    /// As [`Beneath::write_beside`].
    pub fn write(&self, inside: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.write_with(inside, mode, |file| io::Write::write_all(file, bytes))
    }

    /// [`Beneath::write`] of what `fill` writes.
    ///
    /// # Errors
    /// As [`Beneath::write_beside`].
    pub fn write_with(
        &self,
        inside: &Path,
        mode: u32,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.put(self.write_beside(inside, mode, fill)?, inside)
    }

    /// [`Beneath::write`] that does not wait for the disk: for what is learned again after a power cut.
    ///
    /// # Errors
    /// As [`Beneath::write_beside`].
    pub fn write_unsynced(&self, inside: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.put(self.beside(inside, mode, |file| io::Write::write_all(file, bytes))?, inside)
    }

    fn put(&self, new: PathBuf, inside: &Path) -> io::Result<()> {
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

    /// Removes the file or the whole tree at `inside`, if there is one.
    ///
    /// # Errors
    /// As [`Beneath::directory`].
    pub fn remove_all(&self, inside: &Path) -> io::Result<()> {
        match self.kind(inside)? {
            None => Ok(()),
            Some(Kind::Directory) => {
                let (dir, name) = self.parent(inside)?;
                std::fs::remove_dir_all(descriptor_path(&dir).join(name))
            }
            Some(_) => self.remove_file(inside),
        }
    }

    fn parent<'a>(&self, inside: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = inside.file_name().ok_or_else(|| explained(Errno::XDEV))?;
        Ok((self.directory(inside.parent().unwrap_or(Path::new("")))?, name))
    }
}

/// A name in a directory that is held open.
#[derive(Debug)]
pub struct Place {
    directory: OwnedFd,
    name: OsString,
}

impl Place {
    /// A path to it for programs that this process starts; good as long as this is kept.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let descriptor = self.directory.as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{descriptor}", std::process::id())).join(&self.name)
    }
}

fn descriptor_path(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn kind_of(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<Kind>> {
    let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }))
}

fn absent(error: io::Error) -> io::Result<Option<Kind>> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(error),
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
    fn reading_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("etc")).unwrap();
        std::fs::write(dir.path().join("secret"), "of the server").unwrap();
        std::fs::write(top.join("secret"), "of the tree").unwrap();
        std::fs::write(top.join("etc/file"), "file").unwrap();
        symlink("/etc", top.join("conf")).unwrap();
        symlink("../../secret", top.join("etc/up")).unwrap();
        symlink("/proc/self/fd/0", top.join("magic")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, top.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        let beneath = Beneath::open(&top).unwrap();
        let read = |path: &str| beneath.read(Path::new(path)).ok().map(|b| String::from_utf8(b).unwrap());
        let find = |path: &str| beneath.find(Path::new(path)).unwrap();
        assert_eq!(
            ["conf/file", "conf", "fifo", "conf/none", "none/file"].map(find),
            [Some(Kind::File), Some(Kind::Link), Some(Kind::Other), None, None]
        );
        assert_eq!(read("etc/file").as_deref(), Some("file"));
        assert_eq!(read("conf/file").as_deref(), Some("file"));
        assert_eq!(read("etc/up").as_deref(), Some("of the tree"));
        assert_eq!(read("../secret").as_deref(), Some("of the tree"));
        assert_eq!(["magic", "fifo", "etc", "none"].map(read), [None, None, None, None]);
        let mut names = beneath.names(Path::new("etc")).unwrap();
        names.sort();
        assert_eq!(names, ["file", "up"]);
        assert!(beneath.names(Path::new("conf")).is_err());
        let follow = |path: &str| beneath.follow(Path::new(path)).unwrap();
        let at = |name: &str| Some(beneath.real_path().join(name));
        assert_eq!(["conf", "conf/up"].map(follow), [at("etc"), at("secret")]);
        assert_eq!(["conf/none", "none/x", "etc/file/x"].map(follow), [None, None, None]);
        assert_eq!(beneath.link_target(Path::new("conf")).as_deref(), Some(Path::new("/etc")));
        assert_eq!(beneath.link_target(Path::new("conf/up")), None);
        let place = beneath.place(Path::new("etc/file")).unwrap();
        assert_eq!(std::fs::read(place.path()).unwrap(), b"file");
        assert!(beneath.place(Path::new("conf/file")).is_err());
    }

    #[test]
    fn trees_are_removed_and_links_to_trees_only_unlinked() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("tree/sub")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/file"), "stays").unwrap();
        symlink("../outside", top.join("link")).unwrap();
        symlink("../../outside", top.join("tree/link")).unwrap();
        let beneath = Beneath::open(&top).unwrap();
        assert!(beneath.remove_all(Path::new("link/file")).is_err());
        for path in ["link", "tree", "none"] {
            beneath.remove_all(Path::new(path)).unwrap();
        }
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0);
        assert!(dir.path().join("outside/file").exists());
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
