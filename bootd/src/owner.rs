//! A data directory has one owner: the process that holds `<data>/lock`.
//!
//! The lease journal and the NFS reply cache are files of one daemon: two on one directory would promise the
//! same address twice. The lock is flock(2) on the file, so it ends with its process, however that ends; the
//! text in the file says who holds it. On a read-only file system the file, or without one the directory
//! itself, is locked as it is.

use anyhow::{Context, Result};
use dawn_cluster::Advised;
use dawn_wire::text::without_control;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of the lock file in a data directory.
pub const FILE: &str = "lock";
/// Characters of the lock file's text that an error repeats.
const TEXT_CHARS_MAX: usize = 200;

/// Holds a data directory until it is dropped.
#[derive(Debug)]
pub struct Owner {
    file: File,
    /// The directory, locked as well: another lock file would be another lock.
    directory: File,
}

impl Drop for Owner {
    /// Closing the files is not enough: a child that is being started has copies of them until it runs its
    /// program.
    fn drop(&mut self) {
        for locked in [&self.file, &self.directory] {
            if let Err(error) = locked.unlock() {
                tracing::warn!(%error, "cannot unlock the data directory");
            }
        }
    }
}

/// Why a data directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// Another process has it.
    #[error("the data directory {data} is in use by {holder}")]
    Held {
        /// The directory.
        data: PathBuf,
        /// Program, process id and since when, as it wrote down.
        holder: String,
    },
    /// The lock file cannot be made or locked.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Advised for OwnerError {
    fn hint(&self) -> Option<String> {
        let stop = "stop that one first (`systemctl stop dawn`, or kill its process), or give this one another \
                    data directory";
        matches!(self, Self::Held { .. }).then(|| stop.to_owned())
    }
}

impl OwnerError {
    /// The directory is held by this program.
    pub fn is_held_by(&self, program: &str) -> bool {
        matches!(self, Self::Held { holder, .. } if holder.starts_with(program))
    }
}

impl Owner {
    /// Takes a data directory for `program`; does not wait.
    pub fn take(data: &Path, program: &str) -> Result<Self, OwnerError> {
        let path = data.join(FILE);
        let fail = |source| OwnerError::Io { path: path.clone(), source };
        let (file, writable) = open(data, &path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(data, &path)),
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        let mut owner = Self { file, directory: File::open(data).map_err(fail)? };
        // Some file systems (NFS) lock no directories; the file is what counts there.
        if let Err(TryLockError::WouldBlock) = owner.directory.try_lock() {
            // Without a lock file, the directory itself was locked above.
            if writable || path.exists() {
                return Err(held(data, &path));
            }
        }
        if writable {
            let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
            let line = format!("{program}, process {}, since {now}\n", std::process::id());
            let noted = owner.file.set_len(0).and_then(|()| owner.file.write_all(line.as_bytes()));
            if let Err(error) = noted {
                // The lock itself needs no space on the disk.
                tracing::warn!(%error, "cannot note in {} who holds it", path.display());
            }
        }
        Ok(owner)
    }
}

fn open(data: &Path, path: &Path) -> std::io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    match options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path) {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            Ok((File::open(path).or_else(|_| File::open(data))?, false))
        }
        opened => Ok((opened?, true)),
    }
}

fn held(data: &Path, path: &Path) -> OwnerError {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text: String = without_control(text.trim()).chars().take(TEXT_CHARS_MAX).collect();
    let holder = if text.is_empty() { "another process".to_owned() } else { text };
    OwnerError::Held { data: data.to_owned(), holder }
}

/// Takes the directory for `dawn init`, which may also work while a daemon runs: the database serialises
/// both, and the daemon follows. `None`: a daemon holds it.
pub fn take_for_init(data: &Path) -> Result<Option<Owner>> {
    match Owner::take(data, "dawn init") {
        Err(error) if error.is_held_by(DAEMON) => Ok(None),
        taken => taken.map(Some).context("nothing was changed"),
    }
}

/// How the daemon calls itself in the lock file.
pub const DAEMON: &str = "dawn serve";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path();
        let owner = Owner::take(data, DAEMON).expect("free");
        let error = Owner::take(data, DAEMON).expect_err("held");
        let text = error.to_string();
        let process = format!("dawn serve, process {}, since 2", std::process::id());
        assert!(
            text.contains(&process) && error.hint().is_some_and(|hint| hint.contains("systemctl stop")),
            "{text}"
        );
        assert!(take_for_init(data).expect("beside a daemon").is_none());
        // Another lock file does not make another owner.
        std::fs::remove_file(data.join(FILE)).expect("a lock file");
        assert!(Owner::take(data, DAEMON).is_err());
        drop(owner);
        let init = take_for_init(data).expect("free").expect("free");
        let text = format!("{:#}", take_for_init(data).expect_err("held by init"));
        assert!(text.contains("dawn init, process"), "{text}");
        drop(init);
        // The file of a killed process is overwritten.
        std::fs::write(data.join(FILE), "dawn serve, process 1, since the flood, with a longer text\n")
            .expect("written");
        Owner::take(data, DAEMON).expect("free");
        let text = std::fs::read_to_string(data.join(FILE)).expect("text");
        assert!(text.starts_with(&process) && text.lines().count() == 1, "{text}");
    }
}
