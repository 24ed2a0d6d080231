//! Stanza files: objects as text, what `lsdef -z` prints and `mkdef -z` reads.
//!
//! ```text
//! cn1:
//!     objtype=node
//!     groups=compute,all
//! ```
//!
//! A value is quoted if blanks or quotes at its ends belong to it, and written as `$'…'` with `\n`, `\r`,
//! `\t`, `\\` and `\'` if it has control characters: a stanza has one line for each attribute (xCAT
//! breaks the line and does not read it).
//!
//! Empty lines and lines that begin with `#` are ignored. `default-<type>:` gives values for the objects of
//! the type that follow; they are copied at the object's `objtype` line. A line that is neither a header
//! nor `attr=value` is an error (xCAT silently skips to the next header).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Objects of one file at most.
pub const OBJECTS_MAX: usize = 1_000_000;

/// An object as the file has it, attributes in order, later ones replacing earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// Name.
    pub name: String,
    /// Object type.
    pub kind: String,
    /// Attributes.
    pub attrs: Vec<(String, String)>,
}

/// Why a text is not stanzas; the words of xCAT where it has any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StanzaError {
    /// An object without `objtype`.
    #[error("\nNo objtype value was specified for '{0}'. Cannot create object definition.")]
    NoType(String),
    /// A line that is neither header nor attribute.
    #[error("line {line}: {text:?} is neither 'name:' nor 'attribute=value'")]
    Line {
        /// Line number from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// More than [`OBJECTS_MAX`] objects.
    #[error("more than {OBJECTS_MAX} objects in one file")]
    TooMany,
}

#[derive(Default)]
struct Open {
    name: String,
    kind: Option<String>,
    attrs: Vec<(String, String)>,
}

/// Reads a file.
pub fn read(text: &str) -> Result<Vec<Stanza>, StanzaError> {
    let mut defaults: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut done = Vec::new();
    let mut open: Option<Open> = None;
    for (at, line) in crate::utf8::without_mark(text).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            None if line.ends_with(':') => {
                close(open.take(), &mut defaults, &mut done)?;
                let name = line.trim_end_matches(':').trim().to_owned();
                open = Some(Open { name, ..Open::default() });
            }
            Some((attr, value)) if open.is_some() => {
                if let Some(open) = &mut open {
                    take(open, attr.trim(), &read_value(value.trim()), &defaults);
                }
            }
            _ => return Err(StanzaError::Line { line: at + 1, text: line.chars().take(80).collect() }),
        }
    }
    close(open, &mut defaults, &mut done)?;
    Ok(done)
}

fn take(open: &mut Open, attr: &str, value: &str, defaults: &BTreeMap<String, Vec<(String, String)>>) {
    if attr == "objtype" {
        open.kind = Some(value.to_owned());
        for (attr, value) in defaults.get(value).into_iter().flatten() {
            put(&mut open.attrs, attr, value);
        }
    } else {
        put(&mut open.attrs, attr, value);
    }
}

fn put(attrs: &mut Vec<(String, String)>, attr: &str, value: &str) {
    match attrs.iter_mut().find(|(name, _)| name == attr) {
        Some(slot) => slot.1 = value.to_owned(),
        None => attrs.push((attr.to_owned(), value.to_owned())),
    }
}

/// One pair of quotes around a value is taken off; `$'…'` is read as `write_value` wrote it.
fn read_value(value: &str) -> Cow<'_, str> {
    if let Some(inner) = value.strip_prefix("$'").and_then(|rest| rest.strip_suffix('\'')) {
        return unescaped(inner).map_or(Cow::Borrowed(value), Cow::Owned);
    }
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value).into()
}

/// The text that the escapes mean; `None` if there are others than ours, which then are not escapes.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '\\' => {
                let letter = rest.next()?;
                ESCAPES.iter().find(|(_, known)| *known == letter)?.0
            }
            '\'' => return None,
            other => other,
        });
    }
    Some(plain)
}

/// The character that follows a backslash in `$'…'`.
const ESCAPES: [(char, char); 5] = [('\n', 'n'), ('\r', 'r'), ('\t', 't'), ('\\', '\\'), ('\'', '\'')];

/// The value as written after `attr=`, so that it reads back unchanged.
pub fn write_value(value: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| matches!(c, '\n' | '\r');
    if value.contains(is_escaped) || !matches!(read_value(value), Cow::Borrowed(_)) {
        let mut text = String::from("$'");
        for c in value.chars() {
            match ESCAPES.iter().find(|(plain, _)| *plain == c) {
                Some((_, letter)) => text.extend(['\\', *letter]),
                None => text.push(c),
            }
        }
        text.push('\'');
        return text.into();
    }
    if read_value(value.trim()) == value { value.into() } else { format!("\"{value}\"").into() }
}

/// The name can head a stanza.
pub fn is_header(name: &str) -> bool {
    let clean = !name.contains(|c: char| c == '=' || c.is_control());
    clean && !name.is_empty() && name.trim() == name && !name.starts_with('#') && !name.ends_with(':')
}

fn close(
    open: Option<Open>,
    defaults: &mut BTreeMap<String, Vec<(String, String)>>,
    done: &mut Vec<Stanza>,
) -> Result<(), StanzaError> {
    let Some(Open { name, kind, attrs }) = open else { return Ok(()) };
    if let Some(of) = name.strip_prefix("default-") {
        defaults.insert(of.to_owned(), attrs);
        return Ok(());
    }
    let Some(kind) = kind else { return Err(StanzaError::NoType(name)) };
    if done.len() >= OBJECTS_MAX {
        return Err(StanzaError::TooMany);
    }
    done.push(Stanza { name, kind, attrs });
    Ok(())
}

/// Fuzz entry: any text is read or refused, never a panic.
pub fn fuzz(bytes: &[u8]) {
    let _ = read(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match read(text) {
            Err(error) => error.to_string(),
            Ok(list) => list
                .iter()
                .map(|s| {
                    let attrs: Vec<String> = s.attrs.iter().map(|(a, v)| format!("{a}={v}")).collect();
                    format!("{}({}): {}", s.name, s.kind, attrs.join(" "))
                })
                .collect::<Vec<_>>()
                .join("; "),
        }
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        for (value, written) in [
            ("plain", "plain"),
            (r"|\D+(\d+)|10.0.0.($1)|", r"|\D+(\d+)|10.0.0.($1)|"),
            ("a\nb", r"$'a\nb'"),
            ("it's\r\n\\n", r"$'it\'s\r\n\\n'"),
            (" a ", "\" a \""),
            ("\"q\"", "\"\"q\"\""),
            ("\"", "\""),
            ("$'x'", r"$'$\'x\''"),
            (r"$'\q'", r"$'\q'"),
            ("x:", "x:"),
            ("a\tb", "a\tb"),
        ] {
            assert_eq!(write_value(value), written);
            assert_eq!(show(&format!("o:\n objtype=t\n a={written}\n")), format!("o(t): a={value}"));
        }
    }

    #[test]
    fn files() {
        for (text, expected) in [
            ("\u{feff}cn1:\n objtype=node\n groups = all \n", "cn1(node): groups=all"),
            (
                "# x\n\ncn1:\nobjtype=node\nip=\"10.0.0.1\"\nconserver=fe80::1:\n",
                "cn1(node): ip=10.0.0.1 conserver=fe80::1:",
            ),
            (
                "default-node:\n mgt=ipmi\n groups=x\ncn1:\n groups=before\n objtype=node\n arch=y\ncn2:\n objtype=node\n mgt=hmc\n",
                "cn1(node): groups=x mgt=ipmi arch=y; cn2(node): mgt=hmc groups=x",
            ),
            (
                "cn1:\n groups=all\n",
                "\nNo objtype value was specified for 'cn1'. Cannot create object definition.",
            ),
            (
                "cn1:\n objtype=node\n nonsense\n",
                "line 3: \"nonsense\" is neither 'name:' nor 'attribute=value'",
            ),
            ("a=b\n", "line 1: \"a=b\" is neither 'name:' nor 'attribute=value'"),
            ("", ""),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }
}
