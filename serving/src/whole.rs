//! Files that appear complete or not at all, by path: [`Beneath`]'s writing for a file that is known by its
//! whole path.
//!
//! The directory may be reached by links, as the administrator or the daemon has chosen it. The file's own
//! name is replaced and never written through.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::beneath::Beneath;

/// Replaces `path` with `bytes`, on disk before it is there under its name. `mode` is set regardless of the
/// umask.
///
/// # Errors
/// The system's error; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (directory, name) = split(path)?;
    directory.write(Path::new(name), mode, bytes)
}

/// [`write`] of what `fill` writes.
///
/// # Errors
/// As [`write`], and those of `fill`.
pub fn write_with(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let (directory, name) = split(path)?;
    directory.write_with(Path::new(name), mode, fill)
}

/// [`write`] that does not wait for the disk: for what the daemon learns again after a power cut.
///
/// # Errors
/// As [`write`].
pub fn write_unsynced(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (directory, name) = split(path)?;
    directory.write_unsynced(Path::new(name), mode, bytes)
}

fn split(path: &Path) -> io::Result<(Beneath, &OsStr)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it is not the name of a file"))?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    Ok((Beneath::open(directory.unwrap_or(Path::new(".")))?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
