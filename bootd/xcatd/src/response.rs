//! What the daemon answers: a stream of `<xcatresponse>` documents, the last of them `serverdone`.
//!
//! Children are in alphabetical order and `xcatdsource` comes last, one element a line: nodes read
//! these with `sed` and take what follows the payload for noise.

use dawn_wire::text::sentence;

use crate::xml::{Element, XmlError, escape_into};

/// The mark of [`Response::stream`].
const STREAM: &str = "stream";

/// The line of a hint, below its error: the one place that gives hints their form.
pub fn hint_line(hint: &str) -> String {
    format!("Hint: {}", sentence(hint))
}

/// Text, or the description/contents pair that clients print as `desc: contents`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Plain text.
    Text(String),
    /// A container: anything with children (`desc`, `contents`, `content`, `token` …).
    Parts(Vec<Element>),
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Data::Text(text.to_owned())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Data::Text(text)
    }
}

impl Data {
    /// `desc: contents`.
    pub fn described(desc: &str, contents: impl Into<String>) -> Self {
        Data::Parts(vec![Element::text("contents", contents), Element::text("desc", desc)])
    }
}

/// What is said about one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeItem {
    /// Node name; empty when unknown.
    pub name: String,
    /// Data; clients render the first only.
    pub data: Vec<Data>,
    /// Errors; clients render the first only.
    pub error: Vec<String>,
    /// Exit code bits.
    pub errorcode: Vec<i32>,
    /// Warnings; clients render the first only.
    pub warning: Vec<String>,
    /// Verb-specific children (`destiny`, `kernel` …).
    pub other: Vec<Element>,
}

/// One response document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Top-level data.
    pub data: Vec<Data>,
    /// Errors.
    pub error: Vec<String>,
    /// Exit code bits.
    pub errorcode: Vec<i32>,
    /// Plain lines.
    pub info: Vec<String>,
    /// Progress text, printed with a carriage return.
    pub sinfo: Vec<String>,
    /// Warnings.
    pub warning: Vec<String>,
    /// Per-node parts.
    pub node: Vec<NodeItem>,
    /// Marks and verb-specific children.
    pub other: Vec<Element>,
    /// Short host name of the daemon.
    pub source: Option<String>,
    /// End of the answer.
    pub serverdone: bool,
    /// Whose words these are is not said: no source is added when it is sent.
    pub unsigned: bool,
}

impl Element {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        change(&mut self.text);
        self.children.iter_mut().for_each(|child| child.each_text(change));
    }
}

impl Data {
    fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        match self {
            Data::Text(text) => change(text),
            Data::Parts(parts) => parts.iter_mut().for_each(|part| part.each_text(change)),
        }
    }
}

impl Response {
    /// Changes every text that a client shows.
    pub fn each_text(&mut self, change: &mut dyn FnMut(&mut String)) {
        let lines = [&mut self.error, &mut self.warning, &mut self.info, &mut self.sinfo];
        lines.into_iter().flatten().for_each(&mut *change);
        self.data.iter_mut().for_each(|data| data.each_text(change));
        self.other.iter_mut().for_each(|element| element.each_text(change));
        for item in &mut self.node {
            item.error.iter_mut().chain(&mut item.warning).for_each(&mut *change);
            item.data.iter_mut().for_each(|data| data.each_text(change));
            item.other.iter_mut().for_each(|element| element.each_text(change));
        }
    }

    /// The end marker; carries no source, as in xCAT.
    pub fn done() -> Self {
        Self { serverdone: true, ..Self::default() }
    }

    /// The end of an answer after which the connection carries raw bytes, both ways.
    pub fn stream() -> Self {
        Self { other: vec![Element::text(STREAM, "")], ..Self::default() }
    }

    /// Whether this is that end.
    pub fn is_stream(&self) -> bool {
        self.has_mark(STREAM)
    }

    /// An error with its exit code (none: the client's exit code is not touched).
    pub fn error(text: impl Into<String>, code: Option<i32>) -> Self {
        Self { error: vec![text.into()], errorcode: code.into_iter().collect(), ..Self::default() }
    }

    /// A response about one node.
    pub fn node(item: NodeItem) -> Self {
        Self { node: vec![item], ..Self::default() }
    }

    /// A mark without content (`NoErrorPrefix`, `host` …) is present.
    pub fn has_mark(&self, name: &str) -> bool {
        self.other.iter().any(|element| element.name == name)
    }

    /// Bits of all error codes.
    pub fn exit_code(&self) -> i32 {
        let nodes = self.node.iter().flat_map(|node| node.errorcode.iter());
        self.errorcode.iter().chain(nodes).fold(0, |all, code| all | code)
    }

    /// Appends the document.
    pub fn write(&self, out: &mut String) {
        if self.serverdone && self.source.is_none() && self.other.is_empty() {
            out.push_str("<xcatresponse>\n  <serverdone></serverdone>\n</xcatresponse>\n");
            return;
        }
        out.push_str("<xcatresponse>\n");
        self.other.iter().filter(|element| element.name.as_str() < "data").for_each(|e| e.write(out, 1));
        self.data.iter().for_each(|data| write_data(out, data, 1));
        lines(out, "error", &self.error, 1);
        codes(out, &self.errorcode, 1);
        lines(out, "info", &self.info, 1);
        self.node.iter().for_each(|node| node.write(out));
        if self.serverdone {
            lines(out, "serverdone", &[String::new()], 1);
        }
        lines(out, "sinfo", &self.sinfo, 1);
        lines(out, "warning", &self.warning, 1);
        self.other.iter().filter(|element| element.name.as_str() >= "data").for_each(|e| e.write(out, 1));
        lines(out, "xcatdsource", self.source.as_slice(), 1);
        out.push_str("</xcatresponse>\n");
    }

    /// Reads one document.
    pub fn parse(text: &str) -> Result<Response, XmlError> {
        let restored = text.replace("xxxxESCxxxx", "\x1b");
        let root = Element::parse(&restored)?;
        let mut response = Response::default();
        for element in root.children {
            response.take(element);
        }
        Ok(response)
    }

    fn take(&mut self, element: Element) {
        match element.name.as_str() {
            "data" => self.data.push(data(element)),
            "error" => self.error.push(element.text),
            "errorcode" => self.errorcode.extend(element.text.trim().parse::<i32>()),
            "info" => self.info.push(element.text),
            "sinfo" => self.sinfo.push(element.text),
            "warning" => self.warning.push(element.text),
            "node" => self.node.push(NodeItem::read(element)),
            "serverdone" => self.serverdone = true,
            "xcatdsource" => self.source = Some(element.text).filter(|source| !source.is_empty()),
            _ => self.other.push(element),
        }
    }
}

impl NodeItem {
    /// An item with the name only; clients print just the name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds data.
    pub fn data(mut self, data: impl Into<Data>) -> Self {
        self.data.push(data.into());
        self
    }

    /// Adds an error with exit code bits.
    pub fn error(mut self, text: impl Into<String>, code: i32) -> Self {
        self.error.push(text.into());
        self.errorcode.push(code);
        self
    }

    fn write(&self, out: &mut String) {
        out.push_str("  <node>\n");
        self.data.iter().for_each(|data| write_data(out, data, 2));
        lines(out, "error", &self.error, 2);
        codes(out, &self.errorcode, 2);
        if !self.name.is_empty() {
            lines(out, "name", std::slice::from_ref(&self.name), 2);
        }
        self.other.iter().for_each(|element| element.write(out, 2));
        lines(out, "warning", &self.warning, 2);
        out.push_str("  </node>\n");
    }

    fn read(element: Element) -> Self {
        let mut item = NodeItem { name: element.text.trim().to_owned(), ..NodeItem::default() };
        for child in element.children {
            match child.name.as_str() {
                "name" => item.name = child.text.trim().to_owned(),
                "data" => item.data.push(data(child)),
                "error" => item.error.push(child.text),
                "errorcode" => item.errorcode.extend(child.text.trim().parse::<i32>()),
                "warning" => item.warning.push(child.text),
                _ => item.other.push(child),
            }
        }
        item
    }
}

fn data(element: Element) -> Data {
    if element.children.is_empty() { Data::Text(element.text) } else { Data::Parts(element.children) }
}

fn write_data(out: &mut String, data: &Data, level: usize) {
    match data {
        Data::Text(text) => lines(out, "data", std::slice::from_ref(text), level),
        Data::Parts(children) => Element::parent("data", children.clone()).write(out, level),
    }
}

fn lines(out: &mut String, tag: &str, texts: &[String], level: usize) {
    let margin = if level == 2 { "    " } else { "  " };
    for text in texts {
        out.push_str(margin);
        out.push('<');
        out.push_str(tag);
        out.push('>');
        escape_into(out, text);
        out.push_str("</");
        out.push_str(tag);
        out.push_str(">\n");
    }
}

fn codes(out: &mut String, codes: &[i32], level: usize) {
    for code in codes {
        lines(out, "errorcode", &[code.to_string()], level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn one_element_a_line_and_source_last() {
        let mut response = Response::node(NodeItem::named("cn1").data(Data::described("power", "on")));
        response.info.push("a <b>".into());
        response.source = Some("mn1".into());
        let mut out = String::new();
        response.write(&mut out);
        expect![[r#"
            <xcatresponse>
              <info>a &lt;b&gt;</info>
              <node>
                <data>
                  <contents>on</contents>
                  <desc>power</desc>
                </data>
                <name>cn1</name>
              </node>
              <xcatdsource>mn1</xcatdsource>
            </xcatresponse>
        "#]]
        .assert_eq(&out);
        assert_eq!(Response::parse(&out), Ok(response));
    }

    #[test]
    fn bare_node_and_end() {
        let mut out = String::new();
        Response::node(NodeItem::named("cn1")).write(&mut out);
        Response::done().write(&mut out);
        expect![[r#"
            <xcatresponse>
              <node>
                <name>cn1</name>
              </node>
            </xcatresponse>
            <xcatresponse>
              <serverdone></serverdone>
            </xcatresponse>
        "#]]
        .assert_eq(&out);
    }
}
