//! Files of the caller as text. Cells are UTF-8: other bytes are refused with their line, and never guessed
//! at.

/// A file that is not UTF-8: the line that has other bytes, and how to convert the whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}: line {line} has the byte 0x{byte:02x}, which is not UTF-8; nothing was changed. If the file is \
     Latin-1, convert it: iconv -f latin1 -t utf-8 {file} >NEW"
)]
pub struct NotUtf8 {
    /// Name of the file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// The first byte that is not UTF-8.
    pub byte: u8,
}

/// The text of a file.
///
/// # Errors
/// Bytes that are not UTF-8.
pub fn text(bytes: Vec<u8>, file: &str) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let (before, rest) = error.as_bytes().split_at_checked(good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        NotUtf8 { file: file.to_owned(), line, byte }
    })
}

/// The text after a byte order mark, which spreadsheets put in front of UTF-8.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_refused_with_their_line() {
        assert_eq!(text("Köln\n".into(), "f"), Ok("Köln\n".into()));
        let error = text(b"#node,comments\n\"n1\",\"K\xf6ln\"\n".to_vec(), "nodelist.csv").unwrap_err();
        assert_eq!((error.line, error.byte), (2, 0xf6), "{error}");
        assert!(text(b"cut \xe2\x82".to_vec(), "f").is_err());
    }
}
