//! `dawn links`: a symlink for each command.

use crate::app::{print, print_error};
use crate::commands;
use crate::environment::Environment;
use crate::frame::LocalCommand;
use std::io;
use std::path::{Path, PathBuf};

/// Make a symlink to this program for each command, in the directory named
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory; made if it is missing
    #[arg(value_name = "DIR", required = true)]
    directory: PathBuf,
}

/// Names that are no commands of an administrator's fingers.
const UNLINKED: [&str; 11] = [
    "links", "completions", "man", "log", "undo", "events", "explain", "leases", "getdestiny", "nextdestiny",
    "imagedef",
];

impl LocalCommand for Args {
    const NAME: &'static str = "links";

    fn run(self, environment: &Environment) -> i32 {
        match make(&self.directory, &environment.executable) {
            Ok(count) => {
                print(&format!("{count} links in {}\n", self.directory.display()));
                0
            }
            Err(error) => {
                print_error(&format!("{}: {error}", self.directory.display()));
                1
            }
        }
    }
}

/// A present symlink is replaced; a present file is left and counts as an error.
fn make(directory: &Path, target: &Path) -> io::Result<usize> {
    std::fs::create_dir_all(directory)?;
    let mut count = 0;
    for entry in commands::all().iter().filter(|entry| !UNLINKED.contains(&entry.name)) {
        let path = directory.join(entry.name);
        if path.is_symlink() {
            std::fs::remove_file(&path)?;
        }
        std::os::unix::fs::symlink(target, &path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", entry.name)))?;
        count += 1;
    }
    Ok(count)
}
