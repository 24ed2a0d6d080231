//! Programs next to an engine, run by name: `cargo xtask bench nfs` is the example `bench_nfs` of whichever
//! crate has it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use dawn_qemu::paths;

use crate::shell;

/// Which program, and its own arguments
#[derive(Debug, Args)]
pub(crate) struct Tool {
    /// The part to exercise, and arguments for its program. Without a part the only program is run; of
    /// several, the names are listed
    #[arg(value_name = "PART] [ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// An example of a crate.
struct Example {
    package_dir: PathBuf,
    file_stem: String,
}

impl Tool {
    /// Runs the example `KIND_NAME`, or `KIND` where a crate has only one.
    pub(crate) fn run(self, kind: &str) -> Result<ExitCode> {
        let prefix = format!("{kind}_");
        let examples = find_examples(&paths::workspace());
        let (wanted, rest) = match self.words.split_first() {
            Some((name, rest)) if !name.starts_with('-') => (format!("{prefix}{name}"), rest),
            _ => match only(&examples, &prefix) {
                Some(example) => (example.file_stem.clone(), self.words.as_slice()),
                None => {
                    list(&examples, &prefix);
                    return Ok(ExitCode::SUCCESS);
                }
            },
        };
        let Some(example) = examples.iter().find(|example| example.file_stem == wanted) else {
            list(&examples, &prefix);
            bail!("no program is called `{wanted}`");
        };
        let manifest = example.package_dir.join("Cargo.toml").display().to_string();
        let mut command =
            shell::cargo(&["run", "--release", "--manifest-path", &manifest, "--example", &wanted, "--"]);
        let success = shell::succeeds(command.args(rest))?;
        Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The program of this kind, if there is but one.
fn only<'e>(examples: &'e [Example], prefix: &str) -> Option<&'e Example> {
    let mut of_kind = examples.iter().filter(|example| example.file_stem.starts_with(prefix));
    of_kind.next().filter(|_| of_kind.next().is_none())
}

fn list(examples: &[Example], prefix: &str) {
    for name in examples.iter().filter_map(|example| example.file_stem.strip_prefix(prefix)) {
        println!("{name}");
    }
}

/// Examples of the crates one or two folders below the top.
fn find_examples(top: &Path) -> Vec<Example> {
    let rooms = directories(top);
    let crates = rooms.iter().flat_map(|room| directories(room)).chain(rooms.iter().cloned());
    let mut examples: Vec<Example> = crates.flat_map(|package_dir| examples_of(&package_dir)).collect();
    examples.sort_by(|a, b| a.file_stem.cmp(&b.file_stem));
    examples
}

fn examples_of(package_dir: &Path) -> Vec<Example> {
    let entries = std::fs::read_dir(package_dir.join("examples")).into_iter().flatten().flatten();
    let sources =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    let stems = sources.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    stems.map(|file_stem| Example { package_dir: package_dir.to_owned(), file_stem }).collect()
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let paths = entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path());
    paths.filter(|path| path.is_dir() && !path.ends_with("target")).collect()
}
