//! Tests as text files: conversations, decisions. What a line means is the test's own.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug)]
pub struct Text {
    /// Where it is.
    pub path: PathBuf,
    /// The name of the file.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Every file of `folder`, which is in the folder `package` of a crate (`CARGO_MANIFEST_DIR`), in the order
/// of their names.
///
/// # Panics
/// When there is none, or one that cannot be read.
#[must_use]
pub fn texts(package: &str, folder: &str) -> Vec<Text> {
    let folder = Path::new(package).join(folder);
    let entries = fs::read_dir(&folder).expect("a folder of texts");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let text = |path: PathBuf| Text {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).expect("a text"),
        path,
    };
    paths.into_iter().map(text).collect()
}
