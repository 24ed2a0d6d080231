//! Files that appear complete or not at all: written beside their place under a name of their own, then
//! renamed.
//!
//! A reader sees the old text or the new one, and so does the next start after a crash. The temporary name
//! begins with a dot, is new, and is never a link that somebody else has put there. A crash in between leaves
//! such a file behind; nothing reads it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many other names are tried when a file of an earlier process of the same number is still there.
const NAMES_MAX: u32 = 16;

/// Replaces `path` with `bytes`, on disk before it is there under its name. `mode` holds whatever the umask
/// is.
///
/// # Errors
/// The system's error; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, mode, |file| file.write_all(bytes).and_then(|()| file.sync_all()))
}

/// [`write`] that does not wait for the disk: for what the daemon learns again after a power cut.
///
/// # Errors
/// As [`write`].
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, mode, |file| file.write_all(bytes))
}

fn replace(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // Private until it is complete, since its text may be.
    let (new, mut file) = create_beside(path)?;
    let result = fill(&mut file)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&new, path));
    if result.is_err() {
        let _ = fs::remove_file(&new);
    }
    result
}

fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let mut tried = 0;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let new = path.with_file_name(format!(".dawn-{}-{number}.new", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES_MAX => tried += 1,
            made => return made.map(|file| (new, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (text, mode) in [("first", 0o644), ("second, longer", 0o600), ("3", 0o640)] {
            write(&path, text.as_bytes(), mode).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        write_unsynced(&path, b"4", 0o600).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A directory cannot be replaced by a file.
        fs::create_dir(dir.path().join("sub")).unwrap();
        assert!(write(&dir.path().join("sub"), b"", 0o600).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_temporary_name_is_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        // Links under every name that the next writes may choose.
        for number in 0..64 {
            let name = format!(".dawn-{}-{number}.new", std::process::id());
            let _ = std::os::unix::fs::symlink(&victim, dir.path().join(name));
        }
        let _ = write(&dir.path().join("file"), b"text", 0o600);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}
