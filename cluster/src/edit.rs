//! One row edit of a change, and why a change is refused.

use crate::names::excerpt;
use crate::row::Text;
use crate::schema::{Col, TableId, schema};
use crate::subnet::AddressRange;
use std::borrow::Cow;
use std::net::Ipv4Addr;

/// Bytes of a cell at most.
pub const CELL_BYTES_MAX: usize = 1 << 20;
/// Edits of one change at most. 100,000 nodes with ten tables each fit.
pub const EDITS_MAX: usize = 2_000_000;

/// Why a change is refused. Nothing of it has been done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EditError {
    /// No such table.
    #[error("No such table: {0}")]
    NoSuchTable(String),
    /// The table has no such column.
    #[error("No column \"{column}\" in table \"{table}\"")]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column of another table than the edit's.
    #[error("column {col} does not belong to table {table}")]
    WrongTable {
        /// The edit's table.
        table: TableId,
        /// The column.
        col: Col,
    },
    /// An update must say which row it means.
    #[error("{table}: no key given")]
    NoKey {
        /// The table.
        table: TableId,
    },
    /// A column that must have a value has none.
    #[error("{col} may not be empty")]
    Required {
        /// The column.
        col: Col,
    },
    /// A row that nothing would find again.
    #[error("{col} says whose row it is and may not be empty: give {}=...", col.name())]
    EmptyKey {
        /// The column.
        col: Col,
    },
    /// Another row already has this primary key.
    #[error("UNIQUE constraint failed: {table} already has a row with key {key}")]
    DuplicateKey {
        /// The table.
        table: TableId,
        /// The key's values.
        key: String,
    },
    /// A value longer than [`CELL_BYTES_MAX`].
    #[error("a value for {col} has {bytes} bytes, more than {CELL_BYTES_MAX}")]
    TooLong {
        /// The column.
        col: Col,
        /// Its length.
        bytes: usize,
    },
    /// A NUL byte, which no database stores.
    #[error("a value for {col} contains a NUL byte")]
    NulByte {
        /// The column.
        col: Col,
    },
    /// No rule would be left to take the change back.
    #[error(
        "with this policy root could no longer run {command}: keep a rule that allows root, with a smaller \
         priority number"
    )]
    LocksOut {
        /// The command.
        command: &'static str,
    },
    /// A value that its column cannot mean.
    #[error("'{}' cannot be stored in {col}: {reason}", excerpt(value))]
    BadValue {
        /// The column.
        col: Col,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// A value that a key of the table `site` cannot have.
    #[error("'{}' cannot be stored as site.{key}: {reason}", excerpt(value))]
    BadSiteValue {
        /// The key.
        key: Text,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// Another node has this MAC or IP address.
    #[error("{col} of {name}: {value} already belongs to {other}")]
    Taken {
        /// The column.
        col: Col,
        /// The address.
        value: String,
        /// Who was to get it.
        name: Text,
        /// Who has it.
        other: Text,
    },
    /// A node's address that could be given to a machine without one.
    #[error(
        "Node {name} has IP {address} which is inside the DHCP dynamic range {range} of {network}. Move the node IP \
         outside the dynamic range or adjust the range in the networks table."
    )]
    InsideRange {
        /// The node.
        name: Text,
        /// Its address.
        address: Ipv4Addr,
        /// The range.
        range: AddressRange,
        /// The network's name.
        network: Text,
    },
    /// More edits than [`EDITS_MAX`].
    #[error("{0} edits are too many for one change, {EDITS_MAX} are allowed")]
    TooManyEdits(usize),
}

/// One thing that is to hold after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Update the rows in which all `keys` hold, or insert one.
    Set {
        /// The table.
        table: TableId,
        /// Columns and values that find the row; at least one. Need not be the primary key.
        keys: Vec<(Col, Text)>,
        /// What to store; `None` is SQL NULL.
        values: Vec<(Col, Option<Text>)>,
    },
    /// A new row; a row with the same primary key must not exist.
    Insert {
        /// The table.
        table: TableId,
        /// The row's values.
        cells: Vec<(Col, Option<Text>)>,
    },
    /// Remove the rows in which all `keys` hold; without keys every row.
    Delete {
        /// The table.
        table: TableId,
        /// Columns and values that find the rows.
        keys: Vec<(Col, Text)>,
    },
}

impl Edit {
    /// An update or insert by names: `Edit::set("nodehm", &[("node", "n1")], &[("mgt", "ipmi")])`.
    pub fn set(table: &str, keys: &[(&str, &str)], values: &[(&str, &str)]) -> Result<Self, EditError> {
        let values = values.iter().map(|(name, value)| Ok((column(table, name)?, Some(Text::from(*value)))));
        Ok(Self::Set {
            table: table_id(table)?,
            keys: key_list(table, keys)?,
            values: values.collect::<Result<_, _>>()?,
        })
    }

    /// Sets one column of a node's (or group's) row. `col` must be of a table with a node column.
    pub fn set_node(node: impl Into<Text>, col: Col, value: impl Into<Text>) -> Result<Self, EditError> {
        let table = col.table;
        let node_col = table.info().node_col().ok_or(EditError::NoKey { table })?;
        Ok(Self::Set { table, keys: vec![(node_col, node.into())], values: vec![(col, Some(value.into()))] })
    }

    /// Sets a `site` value.
    pub fn set_site(key: &str, value: &str) -> Result<Self, EditError> {
        Self::set("site", &[("key", key)], &[("value", value)])
    }

    /// A deletion by names. Without keys the table is emptied.
    pub fn delete(table: &str, keys: &[(&str, &str)]) -> Result<Self, EditError> {
        Ok(Self::Delete { table: table_id(table)?, keys: key_list(table, keys)? })
    }

    /// The table whose rows it changes.
    pub fn table(&self) -> TableId {
        match self {
            Self::Set { table, .. } | Self::Insert { table, .. } | Self::Delete { table, .. } => *table,
        }
    }
}

fn table_id(name: &str) -> Result<TableId, EditError> {
    schema().find(name).map(|t| t.id).ok_or_else(|| EditError::NoSuchTable(name.to_owned()))
}

fn column(table: &str, name: &str) -> Result<Col, EditError> {
    let missing = || EditError::NoSuchColumn { table: table.to_owned(), column: name.to_owned() };
    table_id(table)?.info().col(name).ok_or_else(missing)
}

fn key_list(table: &str, keys: &[(&str, &str)]) -> Result<Vec<(Col, Text)>, EditError> {
    keys.iter().map(|(name, value)| Ok((column(table, name)?, Text::from(*value)))).collect()
}
