//! Leftovers of runs that could not clean up after themselves.
//!
//! A test cluster is named `dawn-t<pid>-<number>` after the process that owns it. If that process is gone,
//! the namespace, the processes in it and its sockets are removed. Directories of failed runs stay for people
//! to look at until the next run.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::{net, paths};

/// How names of test clusters begin.
pub const PREFIX: &str = "dawn-t";

/// Removes namespaces, sockets and directories of test clusters whose owner is gone.
pub fn clean() -> Result<()> {
    for name in net::namespaces()?.iter().filter(|name| is_stale(name)) {
        remove_once(name)?;
    }
    for dir in [paths::sockets(), paths::runs()] {
        clean_directory(&dir);
    }
    Ok(())
}

/// Removes a namespace. Another run may be cleaning at the same time: one that it removed is not an error.
fn remove_once(name: &str) -> Result<()> {
    match net::remove(name) {
        Err(error) if net::namespaces()?.iter().any(|present| present == name) => Err(error),
        _ => Ok(()),
    }
}

fn clean_directory(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_stale(&entry.file_name().to_string_lossy())) {
        // Another run may be cleaning at the same time.
        let _ = fs::remove_dir_all(entry.path());
    }
}

fn is_stale(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_another_run_removed_is_not_an_error() {
        remove_once("dawn-t4194305-2").unwrap();
    }

    #[test]
    fn only_names_of_dead_test_runs_are_stale() {
        let live = format!("{PREFIX}{}-1", std::process::id());
        let cases = [
            ("dawn-demo", false),
            ("dawn-t-1", false),
            ("other", false),
            (&live, false),
            ("dawn-t4194305-1", true),
        ];
        for (name, want) in cases {
            assert_eq!(is_stale(name), want, "{name}");
        }
    }
}
