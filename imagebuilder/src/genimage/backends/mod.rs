//! How a distribution is installed into a tree: one back end for each kind of package manager.
//!
//! A back end only plans: it says which files its programs read and which programs run in which order
//! ([`Plan`]). Running them is the same for all.

pub(super) mod aptrpm;
mod deb;
pub(super) mod dnf;
mod rpmrepo;
mod zypper;

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::family::Family;
use super::plan::{Plan, Request, Step};
use super::{GenimageError, Options, place, stamp};
use crate::image::ImageDef;
use crate::listfile;
use crate::oci;
use crate::pkglist::{self, Pass};

/// Works out what a build of `def` does. Reads lists and package sources, changes nothing.
///
/// # Errors
/// When the definition, a list, or the sources cannot be used.
pub fn plan(def: &ImageDef, options: &Options) -> Result<Plan, GenimageError> {
    def.check()?;
    let family = Family::of(def)?;
    let request = request(def, options, family)?;
    let mut plan = match family {
        Family::Deb => deb::plan(&request),
        Family::Dnf => dnf::plan(&request),
        Family::Zypper => zypper::plan(&request),
        Family::AptRpm => aptrpm::plan(&request),
        Family::Oci => unpacking(&request),
    }?;
    plan.fingerprint = stamp::fingerprint(def, options, &plan);
    Ok(plan)
}

/// The lines of a dry run.
///
/// # Errors
/// As [`plan`].
pub fn dryrun(def: &ImageDef, options: &Options) -> Result<Vec<String>, GenimageError> {
    let plan = plan(def, options)?;
    let mut lines: Vec<String> = plan.steps.iter().map(Step::line).collect();
    lines.extend(plan.sources.iter().map(|source| format!("  {source}")));
    lines.extend(plan.warnings.iter().map(|text| format!("  Warning: {text}")));
    lines.extend(def.postinstall.iter().map(|script| format!("  then {script}")));
    Ok(lines)
}

fn request<'a>(
    def: &'a ImageDef,
    options: &'a Options,
    family: Family,
) -> Result<Request<'a>, GenimageError> {
    let mut passes = passes(def, &def.pkglist, family.default_pkglist())?;
    if family != Family::Oci {
        add_kernel(&mut passes, def, family)?;
    }
    let (others, subdirs) = other_passes(def)?;
    Ok(Request { def, options, building: place::building(&def.paths().dir), passes, others, subdirs })
}

/// A container image has its packages already.
fn unpacking(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let def = request.def;
    let Some(reference) = def.pkgdir.first() else {
        return Err(GenimageError::NoSource(def.osvers.clone()));
    };
    if request.all_passes().next().is_some() || def.pkgdir.len() > 1 {
        return Err(GenimageError::ContainerIsComplete(def.name.clone()));
    }
    let reference = oci::Reference::parse(reference)?;
    // The digest identifies the content: another image under the same name is another build.
    let digest = reference.digest(&def.arch)?;
    Ok(Plan {
        family: Family::Oci,
        sources: vec![format!("{reference} {digest}")],
        warnings: Vec::new(),
        files: Vec::new(),
        steps: vec![Step::Unpack(reference)],
        fingerprint: String::new(),
    })
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

/// Other packages by plain name, and the directories that contain them: those become sources.
fn other_passes(def: &ImageDef) -> Result<(Vec<Pass>, BTreeSet<String>), GenimageError> {
    let mut others = passes(def, &def.otherpkglist, "")?;
    let mut subdirs = BTreeSet::new();
    for name in others.iter_mut().flat_map(|pass| &mut pass.install) {
        if let Some((dir, base)) = name.rsplit_once('/') {
            subdirs.insert(dir.to_owned());
            *name = base.to_owned();
        }
    }
    Ok((others, subdirs))
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

/// Makes sure that the first pass installs a kernel.
fn add_kernel(passes: &mut Vec<Pass>, def: &ImageDef, family: Family) -> Result<(), GenimageError> {
    let is_named = passes.iter().flat_map(|pass| &pass.install).any(|name| family.is_kernel(name));
    let package = match &def.kernelver {
        Some(version) => kernel_of_version(family, version),
        None if is_named => return Ok(()),
        None => default_kernel(def, family)?,
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

/// The package of a kernel release.
fn kernel_of_version(family: Family, release: &str) -> String {
    match family {
        Family::Deb => format!("linux-image-{release}"),
        // The release is `5.14.0-503.el9.x86_64`, which dnf reads as version, release and architecture.
        Family::Dnf => format!("kernel-{release}"),
        Family::Zypper => format!("kernel-default-{}", release.trim_end_matches("-default")),
        // `6.1.90-un-def-alt1`: version, flavour, release of the package.
        Family::AptRpm => match release.split_once('-').and_then(|(_, rest)| rest.rsplit_once('-')) {
            Some((flavour, _)) => format!("kernel-image-{flavour}"),
            None => format!("kernel-image-{release}"),
        },
        Family::Oci => String::new(),
    }
}

fn default_kernel(def: &ImageDef, family: Family) -> Result<String, GenimageError> {
    let name = match (family, def.debian_arch()?) {
        (Family::Dnf, _) => "kernel",
        (Family::Zypper, _) => "kernel-default",
        (Family::AptRpm, _) => "kernel-image-un-def",
        (_, "amd64") => "linux-image-cloud-amd64",
        (_, "i386") => "linux-image-686",
        (_, "armhf") => "linux-image-armmp",
        (_, "ppc64el") => "linux-image-powerpc64le",
        (_, arch) => return Ok(format!("linux-image-{arch}")),
    };
    Ok(name.to_owned())
}
