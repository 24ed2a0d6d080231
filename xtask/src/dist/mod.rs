//! `cargo xtask dist`: packages for Debian and RPM distributions, an archive, the list of what is inside
//! (CycloneDX), digests, and a signature.
//!
//! The packages are made by `dpkg-deb` and `rpmbuild` from one staged tree ([`stage`]), with the time of the
//! commit as the time of everything, so that the same commit gives the same bytes. `--check` proves that: it
//! builds a copy of the source tree in another directory and compares every file.

mod archive;
mod checks;
mod components;
mod deb;
mod licenses;
mod rpm;
mod sbom;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use dawn_qemu::paths;
use dawn_qemu::process::run;

use crate::progress::Progress;
use crate::suite::{Count, Suite};
use crate::{packages, release};

/// Version of the packages; all crates of the workspace have it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Revision of the packages of one version.
pub(crate) const REVISION: &str = "1";
/// The contact for the packages.
pub(crate) const MAINTAINER: &str = "Dawn developers <dawn@lists.dawn.example.org>";
/// One line about the program.
pub(crate) const SUMMARY: &str = "network-boot appliance with the commands of xCAT";
/// A paragraph about it; no line is longer than 76 bytes.
pub(crate) const DESCRIPTION: &[&str] = &[
    "Dawn boots the nodes of a cluster over the network, stateless or with a root",
    "on NFS. One static executable answers DHCP, TFTP, HTTP and NFS, keeps the",
    "tables of xCAT, and is the server and the client of its commands.",
];
/// The same of the package with the short names.
pub(crate) const NAMES_SUMMARY: &str = "short names of Dawn's commands";
/// A paragraph about it.
pub(crate) const NAMES_DESCRIPTION: &[&str] = &[
    "Links such as nodels and lsdef to the executable dawn, for scripts that call",
    "the commands of xCAT by their names.",
];

/// Make the packages of this commit
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// Build everything a second time in another directory, compare, and have lintian and rpmlint look at it
    #[arg(long)]
    check: bool,
    /// Sign the digests with this secret key of signify(1)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Dist {
    /// Success only if everything was made and, with `--check`, nothing was found.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::install(packages::Purpose::Tests, &Progress::start())?;
        ensure!(release::build()?, "the release build failed");
        let built = Built::make(&paths::dawn(), &output(), &work().join("stage"))?;
        if let Some(key) = &self.key {
            archive::sign(&built.out, key)?;
        }
        for file in files(&built.out)? {
            println!("{}", built.out.join(file).display());
        }
        if !self.check {
            return Ok(ExitCode::SUCCESS);
        }
        let mut suite = Suite::default();
        add_groups(&mut suite);
        suite.group("the same bytes from another directory", || checks::second_build(&built));
        Ok(if suite.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The checks of packages that need no second build of the executable.
pub(crate) fn add_groups(suite: &mut Suite) {
    suite.group("packages", check_packages);
}

/// Makes the packages, unless those of this executable are there.
pub(crate) fn make() -> Result<()> {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    let sums = time(&output().join(archive::SUMS));
    if sums.is_none() || sums < time(&paths::dawn()) {
        Built::make(&paths::dawn(), &output(), &work().join("stage"))?;
    }
    Ok(())
}

fn check_packages() -> Result<Count> {
    let built = Built::make(&paths::dawn(), &output(), &work().join("stage"))?;
    let again = Built::make(&paths::dawn(), &work().join("again"), &work().join("again-stage"))?;
    let mut count = checks::same(&built, &again)?;
    for check in [checks::lintian, checks::rpmlint, checks::contents, checks::rpm_contents, checks::signature]
    {
        count = count.plus(check(&built)?);
    }
    Ok(count)
}

/// Where the packages are left.
fn output() -> PathBuf {
    paths::workspace().join("dist/out")
}

/// Staged trees and second builds.
fn work() -> PathBuf {
    paths::target().join("dist")
}

/// What was made from one executable.
pub(crate) struct Built {
    /// The directory with packages, archive, list and digests.
    pub out: PathBuf,
}

impl Built {
    /// Makes everything in `out` from trees in `staged`; what an earlier run left in either is removed.
    pub(crate) fn make(executable: &Path, out: &Path, staged: &Path) -> Result<Self> {
        let epoch = commit_time()?;
        for dir in [out, staged] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let components = components::of_executable()?;
        let sbom = sbom::render(&components, epoch)?;
        let licenses = licenses::collect(&components)?;
        let texts = stage::Texts { sbom: &sbom, licenses: &licenses };
        let trees = stage::Trees::make(executable, staged, &texts)?;
        deb::build(&trees, epoch, out)?;
        rpm::build(&trees, epoch, out)?;
        archive::build(&trees, epoch, out)?;
        let list = out.join(format!("dawn-{VERSION}.cdx.json"));
        fs::write(&list, &sbom).with_context(|| format!("cannot write {}", list.display()))?;
        archive::digests(out)?;
        Ok(Self { out: out.to_owned() })
    }
}

/// Seconds since 1970 of the last commit: the time of everything that is made from it.
fn commit_time() -> Result<u64> {
    let mut git = Command::new("git");
    let text = run(git.current_dir(paths::workspace()).args(["log", "-1", "--format=%ct"]))?;
    text.trim().parse().context("the time of the last commit is not a number")
}

/// Names of the files of a directory, sorted.
fn files(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What the stages ask of the executable, and one command.
    const STAND_IN: &str = r#"#!/bin/sh
case $1 in
man) mkdir -p "$3" && echo '.TH DAWN 8' | tee "$3/dawn.8" > "$3/dawn-nodels.8" ;;
links) mkdir -p "$2" && ln -s "$0" "$2/nodels" ;;
completions) echo ": $2" ;;
esac
"#;

    #[test]
    fn packages_hold_what_the_list_says_and_are_the_same_twice() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("dawn");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let make = |name: &str| {
            let staged = dir.path().join(format!("{name}-stage"));
            Built::make(&program, &dir.path().join(name), &staged).unwrap()
        };
        let (one, other) = (make("one"), make("other"));
        for check in [checks::same(&one, &other), checks::contents(&one), checks::rpm_contents(&one)] {
            assert_eq!(check.unwrap(), Count::one(true));
        }
    }
}
