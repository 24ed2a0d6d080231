//! Plain English: words that readers stumble over do not come back.

use std::fs;

use anyhow::{Context, Result};
use dawn_qemu::paths;

use super::{functions::files_like, outcome};
use crate::suite::Count;

/// Words, and what to write instead. A word counts whole and in either case.
const WORDS: [(&str, &str); 22] = [
    ("whoever", "anyone who, or name the actor"),
    ("anew", "again"),
    ("mend", "fix, repair"),
    ("mends", "fixes, repairs"),
    ("mended", "fixed, repaired"),
    ("mending", "fixing, repairing"),
    ("the reference", "xCAT"),
    ("told by", "reported by, known from"),
    ("told of", "notified of, given"),
    ("told so", "gets an error, gets an answer"),
    ("told about", "notified of"),
    ("told once", "reported once"),
    ("told on", "reported on"),
    ("told why", "gets the reason"),
    ("unless told otherwise", "by default"),
    ("tells the rest", "lists the rest"),
    ("tells whether", "says whether"),
    ("tells nobody", "name what does not happen"),
    ("nobody tells", "there is no notification"),
    ("nobody s business", "is private"),
    ("left to tell", "name what is lost"),
    ("were no valid", "were not a valid"),
];
/// This file names them.
const SELF: &str = "xtask/src/tidy/words.rs";

/// All sources and pages.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    let files = files_like("*.rs")?.into_iter().chain(files_like("*.md")?);
    for file in files.filter(|file| file != SELF) {
        let path = paths::workspace().join(&file);
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        for (number, line) in (1..).zip(text.lines()) {
            wrong.extend(
                found(line).map(|(word, better)| format!("{file}:{number}: '{word}': write {better}")),
            );
        }
    }
    Ok(outcome("words", &wrong))
}

fn found(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let words: Vec<String> =
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_ascii_lowercase).collect();
    WORDS.into_iter().filter(move |(wanted, _)| {
        let wanted: Vec<&str> = wanted.split(' ').collect();
        words.windows(wanted.len()).any(|some| some == wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn whole_words_count() {
        let words = |line| found(line).map(|(word, _)| word).collect::<Vec<_>>();
        assert_eq!(words("// Whoever asks, asks anew."), ["whoever", "anew"]);
        assert_eq!(words("as in The reference's client"), ["the reference"]);
        assert_eq!(words("amended recommendations, renewed; references"), [""; 0]);
    }
}
