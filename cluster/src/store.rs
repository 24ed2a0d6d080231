//! Durable storage behind one interface.
//!
//! A [`Store`] keeps the tables of the schema, each a table of the same name, and three of ours:
//! `dawn_change` (one row a change), `dawn_change_part` (what the change did, as JSON) and `dawn_meta` (which
//! versions may use the database, see [`FORM`]). It is asked only to load everything and to write changes;
//! questions are answered from snapshots.
//!
//! [`Store::begin`] serialises writers on one database: it takes the database's writer lock and says
//! which change was the last. A writer that has not seen that one catches up from the log before it
//! continues, so no two writers ever work from different states.
//!
//! SQLite is always there. PostgreSQL and MySQL are features of this crate, `postgres` and `mysql`; a program
//! without one refuses an address of such a server.

#![cfg_attr(
    not(all(feature = "mysql", feature = "postgres")),
    allow(dead_code, reason = "what both servers share is more than one of them needs")
)]

use crate::advised::Advised;
use crate::cfgloc::StoreAddress;
use crate::effect::Effect;
use crate::log::LogEntry;
use crate::row::{Interner, Row, Text};
use crate::schema::{Table, schema};
use std::fmt::Write as _;
use std::time::Duration;

mod foreign;
pub(crate) mod later;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod server;
pub(crate) mod sqlite;

pub use foreign::{ForeignTable, foreign_tables};

/// How long a server may take to answer a question; then the connection is given up and the change fails.
/// Longer than the wait for another writer, which is the longest that a healthy server takes.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a server lets one writer wait for another.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(8);
/// Time for connecting, greeting included.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The same for each of several servers: the next one may be good.
const CONNECT_TIME_OF_SEVERAL_MAX: Duration = Duration::from_secs(2);

/// The form of a database that this program writes. It grows with every change of the layout.
///
/// A version first reads a new form, and a later one writes it, so that two neighbouring versions can use one
/// database. New tables and columns do not change the form: they are added when a database is opened,
/// and an earlier version leaves them alone.
const FORM: u64 = 1;
/// The oldest form whose programs understand what this program writes.
const OLDEST_READER: u64 = 1;

/// Why storage failed. The state is the one before the change, in memory and on disk.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened or reached.
    #[error("cannot open the database {place}: {reason}")]
    Open {
        /// File or server.
        place: String,
        /// What went wrong.
        reason: String,
    },
    /// No space left.
    #[error("the disk of the database is full; nothing was changed")]
    Full,
    /// No permission to write.
    #[error("the database is read-only; nothing was changed")]
    ReadOnly,
    /// There are no tables where the database should be.
    #[error("there is no database in {place}: {reason}")]
    Missing {
        /// File or server.
        place: String,
        /// What was found instead.
        reason: String,
    },
    /// A table that was there has been removed.
    #[error(
        "the database {place} has lost its table {table}: it is not used, as an empty table would change what \
         every node is"
    )]
    TableGone {
        /// File or server.
        place: String,
        /// The table.
        table: &'static str,
    },
    /// A later version of this program has written it, in a way that this one would misread.
    #[error(
        "the database {place} was written by a later version of Dawn (form {form}; this version reads forms up to {FORM}); \
         nothing was changed"
    )]
    Later {
        /// File or server.
        place: String,
        /// The form that a program must understand.
        form: u64,
    },
    /// The file that is open is not the one that a restart would find.
    #[error("the database file {0} was removed or replaced while it was in use; nothing was changed")]
    Replaced(String),
    /// Another process holds the database for too long.
    #[error("the database is locked by another process; nothing was changed")]
    Busy,
    /// The server is there and does not want us: a password, a database that is missing.
    #[error("the database {place} refuses: {reason}")]
    Refused {
        /// Server and database.
        place: String,
        /// What the server says.
        reason: String,
    },
    /// The server takes longer than [`ANSWER_TIME_MAX`]. Whether a commit in flight was done is unknown until
    /// it answers.
    #[error("the database server does not answer within {} s; nothing was acknowledged", ANSWER_TIME_MAX.as_secs())]
    Silent,
    /// The connection to the server broke. Whether a commit in flight was done is unknown until reconnected.
    #[error("connection to the database lost: {0}")]
    Lost(String),
    /// The content is not what this program wrote.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Anything else the database says.
    #[error("DB error {0}")]
    Other(String),
}

impl Advised for StoreError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TableGone { .. } => {
                "move the database away and put a backup in its place with `dawn restore DIR`, or let `dawn init` \
                 make an empty table"
            }
            Self::Later { .. } => {
                "install that version again, or move the data directory away and restore a backup that was made \
                 before the upgrade with `dawn restore`"
            }
            Self::Replaced(_) => {
                "`dawn dumpxCATdb -p DIR` saves the tables as they were loaded; then stop the daemon, put the \
                 database back from a backup, or make one with `dawn init` and read the saved tables with \
                 `dawn restorexCATdb -p DIR`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl StoreError {
    /// Waiting may repair it: the server is not up yet, or does not answer.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Lost(_) | Self::Silent)
    }

    /// The database cannot be used at all: it cannot be reached, does not answer, or rejects our login.
    pub(crate) fn is_away(&self) -> bool {
        self.is_passing()
            || matches!(
                self,
                Self::Refused { .. } | Self::Missing { .. } | Self::TableGone { .. } | Self::Later { .. }
            )
    }

    /// The connection is of no use any more.
    fn ends_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Silent)
    }
}

/// Everything a database holds.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Number of the last change.
    pub seq: u64,
    /// The rows of each table in the order of [`Schema::tables`](crate::Schema::tables).
    pub tables: Vec<Vec<Row>>,
}

/// A database that keeps the tables. All calls block.
pub(crate) trait Store: Send {
    /// What kind of database, for people: `SQLite`, `Pg`, `mysql`.
    fn engine(&self) -> &'static str;

    /// Reads everything.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Starts a transaction as the only writer; gives the number of the last change.
    fn begin(&mut self) -> Result<u64, StoreError>;

    /// Stores a change in the open transaction. After an error nothing of this change is stored, what the
    /// transaction held before still is, unless [`is_open`](Store::is_open) says that it is gone.
    fn write(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), StoreError>;

    /// A transaction is open.
    fn is_open(&self) -> bool;

    /// Makes everything since `begin` durable.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Forgets everything since `begin`.
    fn rollback(&mut self);

    /// Number of the last change, without a transaction.
    fn last_seq(&mut self) -> Result<u64, StoreError>;

    /// Log entries with `after < seq`, ascending, at most `limit`.
    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError>;

    /// Log entries with `seq < before`, descending, at most `limit`.
    fn changes_before(&mut self, before: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError>;

    /// Something that learns of other writers' changes; `None`: there are no notifications, ask
    /// [`last_seq`](Store::last_seq).
    fn bell(&self) -> Result<Option<Box<dyn Bell>>, StoreError> {
        Ok(None)
    }
}

/// Rings when a writer has committed.
pub(crate) trait Bell: Send {
    /// Waits; `true` if it rang before the time was over.
    fn wait(&mut self, time: Duration) -> Result<bool, StoreError>;
}

/// What to do where there is no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// Make one.
    Make,
    /// Fail: a database was there before, and an empty one in its place would make every node a stranger.
    Refuse,
}

/// Tables that every database with a form has: it was made whole, so one that is missing was removed, and an
/// empty one in its place would make every node a stranger. Tables that came with later versions are made.
const CORE_TABLES: &[&str] = &[
    "hosts",
    "linuximage",
    "mac",
    "networks",
    "nodegroup",
    "nodehm",
    "nodelist",
    "noderes",
    "nodetype",
    "osimage",
    "passwd",
    "policy",
    "site",
];
/// The table with the form of the database; one row.
const META_TABLE: &str = "dawn_meta";
/// Its statement, in the words that all databases share.
const META_CREATE: &str = "CREATE TABLE IF NOT EXISTS dawn_meta (id INTEGER PRIMARY KEY, form BIGINT NOT NULL, oldest_reader BIGINT NOT NULL)";
/// Form and oldest reader of a database that has them.
const META_QUERY: &str = "SELECT form, oldest_reader FROM dawn_meta WHERE id=1";

/// The form of a database as it was found.
struct Meta {
    form: u64,
    oldest_reader: u64,
}

/// Refuses a database that was made whole and has lost one of [`CORE_TABLES`]; `has` says which tables are
/// there.
fn check_core_tables(has: impl Fn(&str) -> bool, place: impl FnOnce() -> String) -> Result<(), StoreError> {
    if !has(META_TABLE) {
        return Ok(());
    }
    match CORE_TABLES.iter().find(|table| !has(table)) {
        Some(table) => Err(StoreError::TableGone { place: place(), table }),
        None => Ok(()),
    }
}

/// What records the form of this program in a database with `found`, which lacks the table if that is `None`.
///
/// # Errors
/// [`StoreError::Later`].
fn meta_statements(found: Option<Meta>, place: impl FnOnce() -> String) -> Result<Vec<String>, StoreError> {
    match found {
        None => Ok(vec![
            META_CREATE.to_owned(),
            // Another process may have been faster.
            format!(
                "INSERT INTO dawn_meta (id,form,oldest_reader) SELECT 1,{FORM},{OLDEST_READER} \
                 FROM (SELECT 1) AS one WHERE NOT EXISTS (SELECT 1 FROM dawn_meta)"
            ),
        ]),
        Some(Meta { oldest_reader, .. }) if oldest_reader > FORM => {
            Err(StoreError::Later { place: place(), form: oldest_reader })
        }
        Some(Meta { form, .. }) if form < FORM => {
            Ok(vec![format!("UPDATE dawn_meta SET form={FORM}, oldest_reader={OLDEST_READER} WHERE id=1")])
        }
        // Values that a later version wrote for both versions stay.
        Some(_) => Ok(Vec::new()),
    }
}

/// Opens the database at an address, adds what the schema has more.
pub(crate) fn open(address: &StoreAddress, if_missing: IfMissing) -> Result<Box<dyn Store>, StoreError> {
    match address {
        StoreAddress::Sqlite(directory) => Ok(Box::new(sqlite::Sqlite::open(directory, if_missing)?)),
        #[cfg(feature = "postgres")]
        StoreAddress::Postgres(server) => postgres::open(server, if_missing),
        #[cfg(feature = "mysql")]
        StoreAddress::Mysql(server) => mysql::open(server, if_missing),
        #[cfg(not(all(feature = "mysql", feature = "postgres")))]
        other => Err(without_driver(other)),
    }
}

/// This program was built without the feature for that kind of server.
#[cfg(not(all(feature = "mysql", feature = "postgres")))]
fn without_driver(address: &StoreAddress) -> StoreError {
    StoreError::Refused {
        place: address.to_string(),
        reason: "this program was built without the driver for such a server".to_owned(),
    }
}

/// The first table with rows in a database of a running server; `None` also if there is no such database.
/// `admin` is an account (and its database) on that server that may look.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), expect(unused_variables))]
pub fn first_table_with_rows(admin: &StoreAddress, dbname: &str) -> Result<Option<&'static str>, StoreError> {
    match admin {
        #[cfg(feature = "postgres")]
        StoreAddress::Postgres(admin) => server::first_table_with_rows::<postgres::Pg>(admin, dbname),
        #[cfg(feature = "mysql")]
        StoreAddress::Mysql(admin) => server::first_table_with_rows::<mysql::Mysql>(admin, dbname),
        StoreAddress::Sqlite(_) => Err(StoreError::Other("SQLite is not a server".into())),
        #[cfg(not(all(feature = "mysql", feature = "postgres")))]
        other => Err(without_driver(other)),
    }
}

/// Makes user and database of `wanted` on a running server, as far as they are missing; an existing user gets
/// the new password. `admin` is an account (and its database) on the same server that may do that.
/// `from_hosts` says from where a MySQL user may come (`localhost`, addresses, `%`); PostgreSQL keeps that in
/// `pg_hba.conf`, which this does not touch.
#[cfg_attr(not(feature = "mysql"), expect(unused_variables))]
pub fn set_up_server(
    admin: &StoreAddress,
    wanted: &StoreAddress,
    from_hosts: &[String],
) -> Result<(), StoreError> {
    match (admin, wanted) {
        #[cfg(feature = "postgres")]
        (StoreAddress::Postgres(admin), StoreAddress::Postgres(wanted)) => postgres::set_up(admin, wanted),
        #[cfg(feature = "mysql")]
        (StoreAddress::Mysql(admin), StoreAddress::Mysql(wanted)) => mysql::set_up(admin, wanted, from_hosts),
        #[cfg(not(all(feature = "mysql", feature = "postgres")))]
        (StoreAddress::Mysql(_), StoreAddress::Mysql(_))
        | (StoreAddress::Postgres(_), StoreAddress::Postgres(_)) => Err(without_driver(wanted)),
        _ => Err(StoreError::Other("both addresses must be of one server, PostgreSQL or MySQL".into())),
    }
}

/// A name that can be written to SQL as it is.
fn plain_name(name: &str) -> Result<&str, StoreError> {
    let plain =
        !name.is_empty() && name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let bad =
        || StoreError::Other(format!("{name:?} is not a plain name: letters, digits and _, 63 at most"));
    plain.then_some(name).ok_or_else(bad)
}

/// The SQL words that differ between databases.
pub(crate) struct Dialect {
    /// The character around names.
    pub(crate) quote: char,
    /// A placeholder's text for a 1-based position.
    pub(crate) placeholder: fn(usize) -> String,
    /// Type of text columns.
    pub(crate) text: &'static str,
    /// Type of key columns that declare no type.
    pub(crate) key: &'static str,
    /// Type of columns that the database numbers.
    pub(crate) auto: &'static str,
}

/// Statements for one table, made once.
pub(crate) struct TableSql {
    pub(crate) select: String,
    pub(crate) insert: String,
    pub(crate) update: String,
    pub(crate) delete: String,
}

impl Dialect {
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{0}{name}{0}", self.quote)
    }

    fn names<'a>(&self, names: impl Iterator<Item = &'a str>) -> String {
        names.map(|n| self.name(n)).collect::<Vec<_>>().join(",")
    }

    /// `CREATE TABLE` for a table of the schema.
    pub(crate) fn create(&self, table: &Table) -> String {
        let mut sql = format!("CREATE TABLE {} (", self.name(table.name));
        for column in &table.columns {
            let kind = self.column_type(table, column.name);
            let required = if column.required || column.is_key { " NOT NULL" } else { "" };
            let _ = write!(sql, "{} {kind}{required}, ", self.name(column.name));
        }
        let _ = write!(sql, "PRIMARY KEY ({}))", self.names(table.key_names()));
        sql
    }

    /// The SQL type of a column.
    pub(crate) fn column_type(&self, table: &Table, column: &str) -> String {
        let Some(column) = table.columns.iter().find(|c| c.name == column) else {
            return self.text.to_owned();
        };
        match column.sql_type {
            Some(t) if t.contains("AUTO_INCREMENT") => self.auto.to_owned(),
            Some(t) => t.to_owned(),
            None if column.is_key => self.key.to_owned(),
            None => self.text.to_owned(),
        }
    }

    /// Statements for a table. Cells go in as parameters in schema order, then (update, delete) the old key.
    pub(crate) fn statements(&self, table: &Table, order: &str) -> TableSql {
        let name = self.name(table.name);
        let n = table.columns.len();
        let mark = self.placeholder;
        let all = self.names(table.columns.iter().map(|c| c.name));
        let marks = (1..=n).map(mark).collect::<Vec<_>>().join(",");
        let sets = |(at, c): (usize, &crate::Column)| format!("{}={}", self.name(c.name), mark(at + 1));
        let sets = table.columns.iter().enumerate().map(sets).collect::<Vec<_>>().join(",");
        let condition = |first: usize| {
            let one = |(at, k): (usize, &'static str)| format!("{}={}", self.name(k), mark(first + at));
            table.key_names().enumerate().map(one).collect::<Vec<_>>().join(" AND ")
        };
        TableSql {
            select: format!("SELECT {all} FROM {name} {order}"),
            insert: format!("INSERT INTO {name} ({all}) VALUES ({marks})"),
            update: format!("UPDATE {name} SET {sets} WHERE {}", condition(n + 1)),
            delete: format!("DELETE FROM {name} WHERE {}", condition(1)),
        }
    }

    /// Statements for every table in schema order.
    pub(crate) fn all_statements(&self, order: impl Fn(&Table) -> String) -> Vec<TableSql> {
        schema().tables().iter().map(|t| self.statements(t, &order(t))).collect()
    }
}

/// The statement and parameters of an effect: new cells, then the old key, as far as the statement wants
/// them.
pub(crate) fn bind<'a>(sql: &'a TableSql, effect: &'a Effect) -> (&'a str, Vec<Option<&'a str>>) {
    let cells = |row: &'a Row| row.cells().iter().map(Option::as_deref);
    let key = |row: &'a Row| effect.table.info().keys.iter().map(|k| row.at(*k).map(|t| &**t));
    match (&effect.before, &effect.after) {
        (None, Some(after)) => (&sql.insert, cells(after).collect()),
        (Some(before), Some(after)) => (&sql.update, cells(after).chain(key(before)).collect()),
        (Some(before), None) => (&sql.delete, key(before).collect()),
        (None, None) => (&sql.delete, Vec::new()),
    }
}

/// Shares equal texts while a database is loaded.
#[derive(Default)]
pub(crate) struct RowReader {
    interner: Interner,
    /// By column: the value in the row before, which most rows repeat.
    before: Vec<Text>,
}

impl RowReader {
    pub(crate) fn row<'a>(&mut self, table: &Table, cells: impl Iterator<Item = Option<&'a str>>) -> Row {
        Row::new(table.id, (0..).zip(cells).map(|(at, cell)| cell.map(|text| self.text(at, text))).collect())
    }

    /// The text of a cell in the column at a position.
    pub(crate) fn text(&mut self, at: usize, text: &str) -> Text {
        if let Some(same) = self.before.get(at).filter(|before| ***before == *text) {
            return Text::clone(same);
        }
        let text = self.interner.text(text);
        if self.before.len() <= at {
            self.before.resize(at + 1, Text::clone(&text));
        }
        if let Some(slot) = self.before.get_mut(at) {
            slot.clone_from(&text);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn sql_of_a_table() {
        let dialect = sqlite::DIALECT;
        let table = schema().find("litefile").unwrap();
        expect![[r#"CREATE TABLE "litefile" ("image" VARCHAR(128) NOT NULL, "file" VARCHAR(128) NOT NULL, "options" TEXT, "comments" TEXT, "disable" TEXT, PRIMARY KEY ("image","file"))"#]]
            .assert_eq(&dialect.create(table));
        let sql = dialect.statements(table, "ORDER BY rowid");
        expect![[r#"UPDATE "litefile" SET "image"=?1,"file"=?2,"options"=?3,"comments"=?4,"disable"=?5 WHERE "image"=?6 AND "file"=?7"#]]
            .assert_eq(&sql.update);
    }
}
