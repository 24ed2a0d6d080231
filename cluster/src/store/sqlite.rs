//! SQLite: one file, write-ahead log, every commit synced to disk before it is acknowledged.
//!
//! The file is made with mode 0600 since tables hold passwords. Several processes may use it: SQLite's own lock
//! puts their writers in line. A full disk, a read-only file and a lock that is never given back are told apart, because
//! the administrator does different things about them.

use super::{Dialect, Loaded, RowReader, Store, StoreError, TableSql, bind};
use crate::effect::Effect;
use crate::log::{LogEntry, PRUNE_EVERY, decode, encode, lowest_to_keep};
use crate::schema::{Table, schema};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params, params_from_iter};
use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// File name inside the data directory.
pub const FILE: &str = "dawn.sqlite";

/// How long to wait for another process's transaction: default; nothing of ours takes a tenth of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a start needs to write: the log's index.
const PROBE_BYTES: usize = 32 << 10;

/// Prepared statements kept: three for each table, and ours.
const STATEMENTS_MAX: usize = 256;

pub(crate) const DIALECT: Dialect = Dialect {
    quote: '"',
    placeholder: |n| format!("?{n}"),
    text: "TEXT",
    key: "VARCHAR(128)",
    auto: "INTEGER",
};

const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS dawn_change (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, command TEXT NOT NULL, quiet INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS dawn_change_part (
        seq INTEGER NOT NULL, part INTEGER NOT NULL, rows TEXT NOT NULL, PRIMARY KEY (seq, part)) WITHOUT ROWID;
";

/// See the module's text.
pub struct Sqlite {
    connection: Connection,
    sql: Vec<TableSql>,
}

impl Sqlite {
    /// Opens the database in a data directory, makes it if it is not there, adds what the schema has more.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let fail = |reason: String| StoreError::Open { place: path.display().to_string(), reason };
        if !path.exists() {
            let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            made.map_err(|e| fail(e.to_string()))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|e| fail(e.to_string()))?;
        Self::prepare(connection).map_err(|error| match error {
            // SQLite's shared memory file cannot be made on a full disk; it calls that an I/O error.
            StoreError::Other(_) if is_full(directory) => StoreError::Full,
            StoreError::Other(reason) => fail(reason),
            error => error,
        })
    }

    /// A database that lives as long as the value; for tests.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory().map_err(failed)?)
    }

    fn prepare(connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;").map_err(failed)?;
        let mut store = Self { connection, sql: DIALECT.all_statements(order) };
        store.create_missing()?;
        Ok(store)
    }

    /// Name to columns, of the tables that exist.
    fn existing(&self) -> Result<HashMap<String, HashSet<String>>, rusqlite::Error> {
        let sql = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type='table'";
        let mut statement = self.connection.prepare(sql)?;
        let mut found: HashMap<String, HashSet<String>> = HashMap::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.entry(row.get(0)?).or_default().insert(row.get(1)?);
        }
        Ok(found)
    }

    fn create_missing(&mut self) -> Result<(), StoreError> {
        let existing = self.existing().map_err(failed)?;
        let mut batch = String::new();
        for table in schema().tables() {
            batch.push_str(&missing(table, existing.get(table.name)));
        }
        if !existing.contains_key("dawn_change_part") {
            batch.push_str(OWN_TABLES);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.connection.execute_batch(&format!("BEGIN IMMEDIATE;{batch}COMMIT;")).map_err(failed)
    }

    fn load_table(
        &self,
        table: &Table,
        sql: &TableSql,
        reader: &mut RowReader,
    ) -> Result<Vec<crate::Row>, rusqlite::Error> {
        let mut statement = self.connection.prepare(&sql.select)?;
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let cells = (0..table.columns.len()).map(|at| row.get_ref(at).map(text_of));
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            rows.push(reader.row(table, cells.iter().map(Option::as_deref)));
        }
        Ok(rows)
    }

    fn write_inner(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), rusqlite::Error> {
        let savepoint = self.connection.savepoint()?;
        for effect in effects {
            let Some(sql) = self.sql.get(effect.table.index()) else { continue };
            let (text, values) = bind(sql, effect);
            savepoint.prepare_cached(text)?.execute(params_from_iter(values))?;
        }
        let head = "INSERT INTO dawn_change (seq,at_ms,who,command,quiet) VALUES (?1,?2,?3,?4,?5)";
        let seq = i64::try_from(entry.seq).unwrap_or(i64::MAX);
        savepoint.prepare_cached(head)?.execute(params![
            seq,
            entry.at_ms,
            entry.who,
            entry.command,
            entry.quiet
        ])?;
        let part = "INSERT INTO dawn_change_part (seq,part,rows) VALUES (?1,?2,?3)";
        for (at, text) in (0i64..).zip(encode(&entry.rows)) {
            savepoint.prepare_cached(part)?.execute(params![seq, at, text])?;
        }
        if entry.seq.is_multiple_of(PRUNE_EVERY) {
            prune(&savepoint, entry.seq)?;
        }
        savepoint.commit()
    }

    fn entries(&self, condition: &str, seq: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let sql = format!("SELECT seq,at_ms,who,command,quiet FROM dawn_change WHERE {condition} LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let bound = params![i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)];
        let head = |row: &rusqlite::Row<'_>| {
            let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let (at_ms, who, command, quiet) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(LogEntry { seq, at_ms, who, command, quiet, rows: Vec::new() })
        };
        let heads = statement.query_map(bound, head).map_err(failed)?.collect::<Result<Vec<_>, _>>();
        let mut entries = heads.map_err(failed)?;
        for entry in &mut entries {
            self.add_parts(entry)?;
        }
        Ok(entries)
    }

    fn add_parts(&self, entry: &mut LogEntry) -> Result<(), StoreError> {
        let sql = "SELECT rows FROM dawn_change_part WHERE seq=?1 ORDER BY part";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let seq = i64::try_from(entry.seq).unwrap_or(i64::MAX);
        let parts = statement.query_map([seq], |row| row.get::<_, String>(0)).map_err(failed)?;
        for part in parts {
            let rows = decode(&part.map_err(failed)?);
            entry.rows.extend(rows.map_err(|e| StoreError::Damaged(format!("change {seq}: {e}")))?);
        }
        Ok(())
    }
}

fn prune(connection: &Connection, newest: u64) -> Result<(), rusqlite::Error> {
    let mut sizes = connection
        .prepare_cached("SELECT seq, octet_length(rows) FROM dawn_change_part ORDER BY seq DESC")?;
    let number =
        |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    let pieces = sizes.query_map([], |row| Ok((number(row, 0)?, number(row, 1)?)))?;
    let lowest = lowest_to_keep(newest, pieces.map_while(Result::ok));
    let lowest = i64::try_from(lowest).unwrap_or(0);
    connection.execute("DELETE FROM dawn_change WHERE seq<?1", [lowest])?;
    connection.execute("DELETE FROM dawn_change_part WHERE seq<?1", [lowest])?;
    Ok(())
}

/// Statements that bring a table to the schema's shape; empty if it has it.
fn missing(table: &Table, existing: Option<&HashSet<String>>) -> String {
    let Some(columns) = existing else { return DIALECT.create(table) + ";" };
    let lacking = table.columns.iter().filter(|c| !columns.contains(c.name));
    let add = |c: &crate::Column| {
        let kind = DIALECT.column_type(table, c.name);
        format!("ALTER TABLE {} ADD COLUMN {} {kind};", DIALECT.name(table.name), DIALECT.name(c.name))
    };
    lacking.map(add).collect()
}

fn order(_: &Table) -> String {
    "ORDER BY rowid".to_owned()
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Nothing can be written into a directory any more.
fn is_full(directory: &Path) -> bool {
    let probe = directory.join(format!("{FILE}.probe"));
    let result = std::fs::write(&probe, vec![0; PROBE_BYTES]);
    let _ = std::fs::remove_file(&probe);
    result.is_err_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
}

fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Other(error.to_string()),
    }
}

impl Store for Sqlite {
    fn engine(&self) -> &'static str {
        "SQLite"
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        let own_transaction = !self.is_open();
        if own_transaction {
            self.connection.execute_batch("BEGIN").map_err(failed)?;
        }
        let mut reader = RowReader::default();
        let tables = schema().tables().iter().zip(&self.sql);
        let tables = tables.map(|(t, sql)| self.load_table(t, sql, &mut reader)).collect::<Result<_, _>>();
        let seq = self.last_seq();
        if own_transaction {
            self.connection.execute_batch("COMMIT").map_err(failed)?;
        }
        Ok(Loaded { seq: seq?, tables: tables.map_err(failed)? })
    }

    fn begin(&mut self) -> Result<u64, StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        self.last_seq()
    }

    fn write(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), StoreError> {
        self.write_inner(entry, effects).map_err(failed)
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("COMMIT").map_err(failed)
    }

    fn rollback(&mut self) {
        if self.is_open()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT coalesce(max(seq),0) FROM dawn_change").map_err(failed)?;
        let seq: i64 = statement.query_row([], |row| row.get(0)).map_err(failed)?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.entries("seq>?1 ORDER BY seq", after, limit)
    }

    fn changes_before(&mut self, before: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.entries("seq<?1 ORDER BY seq DESC", before, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::edit::Edit;
    use crate::model::{Model, ModelError};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let _store = Sqlite::open(directory.path()).unwrap();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{path:?}");
        }
    }

    #[test]
    fn columns_that_are_missing_are_added() {
        let directory = tempfile::tempdir().unwrap();
        let old = Connection::open(directory.path().join(FILE)).unwrap();
        old.execute_batch(
            "CREATE TABLE site (key TEXT PRIMARY KEY, value TEXT); INSERT INTO site VALUES ('a','1')",
        )
        .unwrap();
        drop(old);
        let model = Model::open(directory.path()).unwrap();
        assert_eq!(model.snapshot().site("a").as_deref(), Some("1"));
        let disable = Edit::set("site", &[("key", "a")], &[("disable", "1")]).unwrap();
        model.apply(Change::new("root", "t", vec![disable])).unwrap();
        assert_eq!(Model::open(directory.path()).unwrap().snapshot().site("a"), None);
    }

    #[test]
    fn the_log_is_pruned() {
        let model = Model::with_store(Box::new(Sqlite::in_memory().unwrap()), || 0).unwrap();
        for n in 0..PRUNE_EVERY + 1 {
            model
                .apply(Change::new("root", "t", vec![Edit::set_site("a", &n.to_string()).unwrap()]))
                .unwrap();
        }
        assert!(model.change(1).is_ok());
        assert_eq!(model.snapshot().seq(), PRUNE_EVERY + 1);
    }

    #[test]
    fn errors_say_what_to_do() {
        let store = Sqlite::in_memory().unwrap();
        store.connection.execute_batch("PRAGMA query_only=ON").unwrap();
        let model = Model::with_store(Box::new(store), || 0).unwrap();
        let change = Change::new("root", "t", vec![Edit::set_site("a", "1").unwrap()]);
        assert!(matches!(model.apply(change), Err(ModelError::Store(StoreError::ReadOnly))));
        assert_eq!(model.snapshot().site("a"), None);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "this is no database, it is a text that is long enough")
            .unwrap();
        assert!(matches!(Sqlite::open(directory.path()), Err(StoreError::Damaged(_))));
        let missing = Sqlite::open(Path::new("/nonexistent/directory")).err().unwrap();
        assert!(missing.to_string().contains("/nonexistent/directory"), "{missing}");
    }
}
