//! Words that name columns on command lines: `table.column`, `groups`, `tags`, `mgt`, with an operator and
//! a value or without.

use crate::output::CommandError;
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

/// A word that names no column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} not a valid table.column description")]
pub struct NoSuchColumn(String);

impl From<NoSuchColumn> for CommandError {
    fn from(error: NoSuchColumn) -> Self {
        Self::usage(error.to_string())
    }
}

/// A column by `table.column` or short name.
///
/// # Errors
/// There is none.
pub fn column(word: &str) -> Result<Col, NoSuchColumn> {
    let dotted = SHORT_NAMES.iter().find(|(short, _)| *short == word).map_or(word, |(_, dotted)| dotted);
    schema().find_col(dotted).ok_or_else(|| NoSuchColumn(word.to_owned()))
}

/// A column or a whole table.
///
/// # Errors
/// There is neither.
pub fn item(word: &str) -> Result<Item, NoSuchColumn> {
    match schema().find(word) {
        Some(table) => Ok(Item::Table(table.id)),
        None => column(word).map(Item::Column),
    }
}
