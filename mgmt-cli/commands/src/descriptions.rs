//! What `tabdump -d` and `lsdef -h -t` say about tables and columns: the facts of the schema, and a text for
//! the columns that matter to an administrator.

use dawn_cluster::{Col, SiteKey, Table, schema, site_keys};

/// `table.column`, tab, text; sorted.
const TEXTS: &str = include_str!("descriptions.tsv");

/// What a column is for; `None` where it is not written down.
pub fn purpose(col: Col) -> Option<&'static str> {
    let name = col.to_string();
    TEXTS.lines().filter_map(|line| line.split_once('\t')).find(|(of, _)| *of == name).map(|(_, text)| text)
}

/// What the schema says of a table, as data.
#[derive(serde::Serialize)]
pub struct TableFacts {
    /// Columns that name a row.
    keys: Vec<&'static str>,
    /// Whether a row is about a node or a group.
    of_nodes: bool,
    columns: usize,
}

/// The facts of a table.
pub fn table_facts(table: &'static Table) -> TableFacts {
    let keys = table.key_names().collect();
    TableFacts { keys, of_nodes: table.is_node_table, columns: table.columns.len() }
}

/// What the schema says of a column, as data.
#[derive(serde::Serialize)]
pub struct ColumnFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'static str>,
    #[serde(rename = "type")]
    sql_type: &'static str,
    key: bool,
    required: bool,
    /// Keys of `site` that are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known: Vec<KnownKey>,
}

/// A key of `site`.
#[derive(serde::Serialize)]
struct KnownKey {
    name: &'static str,
    purpose: &'static str,
    used: bool,
}

/// The facts of a column.
pub fn column_facts(table: &Table, name: &str) -> ColumnFacts {
    let column = table.columns.iter().find(|column| column.name == name);
    let known = |key: &SiteKey| KnownKey { name: key.name, purpose: key.text, used: key.is_used };
    let lists_keys = table.name == "site" && name == "key";
    ColumnFacts {
        purpose: table.col(name).and_then(purpose),
        sql_type: column.and_then(|column| column.sql_type).unwrap_or("text"),
        key: column.is_some_and(|column| column.is_key),
        required: column.is_some_and(|column| column.required),
        known: if lists_keys { site_keys().iter().map(known).collect() } else { Vec::new() },
    }
}

/// A table in one line.
pub fn table(name: &str) -> String {
    let Some(table) = schema().find(name) else { return String::new() };
    let keys: Vec<&str> = table.key_names().collect();
    let kind = if table.is_node_table { "one row for a node or group" } else { "rows" };
    format!("{kind}, found by {}; {} columns", keys.join(" and "), table.columns.len())
}

/// A column in one line.
pub fn column(table: &Table, name: &str) -> String {
    let at = table.columns.iter().position(|column| column.name == name);
    let Some(column) = at.and_then(|at| table.columns.get(at)) else { return String::new() };
    let mut words: Vec<&str> = table.col(name).and_then(purpose).into_iter().collect();
    if words.is_empty() && at == table.node_column {
        words.push("name of a node or group");
    }
    match name {
        "comments" => words.push("free text"),
        "disable" => words.push("any value but 0 and no takes the row out of all lookups"),
        _ => {}
    }
    if column.is_key {
        words.push("part of the key");
    }
    if column.required {
        words.push("required");
    }
    let kind = column.sql_type.unwrap_or("text");
    words.push(kind);
    words.join(", ")
}

/// A key of the table `site` in one line.
pub fn site_key(key: &SiteKey) -> String {
    let text = key.text;
    if key.is_used { text.to_owned() } else { format!("{text} (not used by Dawn)") }
}

/// The known keys of `site`, one line each, as `tabdump -d site` prints them below its columns.
pub fn site_key_lines() -> impl Iterator<Item = String> {
    site_keys().iter().map(|key| format!(" {}:  {}", key.name, site_key(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_columns_that_exist() {
        let names: Vec<&str> =
            TEXTS.lines().filter_map(|line| line.split_once('\t')).map(|(of, _)| of).collect();
        assert_eq!(names.len(), TEXTS.lines().count());
        assert!(names.is_sorted_by(|a, b| a < b), "sorted, each once");
        for name in names {
            assert!(schema().find_col(name).is_some(), "{name}");
        }
    }
}
