//! `dawn man`: manual pages, from the same source as help; see [`manual`].

use super::LocalCommand;
use crate::environment::Environment;
use crate::manual;
use crate::terminal::{print, print_error};
use dawn_bootd::command::Registry;
use dawn_commands::edits::{file_line, written};
use std::path::{Path, PathBuf};

/// Write the manual pages into a directory, or print one
///
/// The pages are called dawn.8 and dawn-COMMAND.8.
#[derive(Debug, clap::Args)]
pub struct Args {
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

    fn run(self, _: &Environment, registry: &Registry) -> i32 {
        let result = match &self.dir {
            Some(directory) => write_all(&registry.program(), directory, self.dry_run),
            None => show(&registry.program(), self.command.as_deref()),
        };
        match result {
            Ok(()) => 0,
            Err(error) => {
                print_error(&error.to_string());
                1
            }
        }
    }
}

fn show(program: &clap::Command, name: Option<&str>) -> std::io::Result<()> {
    let page =
        manual::page(program, name)?.ok_or_else(|| std::io::Error::other("there is no such command"))?;
    print(&page);
    Ok(())
}

fn write_all(program: &clap::Command, directory: &Path, dry_run: bool) -> std::io::Result<()> {
    if !dry_run {
        std::fs::create_dir_all(directory)?;
    }
    let names = program.get_subcommands().map(|command| Some(command.get_name()));
    for name in names.chain([None]) {
        let path = directory.join(manual::file_name(name));
        if dry_run {
            print(&format!("{}\n", file_line(written(&path), &path)));
        } else if let Some(page) = manual::page(program, name)? {
            std::fs::write(path, page)?;
        }
    }
    Ok(())
}
