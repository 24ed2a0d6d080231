//! The page that shows the names in a directory.
//!
//! Installers and people read it: one link a line, directories with a slash at the end, relative links only.

use std::fmt::Write as _;

use dawn_serving::EntryKind;

/// Renders the page for `path` (clean, no leading slash).
pub fn page(path: &str, entries: &[(String, EntryKind)], cut: bool) -> String {
    let title = escape_html(path);
    let mut out = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>Index of /{title}</title></head>\n\
         <body><h1>Index of /{title}</h1>\n<pre>\n"
    );
    if !path.is_empty() {
        out.push_str("<a href=\"../\">../</a>\n");
    }
    for (name, kind) in entries {
        let (href, text) = (escape_url(name), escape_html(name));
        // Writing to a String cannot fail.
        let _ = match kind {
            EntryKind::Directory => writeln!(out, "<a href=\"{href}/\">{text}/</a>"),
            EntryKind::File(size) => writeln!(out, "<a href=\"{href}\">{text}</a>  {size}"),
        };
    }
    if cut {
        out.push_str("… and more names than one page shows\n");
    }
    out.push_str("</pre></body></html>\n");
    out
}

/// Text that cannot end an HTML text or attribute.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A path or name with everything unusual as `%XX`; slashes stay.
pub fn escape_url(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~+/@,=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let name = "a\"><script>&.rpm".to_owned();
        let text =
            page("x<y", &[(name, EntryKind::File(5)), ("sub".to_owned(), EntryKind::Directory)], false);
        assert!(!text.contains("<script>"));
        assert!(
            text.contains("href=\"a%22%3E%3Cscript%3E%26.rpm\">a&quot;&gt;&lt;script&gt;&amp;.rpm</a>  5\n")
        );
        assert!(text.contains("<a href=\"sub/\">sub/</a>\n"));
        assert!(text.contains("Index of /x&lt;y"));
    }
}
