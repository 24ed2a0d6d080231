//! Text of others that goes into a line of a file, a log or a terminal.

/// The text without control characters: no line ends, no tabs, nothing that a terminal obeys.
#[must_use]
pub fn without_control(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// The text with a blank in place of each control character, where words must not grow together.
#[must_use]
pub fn control_as_blanks(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The text as a sentence: with a capital, unless it begins with a name, and with a full stop.
///
/// A first word that is a command, an option or an attribute keeps its letters: it stands in backticks, or
/// has more in it than small letters.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_plain = first.trim_end_matches([',', ':', ';']).bytes().all(|byte| byte.is_ascii_lowercase());
    let capital = text.chars().next().filter(|_| is_plain).map(|letter| letter.to_ascii_uppercase());
    let rest = match capital {
        Some(_) => text.get(1..).unwrap_or_default(),
        None => text,
    };
    let end = if text.is_empty() || text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{rest}{end}", capital.map(String::from).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_becomes_a_sentence() {
        for (text, shown) in [
            ("make it: `mknb x86_64`", "Make it: `mknb x86_64`."),
            ("first, stop that one.", "First, stop that one."),
            ("did you mean 'noderes'?", "Did you mean 'noderes'?"),
            ("`dawn help` lists the commands", "`dawn help` lists the commands."),
            ("nodehm.cons names one", "nodehm.cons names one."),
            ("--dry-run shows it", "--dry-run shows it."),
            ("äh", "äh."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), shown);
        }
    }

    #[test]
    fn one_line_remains() {
        for (text, without, blanks) in
            [("a\tb\r\n", "ab", "a b  "), ("\u{1b}[31mred", "[31mred", " [31mred"), ("\u{9b}ä", "ä", " ä")]
        {
            assert_eq!((without_control(text).as_str(), control_as_blanks(text).as_str()), (without, blanks));
        }
    }
}
