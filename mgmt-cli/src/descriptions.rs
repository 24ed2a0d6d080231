//! What `tabdump -d` says about tables and columns: what the schema knows, in words.

use dawn_cluster::{Table, schema};

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
    let mut words = Vec::new();
    if at == table.node_column {
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
