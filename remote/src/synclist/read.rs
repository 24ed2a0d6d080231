//! From text to a synclist.
//!
//! `#` in the first column begins a comment, except for `#INCLUDE:FILE#`, which is replaced by the lines of
//! another list; its path is relative to the list. Clauses begin with their word alone on a line and end at
//! the next, or with the file.

use super::error::{LineError, Place, SynclistError};
use super::limits::{INCLUDE_DEPTH_MAX, LINES_MAX};
use super::line::{Line, checked, clean};
use super::{ScriptLine, Synclist};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files whose lines begin with a name that is there once, which is what merging means.
const MERGED: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
/// Ending of scripts that wait for a file.
pub(super) const POST: &str = ".post";

/// Reads a list; `text_of` gives the text of each file.
///
/// # Errors
/// A list cannot be read, or a line cannot be carried out.
pub fn read(
    list: &Path,
    text_of: &dyn Fn(&Path) -> Result<String, SynclistError>,
) -> Result<Synclist, SynclistError> {
    let mut reader = Reader { text_of, lines: 0, list: Synclist::default() };
    reader.file(list, 0)?;
    let list_is_empty = reader.list == Synclist::default();
    if list_is_empty {
        return Err(SynclistError::Empty(list.to_owned()));
    }
    check_always(&reader.list)?;
    Ok(reader.list)
}

/// Which clause a line is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clause {
    Copies,
    Execute,
    Always,
    Append,
    Merge,
}

const CLAUSES: [(&str, Clause); 4] = [
    ("EXECUTE:", Clause::Execute),
    ("EXECUTEALWAYS:", Clause::Always),
    ("APPEND:", Clause::Append),
    ("MERGE:", Clause::Merge),
];

struct Reader<'a> {
    text_of: &'a dyn Fn(&Path) -> Result<String, SynclistError>,
    lines: usize,
    list: Synclist,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), SynclistError> {
        if depth > INCLUDE_DEPTH_MAX {
            return Err(SynclistError::Depth(path.to_owned()));
        }
        let text = (self.text_of)(path)?;
        let list = path.into();
        let mut clause = Clause::Copies;
        for (line, text) in (1..).zip(text.lines()) {
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(SynclistError::Lines(path.to_owned()));
            }
            if let Some(included) = included(path, text) {
                self.file(&included, depth + 1)?;
            } else if !text.starts_with('#') && !text.trim().is_empty() {
                let at = Place { list: std::sync::Arc::clone(&list), line };
                self.line(&at, &mut clause, text.trim()).map_err(|why| SynclistError::of(&at, why))?;
            }
        }
        Ok(())
    }

    fn line(&mut self, at: &Place, clause: &mut Clause, text: &str) -> Result<(), LineError> {
        if let Some((word, begun)) = CLAUSES.iter().find(|(word, _)| text.starts_with(word)) {
            *clause = *begun;
            return if text == *word { Ok(()) } else { Err(LineError::AfterClause(word)) };
        }
        match *clause {
            Clause::Copies => self.list.copies.push(Line::read(at, text)?),
            Clause::Append => self.list.appends.push(Line::read(at, text)?),
            Clause::Merge => self.list.merges.push(merge(at, text)?),
            Clause::Execute => {
                let path = script(text, "EXECUTE")?;
                if path.strip_suffix(POST).is_none_or(|file| file.ends_with('/')) {
                    return Err(LineError::NotPost(path));
                }
                self.list.scripts.push(ScriptLine { at: at.clone(), path, is_always: false });
            }
            Clause::Always => {
                let path = script(text, "EXECUTEALWAYS")?;
                self.list.scripts.push(ScriptLine { at: at.clone(), path, is_always: true });
            }
        }
        Ok(())
    }
}

/// The list of an `#INCLUDE:FILE#` line.
fn included(list: &Path, text: &str) -> Option<PathBuf> {
    let name = text.trim().strip_prefix("#INCLUDE:")?.trim_end_matches('#').trim();
    (!name.is_empty()).then(|| list.parent().unwrap_or(Path::new("/")).join(name))
}

fn script(text: &str, clause: &'static str) -> Result<String, LineError> {
    if text.contains(char::is_whitespace) {
        return Err(LineError::NotScript(clause));
    }
    clean(&checked(text)?)
}

fn merge(at: &Place, text: &str) -> Result<Line, LineError> {
    let line = Line::read(at, text)?;
    match MERGED.contains(&line.destination.as_str()) {
        true => Ok(line),
        false => Err(LineError::Merge(line.destination)),
    }
}

/// A script that always runs does so where it is copied to; one that is copied nowhere is a mistake. The
/// files of a pattern or directory are not known here.
fn check_always(list: &Synclist) -> Result<(), SynclistError> {
    let sources: BTreeSet<&str> =
        list.copies.iter().flat_map(|line| &line.sources).map(String::as_str).collect();
    let is_found = |path: &str| {
        sources.contains(path)
            || sources.iter().any(|source| super::line::is_pattern(source) || source.contains('$'))
            || Path::new(path)
                .ancestors()
                .skip(1)
                .filter_map(Path::to_str)
                .any(|above| sources.contains(above) || sources.contains(format!("{above}/").as_str()))
    };
    match list.scripts.iter().find(|script| script.is_always && !is_found(&script.path)) {
        Some(script) => Err(SynclistError::of(&script.at, LineError::NotCopied(script.path.clone()))),
        None => Ok(()),
    }
}
