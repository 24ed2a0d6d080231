//! Errors are types: no `Result<_, String>`, and nothing is decided by the text of an error.

use anyhow::Result;

use super::{code, outcome};
use crate::suite::Count;

/// Questions to the text of an error.
const QUESTIONS: [&str; 4] = [".contains(", ".starts_with(", ".ends_with(", " == "];

/// All sources but tests.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    code::each_line(&mut |file, number, line| {
        if has_text_for_error(line) {
            wrong.push(format!("{file}:{number}: an error is a type, not a String"));
        }
        if asks_text(line) {
            wrong.push(format!("{file}:{number}: look at the kind of an error, not at its text"));
        }
    })?;
    Ok(outcome("errors", &wrong))
}

/// `Result<_, String>` or `type Err = String`.
fn has_text_for_error(line: &str) -> bool {
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("Result<") {
        if error_of(after).is_some_and(|error| error.trim() == "String") {
            return true;
        }
        rest = after;
    }
    line.trim() == "type Err = String;"
}

/// The second argument of a `Result` whose arguments begin here.
fn error_of(arguments: &str) -> Option<&str> {
    let (mut depth, mut begins) = (0usize, None);
    let mut before = ' ';
    for (at, c) in arguments.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' if depth == 0 => return arguments.get(begins?..at),
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => begins = Some(at + 1),
            _ => {}
        }
        before = c;
    }
    None
}

fn asks_text(line: &str) -> bool {
    let Some((_, after)) = line.split_once("error.to_string()") else { return false };
    QUESTIONS.iter().any(|question| after.starts_with(question))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_for_errors_are_found() {
        for line in [
            "fn a() -> Result<(), String> {",
            "    ) -> std::result::Result<Vec<(u8, Option<u8>)>, String> {",
            "    read: Result<fn(u8) -> Result<(), Error>, String>,",
            "    started: OnceLock<Result<Running, String>>,",
            "    type Err = String;",
        ] {
            assert!(has_text_for_error(line), "{line}");
        }
        for line in [
            "fn a() -> Result<String> {",
            "fn a() -> Result<BTreeMap<(String, String), String>> {",
            "fn a() -> Result<BTreeMap<String, String>, Stop> {",
            "fn a() -> Result<String, Error> {",
        ] {
            assert!(!has_text_for_error(line), "{line}");
        }
    }

    #[test]
    fn questions_to_texts_are_found() {
        assert!(asks_text(r#"if error.to_string().contains("os error 98") {"#));
        assert!(!asks_text(r#"Err(error) => Err(error.to_string()),"#));
    }
}
