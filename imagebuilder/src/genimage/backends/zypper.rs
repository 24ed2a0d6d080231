//! The calls of `zypper` with an installation root.
//!
//! Repositories come from a directory of the build, so the machine's own take no part. What zypper fetches
//! goes into the tree and is removed after the build.

use super::{dnf, rpmrepo};
use crate::genimage::plan::{Plan, Request, Step};
use crate::genimage::{GenimageError, family::Family};
use crate::pkglist::Pass;

/// The repositories, below the build directory.
const REPOSITORIES: &str = "repos.d/dawn.repo";

/// Plans the calls of zypper: one for each pass, and one for what is removed at last.
pub(in crate::genimage) fn plan(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let repositories = rpmrepo::of_request(request)?;
    let is_verified = repositories.iter().all(|one| !one.keys.is_empty());
    let call = |pass: &Pass, verb: &str, names: Vec<String>| step(request, pass, is_verified, verb, names);
    let steps = request.calls(&|group| format!("pattern:{group}"), &call);
    Ok(Plan {
        family: Family::Zypper,
        sources: rpmrepo::lines(&repositories),
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

/// A call of zypper.
fn step(request: &Request<'_>, pass: &Pass, is_verified: bool, verb: &str, names: Vec<String>) -> Step {
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
    dnf::program(request, pass, words)
}
