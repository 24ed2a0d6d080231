//! A rendered text: secrets stay apart from the rest until the text goes to the node, and each value says
//! where it comes from.

use dawn_cluster::Secret;
use dawn_cluster::secrets::MASK;

/// Values that are noted, and unknown words; a template has some dozens.
const NOTES_MAX: usize = 2000;

/// The text and how it came about. It prints with the secrets masked.
#[derive(Debug, Clone, Default)]
pub struct Rendered {
    pieces: Vec<Piece>,
    bytes: usize,
    values: Vec<Value>,
    unknown: Vec<String>,
}

#[derive(Debug, Clone)]
enum Piece {
    Open(String),
    Hidden(Secret),
}

/// A directive and the text that replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The file that contains it.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// The directive as written there.
    pub directive: String,
    /// Where the value comes from, in words.
    pub source: String,
    /// The value; a mask for a secret.
    pub shown: String,
}

impl Rendered {
    /// The whole text, for the node.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.text(|secret| secret.reveal())
    }

    /// The text with a mask for each secret, for everybody else.
    #[must_use]
    pub fn masked(&self) -> String {
        self.text(|_| MASK)
    }

    fn text<'s>(&'s self, of_secret: impl Fn(&'s Secret) -> &'s str) -> String {
        let text = |piece: &'s Piece| match piece {
            Piece::Open(text) => text.as_str(),
            Piece::Hidden(secret) => of_secret(secret),
        };
        self.pieces.iter().map(text).collect()
    }

    /// The values, in their order in the text.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// What looks like a directive and is not known: `file:line: #WORD#`. It stays in the text.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Bytes of the text.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a part of it is secret.
    pub(crate) fn has_secret(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Hidden(_)))
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.bytes += text.len();
        match self.pieces.last_mut() {
            Some(Piece::Open(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Open(text.to_owned())),
        }
    }

    pub(crate) fn push_secret(&mut self, text: &str) {
        self.bytes += text.len();
        self.pieces.push(Piece::Hidden(Secret::new(text)));
    }

    pub(crate) fn note(&mut self, value: Value) {
        if self.values.len() < NOTES_MAX {
            self.values.push(value);
        }
    }

    pub(crate) fn note_unknown(&mut self, text: String) {
        if self.unknown.len() < NOTES_MAX {
            self.unknown.push(text);
        }
    }

    /// Takes over the notes of a text that becomes part of this one in another form.
    pub(crate) fn take_notes(&mut self, other: &mut Self) {
        other.values.drain(..).for_each(|value| self.note(value));
        other.unknown.drain(..).for_each(|text| self.note_unknown(text));
    }
}

#[cfg(test)]
mod tests {
    use super::Rendered;

    #[test]
    fn secrets_are_revealed_to_the_node_alone() {
        let mut text = Rendered::default();
        text.push("rootpw ");
        assert!(!text.has_secret());
        text.push_secret("hush");
        text.push("\n");
        assert_eq!((text.reveal().as_str(), text.masked().as_str()), ("rootpw hush\n", "rootpw xxxxxxxx\n"));
        assert!(text.has_secret() && text.bytes() == 12 && !format!("{text:?}").contains("hush"));
    }
}
