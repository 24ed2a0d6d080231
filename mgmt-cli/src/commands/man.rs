//! `dawn man`: manual pages, from the same source as help.

use crate::app::{print, print_error, whole};
use crate::edits::{file_line, written};
use crate::environment::Environment;
use crate::frame::LocalCommand;
use std::path::{Path, PathBuf};

/// Write the manual pages into a directory, or print one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory for all pages; made if it is missing
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Show which files would be written
    #[arg(long)]
    dry_run: bool,
    /// Command whose page is printed; the program's own without it
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "man";
    const WRITES: bool = true;

    fn run(self, _: &Environment) -> i32 {
        let result = match &self.dir {
            Some(directory) => write_all(directory, self.dry_run),
            None => show(self.command.as_deref()),
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

fn page(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).section("8").render(&mut text)?;
    Ok(text)
}

fn show(name: Option<&str>) -> std::io::Result<()> {
    let dawn = whole();
    let command = match name {
        Some(name) => dawn.find_subcommand(name).cloned(),
        None => Some(dawn.clone()),
    };
    let command = command.ok_or_else(|| std::io::Error::other("there is no such command"))?;
    print(&String::from_utf8_lossy(&page(command)?));
    Ok(())
}

fn write_all(directory: &Path, dry_run: bool) -> std::io::Result<()> {
    if !dry_run {
        std::fs::create_dir_all(directory)?;
    }
    let dawn = whole();
    for command in dawn.get_subcommands().chain([&dawn]) {
        let path = directory.join(format!("{}.8", command.get_name()));
        if dry_run {
            print(&format!("{}\n", file_line(written(&path), &path)));
        } else {
            std::fs::write(path, page(command.clone())?)?;
        }
    }
    Ok(())
}
