//! The release executable: built with the same words everywhere, so that the machines of the tests boot from
//! the bytes that are shipped.
//!
//! Panic messages name source files. Their paths are cut short, or two builds of one commit would differ by
//! the directories that they were made in.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result};
use dawn_qemu::paths;

use crate::shell;

/// Priority of a build that runs during tests: it uses the time in which they wait.
const NICE_BESIDE_TESTS: &str = "15";

/// Builds the executable of this source tree; whether it succeeded.
pub(crate) fn build() -> Result<bool> {
    build_in(&paths::workspace())
}

/// The same in another source tree, with a separate target directory.
pub(crate) fn build_in(source: &Path) -> Result<bool> {
    shell::succeeds(&mut build_command(source)?)
}

/// A build that runs during tests. Without [`Beside::finish`] it is ended when this is dropped.
pub(crate) struct Beside(Child);

impl Beside {
    /// Starts the build; its output appears among that of the tests.
    ///
    /// # Errors
    /// There is no `nice`.
    pub(crate) fn start() -> Result<Self> {
        let build = build_command(&paths::workspace())?;
        let mut command = Command::new("nice");
        command.args(["-n", NICE_BESIDE_TESTS]).arg(build.get_program()).args(build.get_args());
        command.current_dir(paths::workspace());
        for (name, value) in build.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        shell::start(&mut command).map(Self)
    }

    /// Waits for the end; whether the build succeeded.
    ///
    /// # Errors
    /// The process is lost.
    pub(crate) fn finish(mut self) -> Result<bool> {
        Ok(self.0.wait().context("cannot collect the release build")?.success())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After `finish` there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn build_command(source: &Path) -> Result<Command> {
    let flags: Vec<String> = [(cargo_home()?, "/cargo"), (source.to_owned(), "/dawn")]
        .iter()
        .map(|(from, to)| format!("\"--remap-path-prefix={}={to}\"", from.display()))
        .collect();
    let flags = format!("build.rustflags=[{}]", flags.join(","));
    let args = ["build", "--release", "--locked", "--bin", "dawn", "--config", &flags];
    let mut command = shell::cargo(&args);
    command.current_dir(source);
    Ok(command)
}

/// The executable of a source tree.
pub(crate) fn executable(source: &Path) -> PathBuf {
    source.join("target").join(paths::TARGET).join("release/dawn")
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}
