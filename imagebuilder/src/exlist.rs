//! The exclude list of an image (`linuximage.exlist`): what packimage leaves out.
//!
//! A line is a path pattern below the root (`./usr/share/man*`, `/boot*`), matched on every entry like
//! `find -path`. `+` in front takes entries back in, in any order of the lines; `-` in front or
//! nothing leaves them out. `#INCLUDE:file#` reads another list, `#` begins a comment.

use std::path::Path;

use crate::listfile::{self, ListError};
use dawn_serving::glob;

/// A parsed exclude list; the default one keeps everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exlist {
    exclude: Vec<Vec<u8>>,
    include: Vec<Vec<u8>>,
}

impl Exlist {
    /// Read a list from a file, with its includes. `vars` expands `$NAME` in include paths.
    pub fn load(file: &Path, vars: &dyn Fn(&str) -> Option<String>) -> Result<Self, ListError> {
        Ok(Self::from_lines(listfile::load(file, vars)?.iter().map(String::as_str)))
    }

    /// A list from its lines; comments and blank lines are skipped.
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = Self::default();
        for line in lines {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix('+') {
                Some(pattern) => list.include.push(normal(pattern)),
                None => list.exclude.push(normal(line.strip_prefix('-').unwrap_or(line))),
            }
        }
        list
    }

    /// Does the list name nothing to leave out?
    pub fn is_empty(&self) -> bool {
        self.exclude.is_empty()
    }

    /// Is the entry at `path` (no leading slash) wanted?
    pub fn keeps(&self, path: &[u8]) -> bool {
        if self.exclude.is_empty() {
            return true;
        }
        let dotted = [b"./", path].concat();
        let hit = |patterns: &[Vec<u8>]| patterns.iter().any(|pattern| glob::matches(pattern, &dotted));
        !hit(&self.exclude) || hit(&self.include)
    }
}

/// All patterns begin with `./`, as the paths they are matched on do; a leading `*` may replace it.
fn normal(pattern: &str) -> Vec<u8> {
    let pattern = pattern.trim();
    let rest = pattern.trim_start_matches('/');
    match pattern.as_bytes().first() {
        Some(b'.' | b'*') => pattern.as_bytes().to_vec(),
        _ => format!("./{rest}").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_win_regardless_of_order() {
        let list = Exlist::from_lines([
            "# comment",
            "+./usr/share/locale/en*",
            "./usr/share/locale/*",
            "/boot*",
            "-./tmp/*",
            "opt",
        ]);
        let table: &[(&str, bool)] = &[
            ("usr/share/locale", true),
            ("usr/share/locale/de/x", false),
            ("usr/share/locale/en_GB/x", true),
            ("boot", false),
            ("boot/vmlinuz", false),
            ("tmp", true),
            ("tmp/a", false),
            ("opt", false),
            ("opt/x", true),
        ];
        for (path, expected) in table {
            assert_eq!(list.keeps(path.as_bytes()), *expected, "{path}");
        }
    }
}
