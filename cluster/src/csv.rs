//! The text form of tables: what `tabdump` writes and `tabrestore` reads.
//!
//! Always quoted when there is something, `""` for a quote, nothing for NULL and for an empty text; line
//! breaks inside values are printed raw. The reader takes bare fields too and reports every bad line.

use crate::utf8::without_mark;
use crate::{Row, Table};
use std::collections::HashSet;

/// Records of a file at most.
pub const RECORDS_MAX: usize = 5_000_000;

/// The line below the header.
const FIRST_LINE: usize = 2;

/// `#col1,col2,…` in schema order.
pub fn header_line(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    format!("#{}", names.join(","))
}

/// A row's line, without line end.
pub fn row_line(row: &Row) -> String {
    let mut line = String::new();
    for (at, cell) in row.cells().iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        if let Some(text) = cell.as_ref().filter(|text| !text.is_empty()) {
            quote_into(&mut line, text);
        }
    }
    line
}

fn quote_into(line: &mut String, text: &str) {
    line.push('"');
    for (at, part) in text.split('"').enumerate() {
        if at > 0 {
            line.push_str("\"\"");
        }
        line.push_str(part);
    }
    line.push('"');
}

/// What is wrong with a text of rows. The texts are xCAT's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// The first line does not name the columns.
    #[error("Data missing header line starting with #")]
    NoHeader,
    /// The header names a column twice.
    #[error("The header line has the column '{0}' twice: which one is meant?")]
    ColumnTwice(String),
    /// A quotation mark inside a field that does not begin with one.
    #[error("CSV missing opening \" for record with \" characters on line {line}, character {character}")]
    Unopened {
        /// Line of the record.
        line: usize,
        /// Byte in the record.
        character: usize,
    },
    /// A field is not closed.
    #[error("CSV unmatched \" in record on line {line}, character {character}")]
    Unclosed {
        /// Line of the record.
        line: usize,
        /// Byte in the record.
        character: usize,
    },
    /// A single quotation mark inside a quoted field.
    #[error("CSV unescaped \" in record on line {line}, character {character}")]
    Unescaped {
        /// Line of the record.
        line: usize,
        /// Byte in the record.
        character: usize,
    },
}

/// One record: the line of the file on which it begins (the header is line 1), and its fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Line.
    pub number: usize,
    /// Fields; `None` for an empty one.
    pub fields: Result<Vec<Option<String>>, CsvError>,
}

/// Names of the header line's columns.
///
/// # Errors
/// There is no header, or the header names a column twice.
pub fn read_header(line: &str) -> Result<Vec<String>, CsvError> {
    let names = without_mark(line).trim_end().strip_prefix('#').ok_or(CsvError::NoHeader)?;
    let (mut columns, mut seen) = (Vec::new(), HashSet::new());
    for name in names.split(',').map(|name| name.replace('"', "").trim().to_owned()) {
        if !seen.insert(name.clone()) {
            return Err(CsvError::ColumnTwice(name));
        }
        columns.push(name);
    }
    Ok(columns)
}

/// Reads the records below the header.
pub fn read_records<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut text = String::new();
    let mut inside_quotes = false;
    let mut first = FIRST_LINE;
    for (number, line) in (FIRST_LINE..).zip(lines) {
        if inside_quotes {
            text.push('\n');
        } else {
            first = number;
        }
        // An odd number of quotes means that a quoted field continues on the next line.
        inside_quotes ^= line.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
        // Blanks before a line break inside of a field are the field's.
        text.push_str(if inside_quotes { line } else { line.trim_end() });
        if !inside_quotes {
            push_record(&mut records, &text, first);
            text.clear();
        }
        if records.len() >= RECORDS_MAX {
            break;
        }
    }
    if inside_quotes {
        push_record(&mut records, &text, first);
    }
    records
}

fn push_record(records: &mut Vec<Record>, text: &str, number: usize) {
    let fields = read_fields(text, number);
    records.push(Record { number, fields });
}

fn read_fields(text: &str, line: usize) -> Result<Vec<Option<String>>, CsvError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = read_quoted(quoted, text, line)?;
                (Some(value), after)
            }
            None => read_bare(rest, text, line)?,
        };
        fields.push(field.filter(|value| !value.is_empty()));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn read_bare<'a>(rest: &'a str, text: &str, line: usize) -> Result<(Option<String>, &'a str), CsvError> {
    let end = rest.find(',').unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    if value.contains('"') {
        return Err(CsvError::Unopened { line, character: text.len() - rest.len() });
    }
    Ok((Some(value.to_owned()), after))
}

/// The value of a field after its opening quote, and what follows the closing one.
fn read_quoted<'a>(mut rest: &'a str, text: &str, line: usize) -> Result<(String, &'a str), CsvError> {
    let mut value = String::new();
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err(CsvError::Unclosed { line, character: text.len() - rest.len() });
        };
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                value.push('"');
                rest = next;
            }
            None if after.is_empty() || after.starts_with(',') => return Ok((value, after)),
            None => return Err(CsvError::Unescaped { line, character: text.len() - after.len() }),
        }
    }
}

/// Fuzz entry: any text must be read without panic.
pub fn fuzz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = read_header(&text);
    let _ = read_records(text.lines());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let read = |text: &str| -> Vec<String> {
            let show = |record: Record| match record.fields {
                Ok(fields) => {
                    fields.iter().map(|f| f.as_deref().unwrap_or("-")).collect::<Vec<_>>().join("|")
                }
                Err(error) => error.to_string(),
            };
            read_records(text.lines()).into_iter().map(show).collect()
        };
        for (text, expected) in [
            ("\"z1\",\"/a\",,,,", "z1|/a|-|-|-|-"),
            ("a,b c ,\"x\"\"y\"", "a|b c |x\"y"),
            ("\"a  \nb\",c ", "a  \nb|c"),
            ("a\"b,c", "CSV missing opening \" for record with \" characters on line 2, character 0"),
            ("\"a\"b\"\",c", "CSV unescaped \" in record on line 2, character 3"),
            ("\"ab,c", "CSV unmatched \" in record on line 2, character 1"),
            ("", ""),
        ] {
            assert_eq!(read(text).join("\n"), expected, "{text}");
        }
    }

    #[test]
    fn header() {
        assert_eq!(read_header("#node,\"ip\" "), Ok(vec!["node".into(), "ip".into()]));
        assert_eq!(read_header("\u{feff}#node,ip"), Ok(vec!["node".into(), "ip".into()]));
        assert_eq!(read_header("node"), Err(CsvError::NoHeader));
        assert_eq!(read_header("#node,ip,node"), Err(CsvError::ColumnTwice("node".into())));
    }
}
