//! What must hold of the packages: the same bytes again, no findings of lintian and rpmlint, the expected
//! contents, and a signature that is accepted only for what was signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dawn_qemu::paths;
use dawn_qemu::process::{output, run};

use super::stage::read;
use super::{Built, archive, files, rpm, work};
use crate::release;
use crate::suite::Count;

/// Prints whether it holds, and what was found.
fn outcome(name: &str, found: &str) -> Count {
    let found = found.trim();
    match found.is_empty() {
        true => println!("ok: {name}"),
        false => println!("FAILED: {name}\n{found}"),
    }
    Count::one(found.is_empty())
}

/// Two runs gave the same files.
pub(super) fn same(one: &Built, other: &Built) -> Result<Count> {
    let mut found = String::new();
    let (names, others) = (files(&one.out)?, files(&other.out)?);
    for name in names.iter().filter(|name| !others.contains(name)) {
        found.push_str(&format!("{name} is missing the second time\n"));
    }
    for name in names.iter().filter(|name| others.contains(name)) {
        if read(&one.out.join(name))? != read(&other.out.join(name))? {
            found.push_str(&format!("{name} differs\n"));
        }
    }
    Ok(outcome("a second run gives the same bytes", &found))
}

/// Builds a copy of the source tree elsewhere and compares.
pub(super) fn second_build(first: &Built) -> Result<Count> {
    let source = work().join("second-source");
    copy_sources(&source)?;
    ensure!(release::build_in(&source)?, "the second release build failed");
    let executable = release::executable(&source);
    let equal = read(&executable)? == read(&paths::dawn())?;
    let count = outcome("the executable is the same", if equal { "" } else { "the bytes differ" });
    Ok(count
        .plus(same(first, &Built::make(&executable, &work().join("second"), &work().join("second-stage"))?)?))
}

/// All files of the source tree that git knows or would add; the copy keeps the build of an earlier check.
fn copy_sources(to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut git = Command::new("git");
    let list = run(git.current_dir(paths::workspace()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for name in list.lines() {
        let (from, copy) = (paths::workspace().join(name), to.join(name));
        if !from.is_file() || fs::read(&copy).ok() == Some(read(&from)?) {
            continue;
        }
        let parent = copy.parent().unwrap_or(to);
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::copy(&from, &copy).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// The packages that end so.
fn packages(built: &Built, end: &str) -> Result<Vec<PathBuf>> {
    let names = files(&built.out)?.into_iter().filter(|name| name.ends_with(end));
    Ok(names.map(|name| built.out.join(name)).collect())
}

/// lintian has nothing to say.
pub(super) fn lintian(built: &Built) -> Result<Count> {
    let mut lintian = Command::new("lintian");
    let said =
        output(lintian.args(["--allow-root", "--tag-display-limit", "0"]).args(packages(built, ".deb")?))?;
    Ok(outcome("lintian", &text(&said)))
}

/// rpmlint has nothing to say but its count of packages.
pub(super) fn rpmlint(built: &Built) -> Result<Count> {
    let config = paths::workspace().join("dist/rpm/rpmlint.toml");
    let mut rpmlint = Command::new("rpmlint");
    let said = output(rpmlint.arg("-c").arg(config).args(packages(built, ".rpm")?))?;
    let said = text(&said);
    let is_fault = |line: &&str| line.contains(": E: ") || line.contains(": W: ");
    let found: Vec<&str> = said.lines().filter(is_fault).collect();
    let ran = said.contains(" packages and ");
    Ok(outcome("rpmlint", if ran { "" } else { &said })
        .plus(outcome("rpmlint's findings", &found.join("\n"))))
}

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The packages hold what `dist/contents.txt` says.
pub(super) fn contents(built: &Built) -> Result<Count> {
    let mut found = String::new();
    for package in packages(built, ".deb")? {
        let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let list = run(Command::new("dpkg-deb").arg("-c").arg(&package))?;
        found.push_str(&format!("{}\n{}\n", name.split('_').next().unwrap_or(&name), folded(&list)));
    }
    let path = paths::workspace().join("dist/contents.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &found).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let expected = String::from_utf8_lossy(&read(&path)?).into_owned();
    let differs: Vec<String> = difference(&expected, &found);
    Ok(outcome("dist/contents.txt", &differs.join("\n")))
}

/// The RPM packages hold the same files, but for what each distribution has in its own place.
pub(super) fn rpm_contents(built: &Built) -> Result<Count> {
    let mut wanted = Vec::new();
    for package in packages(built, ".deb")? {
        let list = run(Command::new("dpkg-deb").arg("-c").arg(&package))?;
        let files = list.lines().filter(|line| !line.starts_with('d'));
        let paths = files.filter_map(|line| line.split_whitespace().nth(5)?.strip_prefix('.'));
        let common =
            paths.filter(|path| !path.contains("/lintian/") && !path.ends_with("/changelog.Debian.gz"));
        wanted.extend(common.map(|path| path.replace("/zsh/vendor-completions/", "/zsh/site-functions/")));
    }
    let mut found = String::new();
    for package in packages(built, ".rpm")? {
        found.push_str(&run(Command::new("rpm").arg("-qlp").arg(&package))?);
    }
    let found: Vec<&str> = found.lines().filter(|path| !rpm::OWN_DIRECTORIES.contains(path)).collect();
    Ok(outcome(
        "the RPM packages hold the same",
        &difference(&wanted.join("\n"), &found.join("\n")).join("\n"),
    ))
}

/// Mode, owner and path of each entry; the entries of commands are folded into one line each kind, or every
/// new command would change the list.
fn folded(list: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, _, _, _, path, rest @ ..] = words.as_slice() else { continue };
        let (path, target) = (fold(path, mode), rest.last().map(|target| fold(target, mode)));
        let target = target.map(|target| format!(" -> {target}")).unwrap_or_default();
        let line = format!("{mode} {owner} {path}{target}");
        if lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

fn fold(path: &str, mode: &str) -> String {
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let slash = if directory.is_empty() { "" } else { "/" };
    let is_page = name.starts_with("dawn-") && name.ends_with(".8.gz");
    let folded = match name {
        _ if is_page => "dawn-*.8.gz",
        "" | "dawn" | "dawn.fish" => name,
        _ if mode.starts_with('l') && name.ends_with(".fish") => "*.fish",
        _ if mode.starts_with('l') && name.ends_with(".8.gz") => "*.8.gz",
        _ if mode.starts_with('l') => "*",
        _ => name,
    };
    format!("{directory}{slash}{folded}")
}

fn difference(expected: &str, found: &str) -> Vec<String> {
    let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
    let new = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
    missing.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect()
}

/// A signature by a throw-away key is good, and not for other digests.
pub(super) fn signature(built: &Built) -> Result<Count> {
    let dir = work().join("signature");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::copy(built.out.join("SHA256SUMS"), dir.join("SHA256SUMS")).context("cannot copy the digests")?;
    let (public, secret) = (dir.join("key.pub"), dir.join("key.sec"));
    let mut generate = Command::new("signify-openbsd");
    run(generate.args(["-G", "-n", "-p"]).arg(&public).arg("-s").arg(&secret))?;
    archive::sign(&dir, &secret)?;
    let is_good = || {
        let mut verify = Command::new("signify-openbsd");
        verify.args(["-V", "-q", "-m"]).arg(dir.join("SHA256SUMS")).arg("-p").arg(&public);
        Ok::<_, anyhow::Error>(output(verify.arg("-x").arg(dir.join("SHA256SUMS.sig")))?.status.success())
    };
    let good = is_good()?;
    fs::write(dir.join("SHA256SUMS"), "0  dawn.deb\n").context("cannot write other digests")?;
    let accepted = is_good()?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    Ok(outcome("the signature is accepted", if good { "" } else { "signify does not accept it" })
        .plus(outcome("it is for these digests only", if accepted { "others are accepted" } else { "" })))
}
