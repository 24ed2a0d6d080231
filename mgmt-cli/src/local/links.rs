//! `dawn links`: a symlink for each command.

use super::LocalCommand;
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report};
use std::io;
use std::path::{Path, PathBuf};

/// Create a symlink to this program for each command in a directory
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory; made if it is missing
    #[arg(value_name = "DIR", required = true)]
    directory: PathBuf,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

/// Names that are not commands of an administrator's fingers.
const UNLINKED: [&str; 18] = [
    "backup",
    "restore",
    "import",
    "doctor",
    "links",
    "complete",
    "completions",
    "man",
    "log",
    "undo",
    "events",
    "wave",
    "explain",
    "render",
    "leases",
    "getdestiny",
    "nextdestiny",
    "imagedef",
];

/// No link is made for the command: it is asked for as `dawn NAME`, or by nodes.
pub(super) fn is_unlinked(name: &str) -> bool {
    UNLINKED.contains(&name)
}

impl LocalCommand for Args {
    const NAME: &'static str = "links";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done {
        let mut show = |link: &Link| drop(out.report(link));
        let names: Vec<&str> = registry.all().iter().map(|entry| entry.name).collect();
        let (count, foreign) =
            make(&self.directory, &environment.executable, &names, self.dry_run, &mut show).map_err(
                |error| CommandError::unavailable(self.directory.display().to_string()).cause(error),
            )?;
        if !self.dry_run {
            let directory = self.directory.display().to_string();
            let linked = Deed::new("linked", "commands", directory.as_str()).with("count", count);
            out.report(&linked.line(format!("{count} links in {directory}")))?;
        }
        if foreign.is_empty() {
            return Ok(());
        }
        let foreign = foreign.join(", ");
        let error =
            CommandError::conflict(format!("left as they are, because they are not links: {foreign}"));
        Err(error.hint("remove these files, or name another directory.").into())
    }
}

/// A link that a dry run would make.
#[derive(serde::Serialize)]
struct Link {
    change: char,
    path: String,
}

impl Report for Link {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("{} link {}", self.change, self.path))
    }
}

/// A present symlink is replaced; any other file is left. Links made, and names of other files in their
/// places; a dry run shows what it would make.
fn make(
    directory: &Path,
    target: &Path,
    names: &[&'static str],
    dry_run: bool,
    show: &mut dyn FnMut(&Link),
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
            show(&Link { change: if is_link { '~' } else { '+' }, path: path.display().to_string() });
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
        let shown =
            make(dir.path(), target, &names, true, &mut |link| lines.push(link.path.clone())).unwrap();
        assert_eq!(shown, (0, vec!["chdef"]));
        assert_eq!(lines.len() + 1 + UNLINKED.len(), names.len());
        assert!(lines.contains(&format!("{}/nodels", dir.path().display())), "{lines:?}");
        assert!(!dir.path().join("nodels").is_symlink());
        for _ in 0..2 {
            let (count, foreign) =
                make(dir.path(), target, &names, false, &mut |link| panic!("{}", link.path)).unwrap();
            assert_eq!((count + 1 + UNLINKED.len(), foreign), (names.len(), vec!["chdef"]));
        }
        assert_eq!(std::fs::read_link(dir.path().join("unregnotif")).unwrap(), target);
        assert_eq!(std::fs::read(dir.path().join("chdef")).unwrap(), b"mine");
    }
}
