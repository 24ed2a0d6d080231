//! Words of a line, with quotes: lines that look like a shell's and that no shell reads, and words for lines
//! that a shell does read.

/// One word in single quotes, as every POSIX shell reads it back unchanged.
#[must_use]
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words separated by blanks. Quotes (`'` or `"`) keep blanks, and nothing inside is replaced. None if a
/// quote is not closed.
#[must_use]
pub fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}
