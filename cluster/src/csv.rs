//! The text form of tables: what `tabdump` writes and `tabrestore` reads.
//!
//! Always quoted when there is something, `""` for a quote, nothing for NULL and for an empty text; line
//! breaks inside values are printed raw. The reader takes bare fields too and reports every bad line.

use crate::utf8::without_mark;
use crate::{Row, Table};

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

/// One record: the line of the file on which it begins (the header is line 1), and its fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Line.
    pub number: usize,
    /// Fields; `None` for an empty one.
    pub fields: Result<Vec<Option<String>>, String>,
}

/// Names of the header line's columns, or the message for a missing header or a column that stands there
/// twice.
pub fn read_header(line: &str) -> Result<Vec<String>, String> {
    let names =
        without_mark(line).trim_end().strip_prefix('#').ok_or("Data missing header line starting with #")?;
    let mut columns: Vec<String> = Vec::new();
    for name in names.split(',').map(|name| name.replace('"', "").trim().to_owned()) {
        if columns.contains(&name) {
            return Err(format!("The header line has the column '{name}' twice: which one is meant?"));
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
        // An odd number of quotes means that a quoted field goes on in the next line.
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

fn read_fields(text: &str, number: usize) -> Result<Vec<Option<String>>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, after) = read_quoted(quoted, text, number)?;
                (Some(value), after)
            }
            None => read_bare(rest, text, number)?,
        };
        fields.push(field.filter(|value| !value.is_empty()));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn read_bare<'a>(rest: &'a str, text: &str, number: usize) -> Result<(Option<String>, &'a str), String> {
    let end = rest.find(',').unwrap_or(rest.len());
    let (value, after) = rest.split_at(end);
    if value.contains('"') {
        let at = text.len() - rest.len();
        return Err(format!(
            "CSV missing opening \" for record with \" characters on line {number}, character {at}"
        ));
    }
    Ok((Some(value.to_owned()), after))
}

/// The value of a field after its opening quote, and what follows the closing one.
fn read_quoted<'a>(mut rest: &'a str, text: &str, number: usize) -> Result<(String, &'a str), String> {
    let mut value = String::new();
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            let at = text.len() - rest.len();
            return Err(format!("CSV unmatched \" in record on line {number}, character {at}"));
        };
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                value.push('"');
                rest = next;
            }
            None if after.is_empty() || after.starts_with(',') => return Ok((value, after)),
            None => {
                let at = text.len() - after.len();
                return Err(format!("CSV unescaped \" in record on line {number}, character {at}"));
            }
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
                Err(error) => error,
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
        assert!(read_header("node").is_err());
        assert!(read_header("#node,ip,node").unwrap_err().contains("'node' twice"));
    }
}
