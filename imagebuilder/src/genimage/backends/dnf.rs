//! The calls of `dnf` with an installation root.
//!
//! All settings come from a file of the build, so the machine's repositories and plugins are not used. The
//! package database is written by the machine's librpm: its format is that of the machine's rpm (SQLite since
//! rpm 4.16), which Enterprise Linux 8 and older cannot read.

use std::path::Path;

use dawn_cluster::{Distribution, os_major, os_version};

use super::rpmrepo;
use crate::genimage::GenimageError;
use crate::genimage::family::Family;
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
    let repositories = rpmrepo::of_request(request)?;
    let call = |pass: &Pass, verb: &str, names: Vec<String>| step(request, pass, verb, names);
    let steps = request.calls(&|group| format!("@{group}"), &call);
    let sections: String = repositories.iter().map(|one| format!("\n{}", one.section())).collect();
    Ok(Plan {
        family: Family::Dnf,
        sources: rpmrepo::lines(&repositories),
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
    let moved = match Distribution::of(osvers) {
        Some(Distribution::Suse) => 15,
        _ if osvers.starts_with("fedora") => 36,
        _ => 10,
    };
    if os_major(osvers) >= moved { "/usr/lib/sysimage/rpm" } else { "/var/lib/rpm" }
}

/// A call of dnf.
fn step(request: &Request<'_>, pass: &Pass, verb: &str, names: Vec<String>) -> Step {
    let mut words: Vec<String> = ["dnf", "--assumeyes", "--config"].map(str::to_owned).into();
    words.push(request.file(CONFIG));
    words.push(format!("--installroot={}", request.root().display()));
    words.push(format!("--releasever={}", os_version(&request.def.osvers)));
    words.push(format!("--forcearch={}", architecture(&request.def.arch)));
    words.push(verb.to_owned());
    words.extend(names);
    program(request, pass, words)
}

/// A program that runs the scripts of packages.
pub(super) fn program(request: &Request<'_>, pass: &Pass, words: Vec<String>) -> Step {
    Step::Run(Program { env: environment(pass, &request.building), words, needs_mounts: true })
}

/// The environment of a pass; rpm finds its macros in the home directory.
fn environment(pass: &Pass, building: &Path) -> Vec<(String, String)> {
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
