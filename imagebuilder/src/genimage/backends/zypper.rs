//! The calls of `zypper` with an installation root.
//!
//! Repositories come from a directory of the build, so the machine's own take no part. What zypper fetches
//! goes into the tree and is removed after the build.

use super::{dnf, rpmrepo};
use crate::genimage::plan::{Plan, Program, Request, Step};
use crate::genimage::{GenimageError, family::Family};
use crate::pkglist::Pass;

/// The repositories, below the build directory.
const REPOSITORIES: &str = "repos.d/dawn.repo";

/// Plans the calls of zypper: one for each pass, and one for what is removed at last.
pub(in crate::genimage) fn plan(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let mut elements = request.def.pkgdir.clone();
    if elements.is_empty() {
        return Err(GenimageError::NoSource(request.def.osvers.clone()));
    }
    elements.extend(request.other_dirs(&rpmrepo::is_repository));
    let repositories = rpmrepo::repositories(&elements, &request.options.rpm_keys)?;
    let is_verified = repositories.iter().all(|one| !one.keys.is_empty());
    let mut steps = Vec::new();
    for pass in request.all_passes() {
        steps.extend(step(request, pass, is_verified, "remove", pass.remove_before.clone()));
        let patterns = pass.groups.iter().map(|group| format!("pattern:{group}"));
        let names = pass.install.iter().cloned().chain(patterns).collect();
        steps.extend(step(request, pass, is_verified, "install", names));
    }
    steps.extend(step(request, &Pass::default(), is_verified, "remove", request.removed_at_last()));
    Ok(Plan {
        family: Family::Zypper,
        sources: repositories.iter().map(|one| format!("{} {}", one.id, one.url)).collect(),
        warnings: rpmrepo::warnings(&repositories),
        files: vec![
            (
                REPOSITORIES,
                repositories.iter().map(rpmrepo::Repository::section).collect::<Vec<_>>().join("\n"),
            ),
            (dnf::MACROS, dnf::macros(&request.def.osvers)),
        ],
        steps,
        fingerprint: String::new(),
    })
}

/// A call of zypper, if there is something to do.
fn step(
    request: &Request<'_>,
    pass: &Pass,
    is_verified: bool,
    verb: &str,
    names: Vec<String>,
) -> Option<Step> {
    if names.is_empty() {
        return None;
    }
    let mut words: Vec<String> = ["zypper", "--non-interactive"].map(str::to_owned).into();
    words.extend((!is_verified).then(|| "--no-gpg-checks".to_owned()));
    words.push("--root".to_owned());
    words.push(request.root().display().to_string());
    words.push("--reposd-dir".to_owned());
    words.push(request.file("repos.d"));
    words.push(verb.to_owned());
    if verb == "install" {
        words.extend(["--no-recommends", "--auto-agree-with-licenses"].map(str::to_owned));
    }
    words.extend(names);
    Some(Step::Run(Program { env: dnf::environment(pass, &request.building), words, needs_mounts: true }))
}
