//! Documents against facts: the tables of ARCHITECTURE.md name every crate of the workspace with its folder,
//! and every outside crate that a manifest asks for, and no others. Every path of the source tree that a page
//! names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use dawn_qemu::paths;

use super::{files, outcome};
use crate::metadata::{self, list, packages, text};
use crate::suite::Count;

/// Both tables, and the paths of all pages.
pub(super) fn check() -> Result<Count> {
    let path = paths::workspace().join("ARCHITECTURE.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let metadata = metadata::read(&["--no-deps"])?;
    let (mut own, mut outside) = (BTreeSet::new(), BTreeSet::new());
    for package in packages(&metadata)? {
        let name = text(package, "name").unwrap_or_default();
        own.insert(format!("{} {name}", folder(text(package, "manifest_path").unwrap_or_default())));
        let from_registry =
            list(package, "dependencies").filter(|dependency| dependency.get("path").is_none());
        outside.extend(from_registry.filter_map(|dependency| text(dependency, "name")).map(str::to_owned));
    }
    let crates = rows(&page, "| folder |").map(|row| row.join(" ")).collect();
    let words = rows(&page, "| crate | for |").filter_map(|row| row.first().cloned());
    let named = words.flat_map(|cell| cell.split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    Ok(outcome("ARCHITECTURE.md, crates", &difference(&own, &crates))
        .plus(outcome("ARCHITECTURE.md, outside crates", &difference(&outside, &named)))
        .plus(outcome("paths on pages", &missing_on_pages()?)))
}

/// What each page of the project names and does not exist.
fn missing_on_pages() -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (file, page) in files::like("*.md")? {
        let paths = missing_paths(&page, &paths::workspace());
        missing.extend(paths.into_iter().map(|path| format!("{file}: {path}")));
    }
    Ok(missing)
}

/// The folder of a manifest below the workspace, with a slash at its end.
fn folder(manifest: &str) -> String {
    let folder = Path::new(manifest).parent().and_then(|dir| dir.strip_prefix(paths::workspace()).ok());
    format!("{}/", folder.unwrap_or(Path::new("")).display())
}

/// The first two cells of each row of the table with that head, without backquotes.
fn rows<'a>(page: &'a str, head: &'a str) -> impl Iterator<Item = Vec<String>> + 'a {
    let table = page.lines().skip_while(move |line| !line.starts_with(head)).skip(2);
    table.take_while(|line| line.starts_with('|')).map(|line| {
        let cells = line.split('|').skip(1).take(if head.contains("| for |") { 1 } else { 2 });
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    })
}

fn difference(facts: &BTreeSet<String>, page: &BTreeSet<String>) -> Vec<String> {
    let missing = facts.difference(page).map(|name| format!("{name} is missing"));
    missing.chain(page.difference(facts).map(|name| format!("{name} does not exist"))).collect()
}

/// Every text in backquotes that begins with a folder of the source tree and does not exist. A path with a
/// part to fill in (`<family>`, `COMMAND`, `*`) names no file, and what a build makes need not be there.
fn missing_paths(page: &str, top: &Path) -> Vec<String> {
    let is_ours = |path: &&str| {
        let names_a_file = !path.contains(['<', '*']) && !path.contains("/COMMAND");
        let folder = path.split_once('/').map_or("", |(first, _)| first);
        let is_folder = !folder.is_empty() && !folder.starts_with('.') && top.join(folder).is_dir();
        names_a_file && is_folder
    };
    let quoted = page.split('`').skip(1).step_by(2).filter(is_ours);
    let missing = quoted.filter(|path| !top.join(path).exists() && !is_built(path, top));
    missing.map(|path| format!("{path} does not exist")).collect()
}

/// Git ignores what a build makes.
fn is_built(path: &str, top: &Path) -> bool {
    let mut command = Command::new("git");
    command.args(["check-ignore", "--quiet", "--", path]).current_dir(top).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::missing_paths;
    use dawn_qemu::paths;

    #[test]
    fn paths_that_are_not_there_are_found() {
        let page = "`xtask/src/main.rs`, `xtask/src/tidy/`, `live/reach.rs`, `/proc/cmdline`, `./mine`, \
            `target/none`, `dist/out/none`, `xtask/src/*.txt` and `xtask/src/none.rs`";
        assert_eq!(missing_paths(page, &paths::workspace()), ["xtask/src/none.rs does not exist"]);
    }
}
