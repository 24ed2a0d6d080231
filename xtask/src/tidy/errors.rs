//! Errors are types: no `Result<_, String>`, no type of errors that is a text under another name, no hint
//! inside a message, and nothing is decided by the text of an error.
//!
//! A scan of lines, not of meaning: what a text is made of before it is asked, three functions away, is not
//! seen.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{code, outcome};
use crate::suite::Count;

/// Questions to the text of an error.
const QUESTIONS: [&str; 4] = [".contains(\"", ".starts_with(\"", ".ends_with(\"", " == \""];
/// Types that are not errors.
const TEXT_TYPES: [&str; 3] = ["String", "&'static str", "&str"];
/// What makes the text of an error.
const TEXTS: [&str; 3] = [".to_string()", ".reason()", "error}\")"];
/// What a hint inside a message begins with.
const HINTS: [&str; 6] = ["Hint:", "Run:", ". Run `", "; run `", ": run `", ", run `"];
/// The one file that gives hints their form, and this one.
const FORM_OF_HINTS: [&str; 2] = ["bootd/xcatd/src/response.rs", "xtask/src/tidy/errors.rs"];
/// Lines after the one that names the text of an error in which a question to that name is looked for.
const LINES_AFTER: usize = 12;

/// All sources but tests.
pub(super) fn check() -> Result<Count> {
    let mut files: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    code::each_line(&mut |file, number, line| {
        files.entry(file.to_owned()).or_default().push((number, line.to_owned()));
    })?;
    let mut wrong = Vec::new();
    let of_results: BTreeSet<String> =
        files.values().flatten().flat_map(|(_, line)| errors_of(line)).map(name_of).collect();
    for (file, lines) in &files {
        let (numbers, lines): (Vec<usize>, Vec<&str>) =
            lines.iter().map(|(number, line)| (*number, line.as_str())).unzip();
        let mut at = |index: usize, text: &str| {
            let number = numbers.get(index).copied().unwrap_or_default();
            wrong.push(format!("{file}:{number}: {text}"));
        };
        for (index, line) in lines.iter().enumerate() {
            if has_text_for_error(line) {
                at(index, "an error is a type, not a String");
            }
            if !FORM_OF_HINTS.contains(&file.as_str()) && has_hint(line) {
                at(index, "a hint is a field of an error, not a part of its message");
            }
            if asks_text(lines.get(index..).unwrap_or_default()) {
                at(index, "look at the kind of an error, not at its text");
            }
        }
        for (index, name) in texts_as_types(&lines, &of_results) {
            at(index, &format!("{name} is a text under another name: say by a type what is wrong"));
        }
    }
    Ok(outcome("errors", &wrong))
}

/// Whether a text of the line has a hint in it.
fn has_hint(line: &str) -> bool {
    let line = line.replace("::", "");
    HINTS.iter().any(|hint| line.contains(hint))
}

/// The error types of the `Result`s of a line.
fn errors_of(line: &str) -> Vec<&str> {
    let begins = line.match_indices("Result<").filter_map(|(at, word)| line.get(at + word.len()..));
    begins.filter_map(error_of).map(str::trim).collect()
}

/// The last part of a path, without arguments.
fn name_of(path: &str) -> String {
    let name = path.rsplit("::").next().unwrap_or(path);
    name.split('<').next().unwrap_or(name).to_owned()
}

/// `Result<_, String>`, `Result<_, &'static str>` or `type Err = String`.
fn has_text_for_error(line: &str) -> bool {
    errors_of(line).iter().any(|error| TEXT_TYPES.contains(error)) || line.trim() == "type Err = String;"
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

/// Whether the first line, with what continues it, asks a text of an error, or names one that a line soon
/// after asks.
fn asks_text(lines: &[&str]) -> bool {
    let Some((first, after)) = lines.split_first() else { return false };
    let more = after.iter().map(|line| line.trim()).take_while(|line| line.starts_with('.'));
    let whole = first.trim().chars().chain(more.flat_map(str::chars)).collect::<String>();
    let is_asked = |rest: &str| QUESTIONS.iter().any(|question| rest.starts_with(question));
    if TEXTS.iter().any(|text| whole.split(text).skip(1).any(is_asked)) {
        return true;
    }
    let named = whole.strip_prefix("let ").and_then(|rest| rest.split_once(" = "));
    let named = named.filter(|(_, value)| value.trim_end_matches(';').ends_with("error.to_string()"));
    let Some((name, _)) = named else { return false };
    after.iter().take(LINES_AFTER).any(|line| line.split(name).skip(1).any(is_asked))
}

/// Structs of errors, with their lines, that hold nothing but texts and whose own text is one of them: those
/// that say `#[error("{0}")]`, and those that are the error of a `Result` and say nothing.
fn texts_as_types<'l>(lines: &[&'l str], of_results: &BTreeSet<String>) -> Vec<(usize, &'l str)> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((_, rest)) = line.split_once("struct ") else { continue };
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        let above = lines.get(..index).unwrap_or_default().iter().rev();
        let said = above.take_while(|line| line.starts_with("#[") || line.starts_with([' ', ')']));
        let said = said.copied().collect::<Vec<_>>().join("\n");
        let is_error = said.contains("thiserror::Error") || of_results.contains(name);
        if is_error && !says_more(&said) && holds_texts_only(lines.get(index..).unwrap_or_default()) {
            found.push((index, name));
        }
    }
    found
}

/// Whether `#[error("...")]` has words besides the fields.
fn says_more(attributes: &str) -> bool {
    let Some((_, text)) = attributes.split_once("#[error(\"") else { return attributes.contains("#[error(") };
    let text = text.split("\")]").next().unwrap_or_default();
    let mut depth = 0_usize;
    text.chars().any(|c| {
        depth = match c {
            '{' => depth + 1,
            '}' => depth.saturating_sub(1),
            _ => depth,
        };
        depth == 0 && c.is_alphabetic()
    })
}

/// Whether all fields of the struct that begins here are of the type `String`, and there are some.
fn holds_texts_only(lines: &[&str]) -> bool {
    let Some((first, more)) = lines.split_first() else { return false };
    let fields: Vec<&str> = match first.split_once('(') {
        Some((_, fields)) => fields.trim_end_matches([')', ';', ' ']).split(',').collect(),
        None if first.ends_with('{') => {
            more.iter().map(|line| line.trim()).take_while(|line| *line != "}").collect()
        }
        None => return false,
    };
    let type_of = |field: &str| {
        let after = field.rsplit_once(": ").map_or(field, |(_, after)| after);
        after.trim_start_matches("pub ").trim_end_matches(',').trim().to_owned()
    };
    !fields.is_empty() && fields.iter().all(|field| type_of(field) == "String")
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
            "    fn of(fields: &[u8]) -> Result<Framing, &'static str> {",
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
    fn hints_in_messages_are_found() {
        assert!(has_hint(r#"#[error("{node} has no state. Run: nodeset {node}")]"#));
        assert!(has_hint(r#"         Hint: let that server ask this one""#));
        assert!(has_hint(r#"format!("{more} more such nodes; run `dawn makedhcp` to list them.")"#));
        assert!(!has_hint("Run::new(), Hint::of(error)"));
    }

    #[test]
    fn questions_to_texts_are_found() {
        for lines in [
            &[r#"if error.to_string().contains("os error 98") {"#][..],
            &[r#"if failure.reason().starts_with("no answer") {"#],
            &[r#"    let lost = format!("{error}").contains("lost");"#],
            &["    let lost = error", "        .to_string()", r#"        .contains("lost");"#],
            &["    let text = error.to_string();", "", r#"    if text.contains("lost") {"#],
        ] {
            assert!(asks_text(lines), "{lines:?}");
        }
        for lines in [
            &["Err(error) => Err(error.to_string()),"][..],
            &["if host.to_string().contains('_') {"],
            &["let text = error.to_string();", "out.notice(text)", r#"if line.contains("lost") {"#],
        ] {
            assert!(!asks_text(lines), "{lines:?}");
        }
    }

    #[test]
    fn texts_under_another_name_are_found() {
        let of_results = BTreeSet::from(["Unready".to_owned()]);
        let names = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            let found = texts_as_types(&lines, &of_results);
            found.into_iter().map(|(_, name)| name.to_owned()).collect::<Vec<_>>()
        };
        let derived = "#[derive(Debug, thiserror::Error)]\n";
        assert_eq!(names(&format!("{derived}#[error(\"{{0}}\")]\npub struct A(String);")), ["A"]);
        assert_eq!(
            names("pub struct Unready {\n    pub text: String,\n    pub cause: String,\n}"),
            ["Unready"]
        );
        let no = format!("{derived}#[error(\"there is no {{0}}\")]\npub struct A(String);");
        assert!(names(&no).is_empty());
        assert!(names(&format!("{derived}#[error(\"{{0}}\")]\npub struct A(String, Kind);")).is_empty());
        assert!(names("struct Row {\n    name: String,\n}").is_empty());
    }
}
