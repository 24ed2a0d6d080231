//! What is behind a feature is not in a program without it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::outcome;
use crate::shell;
use crate::suite::Count;

/// Words for `cargo tree`, and crates that it must not find.
const ABSENT: [(&[&str], &[&str]); 3] = [
    // dhcproto is for tests.
    (&["--package", "dawn"], &["dhcproto"]),
    (&["--package", "dawn", "--no-default-features"], &["mysql", "tokio-postgres"]),
    (&["--package", "initrd-init"], &["dawn-cluster", "regex", "serde", "tokio", "tracing"]),
];

/// The check.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    for (words, absent) in ABSENT {
        let found = crates(words)?;
        let there = absent.iter().filter(|name| found.iter().any(|found| found == *name));
        wrong.extend(there.map(|name| format!("{name} is in `cargo tree {}`", words.join(" "))));
    }
    Ok(outcome("features", &wrong))
}

/// Names of the crates that a program is made of.
fn crates(words: &[&str]) -> Result<Vec<String>> {
    let mut command = shell::cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "none"]);
    let output = command.args(words).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start `cargo tree`")?;
    ensure!(output.status.success(), "`cargo tree` failed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect())
}
