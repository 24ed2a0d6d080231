//! The calls of `dnf` with an installation root.
//!
//! All settings come from a file of the build, so neither the machine's repositories nor its plugins take
//! part, unless the image has no `pkgdir` and the machine runs the same distribution. The package
//! database is written by the machine's librpm: its format is what the machine's rpm writes (SQLite since
//! rpm 4.16), which Enterprise Linux 8 and older cannot read.

use std::path::Path;

use super::rpmrepo;
use crate::genimage::GenimageError;
use crate::genimage::family::{Family, major, version};
use crate::genimage::plan::{Plan, Program, Request, Step};
use crate::pkglist::Pass;

/// dnf's settings, below the build directory.
const CONFIG: &str = "dnf.conf";
/// Macros of rpm, read from the home directory (rpm(8), FILES).
pub(super) const MACROS: &str = ".rpmmacros";
/// Where dnf keeps what it fetched, in the tree; removed after the build.
pub(in crate::genimage) const CACHE: &str = ".dawn-cache";

/// Plans the calls of dnf: one for each pass, and one for what is removed at last.
pub(in crate::genimage) fn plan(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let mut elements = request.def.pkgdir.clone();
    if elements.is_empty() {
        return Err(GenimageError::NoSource(request.def.osvers.clone()));
    }
    elements.extend(request.other_dirs(&rpmrepo::is_repository));
    let repositories = rpmrepo::repositories(&elements, &request.options.rpm_keys)?;
    let mut steps = Vec::new();
    for pass in request.all_passes() {
        steps.extend(step(request, pass, "remove", pass.remove_before.clone()));
        let groups = pass.groups.iter().map(|group| format!("@{group}"));
        steps.extend(step(request, pass, "install", pass.install.iter().cloned().chain(groups).collect()));
    }
    steps.extend(step(request, &Pass::default(), "remove", request.removed_at_last()));
    let sections: String = repositories.iter().map(|one| format!("\n{}", one.section())).collect();
    Ok(Plan {
        family: Family::Dnf,
        sources: repositories.iter().map(|one| format!("{} {}", one.id, one.url)).collect(),
        warnings: rpmrepo::warnings(&repositories),
        files: vec![(CONFIG, settings(request) + &sections), (MACROS, macros(&request.def.osvers))],
        steps,
        fingerprint: String::new(),
    })
}

fn settings(request: &Request<'_>) -> String {
    format!(
        "[main]\nreposdir={}\ncachedir=/{CACHE}\nplugins=0\ninstall_weak_deps=0\nkeepcache=0\n\
         best=0\nskip_if_unavailable=0\nlogdir=/{CACHE}\n",
        request.file("none")
    )
}

/// Settings of rpm. `/proc` and `/sys` are mounted while scripts run, so packages must not change them.
pub(super) fn macros(osvers: &str) -> String {
    format!("%_netsharedpath /proc:/sys:/dev\n%_dbpath {}\n", database(osvers))
}

/// Where the distribution's own rpm looks for its database.
fn database(osvers: &str) -> &'static str {
    let (name, major) = (osvers.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'), major(osvers));
    let is_moved = match name {
        "fedora" => major >= 36,
        "sles" | "sled" | "sle" | "opensuse-leap" | "opensuse" | "leap" => major >= 15,
        _ => major >= 10,
    };
    if is_moved { "/usr/lib/sysimage/rpm" } else { "/var/lib/rpm" }
}

/// A call of dnf, if there is something to do.
fn step(request: &Request<'_>, pass: &Pass, verb: &str, names: Vec<String>) -> Option<Step> {
    if names.is_empty() {
        return None;
    }
    let mut words: Vec<String> = ["dnf", "--assumeyes", "--config"].map(str::to_owned).into();
    words.push(request.file(CONFIG));
    words.push(format!("--installroot={}", request.root().display()));
    words.push(format!("--releasever={}", version(&request.def.osvers)));
    words.push(format!("--forcearch={}", architecture(&request.def.arch)));
    words.push(verb.to_owned());
    words.extend(names);
    Some(Step::Run(Program { env: environment(pass, &request.building), words, needs_mounts: true }))
}

/// The environment of a pass; rpm finds its macros in the home directory.
pub(super) fn environment(pass: &Pass, building: &Path) -> Vec<(String, String)> {
    let mut env = vec![("HOME".to_owned(), building.display().to_string())];
    env.extend(pass.env.iter().cloned());
    env
}

/// The architecture in RPM's spelling.
pub(super) fn architecture(arch: &str) -> &str {
    match arch {
        "amd64" => "x86_64",
        "x86" | "i386" => "i686",
        "arm64" => "aarch64",
        "ppc64el" => "ppc64le",
        "armhf" => "armv7hl",
        other => other,
    }
}
