//! Errors that know what to do about them: the message says what is wrong, the hint says what helps.
//!
//! A message has no hint in it. Who shows an error decides how the two stand: commands give each a line
//! (`bootd/src/output/error.rs`), a node's console and its timeline have one line for both.

use dawn_wire::text::sentence;
use std::error::Error;

/// An error with a hint for some of its cases.
pub trait Advised: Error {
    /// What to do about it, if that is known. Who shows it makes a [`sentence`] of it; commands and values
    /// stand in backticks.
    fn hint(&self) -> Option<String>;

    /// Message and hint where there is one line for both.
    fn in_one_line(&self) -> String {
        let message = self.to_string();
        let Some(hint) = self.hint() else { return message };
        format!("{}. {}", message.trim_end_matches('.'), sentence(&hint))
    }
}
