//! How a client prints a response: pure, so that every rule of xCAT's client is a test line.
//!
//! Order inside one response: errorcode, error, warning, info, sinfo, node, data. The order and the
//! oddities (a node's error redirects all later nodes of the response; a data text of `0` is
//! swallowed) are contract: scripts parse these lines.

use crate::response::{Data, NodeItem, Response};
use crate::xml::Element;

/// Where a piece of text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A piece of output, complete with its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Destination.
    pub stream: Stream,
    /// Text.
    pub text: String,
}

/// Collects pieces, joining neighbours of one stream.
#[derive(Debug, Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn push(&mut self, stream: Stream, parts: &[&str]) {
        match self.0.last_mut() {
            Some(last) if last.stream == stream => parts.iter().for_each(|part| last.text.push_str(part)),
            _ => self.0.push(Piece { stream, text: parts.concat() }),
        }
    }
}

/// Renders one response. `show_source`: `XCATSHOWSVR` or `-V` of the command line.
pub fn render(response: &Response, show_source: bool) -> Vec<Piece> {
    let mut pieces = Pieces::default();
    let source = response.source.as_deref().unwrap_or_default();
    let show = response.has_mark("host") || (show_source && !response.has_mark("NoSvrPrefix"));
    let shown = if show && !source.is_empty() { format!("[{source}]: ") } else { String::new() };
    let bracket = if source.is_empty() { String::new() } else { format!("[{source}]: ") };

    let word = if response.has_mark("NoErrorPrefix") { "" } else { "Error: " };
    messages(&mut pieces, &response.error, word, &bracket);
    let word = if response.has_mark("NoWarnPrefix") { "" } else { "Warning: " };
    messages(&mut pieces, &response.warning, word, &bracket);
    for text in &response.info {
        pieces.push(Stream::Out, &[&shown, text, "\n"]);
    }
    for text in &response.sinfo {
        pieces.push(Stream::Out, &[text, "\r"]);
    }
    let mut failed = false;
    for item in &response.node {
        failed |= !item.error.is_empty() || !item.warning.is_empty();
        render_node(&mut pieces, item, failed, &shown, &bracket);
    }
    for data in &response.data {
        render_data(&mut pieces, data, &shown);
    }
    pieces.0
}

fn messages(pieces: &mut Pieces, texts: &[String], word: &str, bracket: &str) {
    for text in texts {
        let bracket = if text.is_empty() { "" } else { bracket };
        pieces.push(Stream::Err, &[word, bracket, text, "\n"]);
    }
}

fn render_node(pieces: &mut Pieces, item: &NodeItem, failed: bool, shown: &str, bracket: &str) {
    let mut text = String::new();
    if let Some(error) = item.error.first() {
        text.push_str(&format!("{bracket}Error: {error}"));
    }
    if let Some(warning) = item.warning.first() {
        text.push_str(&format!("{bracket}Warning: {warning}"));
    }
    if let Some(data) = item.data.first() {
        if item.error.is_empty() && item.warning.is_empty() {
            text.push_str(shown);
        } else {
            text.push(' ');
        }
        text.push_str(&data_text(data));
    }
    if let Some(encoded) = item.other.iter().find(|element| element.name == "base64_data") {
        text.push_str(&String::from_utf8_lossy(&decode_base64(&encoded.text)));
    }
    let stream = if failed { Stream::Err } else { Stream::Out };
    let has_text = !text.is_empty() || !item.data.is_empty();
    match (item.name.is_empty(), has_text) {
        (false, true) => pieces.push(stream, &[&item.name, ": ", &text, "\n"]),
        (false, false) => pieces.push(stream, &[&item.name, "\n"]),
        (true, true) => pieces.push(stream, &[&text, "\n"]),
        (true, false) => {}
    }
}

fn render_data(pieces: &mut Pieces, data: &Data, shown: &str) {
    let text = data_text(data);
    if !text.is_empty() && text != "0" {
        pieces.push(Stream::Out, &[shown, &text, "\n"]);
    }
}

/// `desc: contents`, what of both there is, or the plain text.
fn data_text(data: &Data) -> String {
    let part = |children: &[Element], name: &str| {
        children.iter().find(|child| child.name == name).map(|child| child.text.clone())
    };
    match data {
        Data::Text(text) => text.clone(),
        Data::Parts(children) => match (part(children, "desc"), part(children, "contents")) {
            (Some(desc), Some(contents)) => format!("{desc}: {contents}"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => String::new(),
        },
    }
}

/// Decodes what is valid and skips the rest, as xCAT's decoder does.
fn decode_base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0x00ff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.extend(u8::try_from(bits >> count & 0xff));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(build: impl FnOnce(&mut Response), show: bool, out: &str, err: &str) {
        let mut response = Response { source: Some("mn1".into()), ..Response::default() };
        build(&mut response);
        let pieces = render(&response, show);
        let of = |stream| -> String {
            pieces.iter().filter(|p| p.stream == stream).map(|p| p.text.as_str()).collect()
        };
        assert_eq!((of(Stream::Out).as_str(), of(Stream::Err).as_str()), (out, err));
    }

    #[test]
    fn top_level() {
        check(|r| r.error.push("bad".into()), false, "", "Error: [mn1]: bad\n");
        check(
            |r| {
                r.error.push("bad".into());
                r.other.push(Element::text("NoErrorPrefix", "1"));
            },
            false,
            "",
            "[mn1]: bad\n",
        );
        check(|r| r.warning.push("hm".into()), false, "", "Warning: [mn1]: hm\n");
        check(|r| r.info.push("line".into()), false, "line\n", "");
        check(|r| r.info.push("line".into()), true, "[mn1]: line\n", "");
        check(|r| r.sinfo.push("12%".into()), false, "12%\r", "");
        check(|r| r.data.extend(["0".into(), "".into(), "x".into()]), false, "x\n", "");
        check(|r| r.data.push(Data::described("d", "c")), false, "d: c\n", "");
        check(
            |r| {
                r.error.push("bad".into());
                r.source = None;
            },
            false,
            "",
            "Error: bad\n",
        );
    }

    #[test]
    fn nodes() {
        let data = |r: &mut Response| r.node.push(NodeItem::named("cn1").data("on"));
        check(data, false, "cn1: on\n", "");
        check(data, true, "cn1: [mn1]: on\n", "");
        check(|r| r.node.push(NodeItem::named("cn1")), false, "cn1\n", "");
        check(|r| r.node.push(NodeItem::named("cn1").data("")), false, "cn1: \n", "");
        check(
            |r| r.node.push(NodeItem::named("cn1").data(Data::described("power", "on"))),
            false,
            "cn1: power: on\n",
            "",
        );
        check(
            |r| {
                r.node.push(NodeItem::named("cn1").error("bad", 1));
                r.node.push(NodeItem::named("cn2").data("on"));
            },
            false,
            "",
            "cn1: [mn1]: Error: bad\ncn2: on\n",
        );
        check(|r| r.node.push(NodeItem::default().error("bad", 1)), false, "", "[mn1]: Error: bad\n");
        check(
            |r| {
                let mut item = NodeItem::named("cn1");
                item.other.push(Element::text("base64_data", "aGVsbG8="));
                r.node.push(item);
            },
            false,
            "cn1: hello\n",
            "",
        );
    }
}
