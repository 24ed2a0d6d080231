//! The call of `mmdebstrap`.
//!
//! The first pass is installed by mmdebstrap itself; removals, tasks and later passes run as its customize
//! hooks, so that apt works from outside the tree with the same configuration. Hooks are shell text: every
//! word in them is quoted here, and package names have been checked by [`crate::pkglist`].

use std::fs;
use std::path::Path;

use crate::aptsource::{self, Source};
use crate::exec::{self, quoted};
use crate::genimage::plan::{Plan, Program, Request, Step};
use crate::genimage::{GenimageError, family::Family};
use crate::pkglist::Pass;

/// The package sources, below the build directory.
const SOURCES: &str = "sources.list";

/// Plans one call of `mmdebstrap`.
pub(in crate::genimage) fn plan(request: &Request<'_>) -> Result<Plan, GenimageError> {
    let osvers = &request.def.osvers;
    let suite = aptsource::codename(osvers).ok_or_else(|| GenimageError::Distribution(osvers.clone()))?;
    let sources: Vec<String> = sources(request, suite)?.iter().map(Source::line).collect();
    let settings = aptsource::settings(&exec::output("apt-config", &["dump"]).unwrap_or_default());
    let mut words = vec!["mmdebstrap".to_owned()];
    words.extend(arguments(request, suite, &settings)?);
    words.push(request.file(SOURCES));
    // The kernel package need not make its own initramfs: it would never be booted.
    let env = vec![("INITRD".to_owned(), "No".to_owned())];
    Ok(Plan {
        family: Family::Deb,
        files: vec![(SOURCES, sources.iter().map(|line| format!("{line}\n")).collect())],
        sources,
        warnings: Vec::new(),
        steps: vec![Step::Run(Program { env, words, needs_mounts: false })],
        fingerprint: String::new(),
    })
}

fn sources(request: &Request<'_>, suite: &str) -> Result<Vec<Source>, GenimageError> {
    let (def, options) = (request.def, request.options);
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
    let is_repository =
        |dir: &Path| ["Packages", "Packages.gz", "Packages.xz", "dists"].iter().any(|n| dir.join(n).exists());
    for element in request.other_dirs(&is_repository) {
        let source = aptsource::from_pkgdir(&element, suite).ok_or(GenimageError::Pkgdir(element))?;
        all.push(source);
    }
    Ok(all)
}

/// Arguments of mmdebstrap up to the target (without the source list).
fn arguments(
    request: &Request<'_>,
    suite: &str,
    apt_settings: &[String],
) -> Result<Vec<String>, GenimageError> {
    let (def, options) = (request.def, request.options);
    let mut args = vec![
        "--mode=root".to_owned(),
        "--format=directory".to_owned(),
        format!("--variant={}", options.variant),
        format!("--architectures={}", def.debian_arch()?),
        // The clock of a management node without a battery, or an archived mirror, must not stop a build.
        "--aptopt=Acquire::Check-Valid-Until \"false\";".to_owned(),
        "--aptopt=Acquire::Languages \"none\";".to_owned(),
        // The tree is synced as a whole before it is put into place, so dpkg need not sync every file.
        "--dpkgopt=force-unsafe-io".to_owned(),
    ];
    args.extend(apt_settings.iter().map(|setting| format!("--aptopt={setting}")));
    args.extend(options.keyrings.iter().map(|keyring| format!("--keyring={}", keyring.display())));
    let mut passes = request.all_passes();
    // mmdebstrap installs the first pass in one go, unless something must be removed before it.
    let first = request.passes.first().filter(|pass| pass.remove_before.is_empty() && pass.env.is_empty());
    if let Some(pass) = first {
        passes.next();
        args.extend(pass.install.iter().map(|name| format!("--include={name}")));
        if !pass.groups.is_empty() {
            args.push(hook(apt_install(&Pass { groups: pass.groups.clone(), ..Pass::default() })));
        }
    }
    for pass in passes {
        if !pass.remove_before.is_empty() {
            args.push(hook(apt(pass, "remove", &pass.remove_before)));
        }
        if !pass.install.is_empty() || !pass.groups.is_empty() {
            args.push(hook(apt_install(pass)));
        }
    }
    let removals = request.removed_at_last();
    if !removals.is_empty() {
        args.push(hook(apt(&Pass::default(), "remove", &removals)));
    }
    args.push(suite.to_owned());
    args.push(request.root().display().to_string());
    Ok(args)
}

fn hook(script: String) -> String {
    format!("--customize-hook={script}")
}

fn apt_install(pass: &Pass) -> String {
    let mut names = pass.install.clone();
    // A task is written with a caret after it.
    names.extend(pass.groups.iter().map(|group| format!("{group}^")));
    apt(pass, "install", &names)
}

/// A hook that calls apt-get with the environment of a pass. `$1` is the tree.
fn apt(pass: &Pass, verb: &str, names: &[String]) -> String {
    let env: String =
        pass.env.iter().map(|(name, value)| format!("{} ", quoted(&format!("{name}={value}")))).collect();
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!(
        "env {env}APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get -oDPkg::Chroot-Directory=\"$1\" --yes {verb} {}",
        names.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genimage::Options;
    use crate::image::ImageDef;
    use std::collections::BTreeSet;

    fn args(lists: &str) -> Vec<String> {
        let def = ImageDef { arch: "x86_64".into(), ..ImageDef::default() };
        let request = Request {
            def: &def,
            options: &Options::default(),
            building: "/t".into(),
            passes: crate::pkglist::parse(lists.lines()).unwrap(),
            others: Vec::new(),
            subdirs: BTreeSet::new(),
        };
        let all = arguments(&request, "bookworm", &[]).unwrap();
        all.into_iter().filter(|arg| arg.starts_with("--include") || arg.starts_with("--customize")).collect()
    }

    #[test]
    fn passes_become_includes_and_hooks() {
        let apt = "APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get -oDPkg::Chroot-Directory=\"$1\" --yes";
        assert_eq!(args("a b\n"), ["--include=a", "--include=b"]);
        assert_eq!(
            args("a\n@t\n#NEW_INSTALL_LIST#\n#ENV:X=it's#\nb\n-c\n--d\n"),
            [
                "--include=a".to_owned(),
                format!("--customize-hook=env {apt} install 't^'"),
                format!("--customize-hook=env 'X=it'\\''s' {apt} remove c"),
                format!("--customize-hook=env 'X=it'\\''s' {apt} install b"),
                format!("--customize-hook=env {apt} remove d"),
            ]
        );
        assert_eq!(
            args("-z\na\n"),
            [format!("--customize-hook=env {apt} remove z"), format!("--customize-hook=env {apt} install a")]
        );
    }
}
