//! A kernel for hardware, which the image of the other tests does not have: Debian's `linux-image-amd64`,
//! fetched and unpacked once, not installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::{paths, process};

/// The package that depends on the newest kernel.
const PACKAGE: &str = "linux-image-amd64";
/// Name of the image whose tree has that kernel and nothing else.
pub const IMAGE: &str = "kernel";

/// Defines [`IMAGE`] in the cluster.
pub fn provide(cluster: &Cluster) -> Result<()> {
    let dir = tree()?;
    let own = [format!("rootimgdir={}", dir.display())];
    let words = ["mkdef", "-f", "-t", "osimage", "-o", IMAGE, "provmethod=netboot", "imagetype=linux"];
    let same = ["osname=Linux", "osvers=debian12", "osarch=x86_64", "profile=kernel"];
    cluster.dawn(words.iter().chain(&same).copied().chain(own.iter().map(String::as_str))).map(drop)
}

/// The directory with the tree `rootimg`.
fn tree() -> Result<PathBuf> {
    let package = dependency()?;
    let dir = paths::image_cache().join(&package);
    let complete = dir.join("complete");
    if complete.exists() {
        return Ok(dir);
    }
    let root = dir.join("rootimg");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let lock_path = dir.join("lock");
    let lock =
        fs::File::create(&lock_path).with_context(|| format!("cannot make {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
    if !complete.exists() {
        process::run(Command::new("apt-get").args(["download", &package]).current_dir(&dir))?;
        let unpack = "dpkg-deb -x linux-image-*.deb rootimg && depmod -b rootimg \"$0\"";
        let version = package.trim_start_matches("linux-image-");
        process::run(Command::new("sh").args(["-c", unpack, version]).current_dir(&dir))?;
        fs::write(&complete, "").with_context(|| format!("cannot write {}", complete.display()))?;
    }
    Ok(dir)
}

fn dependency() -> Result<String> {
    let text = process::run(Command::new("apt-cache").args(["depends", "--important", PACKAGE]))?;
    let found = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    found.map(str::to_owned).with_context(|| format!("{PACKAGE} is not in the package sources: {text}"))
}
