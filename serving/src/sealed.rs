//! Records with a checksum, one a line: `crc32 of the rest, eight hexadecimal digits | blank | text`.
//!
//! The text has no line end in it, so that after damage the next line is good again. Where the line end
//! itself is damaged, the record after it is found by its checksum.

/// Digits of the checksum and the blank after it, in bytes.
const HEAD_BYTES: usize = 9;

/// The line of a text without line ends.
#[must_use]
pub fn seal(text: &str) -> String {
    format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()))
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Read<'a> {
    /// The record, if one is whole.
    pub text: Option<&'a str>,
    /// Something of the line is damaged.
    pub is_damaged: bool,
}

/// Reads a line with its line end. An empty one holds nothing and is not damaged.
#[must_use]
pub fn read(line: &[u8]) -> Read<'_> {
    if let Some(text) = open(line) {
        return Read { text: Some(text), is_damaged: false };
    }
    // The end of the line before it may be what is damaged.
    let begins = |at: &usize| {
        let head = line.get(*at..*at + HEAD_BYTES).and_then(<[u8]>::split_last);
        head.is_some_and(|(blank, digits)| *blank == b' ' && digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut later = (1..line.len()).filter(begins);
    let text = later.find_map(|at| open(line.get(at..)?));
    Read { text, is_damaged: line != b"\n" && !line.is_empty() }
}

/// The records of a whole file, and how many lines are damaged.
#[must_use]
pub fn read_all(bytes: &[u8]) -> (Vec<&str>, usize) {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(read);
    let (mut texts, mut damaged) = (Vec::new(), 0);
    for line in lines {
        texts.extend(line.text);
        damaged += usize::from(line.is_damaged);
    }
    (texts, damaged)
}

fn open(line: &[u8]) -> Option<&str> {
    let (sum, text) = line.strip_suffix(b"\n")?.split_at_checked(HEAD_BYTES)?;
    let sum = std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?;
    // `from_str_radix` takes a sign, too.
    let good = sum.bytes().all(|digit| digit.is_ascii_hexdigit())
        && u32::from_str_radix(sum, 16) == Ok(crc32fast::hash(text));
    std::str::from_utf8(text).ok().filter(|_| good)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Of records that overwritten, cut or doubled bytes have not touched, none is lost, and no other
        /// text comes out; what is lost is counted.
        #[test]
        fn damage_costs_what_is_damaged(
            texts in proptest::collection::vec("[ -~\u{e4}]{0,40}", 1..8),
            place in 0usize..400,
            bytes in proptest::collection::vec(any::<u8>(), 1..30),
        ) {
            let lines: Vec<String> = texts.iter().map(|text| seal(text)).collect();
            let mut file = lines.concat().into_bytes();
            let place = place % file.len();
            let end = (place + bytes.len()).min(file.len());
            let before = file.clone();
            file[place..end].copy_from_slice(&bytes[..end - place]);
            let (found, damaged) = read_all(&file);
            let (mut at, mut whole) = (0, Vec::new());
            for (text, line) in texts.iter().zip(&lines) {
                let range = at..at + line.len();
                // A line of which only the end is damaged has its text, but cannot be recognised as intact.
                if file[range.clone()] == before[range] {
                    whole.push(text.as_str());
                }
                at += line.len();
            }
            prop_assert!(whole.iter().all(|text| found.contains(text)), "{found:?} of {texts:?}");
            prop_assert!(found.iter().all(|text| texts.iter().any(|known| known == text)), "{found:?}");
            prop_assert_eq!(damaged > 0, file != before);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_all(&bytes);
        }
    }

    #[test]
    fn a_sealed_text_comes_back() {
        assert_eq!(read(seal("text").as_bytes()), Read { text: Some("text"), is_damaged: false });
        assert_eq!(read_all(b"\n+1234567 x\n").1, 1);
        assert_eq!(read_all(format!("{}{}", seal("a").trim_end(), seal("b")).as_bytes()), (vec!["b"], 1));
    }
}
