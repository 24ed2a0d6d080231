//! `con`: the files of all trees, one after the other, as one file in a directory of ours.
//!
//! Its name follows from its parts and their state, so a changed part makes another file, and nodes with the same
//! parts share one.

use super::trees::Hit;
use dawn_nfs::ExportId;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Files that no node is shown are kept this long: clients may still have them open.
const KEPT_SECONDS: i64 = 24 * 3600;
/// Beginning of the name of a joined file.
const PREFIX: &str = "con-";
/// Beginning of the name of a copy from a network file system.
pub const COPY_PREFIX: &str = "copy-";

/// The file that joins `parts`, made if it is not there yet. Owner and mode are those of the first part.
pub fn joined(cache: &Path, parts: &[Hit]) -> io::Result<PathBuf> {
    let words: Vec<String> =
        parts.iter().map(|hit| format!("{} {:?}", hit.path.display(), hit.state)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let target = cache.join(format!("{PREFIX}{:016x}", ExportId::of(&words).0));
    if target.exists() {
        return Ok(target);
    }
    make_cache(cache)?;
    let fresh = cache.join(format!("new-{:016x}-{:?}", ExportId::of(&words).0, std::thread::current().id()));
    let made = join(&fresh, parts.iter().map(|hit| hit.path.as_path()));
    if let Err(error) = made.and_then(|()| fs::rename(&fresh, &target)) {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(target)
}

/// Makes the directory of joined files and copies: workers of the NFS server, who come here, have no umask.
pub fn make_cache(cache: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(cache)
}

/// Writes the parts, which are regular files, one after the other to `target`, which does not exist.
pub fn join<'a>(target: &Path, parts: impl Iterator<Item = &'a Path>) -> io::Result<()> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    for (index, part) in parts.enumerate() {
        let done = match index {
            0 => {
                initrd_init::copy::regular(part)?;
                initrd_init::copy::copy(&text(part), &text(target))
            }
            _ => initrd_init::copy::append(&text(part), &text(target)),
        };
        done.map_err(initrd_init::Error::into_io)?;
    }
    Ok(())
}

/// Removes files of ours that are old and not `wanted`.
pub fn prune(cache: &Path, wanted: impl Fn(&Path) -> bool) {
    let Ok(entries) = fs::read_dir(cache) else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let oldest = i64::try_from(now).unwrap_or(0) - KEPT_SECONDS;
    for entry in entries.flatten() {
        // When it got its name; the time of its content is that of its source.
        let old = entry.metadata().is_ok_and(|meta| meta.ctime() < oldest);
        if old && !wanted(&entry.path()) {
            let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
        }
    }
}
