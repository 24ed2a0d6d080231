//! The release executable: built with the same words everywhere, so that the machines of the tests boot from
//! the bytes that are shipped.
//!
//! Panic messages name source files. Their paths are cut short, or two builds of one commit would differ by
//! the directories that they were made in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dawn_qemu::paths;

use crate::shell;

/// Builds the executable of this source tree; whether it succeeded.
pub(crate) fn build() -> Result<bool> {
    build_in(&paths::workspace())
}

/// The same in another source tree, with a target directory of its own.
pub(crate) fn build_in(source: &Path) -> Result<bool> {
    let flags: Vec<String> = [(cargo_home()?, "/cargo"), (source.to_owned(), "/dawn")]
        .iter()
        .map(|(from, to)| format!("\"--remap-path-prefix={}={to}\"", from.display()))
        .collect();
    let flags = format!("build.rustflags=[{}]", flags.join(","));
    let args = ["build", "--release", "--locked", "--bin", "dawn", "--config", &flags];
    shell::succeeds(shell::cargo(&args).current_dir(source))
}

/// The executable of a source tree.
pub(crate) fn executable(source: &Path) -> PathBuf {
    source.join("target").join(paths::TARGET).join("release/dawn")
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}
