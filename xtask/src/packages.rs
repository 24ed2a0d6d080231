//! Debian packages: `packages.txt` is the only list, and what is missing is installed.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use dawn_qemu::paths;
use dawn_qemu::process::output;

use crate::progress::Progress;
use crate::shell::succeeds;

/// The line of the list after which packages are for the tests only.
const TESTS: &str = "[tests]";

/// What the packages are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building the executable, building an image, booting machines.
    Demo,
    /// All that, and what tests compare with.
    Tests,
}

/// Installs every package of the list that is not there, saying which.
pub(crate) fn install(purpose: Purpose, progress: &Progress) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "run this as root: it makes network namespaces and installs packages"
    );
    let path = paths::workspace().join("packages.txt");
    let list = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut missing = Vec::new();
    for name in names(&list, purpose) {
        if !is_installed(name)? {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        progress.say("all Debian packages needed (packages.txt) are installed");
        return Ok(());
    }
    progress.say(&format!("installing Debian packages: {}", missing.join(" ")));
    let install = || apt(&[&["install", "-y", "--no-install-recommends"], &missing[..]].concat());
    // Package lists may be absent or too old; a failed index of an unrelated source must not be the end.
    if !install()? && !(apt(&["update"])? | install()?) {
        bail!("apt-get cannot install {}", missing.join(" "));
    }
    for name in missing {
        ensure!(is_installed(name)?, "package {name} is not installed after `apt-get install`");
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<bool> {
    succeeds(Command::new("apt-get").arg("-q").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_installed(name: &str) -> Result<bool> {
    let result = output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", name]))?;
    Ok(result.status.success() && result.stdout == b"installed")
}

fn names(list: &str, purpose: Purpose) -> impl Iterator<Item = &str> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let wanted = lines.take_while(move |line| purpose == Purpose::Tests || *line != TESTS);
    wanted.filter(|line| !line.is_empty() && *line != TESTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_no_packages() {
        let list = "# why\n\nqemu-system-x86\n  ovmf   # firmware\n[tests]\npostgresql\n";
        assert_eq!(names(list, Purpose::Demo).collect::<Vec<_>>(), ["qemu-system-x86", "ovmf"]);
        assert_eq!(
            names(list, Purpose::Tests).collect::<Vec<_>>(),
            ["qemu-system-x86", "ovmf", "postgresql"]
        );
    }
}
