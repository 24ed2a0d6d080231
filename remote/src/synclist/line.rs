//! One line of files: sources, nodes, destination.

use super::error::{LineError, Place};
use super::limits::VARIABLES;
use std::borrow::Cow;

/// `SOURCE... -> (NODES) DESTINATION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its list and line.
    pub at: Place,
    /// Paths and patterns on this machine.
    pub sources: Vec<String>,
    /// The noderange for which it is; without one for all.
    pub nodes: Option<String>,
    /// The path on the node.
    pub destination: String,
}

impl Line {
    pub(super) fn read(at: &Place, text: &str) -> Result<Self, LineError> {
        let mut words = text.split_whitespace();
        let mut sources = Vec::new();
        loop {
            match words.next() {
                Some("->") => break,
                Some(source) => sources.push(checked(source)?),
                None => return Err(LineError::NoArrow),
            }
        }
        if sources.is_empty() {
            return Err(LineError::NoArrow);
        }
        let rest = words.collect::<Vec<_>>().join(" ");
        let (nodes, destination) = match rest.strip_prefix('(') {
            Some(inside) => {
                let (nodes, rest) = inside.split_once(')').ok_or(LineError::Range)?;
                (Some(nodes.trim().to_owned()), rest.trim())
            }
            None => (None, rest.as_str()),
        };
        // xCAT drops it, so lists have it.
        let destination = destination.trim_end_matches([';', ' ']);
        match destination {
            "" => Err(LineError::NoArrow),
            words if words.contains(' ') => Err(LineError::Words(words.to_owned())),
            word => Ok(Self { at: at.clone(), sources, nodes, destination: checked(word)? }),
        }
    }

    /// Whether what it means differs from node to node.
    pub(super) fn names_node(&self) -> bool {
        self.sources.iter().chain([&self.destination]).any(|path| path.contains('$'))
    }

    /// Whether the destination is a directory in which files keep their names.
    pub(super) fn is_into(&self) -> bool {
        self.destination.ends_with('/')
            || self.sources.len() > 1
            || self.sources.iter().any(|s| is_pattern(s))
    }
}

/// Whether a path is a pattern for files.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// An absolute path that goes nowhere else than it says, with variables that exist.
pub(super) fn checked(path: &str) -> Result<String, LineError> {
    if !path.starts_with('/') {
        return Err(LineError::Relative(path.to_owned()));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(LineError::Up(path.to_owned()));
    }
    expanded(path, &|_| Some(String::new())).map(|_| path.to_owned())
}

/// The path with its variables replaced. A value is part of a name, and never a special name (`.`, `..`) or
/// several names.
pub(super) fn expanded<'p>(
    path: &'p str,
    value: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'p, str>, LineError> {
    let Some((before, mut rest)) = path.split_once('$') else { return Ok(Cow::Borrowed(path)) };
    let mut text = before.to_owned();
    loop {
        let (name, after) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').ok_or_else(|| LineError::Variable(rest.to_owned()))?,
            None => rest
                .split_at(rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())),
        };
        if !VARIABLES.contains(&name) {
            return Err(LineError::Variable(name.to_owned()));
        }
        let good =
            |value: &String| !value.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
        text.push_str(&value(name).filter(good).ok_or_else(|| LineError::NoValue(name.to_owned()))?);
        match after.split_once('$') {
            Some((before, next)) => {
                text.push_str(before);
                rest = next;
            }
            None => {
                text.push_str(after);
                return Ok(Cow::Owned(text));
            }
        }
    }
}

/// The path without `.`, empty parts and a slash at its end.
pub(super) fn clean(path: &str) -> Result<String, LineError> {
    let mut clean = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(LineError::Up(path.to_owned()));
        }
        clean.push('/');
        clean.push_str(part);
    }
    Ok(clean)
}
