//! Words that name columns on command lines: `table.column`, `groups`, `tags`, `mgt`, with an operator and
//! a value or without.

use dawn_cluster::{Col, TableId, schema};

/// Short names of the node commands.
const SHORT_NAMES: [(&str, &str); 3] =
    [("groups", "nodelist.groups"), ("tags", "nodelist.groups"), ("mgt", "nodehm.mgt")];

/// What a word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// One column.
    Column(Col),
    /// All columns of a table.
    Table(TableId),
}

/// A column by `table.column` or short name; the error is xCAT's text.
pub fn column(word: &str) -> Result<Col, String> {
    let dotted = SHORT_NAMES.iter().find(|(short, _)| *short == word).map_or(word, |(_, dotted)| dotted);
    schema().find_col(dotted).ok_or_else(|| format!("{word} not a valid table.column description"))
}

/// A column or a whole table.
pub fn item(word: &str) -> Result<Item, String> {
    match schema().find(word) {
        Some(table) => Ok(Item::Table(table.id)),
        None => column(word).map(Item::Column),
    }
}
