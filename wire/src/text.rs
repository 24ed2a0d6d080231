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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_remains() {
        for (text, without, blanks) in
            [("a\tb\r\n", "ab", "a b  "), ("\u{1b}[31mred", "[31mred", " [31mred"), ("\u{9b}ä", "ä", " ä")]
        {
            assert_eq!((without_control(text).as_str(), control_as_blanks(text).as_str()), (without, blanks));
        }
    }
}
