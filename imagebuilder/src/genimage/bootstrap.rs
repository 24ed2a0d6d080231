//! The call of `mmdebstrap`.
//!
//! The first pass is installed by mmdebstrap itself; removals, tasks and later passes run as its customize
//! hooks, so that apt works from outside the tree with the same configuration. Hooks are shell text: every
//! word in them is quoted here, and package names have been checked by [`crate::pkglist`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{GenimageError, Options, Plan, file_error};
use crate::aptsource;
use crate::exec;
use crate::image::ImageDef;
use crate::pkglist::Pass;

/// Build the tree in `building/rootimg`.
pub(super) fn run(
    def: &ImageDef,
    options: &Options,
    plan: &Plan,
    building: &Path,
    line: &mut dyn FnMut(&str),
) -> Result<(), GenimageError> {
    let list = building.join("sources.list");
    let text: String = plan.sources.iter().map(|source| source.line() + "\n").collect();
    fs::write(&list, text).map_err(|source| file_error(&list, source))?;
    let settings = aptsource::settings(&exec::output("apt-config", &["dump"]).unwrap_or_default());
    line(&format!("Installing {} packages from {}", def.osvers, mirrors(plan)));
    let mut command = Command::new("mmdebstrap");
    command.args(arguments(def, options, plan, &building.join("rootimg"), &settings)?).arg(&list);
    // The kernel package need not make an initramfs of its own: it would never be booted.
    command.env("INITRD", "No");
    exec::run(&mut command, line)
        .map_err(|source| GenimageError::Program { step: "building the tree".to_owned(), source })?;
    fs::remove_file(&list).map_err(|source| file_error(&list, source))
}

fn mirrors(plan: &Plan) -> String {
    let mut uris: Vec<&str> = plan.sources.iter().map(|source| source.uri.as_str()).collect();
    uris.dedup();
    uris.join(" ")
}

/// Arguments of mmdebstrap up to the target (without the source list).
pub(super) fn arguments(
    def: &ImageDef,
    options: &Options,
    plan: &Plan,
    target: &Path,
    apt_settings: &[String],
) -> Result<Vec<String>, GenimageError> {
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
    args.extend(options.keyrings.iter().map(|keyring: &PathBuf| format!("--keyring={}", keyring.display())));
    let mut passes = plan.passes.iter().chain(&plan.other);
    // mmdebstrap installs the first pass in one go, unless something must be removed before it.
    let first = plan.passes.first().filter(|pass| pass.remove_before.is_empty() && pass.env.is_empty());
    if let Some(pass) = first {
        passes.next();
        args.extend(pass.install.iter().map(|name| format!("--include={name}")));
        if !pass.groups.is_empty() {
            args.push(hook(apt_install(&Pass { groups: pass.groups.clone(), ..Pass::default() })));
        }
    }
    for pass in passes.clone() {
        if !pass.remove_before.is_empty() {
            args.push(hook(apt(pass, "remove", &pass.remove_before)));
        }
        if !pass.install.is_empty() || !pass.groups.is_empty() {
            args.push(hook(apt_install(pass)));
        }
    }
    let removals: Vec<String> =
        plan.passes.iter().chain(&plan.other).flat_map(|pass| pass.remove_after.clone()).collect();
    if !removals.is_empty() {
        args.push(hook(apt(&Pass::default(), "remove", &removals)));
    }
    args.push(plan.suite.clone());
    args.push(target.display().to_string());
    Ok(args)
}

fn hook(script: String) -> String {
    format!("--customize-hook={script}")
}

fn apt_install(pass: &Pass) -> String {
    let mut names = pass.install.clone();
    // A task is written with a caret behind it.
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

/// A word as a shell reads it back unchanged.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=+@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lists: &str) -> Plan {
        Plan {
            suite: "bookworm".into(),
            sources: Vec::new(),
            passes: crate::pkglist::parse(lists.lines()).unwrap(),
            other: Vec::new(),
            fingerprint: String::new(),
        }
    }

    fn args(lists: &str) -> Vec<String> {
        let def = ImageDef { arch: "x86_64".into(), ..ImageDef::default() };
        let all = arguments(&def, &Options::default(), &plan(lists), Path::new("/t"), &[]).unwrap();
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
