//! Results as data: a [`Report`] renders as xCAT's lines and as JSON.

use super::{CommandError, Done, Out, Warning};
use dawn_xcatd::{Element, NodeItem, Response};
use std::collections::BTreeMap;

/// A piece of a command's result: a node with its state, an object, a row, what was changed.
///
/// [`Out::report`] prints it: as the lines of [`Report::print`], or, with `--json`, as one element of the
/// list that the whole output is then. A command whose results come one after the other reports each at once.
/// Fields that only concern lines (the option that chose their form) are skipped.
pub trait Report: serde::Serialize {
    /// Whether it serialises as a sequence, each item of which is an element of the list: all of a node's
    /// interfaces, which xCAT prints together.
    const MANY: bool = false;

    /// Writes it as xCAT's lines.
    ///
    /// # Errors
    /// The caller has gone.
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done;
}

/// Where a [`Report`] writes its lines.
pub struct Lines<'o, 'a>(pub(super) &'o mut Out<'a>);

impl Lines<'_, '_> {
    /// A plain line; empty lines and `0` are printed too.
    pub fn line(&mut self, text: impl Into<String>) -> Done {
        self.0.put_line(text.into())
    }

    /// Top-level data: a client swallows an empty text and `0`.
    pub fn data(&mut self, text: impl Into<String>) -> Done {
        self.0.put_data(text.into())
    }

    /// A part that needs attention and is not an error.
    pub fn warning(&mut self, warning: impl Into<Warning>) -> Done {
        self.0.warning(warning)
    }

    /// Verb-specific elements, which programs read.
    pub fn elements(&mut self, elements: Vec<Element>) -> Done {
        self.0.elements(elements)
    }

    /// `node: Error: text`: why this node has no result.
    pub fn node_error(&mut self, name: &str, error: impl Into<CommandError>) -> Done {
        self.0.node_error(name, error)
    }

    /// `node: text`.
    pub fn node(&mut self, name: &str, text: impl Into<String>) -> Done {
        self.0.put_node(name, Some(text.into()))
    }

    /// A node with elements that programs read, besides the text of its line.
    pub fn node_item(&mut self, item: NodeItem) -> Done {
        self.0.send(Response::node(item))
    }

    /// The bare name of a node.
    pub fn node_name(&mut self, name: &str) -> Done {
        self.0.put_node(name, None)
    }
}

/// What a command has done to one thing, or would do in a dry run; xCAT has a sentence for it.
///
/// As JSON it is `{"action": "removed", "kind": "osimage", "name": "im1"}`.
#[derive(serde::Serialize)]
pub struct Deed {
    action: &'static str,
    kind: &'static str,
    name: String,
    #[serde(flatten)]
    more: BTreeMap<&'static str, serde_json::Value>,
    #[serde(skip)]
    lines: Vec<String>,
}

impl Deed {
    /// What was done (`created`, `removed` …), to what kind of thing, and its name; without a line.
    pub fn new(action: &'static str, kind: &'static str, name: impl Into<String>) -> Self {
        Self { action, kind, name: name.into(), more: BTreeMap::new(), lines: Vec::new() }
    }

    /// Another field.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.more.insert(field, value.into());
        self
    }

    /// A line of it.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }
}

impl Report for Deed {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        self.lines.iter().try_for_each(|line| lines.line(line))
    }
}

/// A sentence about what was done, for a person. Facts for programs are a report instead.
#[derive(serde::Serialize)]
pub(super) struct Message<'t> {
    pub(super) message: &'t str,
}

/// How a command is called.
#[derive(serde::Serialize)]
pub(super) struct Usage<'t> {
    pub(super) usage: &'t str,
}

/// What is known of a node in one text.
#[derive(serde::Serialize)]
pub(super) struct NodeText<'t> {
    pub(super) node: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'t str>,
}

/// An error that is part of the output, where xCAT prints errors as plain lines.
#[derive(serde::Serialize)]
pub(super) struct Failure<'t> {
    pub(super) error: String,
    pub(super) kind: super::ErrorKind,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) hints: &'t [String],
}

/// Why a node has no result.
#[derive(serde::Serialize)]
pub(super) struct NodeFailure<'t> {
    pub(super) node: &'t str,
    pub(super) error: String,
    pub(super) kind: super::ErrorKind,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) hints: &'t [String],
}

/// The list that `--json` prints, element by element, in the form of `serde_json::to_string_pretty`.
///
/// The last line of an element is held back until it is known whether another one, and so a comma, follows.
#[derive(Default)]
pub(super) struct JsonList {
    held: Option<String>,
}

impl JsonList {
    /// The lines that an element adds.
    pub(super) fn push(&mut self, element: &str) -> Vec<String> {
        let mut ready = vec![self.held.take().map_or_else(|| "[".to_owned(), |line| line + ",")];
        ready.extend(element.lines().map(|line| format!("  {line}")));
        self.held = ready.pop();
        ready
    }

    /// Whether an element has been added.
    pub(super) fn has_begun(&self) -> bool {
        self.held.is_some()
    }

    /// The lines that end the list.
    pub(super) fn end(&mut self) -> Vec<String> {
        match self.held.take() {
            Some(line) => vec![line, "]".to_owned()],
            None => vec!["[]".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_written_as_a_whole_list_would_be() {
        let all =
            [serde_json::json!({"a": 1, "b": [1, 2]}), serde_json::json!({}), serde_json::json!("x\ny")];
        for count in 0..=all.len() {
            let part: Vec<_> = all.iter().take(count).collect();
            let mut list = JsonList::default();
            let mut lines = Vec::new();
            for element in &part {
                lines.extend(list.push(&serde_json::to_string_pretty(element).expect("JSON")));
            }
            lines.extend(list.end());
            assert_eq!(lines.join("\n"), serde_json::to_string_pretty(&part).expect("JSON"));
        }
    }
}
