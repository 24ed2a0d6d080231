//! The image all machines boot: a small Debian, built once by the appliance's own commands and then shared.
//!
//! Building takes minutes, so the finished tree is kept in a cache under a fingerprint of everything that
//! decides what comes out: the recipe in `tests/qemu/image`, and the sources of the image builder and of
//! `/init`. A cluster gets the tree as hard links, which costs neither time nor space; the daemon must not
//! write into an image anyway, and a test checks that it does not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::net::SERVER;
use crate::process::run;
use crate::{fingerprint, paths};

/// Name of the image whose root is a squashfs in memory.
pub const STATELESS: &str = "debian12-x86_64-netboot-compute";
/// Name of the image whose root is the tree over NFS.
pub const STATELITE: &str = "debian12-x86_64-statelite-compute";
/// Where the image lives below `installdir`.
pub const ROOTIMGDIR: &str = "netboot/debian12/x86_64/compute";
/// Below `installdir`: what statelite nodes keep.
pub const STATE: &str = "state";

/// The recipe and the cache entry it leads to.
#[derive(Debug)]
pub struct TestImage {
    recipe: PathBuf,
    cache: PathBuf,
}

impl TestImage {
    /// Finds the cache entry for the sources as they are.
    pub fn new() -> Result<Self> {
        let workspace = paths::workspace();
        let recipe = workspace.join("tests/qemu/image");
        let crates = ["imagebuilder/src", "initrd-init/src", "wire/src", "serving/src"];
        let sources = crates.map(|path| workspace.join(path));
        let key = fingerprint::of_sources(sources.iter().chain([&recipe]).map(PathBuf::as_path))?;
        Ok(Self { recipe, cache: paths::image_cache().join(format!("{key:016x}")) })
    }

    /// Whether a build can be skipped.
    pub fn is_cached(&self) -> bool {
        self.cache.join("complete").exists()
    }

    /// Defines both images in the cluster and puts the built tree into place, building it if need be. Only
    /// one process builds; the others wait and then share the result.
    pub fn provide(&self, cluster: &Cluster, progress: &mut dyn FnMut(&str)) -> Result<()> {
        self.define(cluster)?;
        let lock = self.lock()?;
        if !self.is_cached() {
            self.build(cluster, progress)?;
        } else {
            progress("the image is in the cache");
            link_tree(&self.cache.join("image"), &cluster.install_dir().join(ROOTIMGDIR))?;
        }
        drop(lock);
        Ok(())
    }

    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.cache).with_context(|| format!("cannot make {}", self.cache.display()))?;
        let path = self.cache.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    fn define(&self, cluster: &Cluster) -> Result<()> {
        let file = |kind: &str, name: &str| format!("{kind}={}", self.recipe.join(name).display());
        let rootimgdir = format!("rootimgdir={}", cluster.install_dir().join(ROOTIMGDIR).display());
        let lists = [
            file("pkglist", "compute.pkglist"),
            file("exlist", "compute.exlist"),
            file("postinstall", "compute.postinstall"),
        ];
        let same = ["imagetype=linux", "osname=Linux", "osvers=debian12", "osarch=x86_64", "profile=compute"];
        for (name, method) in [(STATELESS, "provmethod=netboot"), (STATELITE, "provmethod=statelite")] {
            let mut args = vec!["mkdef", "-f", "-t", "osimage", "-o", name, method, &rootimgdir];
            args.extend(same);
            args.extend(lists.iter().map(String::as_str));
            cluster.dawn(args)?;
        }
        self.define_statelite(cluster)
    }

    /// Which files of a statelite node are its own, and where it keeps them.
    fn define_statelite(&self, cluster: &Cluster) -> Result<()> {
        let path = self.recipe.join("litefile.csv");
        let list = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (file, options) in
            list.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split_once(','))
        {
            let row = format!("image={STATELITE},file={file}");
            cluster.dawn(["chtab", &row, &format!("litefile.options={options}")])?;
        }
        let state = cluster.install_dir().join(STATE);
        fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
        let statemnt = format!("statelite.statemnt={SERVER}:/install/{STATE}");
        cluster.dawn(["chtab", "node=compute", &statemnt]).map(drop)
    }

    fn build(&self, cluster: &Cluster, progress: &mut dyn FnMut(&str)) -> Result<()> {
        progress("genimage: installing Debian with mmdebstrap from this machine's package sources (minutes)");
        run(&mut cluster.outside_command(["genimage", STATELESS]))?;
        progress("packimage: packing the tree as a squashfs");
        run(&mut cluster.outside_command(["packimage", "-m", "squashfs", STATELESS]))?;
        let _ = fs::remove_dir_all(self.cache.join("image"));
        link_tree(&cluster.install_dir().join(ROOTIMGDIR), &self.cache.join("image"))?;
        let mark = self.cache.join("complete");
        fs::write(&mark, "").with_context(|| format!("cannot write {}", mark.display()))
    }
}

/// Copies a tree as hard links, over what may be there already.
fn link_tree(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    run(Command::new("cp").arg("-al").arg(from).arg(to)).map(drop)
}
