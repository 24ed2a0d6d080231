//! Files that are written next to the ones that they will replace.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the file at `path` new. What an interrupted run has left there is removed, and a link is not
/// followed.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(path)
}
