//! The tables: names, columns, keys, types, in schema order.
//!
//! `schema/tables.tsv` is compiled in and parsed once. A table and a column are known by small ids
//! ([`TableId`], [`Col`]) so that a lookup in a [`Snapshot`](crate::Snapshot) compares no strings; names are
//! accepted everywhere an id is, through [`AsCol`] and [`AsTable`], at the price of one hash lookup.
//!
//! A file that does not parse is a build defect, therefore this module alone may panic on its (embedded)
//! input.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

const TABLES_TSV: &str = include_str!("../schema/tables.tsv");

/// Columns of a table at most (zvm, the widest, stays far below); lets a column id be one byte.
const COLUMNS_MAX: usize = 250;

/// Tables whose node column is not called `node`.
const NODE_COLUMN_OVERRIDES: &[(&str, &str)] = &[
    ("mpa", "mpa"),
    ("ppchcp", "hcp"),
    ("ppcdirect", "hcp"),
    ("switches", "switch"),
    ("vmmaster", "name"),
    ("kvm_masterdata", "name"),
];

/// A table of the schema; an index into [`Schema::tables`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub(crate) u8);

/// A column of a particular table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Col {
    /// The table.
    pub table: TableId,
    pub(crate) column: u8,
}

/// What the schema says about a column.
#[derive(Debug)]
pub struct Column {
    /// Name as in the header line of a table dump.
    pub name: &'static str,
    /// Part of the primary key.
    pub is_key: bool,
    /// NOT NULL.
    pub required: bool,
    /// SQL type if it is not text.
    pub sql_type: Option<&'static str>,
    pub(crate) machines: Machines,
}

/// Where a column names machines or domains that something in the cluster uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machines {
    /// Each word is a name or an address.
    Words,
    /// It is text of another kind, with URLs, places on servers and addresses in it perhaps.
    Text,
    /// No machine: it is a record, a secret, or the name of the row's own node.
    Nowhere,
}

/// What the schema says about a table.
#[derive(Debug)]
pub struct Table {
    /// The id that names this table.
    pub id: TableId,
    /// Name.
    pub name: &'static str,
    /// Columns in schema order.
    pub columns: Vec<Column>,
    /// Positions of the primary key's columns, ascending.
    pub keys: Vec<usize>,
    /// Position of the column that holds a node (or group) name, if the table has one.
    pub node_column: Option<usize>,
    /// The node column is part of the primary key: group rows are inherited by nodes.
    pub is_node_table: bool,
    /// Position of `disable`.
    pub disable: Option<usize>,
    /// Position of the column the database numbers by itself (`recid`).
    pub auto_increment: Option<usize>,
    by_name: HashMap<&'static str, u8>,
}

/// All tables.
#[derive(Debug)]
pub struct Schema {
    tables: Vec<Table>,
    by_name: HashMap<&'static str, TableId>,
    sorted: Vec<TableId>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(TABLES_TSV));

/// The one schema of this program.
pub fn schema() -> &'static Schema {
    &SCHEMA
}

impl Schema {
    fn parse(text: &'static str) -> Self {
        let mut tables: Vec<Table> = Vec::new();
        for line in text.lines().skip(1).filter(|l| !l.is_empty()) {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap_or("");
            let (table, column) = (next(), next());
            let column = Column {
                name: column,
                is_key: next() == "1",
                required: next() == "1",
                sql_type: Some(next()).filter(|t| !t.is_empty()),
                machines: match fields.nth(1) {
                    Some("words") => Machines::Words,
                    Some("text") => Machines::Text,
                    Some("none") => Machines::Nowhere,
                    _ => panic!("tables.tsv: does {table}.{column} name machines: words, text or none?"),
                },
            };
            if tables.last().is_none_or(|t| t.name != table) {
                let id = TableId(u8::try_from(tables.len()).unwrap_or(u8::MAX));
                tables.push(Table::named(id, table));
            }
            if let Some(t) = tables.last_mut() {
                t.columns.push(column);
            }
        }
        assert!(tables.len() < usize::from(u8::MAX), "table ids are one byte");
        tables.iter_mut().for_each(Table::finish);
        let by_name = tables.iter().map(|t| (t.name, t.id)).collect();
        let mut sorted: Vec<TableId> = tables.iter().map(|t| t.id).collect();
        sorted.sort_by_key(|id| tables.get(id.index()).map(|t| t.name));
        Self { tables, by_name, sorted }
    }

    /// Every table in schema order.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Every table, sorted by name.
    pub fn tables_by_name(&self) -> impl Iterator<Item = &Table> {
        self.sorted.iter().map(|id| self.table(*id))
    }

    /// The table with that id.
    #[allow(clippy::indexing_slicing, reason = "a TableId is only made from a position in this list")]
    pub fn table(&self, id: TableId) -> &Table {
        &self.tables[id.index()]
    }

    /// The table with that name.
    pub fn find(&self, name: &str) -> Option<&Table> {
        self.by_name.get(name).map(|id| self.table(*id))
    }

    /// The column called `table.column`.
    pub fn find_col(&self, dotted: &str) -> Option<Col> {
        let (table, column) = dotted.split_once('.')?;
        self.find(table)?.col(column)
    }
}

impl Table {
    fn named(id: TableId, name: &'static str) -> Self {
        Self {
            id,
            name,
            columns: Vec::new(),
            keys: Vec::new(),
            node_column: None,
            is_node_table: false,
            disable: None,
            auto_increment: None,
            by_name: HashMap::new(),
        }
    }

    fn finish(&mut self) {
        assert!(self.columns.len() <= COLUMNS_MAX, "column ids are one byte");
        let wanted = NODE_COLUMN_OVERRIDES.iter().find(|(t, _)| *t == self.name).map_or("node", |(_, c)| c);
        let at = |test: &dyn Fn(&Column) -> bool| self.columns.iter().position(test);
        self.node_column = at(&|c| c.name == wanted);
        self.disable = at(&|c| c.name == "disable");
        self.auto_increment = at(&|c| c.sql_type.is_some_and(|t| t.contains("AUTO_INCREMENT")));
        self.keys =
            (0..self.columns.len()).filter(|i| self.columns.get(*i).is_some_and(|c| c.is_key)).collect();
        self.is_node_table = self.node_column.is_some_and(|n| self.keys.contains(&n));
        self.by_name = (0u8..).zip(&self.columns).map(|(i, c)| (c.name, i)).collect();
    }

    /// The column with that name.
    pub fn col(&self, name: &str) -> Option<Col> {
        let column = *self.by_name.get(name)?;
        Some(Col { table: self.id, column })
    }

    /// The column at a position of [`Table::columns`].
    pub fn col_at(&self, position: usize) -> Option<Col> {
        let column = u8::try_from(position).ok().filter(|_| position < self.columns.len())?;
        Some(Col { table: self.id, column })
    }

    /// Every column in schema order.
    pub fn cols(&self) -> impl Iterator<Item = Col> + '_ {
        (0u8..).zip(&self.columns).map(|(column, _)| Col { table: self.id, column })
    }

    /// The node column.
    pub fn node_col(&self) -> Option<Col> {
        self.col_at(self.node_column?)
    }

    /// Names of the key columns.
    pub fn key_names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.columns.iter().filter(|c| c.is_key).map(|c| c.name)
    }

    /// Has a column that is literally called `node` (the tables that `noderm` and `tabgrep` look into).
    pub fn has_literal_node(&self) -> bool {
        self.by_name.contains_key("node")
    }
}

impl TableId {
    /// Position in [`Schema::tables`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The table's description.
    pub fn info(self) -> &'static Table {
        schema().table(self)
    }

    /// The table's name.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

impl Col {
    /// Position in [`Table::columns`].
    pub fn index(self) -> usize {
        usize::from(self.column)
    }

    /// The column's description.
    #[allow(clippy::indexing_slicing, reason = "a Col is only made from a position in its table")]
    pub fn info(self) -> &'static Column {
        &self.table.info().columns[self.index()]
    }

    /// The column's name, without table.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// For [`col`](crate::col) alone.
    pub(crate) const fn at(table: u8, column: u8) -> Self {
        Self { table: TableId(table), column }
    }

    /// A column that this program names in its own text. For names from outside use [`Schema::find_col`].
    ///
    /// # Panics
    /// If the schema has no such column, which a first run of the code shows.
    pub fn known(dotted: &'static str) -> Self {
        match schema().find_col(dotted) {
            Some(col) => col,
            None => panic!("the schema has no column {dotted}"),
        }
    }
}

impl fmt::Debug for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Col {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Col {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table.name(), self.name())
    }
}

/// Anything that names a column: a [`Col`] (free) or the text `table.column` (one hash lookup).
pub trait AsCol {
    /// The column, `None` if the schema has none of that name.
    fn as_col(&self) -> Option<Col>;
}

impl AsCol for Col {
    fn as_col(&self) -> Option<Col> {
        Some(*self)
    }
}

impl AsCol for &str {
    fn as_col(&self) -> Option<Col> {
        schema().find_col(self)
    }
}

impl AsCol for String {
    fn as_col(&self) -> Option<Col> {
        schema().find_col(self)
    }
}

/// Anything that names a table: a [`TableId`] (free) or its name (one hash lookup).
pub trait AsTable {
    /// The table, `None` if the schema has none of that name.
    fn as_table(&self) -> Option<TableId>;
}

impl AsTable for TableId {
    fn as_table(&self) -> Option<TableId> {
        Some(*self)
    }
}

impl AsTable for &str {
    fn as_table(&self) -> Option<TableId> {
        schema().find(self).map(|t| t.id)
    }
}

impl AsTable for String {
    fn as_table(&self) -> Option<TableId> {
        schema().find(self).map(|t| t.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_of_the_file_is_there() {
        let tables = schema().tables();
        assert_eq!(tables.len(), 73);
        assert_eq!(tables.iter().map(|t| t.columns.len()).sum::<usize>(), 707);
    }

    #[test]
    fn composite_keys() {
        for (table, keys) in [
            ("deps", "node,cmd"),
            ("networks", "net,mask"),
            ("passwd", "key,username"),
            ("switch", "node,switch,port"),
            ("litefile", "image,file"),
            ("site", "key"),
        ] {
            let found: Vec<_> = schema().find(table).unwrap().key_names().collect();
            assert_eq!(found.join(","), keys, "{table}");
        }
    }

    #[test]
    fn node_columns() {
        for (table, column, is_node_table) in [
            ("mpa", "mpa", true),
            ("switches", "switch", true),
            ("nodelist", "node", true),
            ("eventlog", "node", false),
        ] {
            let t = schema().find(table).unwrap();
            assert_eq!(t.node_col().unwrap().name(), column);
            assert_eq!(t.is_node_table, is_node_table, "{table}");
        }
        assert!(schema().find("site").unwrap().node_column.is_none());
    }

    #[test]
    fn the_file_marks_the_same_node_tables() {
        for line in TABLES_TSV.lines().skip(1) {
            let f: Vec<_> = line.split('\t').collect();
            assert_eq!(schema().find(f[0]).unwrap().is_node_table, f[5] == "1", "{}", f[0]);
        }
    }

    #[test]
    fn names_and_ids() {
        let col = Col::known("nodehm.mgt");
        assert_eq!(col.to_string(), "nodehm.mgt");
        assert_eq!("nodehm.mgt".as_col(), Some(col));
        assert_eq!("nodehm.nothing".as_col(), None);
        assert_eq!("nothing".as_table(), None);
    }
}
