//! A backup on disk.
//!
//! ```text
//! DIR/contents           what is in it, and how it is known to be whole
//! DIR/tables/TABLE.csv   all tables, in the form of tabdump
//! DIR/data/…             files of the data directory, under their names there
//! ```
//!
//! `contents` begins with `dawn-backup 1`, then a line `change N`, then a line for each file (mode in octal,
//! bytes, SHA-256, path), and ends with `end`. A reader trusts only this list: a file that is missing, has
//! other bytes, is not listed, or has a name that no backup has, and a list without its end, are errors, and
//! nothing is restored.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// The list of a backup.
const CONTENTS: &str = "contents";
/// Its first line; the number is the form's.
const FIRST_LINE: &str = "dawn-backup 1";
/// Its last line.
const LAST_LINE: &str = "end";
/// Files of the data directory that are kept: where the database is, the key of NFS handles, additional
/// exports, the leases.
const FILES: [&str; 4] = ["cfgloc", "nfs-handle.key", "exports", "leases.journal"];
/// Directories that are kept: certificate authority, certificates, clients' certificates, host keys of nodes,
/// templates.
const DIRECTORIES: [&str; 5] = ["ca", "cert", "clients", "hostkeys", "templates"];
/// Bytes of one file at most.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Files of a backup at most.
const FILES_MAX: usize = 100_000;
/// Bytes of the list at most: that many lines with paths of usual length.
const CONTENTS_BYTES_MAX: u64 = 64 << 20;
/// Directories below each other at most.
const DEPTH_MAX: usize = 16;

/// Why a backup is not one, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no list.
    #[error("{0} is not a backup of Dawn: it has no file `contents`")]
    NoContents(PathBuf),
    /// The list says something that no list says.
    #[error("the backup is damaged: line {line} of `contents`: {reason}")]
    Contents {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A later version of Dawn wrote it.
    #[error("the backup is of a later version of Dawn, which this one cannot read: {0}")]
    Later(String),
    /// A file is not what the list says.
    #[error("the backup is damaged: {path} {reason}")]
    File {
        /// The file, from the backup's directory.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A file of the data directory that no backup can hold.
    #[error("{path} cannot be backed up: {reason}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The directory in which a backup is written is there.
    #[error("{0} exists: another backup is being written, or one was interrupted")]
    Unfinished(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Names the file of a system's error.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Io { path, source }
}

/// Writes a backup. It appears under its name when it is complete; one that is dropped before leaves nothing.
pub struct Writer {
    directory: PathBuf,
    partial: PathBuf,
    lines: Vec<String>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After `finish` there is none.
        let _ = std::fs::remove_dir_all(&self.partial);
    }
}

impl Writer {
    /// Begins a backup that will be `directory`.
    pub fn new(directory: &Path) -> Result<Self, BackupError> {
        let mut name = directory.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(".partial");
        let partial = directory.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&partial).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Unfinished(partial.clone()),
            _ => BackupError::Io { path: partial.clone(), source },
        })?;
        let writer = Self { directory: directory.to_owned(), partial, lines: Vec::new() };
        ["tables", "data"].into_iter().try_for_each(|name| writer.directory(Path::new(name)))?;
        Ok(writer)
    }

    /// Adds a table's text.
    pub fn table(&mut self, name: &str, text: &[u8]) -> Result<(), BackupError> {
        self.add(&Path::new("tables").join(format!("{name}.csv")), 0o600, text)
    }

    /// Adds what is kept of a data directory.
    pub fn data(&mut self, data: &Path) -> Result<(), BackupError> {
        for name in FILES {
            self.copy(data, Path::new(name))?;
        }
        for name in DIRECTORIES {
            self.copy_directory(data, Path::new(name), DEPTH_MAX)?;
        }
        Ok(())
    }

    fn copy_directory(&mut self, data: &Path, inside: &Path, depth: usize) -> Result<(), BackupError> {
        let from = data.join(inside);
        if depth == 0 || from.is_symlink() || !from.is_dir() {
            return Ok(());
        }
        self.directory(&Path::new("data").join(inside))?;
        let entries = std::fs::read_dir(&from).map_err(failed(&from))?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed(&from))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = inside.join(entry.file_name());
            match entry.file_type().map_err(failed(&entry.path()))? {
                kind if kind.is_dir() => self.copy_directory(data, &path, depth - 1)?,
                kind if kind.is_file() => self.copy(data, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Copies a file; one that does not exist is not part of this data directory.
    fn copy(&mut self, data: &Path, inside: &Path) -> Result<(), BackupError> {
        let path = data.join(inside);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(BackupError::Io { path, source }),
        };
        let unfit = |reason: &'static str| BackupError::Unfit { path: path.clone(), reason };
        if inside.to_str().is_none_or(|name| name.contains(char::is_control)) {
            return Err(unfit("its name is not plain text"));
        }
        let mode = file.metadata().map_err(failed(&path))?.permissions().mode() & 0o777;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed(&path))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(unfit("it is longer than 1 GiB"));
        }
        self.add(&Path::new("data").join(inside), mode, &bytes)
    }

    fn directory(&self, inside: &Path) -> Result<(), BackupError> {
        let path = self.partial.join(inside);
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path))
    }

    fn add(&mut self, inside: &Path, mode: u32, bytes: &[u8]) -> Result<(), BackupError> {
        self.write(inside, bytes)?;
        let (bytes, digest) = (bytes.len() as u64, digest(bytes));
        self.lines.push(Listed { path: inside.to_owned(), mode, bytes, digest }.line());
        Ok(())
    }

    fn write(&self, inside: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.partial.join(inside);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(failed(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed(&path))
    }

    /// Writes the list, makes everything durable, and gives the directory its name; the number of files.
    pub fn finish(self, change: u64) -> Result<usize, BackupError> {
        let head = format!("{FIRST_LINE}\nchange {change}\n");
        let lines = self.lines.concat();
        self.write(Path::new(CONTENTS), format!("{head}{lines}{LAST_LINE}\n").as_bytes())?;
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(failed(path));
        sync(&self.partial)?;
        std::fs::rename(&self.partial, &self.directory).map_err(failed(&self.directory))?;
        self.directory.parent().map_or(Ok(()), sync)?;
        Ok(self.lines.len())
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A backup that has been proved to be whole.
#[derive(Debug)]
pub struct Backup {
    /// The change that it is as of.
    pub change: u64,
    /// Tables: name and text.
    pub tables: Vec<(String, Vec<u8>)>,
    /// Files of the data directory: path in it, mode, bytes.
    pub data: Vec<(PathBuf, u32, Vec<u8>)>,
}

/// A line of the list.
struct Listed {
    path: PathBuf,
    mode: u32,
    bytes: u64,
    digest: String,
}

impl Listed {
    fn line(&self) -> String {
        format!("{:04o} {} {} {}\n", self.mode, self.bytes, self.digest, self.path.display())
    }
}

impl Backup {
    /// Reads a backup and compares every byte with its list.
    pub fn read(directory: &Path) -> Result<Self, BackupError> {
        let (change, listed) = list(&contents(directory)?)?;
        let mut backup = Self { change, tables: Vec::new(), data: Vec::new() };
        for entry in &listed {
            let bytes = proved(directory, entry)?;
            if let Ok(name) = entry.path.strip_prefix("tables") {
                backup.tables.push((name.display().to_string(), bytes));
            } else if let Ok(path) = entry.path.strip_prefix("data") {
                backup.data.push((path.to_owned(), entry.mode, bytes));
            }
        }
        let known: BTreeSet<&Path> = listed.iter().map(|entry| entry.path.as_path()).collect();
        for top in ["tables", "data"] {
            nothing_else(directory, Path::new(top), &known, DEPTH_MAX)?;
        }
        Ok(backup)
    }
}

/// The text of the list.
fn contents(directory: &Path) -> Result<String, BackupError> {
    let path = directory.join(CONTENTS);
    let mut text = String::new();
    let file = File::open(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            BackupError::NoContents(directory.to_owned())
        }
        _ => BackupError::Io { path: path.clone(), source },
    })?;
    file.take(CONTENTS_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed(&path))?;
    if text.len() as u64 > CONTENTS_BYTES_MAX {
        return Err(BackupError::File { path: CONTENTS.into(), reason: "is longer than 64 MiB" });
    }
    Ok(text)
}

/// For fuzzing: what a list of any bytes names is in the backup and has its form, and a list that was read is
/// the same when it is written again.
pub fn fuzz_contents(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok((change, listed)) = list(&text) else { return };
    assert!(listed.len() <= FILES_MAX, "bounded");
    let mut again = format!("{FIRST_LINE}\nchange {change}\n");
    for entry in &listed {
        assert!(is_of_backup(&entry.path) && entry.path.is_relative(), "{:?}", entry.path);
        assert!(entry.path.components().all(|part| matches!(part, Component::Normal(_))), "{:?}", entry.path);
        assert!(entry.mode <= 0o777 && entry.bytes <= FILE_BYTES_MAX, "{:?}", entry.path);
        again.push_str(&entry.line());
    }
    again.push_str(LAST_LINE);
    let (same, entries) = list(&again).unwrap_or_default();
    assert!(same == change && entries.len() == listed.len(), "{again}");
    assert!(entries.iter().zip(&listed).all(|(one, other)| one.line() == other.line()), "{again}");
}

fn list(text: &str) -> Result<(u64, Vec<Listed>), BackupError> {
    let wrong = |line: usize, reason: &'static str| BackupError::Contents { line, reason };
    let mut lines = text.lines().zip(1..);
    match lines.next() {
        Some((FIRST_LINE, _)) => {}
        Some((line, _)) if line.starts_with("dawn-backup ") => {
            return Err(BackupError::Later(line.to_owned()));
        }
        _ => return Err(wrong(1, "it does not begin as the list of a backup")),
    }
    let change = lines.next().and_then(|(line, _)| line.strip_prefix("change ")?.parse().ok());
    let change = change.ok_or(wrong(2, "the number of the change is missing"))?;
    let mut listed = Vec::new();
    let mut last = 2;
    for (line, number) in lines {
        last = number;
        if line == LAST_LINE {
            return Ok((change, listed));
        }
        if listed.len() >= FILES_MAX {
            return Err(wrong(number, "there are too many files"));
        }
        listed.push(entry(line).ok_or(wrong(number, "it is not a line of a list"))?);
    }
    Err(wrong(last, "the list ends before its end"))
}

fn entry(line: &str) -> Option<Listed> {
    let mut words = line.splitn(4, ' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok().filter(|mode| *mode <= 0o777)?;
    let bytes = words.next()?.parse().ok().filter(|bytes| *bytes <= FILE_BYTES_MAX)?;
    let digest = words.next()?.to_owned();
    let path = PathBuf::from(words.next()?);
    is_of_backup(&path).then_some(Listed { path, mode, bytes, digest })
}

/// A path that a backup can have: it cannot lead out of the backup, whatever the list contains.
fn is_of_backup(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str().filter(|name| !name.contains(char::is_control)),
            _ => None,
        })
        .collect();
    match parts.as_deref() {
        Some(["tables", name]) => name.ends_with(".csv"),
        Some(["data", name]) => FILES.contains(name),
        Some(["data", top, rest @ ..]) => DIRECTORIES.contains(top) && rest.len() <= DEPTH_MAX,
        _ => false,
    }
}

fn proved(directory: &Path, entry: &Listed) -> Result<Vec<u8>, BackupError> {
    let wrong = |reason: &'static str| BackupError::File { path: entry.path.clone(), reason };
    let path = directory.join(&entry.path);
    let data = std::fs::symlink_metadata(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => wrong("is missing"),
        _ => BackupError::Io { path: path.clone(), source },
    })?;
    if !data.is_file() {
        return Err(wrong("is not a regular file"));
    }
    if data.len() != entry.bytes {
        return Err(wrong("does not have the size that `contents` says"));
    }
    let bytes = std::fs::read(&path).map_err(failed(&path))?;
    if digest(&bytes) != entry.digest {
        return Err(wrong("does not have the digest that `contents` says"));
    }
    Ok(bytes)
}

/// Every file below is listed.
fn nothing_else(
    directory: &Path,
    inside: &Path,
    known: &BTreeSet<&Path>,
    depth: usize,
) -> Result<(), BackupError> {
    let path = directory.join(inside);
    for entry in std::fs::read_dir(&path).map_err(failed(&path))? {
        let entry = entry.map_err(failed(&path))?;
        let inside = inside.join(entry.file_name());
        let is_directory = entry.file_type().map_err(failed(&path))?.is_dir();
        if is_directory && depth > 0 {
            nothing_else(directory, &inside, known, depth - 1)?;
        } else if !known.contains(inside.as_path()) {
            return Err(BackupError::File { path: inside, reason: "is not in `contents`" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(top: &Path) -> PathBuf {
        let data = top.join("data");
        std::fs::create_dir_all(data.join("ca")).unwrap();
        std::fs::write(data.join("ca/ca.key"), "secret").unwrap();
        std::fs::set_permissions(data.join("ca/ca.key"), PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::write(data.join("dawn.sqlite"), "not part of it").unwrap();
        let directory = top.join("backup");
        let mut writer = Writer::new(&directory).unwrap();
        writer.table("site", b"#key,value\n").unwrap();
        writer.data(&data).unwrap();
        assert_eq!(writer.finish(7).unwrap(), 2);
        directory
    }

    #[test]
    fn what_was_written_is_read() {
        let top = tempfile::tempdir().unwrap();
        let read = Backup::read(&backup(top.path())).unwrap();
        assert_eq!(read.change, 7);
        assert_eq!(read.tables, [("site.csv".to_owned(), b"#key,value\n".to_vec())]);
        assert_eq!(read.data, [(PathBuf::from("ca/ca.key"), 0o640, b"secret".to_vec())]);
    }

    #[test]
    fn what_the_fuzzer_asks_holds() {
        let top = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(backup(top.path()).join(CONTENTS)).unwrap();
        for list in
            [text.clone(), text.replace("ca.key", "ca.key\r"), text.replace("ca/ca.key", "ca//./ca.key")]
        {
            fuzz_contents(list.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_kept_is_an_error_and_leaves_nothing() {
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("data");
        std::fs::create_dir_all(data.join("templates")).unwrap();
        std::fs::write(data.join("templates/two\nlines"), "").unwrap();
        let directory = top.path().join("backup");
        let mut writer = Writer::new(&directory).unwrap();
        let other = Writer::new(&directory).err().unwrap().to_string();
        assert!(other.contains("backup.partial exists: another backup is being written"), "{other}");
        let error = writer.data(&data).unwrap_err().to_string();
        assert!(error.contains("its name is not plain text"), "{error}");
        drop(writer);
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_damage_is_refused_with_its_reason() {
        type Damage = (fn(&Path), &'static str);
        fn edit(directory: &Path, from: &str, to: &str) {
            let path = directory.join(CONTENTS);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
        let cases: [Damage; 12] = [
            (|d| std::fs::remove_file(d.join(CONTENTS)).unwrap(), "is not a backup of Dawn"),
            (|d| std::fs::remove_file(d.join("tables/site.csv")).unwrap(), "tables/site.csv is missing"),
            (|d| std::fs::write(d.join("tables/site.csv"), "#key,valuE\n").unwrap(), "the digest"),
            (|d| std::fs::write(d.join("tables/site.csv"), "").unwrap(), "the size"),
            (|d| std::fs::write(d.join("data/ca/other"), "").unwrap(), "data/ca/other is not in `contents`"),
            (|d| edit(d, "\nend\n", "\n"), "the list ends before its end"),
            (|d| edit(d, "dawn-backup 1", "dawn-backup 2"), "a later version of Dawn"),
            (|d| edit(d, "dawn-backup 1", "PK"), "it does not begin as"),
            (|d| edit(d, "change 7", "change x"), "the number of the change"),
            (|d| edit(d, "data/ca/ca.key", "data/ca/../../../etc/passwd"), "it is not a line of a list"),
            (|d| edit(d, "data/ca/ca.key", "data/dawn.sqlite"), "it is not a line of a list"),
            (|d| edit(d, "data/ca/ca.key", "data/ca/ca\u{1b}.key"), "it is not a line of a list"),
        ];
        for (damage, reason) in cases {
            let top = tempfile::tempdir().unwrap();
            let directory = backup(top.path());
            damage(&directory);
            let error = Backup::read(&directory).unwrap_err().to_string();
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        let top = tempfile::tempdir().unwrap();
        let directory = backup(top.path());
        std::fs::remove_file(directory.join("data/ca/ca.key")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", directory.join("data/ca/ca.key")).unwrap();
        assert!(Backup::read(&directory).unwrap_err().to_string().contains("is not a regular file"));
    }
}
