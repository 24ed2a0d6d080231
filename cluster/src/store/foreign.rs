//! Tables of a database of xCAT, read as they are and never written.
//!
//! SQLite is a directory with a file TABLE.sqlite for each table, which is how xCAT keeps it; a server has
//! all tables in one database, and they are read as of one moment. Nothing is known of the schema: names of
//! tables and columns are given as they are found.

#[cfg(feature = "mysql")]
use super::mysql;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::server;
#[cfg(not(all(feature = "mysql", feature = "postgres")))]
use super::without_driver;
use super::{StoreError, sqlite};
use crate::cfgloc::StoreAddress;
use rusqlite::{Connection, OpenFlags};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Tables of a database at most; xCAT has about a hundred.
const TABLES_MAX: usize = 1_000;
/// Rows of a table at most.
const ROWS_MAX: usize = crate::csv::RECORDS_MAX;
/// How a file of a table ends.
const SUFFIX: &str = "sqlite";

/// A table as it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct ForeignTable {
    /// Its name.
    pub name: String,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Rows, a value for each column; NULL and an empty text are both `None`.
    pub rows: Vec<Vec<Option<String>>>,
}

impl ForeignTable {
    fn new(name: String, columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Result<Self, StoreError> {
        if rows.len() > ROWS_MAX {
            return Err(StoreError::Other(format!("table {name} has more than {ROWS_MAX} rows")));
        }
        let filled = |row: Vec<Option<String>>| -> Vec<Option<String>> {
            row.into_iter().map(|value| value.filter(|text| !text.is_empty())).collect()
        };
        Ok(Self { name, columns, rows: rows.into_iter().map(filled).collect() })
    }
}

/// The tables whose name is `wanted`, by name.
///
/// # Errors
/// The database cannot be opened or read, or has more tables or rows than a cluster's.
pub fn foreign_tables(
    address: &StoreAddress,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<ForeignTable>, StoreError> {
    match address {
        StoreAddress::Sqlite(directory) => files(directory, wanted),
        #[cfg(feature = "postgres")]
        StoreAddress::Postgres(address) => of_server(server::all_tables::<postgres::Pg>(address, wanted)?),
        #[cfg(feature = "mysql")]
        StoreAddress::Mysql(address) => of_server(server::all_tables::<mysql::Mysql>(address, wanted)?),
        #[cfg(not(all(feature = "mysql", feature = "postgres")))]
        other => Err(without_driver(other)),
    }
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
fn of_server(found: Vec<(String, Vec<String>, server::TextRows)>) -> Result<Vec<ForeignTable>, StoreError> {
    found.into_iter().map(|(name, columns, rows)| ForeignTable::new(name, columns, rows)).collect()
}

fn files(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<ForeignTable>, StoreError> {
    let fail = |error: std::io::Error| StoreError::Open {
        place: directory.display().to_string(),
        reason: error.to_string(),
    };
    let entries = std::fs::read_dir(directory).map_err(fail)?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|kind| kind == SUFFIX))
        .take(TABLES_MAX + 1)
        .collect();
    if paths.len() > TABLES_MAX {
        return Err(StoreError::Other(format!("it has more than {TABLES_MAX} tables")));
    }
    paths.sort();
    let named = paths.into_iter().filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)));
    named.filter(|(name, _)| wanted(name)).map(|(name, path)| file(name, &path)).collect()
}

fn file(name: String, path: &Path) -> Result<ForeignTable, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Open {
        place: path.display().to_string(),
        reason: error.to_string(),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    let sql = format!("SELECT * FROM \"{}\"", name.replace('"', "\"\""));
    let mut statement = connection.prepare(&sql).map_err(failed)?;
    let columns: Vec<String> = statement.column_names().into_iter().map(ToOwned::to_owned).collect();
    let mut found = statement.query([]).map_err(failed)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(failed)? {
        let cells = (0..columns.len())
            .map(|at| row.get_ref(at).map(|value| sqlite::text_of(value).map(Cow::into_owned)));
        rows.push(cells.collect::<Result<Vec<_>, _>>().map_err(failed)?);
        if rows.len() > ROWS_MAX {
            break;
        }
    }
    ForeignTable::new(name, columns, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tables_are_read_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let run = |name: &str, sql: &str| {
            Connection::open(directory.path().join(name)).unwrap().execute_batch(sql).unwrap();
        };
        run(
            "site.sqlite",
            "CREATE TABLE site (key TEXT, value TEXT, own INTEGER); INSERT INTO site VALUES ('a','',7)",
        );
        run("auditlog.sqlite", "CREATE TABLE auditlog (recid INTEGER)");
        std::fs::write(directory.path().join("cfgloc"), "").unwrap();
        let address = StoreAddress::Sqlite(directory.path().to_owned());
        let count = || std::fs::read_dir(directory.path()).unwrap().count();
        let tables = foreign_tables(&address, |name| name != "auditlog").unwrap();
        let columns = ["key", "value", "own"].map(str::to_owned).to_vec();
        let rows = vec![vec![Some("a".to_owned()), None, Some("7".to_owned())]];
        assert_eq!(tables, [ForeignTable { name: "site".into(), columns, rows }]);
        assert_eq!(count(), 3);
        std::fs::write(
            directory.path().join("mac.sqlite"),
            "not a database, but long enough to be read as one",
        )
        .unwrap();
        let error = foreign_tables(&address, |_| true).unwrap_err().to_string();
        assert!(error.contains("mac.sqlite"), "{error}");
        let missing = StoreAddress::Sqlite(directory.path().join("nowhere"));
        assert!(foreign_tables(&missing, |_| true).unwrap_err().to_string().contains("nowhere"));
    }
}
