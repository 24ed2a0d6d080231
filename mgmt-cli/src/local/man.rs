//! `dawn man`: manual pages, from the same source as help; see [`manual`].

use super::LocalCommand;
use crate::environment::Environment;
use crate::manual;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_commands::edits::{FileDifference, written};
use std::path::{Path, PathBuf};

/// Write the manual pages into a directory, or print one
///
/// The pages are called dawn.8 and dawn-COMMAND.8.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory for all pages; made if it is missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Show which files would be written
    #[arg(long)]
    dry_run: bool,
    /// Command to show the manual page of [default: dawn]
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "man";
    const WRITES: bool = true;

    const JSON: bool = false;

    fn run(self, _: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        match &self.dir {
            Some(directory) => write_all(&registry.program(), directory, self.dry_run, out),
            None => show(&registry.program(), self.command.as_deref(), out),
        }
    }
}

fn show(program: &clap::Command, name: Option<&str>, out: &mut Out<'_>) -> Done {
    let page = manual::page(program, name).map_err(failed)?;
    let missing = || {
        let text = format!("there is no command '{}'", name.unwrap_or_default());
        CommandError::not_found(text).hint("`dawn help` lists the commands.")
    };
    out.lines(&page.ok_or_else(missing)?)
}

fn failed(error: std::io::Error) -> Stop {
    CommandError::unavailable(error.to_string()).into()
}

fn write_all(program: &clap::Command, directory: &Path, dry_run: bool, out: &mut Out<'_>) -> Done {
    if !dry_run {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let names = program.get_subcommands().map(|command| Some(command.get_name()));
    for name in names.chain([None]) {
        let path = directory.join(manual::file_name(name));
        if dry_run {
            out.report(&FileDifference::of(written(&path), &path))?;
        } else if let Some(page) = manual::page(program, name).map_err(failed)? {
            std::fs::write(path, page).map_err(failed)?;
        }
    }
    Ok(())
}
