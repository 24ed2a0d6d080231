//! The directory in which copies from network file systems are kept.
//!
//! The name of a copy follows from its source and that one's state, so a changed source makes another copy,
//! and nodes with the same source share one.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Files that no node is shown are kept this long: clients may still have them open.
const KEPT_SECONDS: i64 = 24 * 3600;
/// Beginning of the name of a copy from a network file system.
pub(super) const PREFIX: &str = "copy-";

/// Makes the directory of copies: workers of the NFS server, who come here, have no umask.
pub(super) fn make_directory(cache: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(cache)
}

/// Removes files of ours that are old and not `wanted`.
pub(super) fn prune(cache: &Path, wanted: impl Fn(&Path) -> bool) {
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
