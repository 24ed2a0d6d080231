//! Where the harness finds the program under test and keeps its own files.

use std::path::{Path, PathBuf};

/// The target triple of the one binary, as `.cargo/config.toml` names it.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The top of the source tree.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Cargo's output directory.
pub fn target() -> PathBuf {
    workspace().join("target")
}

/// The release executable.
pub fn dawn() -> PathBuf {
    target().join(TARGET).join("release/dawn")
}

/// Built images, kept between runs.
pub fn image_cache() -> PathBuf {
    target().join("qemu-cache")
}

/// Files of running and of failed clusters.
pub fn runs() -> PathBuf {
    target().join("qemu-run")
}

/// Sockets of running clusters: a short path, because a socket's name holds at most 107 bytes.
pub fn sockets() -> PathBuf {
    PathBuf::from("/run/dawn-qemu")
}
