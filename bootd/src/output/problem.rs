//! What is wrong with a thing that a result is about: a word for programs, a sentence for people, and what to
//! do.

use super::Lines;
use dawn_wire::text::sentence;
use dawn_xcatd::hint_line;
use serde::Serialize;
use std::fmt;

/// One thing that is wrong, as a part of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Problem {
    /// The code is stable; the message may get better.
    pub fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), hint: None }
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.map(|hint| sentence(&hint));
        self
    }

    /// Its lines for a node: `before` and the message, and the hint below.
    ///
    /// # Errors
    /// The caller has gone.
    pub fn print(&self, node: &str, before: &str, lines: &mut Lines<'_, '_>) -> super::Done {
        lines.node(node, format!("{before}{}", self.message))?;
        self.hint.iter().try_for_each(|hint| lines.node(node, hint_line(hint)))
    }
}
