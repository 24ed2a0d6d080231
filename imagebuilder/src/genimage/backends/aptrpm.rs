//! The calls of ALT's `apt-get`, which installs RPM packages.
//!
//! Package sources are the lines of the file that `site.aptsrclist_<arch>` names, or of `pkgdir`. Only
//! the `apt-get` of ALT knows an RPM root; Debian's would install into the machine itself, so its
//! kind is checked before it runs.

use std::fs;
use std::path::Path;

use super::dnf;
use crate::exec;
use crate::genimage::plan::{Plan, Request, Step};
use crate::genimage::{GenimageError, family::Family, file_error};
use crate::pkglist::Pass;

/// The package sources, below the build directory.
const SOURCES: &str = "sources.list";

/// Plans the calls of apt-get: one for the lists, one for each pass, and one for what is removed at last.
pub(in crate::genimage) fn plan(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let sources = sources(request)?;
    let root = request.root().display().to_string();
    let database = ["rpm", "--root", &root, "--initdb"].map(str::to_owned).into();
    let call = |pass: &Pass, verb: &str, names: Vec<String>| step(request, pass, verb, names);
    let first = Pass::default();
    let mut steps = vec![dnf::program(request, &first, database), call(&first, "update", Vec::new())];
    steps.extend(request.calls(&str::to_owned, &call));
    Ok(Plan {
        family: Family::AptRpm,
        files: vec![(SOURCES, sources.iter().map(|line| format!("{line}\n")).collect())],
        sources,
        warnings: Vec::new(),
        steps,
        fingerprint: String::new(),
    })
}

/// Refuses an `apt-get` that is not ALT's.
///
/// # Errors
/// [`GenimageError::NotAlt`].
pub(in crate::genimage) fn check_machine() -> Result<(), GenimageError> {
    match exec::output("apt-get", &["--version"]) {
        Some(text) if text.contains("RPM") => Ok(()),
        _ => Err(GenimageError::NotAlt),
    }
}

fn sources(request: &Request<'_>) -> Result<Vec<String>, GenimageError> {
    let mut lines = Vec::new();
    if let Some(file) = &request.def.aptsrclist {
        let text = fs::read_to_string(file).map_err(|source| file_error(file, source))?;
        let is_source = |line: &&str| line.starts_with("rpm ") || line.starts_with("rpm-dir ");
        lines.extend(text.lines().map(str::trim).filter(is_source).map(str::to_owned));
    }
    let is_repository = |dir: &Path| dir.join("base").is_dir() || dir.join(arch(request)).is_dir();
    for element in request.def.pkgdir.iter().cloned().chain(request.other_dirs(&is_repository)) {
        lines.push(source(request, element.trim())?);
    }
    if lines.is_empty() {
        return Err(GenimageError::NoSource(request.def.osvers.clone()));
    }
    Ok(lines)
}

/// A whole `rpm …` line, a URL or a directory: the components are the `RPMS.<name>` directories in it.
fn source(request: &Request<'_>, element: &str) -> Result<String, GenimageError> {
    if element.contains(['\n', '\r']) {
        return Err(GenimageError::Pkgdir(element.to_owned()));
    }
    if element.starts_with("rpm ") || element.starts_with("rpm-dir ") {
        return Ok(element.to_owned());
    }
    let arch = arch(request);
    if ["http://", "https://", "ftp://"].iter().any(|scheme| element.starts_with(scheme)) {
        return Ok(format!("rpm {element} {arch} classic"));
    }
    let dir = Path::new(element);
    if !dir.is_absolute() || element.contains(char::is_whitespace) {
        return Err(GenimageError::Pkgdir(element.to_owned()));
    }
    let names = fs::read_dir(dir.join(arch)).into_iter().flatten().flatten();
    let mut components: Vec<String> = names
        .filter_map(|entry| Some(entry.file_name().to_string_lossy().strip_prefix("RPMS.")?.to_owned()))
        .collect();
    components.sort();
    if components.is_empty() {
        components.push("classic".to_owned());
    }
    Ok(format!("rpm file:{element} {arch} {}", components.join(" ")))
}

fn arch<'a>(request: &Request<'a>) -> &'a str {
    match dnf::architecture(&request.def.arch) {
        "i686" => "i586",
        other => other,
    }
}

fn step(request: &Request<'_>, pass: &Pass, verb: &str, names: Vec<String>) -> Step {
    let mut words = vec!["apt-get".to_owned(), "--yes".to_owned()];
    let root = request.root().display().to_string();
    for (option, value) in [
        ("RPM::RootDir", root),
        ("APT::Architecture", arch(request).to_owned()),
        ("Dir::Etc::SourceList", request.file(SOURCES)),
        ("Dir::Etc::SourceParts", request.file("none")),
        ("Dir::State", request.file("apt/state")),
        ("Dir::Cache", request.file("apt/cache")),
    ] {
        words.push("-o".to_owned());
        words.push(format!("{option}={value}"));
    }
    words.push(verb.to_owned());
    words.extend(names);
    dnf::program(request, pass, words)
}
