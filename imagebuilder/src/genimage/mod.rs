//! genimage: from package lists to a root tree, a kernel and the two initramfs images.
//!
//! Steps: plan ([`plan()`]: lists, sources, kernel package, programs) → the package manager's programs
//! ([`tree`], planned by a back end for each [`Family`]) → fixed changes ([`customize`]) → postinstall
//! scripts → kernel → initramfs. Everything is built in `R/.building` and put into place by renaming at the
//! end, so an interrupted or failed build leaves the old image as it was. A failed build removes its files;
//! the next build removes those of a killed one. The tree that was in use is kept as `R/rootimg.<number>`:
//! nodes that run from it by NFS are not disturbed, and the daemon removes it when no node uses it any more.
//! Only one build at a time works on an image (lock file `R/.lock`).
//!
//! The library needs no daemon and no tables: it runs where the caller is (its network namespace, its apt
//! configuration), as root.
//!
//! Not done here: the initramfs itself, see [`crate::initramfs`].

mod backends;
mod customize;
mod family;
mod initrd;
mod kernel;
mod place;
mod plan;
mod stamp;
mod tree;

pub(crate) use backends::variable;
pub use backends::{dryrun, plan};
pub use family::Family;
pub use initrd::{Embedded, InitrdJob, MakeInitrd, is_of_another_build, made_at};
pub(crate) use kernel::find as find_kernel;
pub(crate) use place::lock;
pub use place::{pieces, remove_image, set_aside};
pub use plan::{Plan, Program, Step};

use dawn_wire::image::ROOT;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use dawn_cluster::Distribution;

use crate::exec::{self, ExecError};
use crate::image::{DefError, ImageDef};
use crate::initramfs::InitramfsError;
use crate::listfile::ListError;
use crate::oci::OciError;
use crate::pkglist::PkglistError;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GenimageError {
    /// The definition is not usable.
    #[error(transparent)]
    Def(#[from] DefError),
    /// A list could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A list has a line that cannot be understood.
    #[error(transparent)]
    Pkglist(#[from] PkglistError),
    /// No builder for this distribution.
    #[error("osvers '{0}' cannot be built: it begins with none of {known}", known = known_names())]
    Distribution(String),
    /// A directory of `pkgdir` holds no repository.
    #[error("{0} has no repository of RPM packages (no repodata/repomd.xml in it or two levels below)")]
    NoRepository(PathBuf),
    /// A container image brings its packages; lists or further sources have no effect.
    #[error("image {0} comes from a container image, which takes no package lists and no further pkgdir")]
    ContainerIsComplete(String),
    /// The machine's `apt-get` installs Debian packages, or there is none.
    #[error("images of ALT are built on ALT: this machine has no apt-get for RPM packages")]
    NotAlt,
    /// The container image could not be read or unpacked.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// Nowhere to take packages from.
    #[error("no package source for {0}")]
    NoSource(String),
    /// An element of `pkgdir` or `otherpkgdir` is neither a URL nor an absolute path.
    #[error("'{0}' is neither an absolute path nor a URL")]
    Pkgdir(String),
    /// A program failed.
    #[error("{step}: {source}")]
    Program {
        /// What was being done.
        step: String,
        /// The program's end.
        source: ExecError,
    },
    /// A file of the image could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another build works on the same image.
    #[error("another build of {0} is running")]
    Busy(PathBuf),
    /// The tree has no usable kernel.
    #[error("{0}")]
    Kernel(String),
    /// The initramfs could not be made.
    #[error("initramfs: {0}")]
    Initrd(#[source] InitramfsError),
    /// Something is still mounted in the remains of an earlier build.
    #[error("{0} has mounts in it that cannot be undone")]
    Mounted(PathBuf),
}

impl GenimageError {
    /// What the user can do about it, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            GenimageError::Program { source: ExecError::Start { source, program }, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                package_hint(program)
            }
            GenimageError::Program { source: ExecError::Failed { tail, .. }, .. } => output_hint(tail),
            GenimageError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk of rootimgdir is full")
            }
            GenimageError::NoRepository(_) => Some("make one with createrepo_c, or name the directory above"),
            GenimageError::ContainerIsComplete(_) => {
                Some("install packages in the container, or use postinstall")
            }
            GenimageError::NotAlt => Some(
                "build there and copy the image with imgexport, or use a container image of ALT as pkgdir",
            ),
            GenimageError::NoSource(_) => {
                Some("set linuximage.pkgdir to a mirror (http://…) or a local repository")
            }
            GenimageError::Kernel(_) => Some("name a linux-image package in the pkglist, or set kernelver"),
            _ => None,
        }
    }
}

fn known_names() -> String {
    Distribution::names().collect::<Vec<_>>().join(", ")
}

/// Which package brings a program that is missing.
fn package_hint(program: &str) -> Option<&'static str> {
    const PACKAGES: &[(&str, &str)] = &[
        ("mmdebstrap", "install the package mmdebstrap: `apt-get install mmdebstrap`"),
        ("dnf", "install the package dnf: `apt-get install dnf`"),
        ("zypper", "install the package zypper: `apt-get install zypper`"),
        ("rpm", "install the package rpm: `apt-get install rpm`"),
    ];
    PACKAGES.iter().find(|(name, _)| *name == program).map(|(_, hint)| *hint)
}

fn output_hint(output: &str) -> Option<&'static str> {
    const HINTS: &[(&str, &str)] = &[
        ("No space left on device", "the disk of rootimgdir is full"),
        (
            "Could not resolve",
            "the mirror's name cannot be resolved: is this machine (or network namespace) offline?",
        ),
        ("Could not connect", "the mirror cannot be reached: check the network, or the proxy in apt.conf"),
        ("Failed to fetch", "the mirror cannot be reached or is incomplete: check pkgdir and the network"),
        ("Unable to find a match", "a package of the pkglist does not exist in the repositories"),
        ("No provider of", "a package of the pkglist does not exist in the repositories"),
        ("Unable to locate package", "a package of the pkglist does not exist in the package sources"),
        (
            "NO_PUBKEY",
            "the mirror is signed with a key this machine does not have; add it to pkgdir as signed-by",
        ),
        ("Operation not permitted", "`genimage` must run as root"),
    ];
    HINTS.iter().find(|(text, _)| output.contains(text)).map(|(_, hint)| *hint)
}

/// What the caller wants besides the definition.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only make kernel and initramfs images from the tree that is there.
    pub only_initrd: bool,
    /// Do nothing if the tree was built from the same definition and lists.
    pub unless_changed: bool,
    /// apt's directory; a field so that tests can use another one.
    pub etc_apt: PathBuf,
    /// mmdebstrap's `--variant`.
    pub variant: String,
    /// Key rings for sources without `signed-by`.
    pub keyrings: Vec<PathBuf>,
    /// Components for `pkgdir` mirrors (`main`).
    pub components: Vec<String>,
    /// Directory of keys that sign RPM packages.
    pub rpm_keys: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only_initrd: false,
            unless_changed: false,
            etc_apt: "/etc/apt".into(),
            variant: "minbase".to_owned(),
            keyrings: Vec::new(),
            components: vec!["main".to_owned()],
            rpm_keys: "/etc/pki/rpm-gpg".into(),
        }
    }
}

/// What a build did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The image is in place.
    Built {
        /// Kernel release of the image.
        kernel: String,
    },
    /// Nothing to do: tree and initramfs images were built from the same definition.
    Unchanged,
}

/// The fingerprint of the tree that is in place, if a build left one.
pub fn built_fingerprint(def: &ImageDef) -> Option<String> {
    stamp::read(&def.paths().dir, stamp::TREE)
}

/// Build the image. Lines of progress go to `line`.
pub fn run(
    def: &ImageDef,
    options: &Options,
    maker: &dyn MakeInitrd,
    line: &mut dyn FnMut(&str),
) -> Result<Outcome, GenimageError> {
    def.check()?;
    let paths = def.paths();
    fs::create_dir_all(&paths.dir).map_err(|source| file_error(&paths.dir, source))?;
    let _lock = place::lock(&paths.dir)?;
    if options.only_initrd {
        return initrd::make(def, &paths.rootimg, &paths.dir, maker, line);
    }
    let plan = plan(def, options)?;
    let same = built_fingerprint(def).as_ref() == Some(&plan.fingerprint) && paths.rootimg.is_dir();
    if options.unless_changed && same {
        line(&format!("{} is up to date.", paths.rootimg.display()));
        return match initrd::current(def, maker) {
            true => Ok(Outcome::Unchanged),
            false => initrd::make(def, &paths.rootimg, &paths.dir, maker, line),
        };
    }
    let building = place::fresh(&paths.dir)?;
    let outcome = build(def, &plan, &building, maker, line);
    if outcome.is_err()
        && let Err(error) = place::remove_tree(&building)
    {
        line(&format!("Warning: {} is left over: {error}", building.display()));
    }
    let outcome = outcome?;
    line(&format!("The image is in {}.", paths.dir.display()));
    Ok(outcome)
}

/// Build in `building` and put the result into its place.
fn build(
    def: &ImageDef,
    plan: &Plan,
    building: &Path,
    maker: &dyn MakeInitrd,
    line: &mut dyn FnMut(&str),
) -> Result<Outcome, GenimageError> {
    let rootimg = building.join(ROOT);
    tree::install(def, plan, building, line)?;
    line("Setting up the tree for network boot.");
    customize::apply(def, &rootimg)?;
    postinstall(def, building, line)?;
    let outcome = initrd::make(def, &rootimg, building, maker, line)?;
    stamp::write(building, stamp::TREE, &plan.fingerprint)?;
    place::publish(building, &def.paths().dir, def.permission)?;
    Ok(outcome)
}

/// Run the postinstall scripts, directly and one after the other.
fn postinstall(def: &ImageDef, building: &Path, line: &mut dyn FnMut(&str)) -> Result<(), GenimageError> {
    let kernel = kernel::find(&building.join(ROOT), def.kernelver.as_deref()).map(|k| k.release);
    for script in &def.postinstall {
        let mut words = script.split_whitespace();
        let Some(program) = words.next() else { continue };
        line(&format!("Running postinstall script {script}"));
        let mut command = Command::new(program);
        command.arg(building.join(ROOT)).args([&def.osvers, &def.arch, &def.profile]).args(words);
        command.envs(environment(def, building, kernel.as_deref().unwrap_or_default()));
        exec::run(&mut command, line)
            .map_err(|source| GenimageError::Program { step: format!("postinstall {script}"), source })?;
    }
    Ok(())
}

/// What postinstall scripts find in their environment.
fn environment(def: &ImageDef, building: &Path, kernel: &str) -> Vec<(&'static str, String)> {
    let list =
        |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(",");
    vec![
        ("IMG_NAME", def.name.clone()),
        ("IMG_ARCH", def.arch.clone()),
        ("IMG_OSVER", def.osvers.clone()),
        ("IMG_KERNELVERSION", def.kernelver.clone().unwrap_or_else(|| kernel.to_owned())),
        ("IMG_PROFILE", def.profile.clone()),
        ("IMG_PKGLIST", list(&def.pkglist)),
        ("IMG_PKGDIR", def.pkgdir.join(",")),
        ("IMG_OTHERPKGLIST", list(&def.otherpkglist)),
        ("IMG_OTHERPKGDIR", def.otherpkgdir.join(",")),
        ("IMG_ROOTIMGDIR", building.display().to_string()),
    ]
}

fn file_error(path: &Path, source: io::Error) -> GenimageError {
    GenimageError::File { path: path.to_owned(), source }
}
