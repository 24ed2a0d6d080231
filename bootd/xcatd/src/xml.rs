//! The element tree under requests and responses.
//!
//! Not general XML: no attributes, no declaration, no name spaces, and for ASCII text only the five
//! predefined entities, because node-side shell tools undo them by `sed`; other characters are character
//! references. What breaks these rules or the limits of [`crate::limits`] is an error; nothing is guessed.

use crate::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// One element: text, children, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Tag.
    pub name: String,
    /// Text; white space between children is dropped.
    pub text: String,
    /// Children in document order.
    pub children: Vec<Element>,
}

/// Why a text is not a document of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum XmlError {
    /// Not well formed, with the parser's word for it.
    #[error("not well formed at byte {at}: {reason}")]
    Malformed {
        /// Byte position.
        at: u64,
        /// The parser's reason.
        reason: String,
    },
    /// Nesting beyond [`XML_DEPTH_MAX`].
    #[error("elements nested deeper than {XML_DEPTH_MAX}")]
    TooDeep,
    /// More elements than this sender may use.
    #[error("more than {0} elements")]
    TooMany(usize),
    /// A construct the protocol does not have (declaration, DTD, unknown entity …).
    #[error("{0} is not part of the protocol")]
    Unsupported(&'static str),
    /// Empty text or an open element at the end.
    #[error("the document ends early")]
    Incomplete,
}

impl Element {
    /// An element with text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), children: Vec::new() }
    }

    /// An element with children.
    pub fn parent(name: impl Into<String>, children: Vec<Element>) -> Self {
        Self { name: name.into(), text: String::new(), children }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Text of the first child of that name, if it is not empty.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// Appends the element to `out`, one element a line, two blanks a level.
    pub fn write(&self, out: &mut String, level: usize) {
        indent(out, level);
        out.push('<');
        out.push_str(&self.name);
        out.push('>');
        if self.children.is_empty() {
            escape_into(out, &self.text);
        } else {
            out.push('\n');
            for child in &self.children {
                child.write(out, level + 1);
            }
            indent(out, level);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push_str(">\n");
    }

    /// Reads exactly one element; white space around it is allowed.
    pub fn parse(text: &str) -> Result<Element, XmlError> {
        Self::parse_within(text, XML_ELEMENTS_MAX)
    }

    /// The same with at most `elements_max` elements.
    pub fn parse_within(text: &str, elements_max: usize) -> Result<Element, XmlError> {
        TreeBuilder { elements_max, ..TreeBuilder::default() }.run(text)
    }
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// Escapes text so that entities are the only markup in it and every byte is one that xCAT's wire
/// carries (octal 011–177): what is beyond ASCII becomes a character reference (XML 1.0, section 4.1), which
/// every parser turns back. Only what no XML document can hold (control characters, U+FFFE, U+FFFF) becomes
/// `?`.
pub fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' | '\x1b' | ' '..='~' => out.push(c),
            '\0'..='\x7f' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            other => out.push_str(&format!("&#{};", u32::from(other))),
        }
    }
}

#[derive(Default)]
struct TreeBuilder {
    open: Vec<Element>,
    done: Option<Element>,
    elements: usize,
    elements_max: usize,
}

impl TreeBuilder {
    fn run(mut self, text: &str) -> Result<Element, XmlError> {
        let mut reader = Reader::from_str(text);
        loop {
            let event = reader.read_event().map_err(|error| XmlError::Malformed {
                at: reader.error_position(),
                reason: error.to_string(),
            })?;
            match event {
                Event::Start(tag) => self.start(tag_name(&tag)?)?,
                Event::Empty(tag) => {
                    self.start(tag_name(&tag)?)?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.text(&String::from_utf8_lossy(&text))?,
                Event::CData(text) => self.text(&String::from_utf8_lossy(&text))?,
                Event::GeneralRef(name) => self.entity(&name)?,
                Event::Comment(_) => {}
                Event::Decl(_) => return Err(XmlError::Unsupported("an XML declaration")),
                Event::PI(_) => return Err(XmlError::Unsupported("a processing instruction")),
                Event::DocType(_) => return Err(XmlError::Unsupported("a document type")),
                Event::Eof => break,
            }
        }
        if self.open.is_empty() { self.done.ok_or(XmlError::Incomplete) } else { Err(XmlError::Incomplete) }
    }

    fn start(&mut self, name: String) -> Result<(), XmlError> {
        if self.open.is_empty() && self.done.is_some() {
            return Err(XmlError::Unsupported("a second root element"));
        }
        if self.open.len() >= XML_DEPTH_MAX {
            return Err(XmlError::TooDeep);
        }
        self.elements += 1;
        if self.elements > self.elements_max {
            return Err(XmlError::TooMany(self.elements_max));
        }
        self.open.push(Element { name, ..Element::default() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), XmlError> {
        let mut element = self.open.pop().ok_or(XmlError::Incomplete)?;
        if !element.children.is_empty() && element.text.trim().is_empty() {
            element.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.done = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Unsupported("text outside the root element")),
        }
        Ok(())
    }

    fn entity(&mut self, reference: &quick_xml::events::BytesRef<'_>) -> Result<(), XmlError> {
        if let Ok(Some(character)) = reference.resolve_char_ref() {
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let name = String::from_utf8_lossy(reference);
        let value = resolve_predefined_entity(&name).ok_or(XmlError::Unsupported("this entity"))?;
        self.text(value)
    }
}

/// Tag name; attributes are ignored, as xCAT's reader does.
fn tag_name(tag: &quick_xml::events::BytesStart<'_>) -> Result<String, XmlError> {
    let name = tag.name();
    let name = std::str::from_utf8(name.as_ref()).map_err(|_| XmlError::Unsupported("this element name"))?;
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if good { Ok(name.to_owned()) } else { Err(XmlError::Unsupported("this element name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_a_round_trip() {
        let element = Element::parent(
            "a",
            vec![Element::text("b", "x <&>\"' y\n z\t Köln €🦀"), Element::text("c", "")],
        );
        let mut out = String::new();
        element.write(&mut out, 0);
        assert_eq!(Element::parse(&out), Ok(element));
    }

    #[test]
    fn wire_is_ascii() {
        let mut out = String::new();
        escape_into(&mut out, "ä\0\u{7}\u{1b}[1m");
        assert_eq!(out, "&#228;??\u{1b}[1m");
    }

    #[test]
    fn bad_documents_are_named() {
        for (text, part) in [
            ("", "ends early"),
            ("<a>", "ends early"),
            ("<a></b>", "not well formed"),
            ("<a/><b/>", "second root"),
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type"),
            ("<a>&x;</a>", "this entity"),
            ("x<a/>", "text outside"),
            (&"<a>".repeat(100), "nested deeper"),
        ] {
            let error = Element::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
