//! `dawn links`: a symlink for each command.

use super::LocalCommand;
use crate::environment::Environment;
use crate::terminal::{print, print_error};
use dawn_bootd::command::Registry;
use std::io;
use std::path::{Path, PathBuf};

/// Create a symlink to this program for each command in a directory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory; made if it is missing
    #[arg(value_name = "DIR", required = true)]
    directory: PathBuf,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// Names that are not commands of an administrator's fingers.
const UNLINKED: [&str; 12] = [
    "links",
    "complete",
    "completions",
    "man",
    "log",
    "undo",
    "events",
    "explain",
    "leases",
    "getdestiny",
    "nextdestiny",
    "imagedef",
];

/// No link is made for the command: it is asked for as `dawn NAME`, or by nodes.
pub fn is_unlinked(name: &str) -> bool {
    UNLINKED.contains(&name)
}

impl LocalCommand for Args {
    const NAME: &'static str = "links";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, registry: &Registry) -> i32 {
        let mut show = |line: &str| print(&format!("{line}\n"));
        let names: Vec<&str> = registry.all().iter().map(|entry| entry.name).collect();
        let made = make(&self.directory, &environment.executable, &names, self.dry_run, &mut show);
        let (count, foreign) = match made {
            Ok(made) => made,
            Err(error) => {
                print_error(&format!("{}: {error}", self.directory.display()));
                return 1;
            }
        };
        if !self.dry_run {
            print(&format!("{count} links in {}\n", self.directory.display()));
        }
        if foreign.is_empty() {
            return 0;
        }
        print_error(&format!(
            "left as they are, because they are not links: {}\nHint: remove these files, or name another directory.",
            foreign.join(", ")
        ));
        1
    }
}

/// A present symlink is replaced; any other file is left. Links made, and names of the files in the way; a
/// dry run shows what it would make.
fn make(
    directory: &Path,
    target: &Path,
    names: &[&'static str],
    dry_run: bool,
    show: &mut dyn FnMut(&str),
) -> io::Result<(usize, Vec<&'static str>)> {
    if !dry_run {
        std::fs::create_dir_all(directory)?;
    }
    let (mut count, mut foreign) = (0, Vec::new());
    for &name in names.iter().filter(|name| !is_unlinked(name)) {
        let path = directory.join(name);
        let is_link = path.is_symlink();
        if !is_link && path.exists() {
            foreign.push(name);
        } else if dry_run {
            show(&format!("{} link {}", if is_link { '~' } else { '+' }, path.display()));
        } else {
            if is_link {
                std::fs::remove_file(&path)?;
            }
            std::os::unix::fs::symlink(target, &path)?;
            count += 1;
        }
    }
    Ok((count, foreign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_left_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("chdef"), "mine").unwrap();
        let target = Path::new("/usr/sbin/dawn");
        let registry = crate::registry::registry();
        let names: Vec<&str> = registry.all().iter().map(|entry| entry.name).collect();
        let mut lines = Vec::new();
        let shown = make(dir.path(), target, &names, true, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(shown, (0, vec!["chdef"]));
        assert_eq!(lines.len() + 1 + UNLINKED.len(), names.len());
        assert!(lines.contains(&format!("+ link {}/nodels", dir.path().display())), "{lines:?}");
        assert!(!dir.path().join("nodels").is_symlink());
        for _ in 0..2 {
            let (count, foreign) =
                make(dir.path(), target, &names, false, &mut |line| panic!("{line}")).unwrap();
            assert_eq!((count + 1 + UNLINKED.len(), foreign), (names.len(), vec!["chdef"]));
        }
        assert_eq!(std::fs::read_link(dir.path().join("unregnotif")).unwrap(), target);
        assert_eq!(std::fs::read(dir.path().join("chdef")).unwrap(), b"mine");
    }
}
