//! Running other programs: visibly, or with their output read along.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use dawn_qemu::paths;
use dawn_qemu::process::display;

/// `cargo` as it was started, in the source tree.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    command.args(args).current_dir(paths::workspace());
    // A chore started by cargo inherits settings that are about the chore's own package.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// Runs to the end with the terminal as output; tells whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    println!("$ {}", display(command));
    let status = command.stdin(Stdio::null()).status();
    Ok(status.with_context(|| format!("cannot start `{}`", display(command)))?.success())
}

/// Runs to the end, showing standard output and handing each line of it to `line`; tells whether it succeeded.
pub fn follow(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    println!("$ {}", display(command));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.with_context(|| format!("cannot start `{}`", display(command)))?;
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines() {
            let text = text.context("cannot read a command's output")?;
            println!("{text}");
            line(&text);
        }
    }
    Ok(child.wait().context("cannot collect a command")?.success())
}
