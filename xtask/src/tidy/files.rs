//! The texts that the checks look at.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use dawn_qemu::paths;

/// Names and texts of the files like this (`*.rs`) that git knows, those not yet added included.
pub(super) fn like(pattern: &str) -> Result<Vec<(String, String)>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "--cached", "--others", "--exclude-standard", pattern]);
    let output = command.current_dir(paths::workspace()).stdin(Stdio::null()).output();
    let output = output.context("cannot start `git ls-files`")?;
    ensure!(output.status.success(), "`git ls-files` failed");
    let names = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
    // A file that is removed and not committed yet is still listed.
    let there = names.into_iter().filter(|name| paths::workspace().join(name).is_file());
    let read = |name: String| {
        let text = fs::read_to_string(paths::workspace().join(&name));
        let text = text.with_context(|| format!("cannot read {name}"))?;
        Ok((name, text))
    };
    there.map(read).collect()
}
