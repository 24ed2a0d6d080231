//! Synclists, in the part that concerns images: files to put into a packed root.
//!
//! `source -> destination`, one or more sources; a destination that ends in `/`, or several sources, means
//! a directory. Lines for certain nodes (`-> (noderange) …`) and everything from the first clause on are
//! for running nodes and left out.

use dawn_bootd::output::CommandError;
use dawn_serving::bounded_read::{self, Refused};
use std::path::{Path, PathBuf};

/// Bytes of one list at most.
const LIST_BYTES_MAX: u64 = 4 << 20;
/// Lists including others at most.
const INCLUDE_DEPTH_MAX: usize = 8;
const CLAUSES: [&str; 4] = ["EXECUTE:", "EXECUTEALWAYS:", "APPEND:", "MERGE:"];

/// Files of all lists: path in the image, file on this machine. Later lines win.
pub(crate) fn read_all(lists: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, CommandError> {
    let mut files = Vec::new();
    for list in lists {
        read_list(list, 0, &mut files)?;
    }
    Ok(files)
}

fn read_list(list: &Path, depth: usize, files: &mut Vec<(String, PathBuf)>) -> Result<(), CommandError> {
    let shown = list.display();
    if depth > INCLUDE_DEPTH_MAX {
        return Err(CommandError::conflict(format!("{shown} is included too deeply")));
    }
    let text = bounded_read::read_text(list, LIST_BYTES_MAX).map_err(|why| match why {
        Refused::Missing => CommandError::not_found(format!("File:{shown} does not exist.")),
        why => CommandError::refused(format!("{shown}: {why}")),
    })?;
    for line in text.lines().map(str::trim) {
        if CLAUSES.contains(&line) {
            break;
        }
        if let Some(name) = line.strip_prefix("#INCLUDE:") {
            let name = name.trim_end_matches('#').trim();
            let base = list.parent().unwrap_or(Path::new("/"));
            read_list(&base.join(name), depth + 1, files)?;
        } else if !line.is_empty() && !line.starts_with('#') {
            files.extend(read_line(line)?);
        }
    }
    Ok(())
}

fn read_line(line: &str) -> Result<Vec<(String, PathBuf)>, CommandError> {
    let Some((sources, destination)) = line.split_once(" -> ") else {
        return Err(CommandError::conflict(format!("synclist line {line:?} has no ' -> '")));
    };
    let destination = destination.trim();
    if destination.starts_with('(') {
        return Ok(Vec::new());
    }
    let sources: Vec<&str> = sources.split_whitespace().collect();
    let into_directory = sources.len() > 1 || destination.ends_with('/');
    let place = |source: &&str| {
        let name = source.rsplit('/').next().unwrap_or(source);
        let target = if into_directory {
            format!("{}/{name}", destination.trim_end_matches('/'))
        } else {
            destination.to_owned()
        };
        (target, PathBuf::from(source))
    };
    Ok(sources.iter().map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let show = |line: &str| -> String {
            let files = read_line(line).unwrap_or_else(|error| vec![(error.to_string(), PathBuf::new())]);
            let words: Vec<String> =
                files.iter().map(|(to, from)| format!("{to}<{}", from.display())).collect();
            words.join(" ")
        };
        for (line, expected) in [
            ("/etc/hosts -> /etc/hosts", "/etc/hosts</etc/hosts"),
            ("/tmp/a /tmp/b -> /root/dir", "/root/dir/a</tmp/a /root/dir/b</tmp/b"),
            ("/tmp/a -> /root/dir/", "/root/dir/a</tmp/a"),
            ("/etc/foo -> (rack1) /etc/foo.conf", ""),
        ] {
            assert_eq!(show(line), expected, "{line}");
        }
    }
}
