//! Plain English: words that readers stumble over do not come back.

use anyhow::Result;

use super::{files, outcome};
use crate::suite::Count;

/// Words, and what to write instead. A word counts whole and in either case.
const WORDS: [(&str, &str); 47] = [
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
    ("see the module s text", "a sentence that says what the item is"),
    ("what a machine is told", "what is sent to a machine"),
    ("behind the daemon s back", "without the daemon"),
    ("makes nobody", "gives no user"),
    ("nobody but root", "only root"),
    ("nobody else", "no other, with the noun"),
    ("nobody listens", "no server listens"),
    ("what nobody", "name the actor"),
    ("comes along", "is included, comes with"),
    ("come along", "are included, come with"),
    ("fell silent", "stopped answering"),
    ("falls silent", "stops answering"),
    ("fallen silent", "stopped answering"),
    ("gave way", "was closed for, made room for"),
    ("gives way", "is closed for, makes room for"),
    ("hold up no", "do not delay"),
    ("holds up no", "does not delay"),
    ("lays over", "puts over"),
    ("knows nothing of", "does not know"),
    ("know nothing of", "do not know"),
    ("hears of", "gets a report of"),
    ("hear of", "get a report of"),
    ("by whatever", "by any"),
    ("on a line of its own", "on a separate line"),
    ("says so and passes", "prints that and passes"),
];
/// This file names them.
const SELF: &str = "xtask/src/tidy/words.rs";

/// All sources and pages.
pub(super) fn check() -> Result<Count> {
    let mut wrong = Vec::new();
    let texts = files::like("*.rs")?.into_iter().chain(files::like("*.md")?);
    for (file, text) in texts.filter(|(file, _)| file != SELF) {
        let is_prose = file.ends_with(".md");
        let found = found(&text, is_prose).into_iter();
        wrong.extend(found.map(|(line, word, better)| format!("{file}:{line}: '{word}': write {better}")));
    }
    Ok(outcome("words", &wrong))
}

/// The words that are not wanted, each with the line where it begins and what to write instead. A sentence
/// continues from line to line in prose and in comments, not in code.
fn found(text: &str, is_prose: bool) -> Vec<(usize, &'static str, &'static str)> {
    let mut passage: Vec<(usize, String)> = Vec::new();
    let mut all = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let goes_on = if is_prose { !line.trim().is_empty() } else { line.trim_start().starts_with("//") };
        if !goes_on {
            all.extend(found_in(&std::mem::take(&mut passage)));
        }
        let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words = words.filter(|word| !word.is_empty()).map(|word| (number, word.to_ascii_lowercase()));
        passage.extend(words);
        if !goes_on {
            all.extend(found_in(&std::mem::take(&mut passage)));
        }
    }
    all.extend(found_in(&passage));
    all
}

fn found_in(words: &[(usize, String)]) -> Vec<(usize, &'static str, &'static str)> {
    let mut all = Vec::new();
    for (wanted, better) in WORDS {
        let phrase: Vec<&str> = wanted.split(' ').collect();
        let begins = words.windows(phrase.len()).filter(|some| some.iter().map(|(_, word)| word).eq(&phrase));
        all.extend(begins.filter_map(|some| Some((some.first()?.0, wanted, better))));
    }
    all.sort_unstable();
    all
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn whole_words_count() {
        let words = |text, is_prose| {
            found(text, is_prose).into_iter().map(|(line, word, _)| (line, word)).collect::<Vec<_>>()
        };
        assert_eq!(words("// Whoever asks, asks anew.", false), [(1, "anew"), (1, "whoever")]);
        assert_eq!(words("as in The reference's client", false), [(1, "the reference")]);
        assert_eq!(words("amended recommendations, renewed; references", false), []);
        // Over the end of a line.
        assert_eq!(
            words("let x;\n    /// in the words of the\n    /// reference (`x`)", false),
            [(2, "the reference")]
        );
        assert_eq!(words("f(the\nreference)", false), []);
        assert_eq!(words("as the\nreference does", true), [(1, "the reference")]);
        assert_eq!(words("as the\n\nreference does", true), []);
    }
}
