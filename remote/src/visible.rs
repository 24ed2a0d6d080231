//! What a node prints, made safe to show: control characters become visible, so that no output can move the
//! cursor, change the terminal's title or overwrite the name of another node.
//!
//! Text in UTF-8 stays as it is. `^[` means escape, `^M` for a carriage return within a line, `\x9b` for
//! a control character beyond ASCII or a byte that is not UTF-8. A tab stays a tab.

use std::borrow::Cow;

/// A line without its line end, safe to show.
pub fn visible(line: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(line) {
        Ok(text) if !text.chars().any(is_hidden) => Cow::Borrowed(text),
        _ => Cow::Owned(rewritten(line)),
    }
}

/// Line separators and the marks that turn the direction of text round are as bad as control characters.
fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\t'
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn rewritten(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                _ if !is_hidden(c) => text.push(c),
                '\u{7f}' => text.push_str("^?"),
                '\0'..='\u{1f}' => {
                    text.push('^');
                    // The letter of Ctrl-LETTER.
                    text.push(char::from(c as u8 | 0x40));
                }
                '\u{80}'..='\u{ff}' => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                _ => text.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_unseen() {
        for (line, shown) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            ("für".as_bytes(), "für"),
            (b"\x1b]0;title\x07", "^[]0;title^G"),
            (b"10%\r20%", "10%^M20%"),
            (b"a\0b\x7f", "a^@b^?"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{9b}31m".as_bytes(), "\\x9b31m"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
        ] {
            assert_eq!(visible(line), shown, "{line:?}");
        }
    }
}
