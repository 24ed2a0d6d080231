//! Lines of package and exclude lists with their `#INCLUDE:file#` lines replaced by that file's lines.
//!
//! A relative include is looked for in the directory of the including file; `$NAME` in it is a variable the
//! caller knows (`$INSTALLDIR`). A file that includes itself, directly or not, is an error, as is a missing
//! one.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Deepest nesting of includes.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Largest list with everything it includes (lines).
const LINES_MAX: usize = 200_000;

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file is missing or unreadable.
    #[error("cannot read the list {path}: {source}")]
    Read {
        /// The list.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Includes go round in a circle or are nested too deep.
    #[error("{0}: lists include each other more than {INCLUDE_DEPTH_MAX} deep")]
    Depth(PathBuf),
    /// The list with its includes is too long.
    #[error("{0}: more than {LINES_MAX} lines")]
    TooLong(PathBuf),
    /// An include names a variable that is not set.
    #[error("{path}: ${name} is not known in an #INCLUDE# line")]
    Variable {
        /// The list.
        path: PathBuf,
        /// The variable.
        name: String,
    },
}

/// The lines of `file`, includes in place. `vars` gives the value of a `$NAME`.
pub fn load(file: &Path, vars: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, ListError> {
    let mut lines = Vec::new();
    append(file, vars, 0, &mut lines)?;
    Ok(lines)
}

fn append(
    file: &Path,
    vars: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    lines: &mut Vec<String>,
) -> Result<(), ListError> {
    if depth > INCLUDE_DEPTH_MAX {
        return Err(ListError::Depth(file.to_owned()));
    }
    let bytes = fs::read(file).map_err(|source| ListError::Read { path: file.to_owned(), source })?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        match included(line) {
            Some(name) => {
                let name = expand(name, file, vars)?;
                let target = file.parent().unwrap_or(Path::new(".")).join(name);
                append(&target, vars, depth + 1, lines)?;
            }
            None => lines.push(line.to_owned()),
        }
        if lines.len() > LINES_MAX {
            return Err(ListError::TooLong(file.to_owned()));
        }
    }
    Ok(())
}

/// The file of an `#INCLUDE:file#` line.
fn included(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("#INCLUDE:")?.strip_suffix('#')?.trim();
    (!name.is_empty()).then_some(name)
}

/// Replace `$NAME` (letters, digits, `_`) by its value.
fn expand(text: &str, file: &Path, vars: &dyn Fn(&str) -> Option<String>) -> Result<String, ListError> {
    let mut pieces = text.split('$');
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        match vars(name) {
            Some(value) => result.push_str(&value),
            None => return Err(ListError::Variable { path: file.to_owned(), name: name.to_owned() }),
        }
        result.push_str(rest);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn includes_are_relative_and_recursive() {
        let dir =
            dir(&[("a", "one\n#INCLUDE:sub/b#\nfour"), ("sub/b", "two\n#INCLUDE:$X/c#\n"), ("c", "three\n")]);
        let top = dir.path().to_str().unwrap().to_owned();
        let lines = load(&dir.path().join("a"), &|name| (name == "X").then(|| top.clone())).unwrap();
        assert_eq!(lines, ["one", "two", "three", "four"]);
    }

    #[test]
    fn circles_and_missing_files_are_errors() {
        let dir = dir(&[("a", "#INCLUDE:a#\n"), ("b", "#INCLUDE:none#\n"), ("c", "#INCLUDE:$NO/x#\n")]);
        let load = |name: &str| load(&dir.path().join(name), &|_| None);
        assert!(matches!(load("a"), Err(ListError::Depth(_))));
        assert!(matches!(load("b"), Err(ListError::Read { .. })));
        assert!(matches!(load("c"), Err(ListError::Variable { .. })));
    }
}
