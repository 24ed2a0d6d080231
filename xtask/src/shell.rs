//! Running other programs: visibly, or with their output read along.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use dawn_qemu::paths;
use dawn_qemu::process::display;

/// `cargo` as it was started, in the source tree.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.args(args).current_dir(paths::workspace());
    // `cargo run` sets variables about the program's own package; build scripts would take that for a
    // change.
    let of_this = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start))
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| of_this(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// Runs to the end with the terminal as output; returns whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let mut child = start(command)?;
    Ok(child.wait().with_context(|| format!("cannot collect `{}`", display(command)))?.success())
}

/// Starts a program with the terminal as output.
pub(crate) fn start(command: &mut Command) -> Result<Child> {
    println!("$ {}", display(command));
    let child = command.stdin(Stdio::null()).spawn();
    child.with_context(|| format!("cannot start `{}`", display(command)))
}

/// Runs to the end, showing standard output and handing each line of it to `line`; returns how it ended.
pub(crate) fn follow_status(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    println!("$ {}", display(command));
    read_lines(command, |text| {
        println!("{text}");
        line(text);
    })
}

/// Runs to the end, handing each line of standard output to `line`; returns how it ended.
pub(crate) fn read_lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<ExitStatus> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot start `{}`", display(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines() {
            let text = text.context("cannot read a command's output")?;
            line(&text);
        }
    }
    child.wait().context("cannot collect a command")
}
