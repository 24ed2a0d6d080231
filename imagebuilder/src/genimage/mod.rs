//! genimage: from package lists to a root tree, a kernel and the two initramfs images.
//!
//! Steps: plan (pure: lists, sources, kernel package) → `mmdebstrap` ([`bootstrap`]) → fixed changes
//! ([`customize`]) → postinstall scripts → kernel → initramfs. Everything is built in `R/.building` and put
//! into place by renaming at the end, so an interrupted or failed build leaves the old image as it was. A
//! failed build removes what it made, the remains of a killed one go with the next. The tree that was in use
//! is kept as `R/rootimg.<number>`: nodes that run from it by NFS go on undisturbed, and the daemon removes
//! it when none does any more. One build at a time works on an image (lock file `R/.lock`).
//!
//! The library needs no daemon and no tables: it runs where the caller is (its network namespace, its apt
//! configuration), as root.
//!
//! Not done here: the initramfs itself, see [`crate::initramfs`].

mod bootstrap;
mod customize;
mod initrd;
mod kernel;
mod place;
mod stamp;

pub use initrd::{Embedded, InitrdJob, MakeInitrd, is_of_another_build, made_at};
pub(crate) use place::lock;
pub use place::{pieces, remove_image, set_aside};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::aptsource::{self, Source};
use crate::exec::{self, ExecError};
use crate::image::{DefError, ImageDef};
use crate::listfile::{self, ListError};
use crate::pkglist::{self, Pass, PkglistError};

/// The package list used when `linuximage.pkglist` is empty.
pub const DEFAULT_PKGLIST: &str = include_str!("../../share/debian.compute.pkglist");

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
    #[error("osvers '{0}' cannot be built: only Debian and Ubuntu releases are known")]
    Distribution(String),
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
    Initrd(String),
    /// Something is still mounted in the remains of an earlier build.
    #[error("{0} has mounts in it that cannot be undone")]
    Mounted(PathBuf),
}

impl GenimageError {
    /// What the user can do about it, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            GenimageError::Program { source: ExecError::Start { source, program }, .. }
                if source.kind() == io::ErrorKind::NotFound && program == "mmdebstrap" =>
            {
                Some("install the package mmdebstrap: apt-get install mmdebstrap")
            }
            GenimageError::Program { source: ExecError::Failed { tail, .. }, .. } => output_hint(tail),
            GenimageError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk of rootimgdir is full")
            }
            GenimageError::NoSource(_) => {
                Some("set linuximage.pkgdir to a mirror (http://…) or a local repository")
            }
            GenimageError::Kernel(_) => Some("name a linux-image package in the pkglist, or set kernelver"),
            _ => None,
        }
    }
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
        ("Unable to locate package", "a package of the pkglist does not exist in the package sources"),
        (
            "NO_PUBKEY",
            "the mirror is signed with a key this machine does not have; add it to pkgdir as signed-by",
        ),
        ("Operation not permitted", "genimage must run as root"),
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

/// All that a build will do, computed beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Code name of the release.
    pub suite: String,
    /// Package sources, the first one with the distribution.
    pub sources: Vec<Source>,
    /// Install passes with the kernel package in the first.
    pub passes: Vec<Pass>,
    /// Passes of the other packages.
    pub other: Vec<Pass>,
    /// A hash of all that goes into the tree: definition, lists, scripts, sources.
    pub fingerprint: String,
}

/// Work out what a build of `def` does. Reads lists and apt sources, changes nothing.
pub fn plan(def: &ImageDef, options: &Options) -> Result<Plan, GenimageError> {
    def.check()?;
    let suite =
        aptsource::codename(&def.osvers).ok_or_else(|| GenimageError::Distribution(def.osvers.clone()))?;
    let sources = sources(def, options, suite)?;
    let mut passes = passes(def, &def.pkglist, DEFAULT_PKGLIST)?;
    add_kernel(&mut passes, def)?;
    let other = passes_of_others(def)?;
    let mut plan = Plan { suite: suite.to_owned(), sources, passes, other, fingerprint: String::new() };
    plan.fingerprint = stamp::fingerprint(def, options, &plan);
    Ok(plan)
}

/// The command line of the build, for `--dryrun`.
pub fn dryrun(def: &ImageDef, options: &Options) -> Result<Vec<String>, GenimageError> {
    let plan = plan(def, options)?;
    let target = def.paths().dir.join(".building/rootimg");
    let mut words = vec!["mmdebstrap".to_owned()];
    words.extend(bootstrap::arguments(def, options, &plan, &target, &[])?);
    let mut lines = vec![words.iter().map(|word| bootstrap::quoted(word)).collect::<Vec<_>>().join(" ")];
    lines.extend(plan.sources.iter().map(|source| format!("  {}", source.line())));
    lines.extend(def.postinstall.iter().map(|script| format!("  then {script}")));
    Ok(lines)
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
    let outcome = build(def, options, &plan, &building, maker, line);
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
    options: &Options,
    plan: &Plan,
    building: &Path,
    maker: &dyn MakeInitrd,
    line: &mut dyn FnMut(&str),
) -> Result<Outcome, GenimageError> {
    let rootimg = building.join("rootimg");
    bootstrap::run(def, options, plan, building, line)?;
    line("Setting up the tree for network boot.");
    customize::apply(def, &rootimg)?;
    postinstall(def, building, line)?;
    let outcome = initrd::make(def, &rootimg, building, maker, line)?;
    stamp::write(building, stamp::TREE, &plan.fingerprint)?;
    place::publish(building, &def.paths().dir, def.permission)?;
    Ok(outcome)
}

fn sources(def: &ImageDef, options: &Options, suite: &str) -> Result<Vec<Source>, GenimageError> {
    let mut all = Vec::new();
    if def.pkgdir.is_empty() {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let own = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let ours =
            format!("{}/", release.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default());
        // A mirror of another distribution has no such release: better no source than a wrong one.
        if format!("{}/", def.osvers.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')) == ours {
            all = aptsource::of_machine(&options.etc_apt, suite, own);
        }
        if all.is_empty() {
            return Err(GenimageError::NoSource(format!("{} ({suite})", def.osvers)));
        }
    }
    for element in &def.pkgdir {
        let mut source =
            aptsource::from_pkgdir(element, suite).ok_or_else(|| GenimageError::Pkgdir(element.clone()))?;
        if source.components == ["main"] {
            source.components = options.components.clone();
        }
        all.push(source);
    }
    all.extend(other_sources(def, suite)?);
    Ok(all)
}

/// Repositories of `otherpkgdir`: URLs, the local directory, and its sub-directories named in the lists.
fn other_sources(def: &ImageDef, suite: &str) -> Result<Vec<Source>, GenimageError> {
    let source = |element: &str| {
        aptsource::from_pkgdir(element, suite).ok_or_else(|| GenimageError::Pkgdir(element.to_owned()))
    };
    let mut all = Vec::new();
    let subdirs: std::collections::BTreeSet<String> = passes(def, &def.otherpkglist, "")?
        .iter()
        .flat_map(|pass| &pass.install)
        .filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned()))
        .collect();
    for element in &def.otherpkgdir {
        let dir = Path::new(element);
        if !dir.is_absolute()
            || ["Packages", "Packages.gz", "Packages.xz", "dists"].iter().any(|n| dir.join(n).exists())
        {
            all.push(source(element)?);
        }
        for sub in subdirs.iter().filter(|_| dir.is_absolute()) {
            all.push(source(&format!("{}/{sub}", element.trim_end_matches('/')))?);
        }
    }
    Ok(all)
}

fn passes(def: &ImageDef, files: &[PathBuf], default: &str) -> Result<Vec<Pass>, GenimageError> {
    let mut lines: Vec<String> = Vec::new();
    for file in files {
        lines.extend(listfile::load(file, &|name| variable(def, name))?);
    }
    if files.is_empty() {
        lines.extend(default.lines().map(str::to_owned));
    }
    Ok(pkglist::parse(lines.iter().map(String::as_str))?)
}

/// Other packages by plain name: their directory has become a source.
fn passes_of_others(def: &ImageDef) -> Result<Vec<Pass>, GenimageError> {
    let mut other = passes(def, &def.otherpkglist, "")?;
    for name in other.iter_mut().flat_map(|pass| &mut pass.install) {
        if let Some((_, base)) = name.rsplit_once('/') {
            *name = base.to_owned();
        }
    }
    Ok(other)
}

/// Variables of `#INCLUDE:` lines.
pub(crate) fn variable(def: &ImageDef, name: &str) -> Option<String> {
    match name {
        "INSTALLDIR" => Some(def.installdir.display().to_string()),
        "OSVER" | "osver" => Some(def.osvers.clone()),
        "ARCH" | "arch" => Some(def.arch.clone()),
        "PROFILE" | "profile" => Some(def.profile.clone()),
        _ => None,
    }
}

/// Make sure the first pass installs a kernel.
fn add_kernel(passes: &mut Vec<Pass>, def: &ImageDef) -> Result<(), GenimageError> {
    let named = passes.iter().flat_map(|pass| &pass.install).any(|name| name.starts_with("linux-image-"));
    let package = match (&def.kernelver, def.debian_arch()?) {
        (Some(version), _) => format!("linux-image-{version}"),
        (None, _) if named => return Ok(()),
        (None, "amd64") => "linux-image-cloud-amd64".to_owned(),
        (None, "i386") => "linux-image-686".to_owned(),
        (None, "armhf") => "linux-image-armmp".to_owned(),
        (None, "ppc64el") => "linux-image-powerpc64le".to_owned(),
        (None, arch) => format!("linux-image-{arch}"),
    };
    if passes.is_empty() {
        passes.push(Pass::default());
    }
    if let Some(first) = passes.first_mut()
        && !first.install.contains(&package)
    {
        first.install.push(package);
    }
    Ok(())
}

/// Run the postinstall scripts, directly and one after the other.
fn postinstall(def: &ImageDef, building: &Path, line: &mut dyn FnMut(&str)) -> Result<(), GenimageError> {
    let kernel = kernel::find(&building.join("rootimg"), def.kernelver.as_deref()).map(|k| k.release);
    for script in &def.postinstall {
        let mut words = script.split_whitespace();
        let Some(program) = words.next() else { continue };
        line(&format!("Running postinstall script {script}"));
        let mut command = Command::new(program);
        command.arg(building.join("rootimg")).args([&def.osvers, &def.arch, &def.profile]).args(words);
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
