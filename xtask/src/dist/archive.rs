//! The archive for other distributions, the digests of everything, and their signature.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use dawn_qemu::process::run;

use super::VERSION;
use super::stage::Trees;

/// The file with the digests.
pub(super) const SUMS: &str = "SHA256SUMS";

/// `dawn-VERSION-x86_64.tar.zst`: the tree of the package `dawn`, to be unpacked at `/`.
pub(super) fn build(trees: &Trees, epoch: u64, out: &Path) -> Result<()> {
    let file = out.join(format!("dawn-{VERSION}-x86_64.tar.zst"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"]);
    tar.arg(format!("--mtime=@{epoch}")).args(["-I", "zstd -19", "-C"]).arg(&trees.main.root);
    run(tar.arg("-cf").arg(file).arg(".")).map(drop)
}

/// Writes the digests of all files of `out`.
pub(super) fn digests(out: &Path) -> Result<()> {
    let sums = run(Command::new("sha256sum").args(super::files(out)?).current_dir(out))?;
    let file = out.join(SUMS);
    fs::write(&file, sums).with_context(|| format!("cannot write {}", file.display()))
}

/// Signs the digests: `SHA256SUMS.sig`.
pub(super) fn sign(out: &Path, key: &Path) -> Result<()> {
    let mut signify = Command::new("signify-openbsd");
    signify.arg("-S").arg("-s").arg(key).arg("-m").arg(out.join(SUMS));
    run(signify.arg("-x").arg(out.join(format!("{SUMS}.sig")))).map(drop)
}
