//! SQLite: one file, write-ahead log, every commit synced to disk before it is acknowledged.
//!
//! The file is made with mode 0600 since tables hold passwords. Several processes may use it: SQLite's own
//! lock serialises their writers. A full disk, a read-only file and a lock that is never given back are told
//! apart, because the administrator does different things about them.
//!
//! A file that is removed or replaced while it is open still accepts commits that no restart would find. The
//! file and its log are therefore compared with what their names lead to, before a transaction and before its
//! acknowledgement ([`StoreError::Replaced`]).
//!
//! On a read-only file system everything can be read, the log of the last commits included, and every
//! transaction fails.

use super::{
    CORE_TABLES, Dialect, IfMissing, Loaded, META_QUERY, META_TABLE, Meta, RowReader, Store, StoreError,
    TableSql, bind, check_core_tables, meta_statements,
};
use crate::effect::Effect;
use crate::log::{LogEntry, Pruning, SHARES, Stored, encode, read_parts};
use crate::row::Row;
use crate::schema::{Table, schema};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params, params_from_iter};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// File name inside the data directory.
pub(crate) const FILE: &str = "dawn.sqlite";

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

/// What every connection sets. The log of the last commits shrinks to `journal_size_limit` bytes when it
/// begins again.
const SETTINGS: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; \
                        PRAGMA journal_size_limit=16777216;";

/// `PRAGMA auto_vacuum` of a database whose free pages can be given back; it counts for a file that is made
/// by this connection.
const VACUUM_INCREMENTAL: i64 = 2;
/// For a full disk: without others on the database SQLite needs no shared memory file, for which there is no
/// room.
const ALONE: &str = "PRAGMA locking_mode=EXCLUSIVE;";

/// Pages given back to the file system at once: 64 MiB.
const SHRINK_PAGES: u32 = 16_384;
/// An old file with fewer free pages than this (32 MiB) is left as it is.
const REWRITE_PAGES_MIN: i64 = 8192;

const OWN_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS dawn_change (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, command TEXT NOT NULL, quiet INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS dawn_change_part (
        seq INTEGER NOT NULL, part INTEGER NOT NULL, rows TEXT NOT NULL, PRIMARY KEY (seq, part)) WITHOUT ROWID;
";

/// A store in one SQLite file.
pub(crate) struct Sqlite {
    connection: Connection,
    sql: Vec<TableSql>,
    /// The files that are open; none for a database in memory or on a read-only file system.
    files: Vec<OpenedFile>,
    is_read_only: bool,
    /// Old changes were dropped in the open transaction.
    has_pruned: bool,
    pruning: Pruning,
}

/// A file by its name and by what it is.
struct OpenedFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenedFile {
    fn at(path: PathBuf) -> std::io::Result<Self> {
        let found = path.metadata()?;
        Ok(Self { device: found.dev(), inode: found.ino(), path })
    }

    /// The name still leads to the file.
    fn is_in_place(&self) -> bool {
        self.path.metadata().is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode))
    }
}

impl Sqlite {
    /// Opens the database in a data directory, adds what the schema has more.
    pub(crate) fn open(directory: &Path, if_missing: IfMissing) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let place = || path.display().to_string();
        let fail = |reason: String| StoreError::Open { place: place(), reason };
        let missing = |reason: &str| StoreError::Missing { place: place(), reason: reason.to_owned() };
        let bytes = path.metadata().map(|found| found.len());
        if if_missing == IfMissing::Refuse {
            match &bytes {
                Ok(0) => return Err(missing("the file is empty")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(missing("the file is missing"));
                }
                _ if is_read_only(&path) => return Self::open_read_only(&path),
                _ => {}
            }
        } else if bytes.is_err() {
            let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            made.map_err(|e| fail(e.to_string()))?;
        }
        match Self::open_to_write(&path, if_missing, "") {
            Err(StoreError::Full) if if_missing == IfMissing::Refuse => {
                let store = Self::open_to_write(&path, if_missing, ALONE)?;
                tracing::error!(
                    "{}: the disk is full; changes are refused until there is room",
                    path.display()
                );
                Ok(store)
            }
            opened => opened,
        }
    }

    /// Opens a database to read and write; `first` is carried out before anything else.
    fn open_to_write(path: &Path, if_missing: IfMissing, first: &str) -> Result<Self, StoreError> {
        let place = || path.display().to_string();
        let fail = |reason: String| StoreError::Open { place: place(), reason };
        let missing = |reason: &str| StoreError::Missing { place: place(), reason: reason.to_owned() };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| fail(e.to_string()))?;
        connection.execute_batch(first).map_err(failed)?;
        let opened = Self::prepare(connection).and_then(|mut store| {
            if if_missing == IfMissing::Refuse {
                let existing = store.existing().map_err(failed)?;
                if !CORE_TABLES.iter().any(|table| existing.contains_key(*table)) {
                    return Err(missing("it has no tables"));
                }
                check_core_tables(|table| existing.contains_key(table), place)?;
            }
            store.create_missing(place)?;
            if let Err(error) = make_shrinkable(&store.connection) {
                tracing::warn!(%error, "the database file keeps its free space");
            }
            store.files = files_of(path).map_err(|e| fail(e.to_string()))?;
            Ok(store)
        });
        opened.map_err(|error| match error {
            // SQLite's shared memory file cannot be made on a full disk; it calls that an I/O error.
            StoreError::Other(_) if path.parent().is_some_and(is_full) => StoreError::Full,
            StoreError::Other(reason) => fail(reason),
            error => error,
        })
    }

    /// Opens a database that cannot be written, to load what it holds.
    fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let fail = |reason: String| StoreError::Open { place: path.display().to_string(), reason };
        // SQLite needs its shared memory file to read the log of the last commits. Without a log the file is
        // all there is.
        let has_log = with_suffix(path, "-wal").metadata().is_ok_and(|log| log.len() > 0);
        let uri = format!("file:{}?mode=ro{}", uri_path(path), if has_log { "" } else { "&immutable=1" });
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags).map_err(|e| fail(e.to_string()))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        let store = Self {
            connection,
            sql: DIALECT.all_statements(order),
            files: Vec::new(),
            is_read_only: true,
            has_pruned: false,
            pruning: Pruning::default(),
        };
        let existing = store.existing().map_err(|e| fail(e.to_string()))?;
        if !CORE_TABLES.iter().any(|table| existing.contains_key(*table)) {
            let reason = "it has no tables".to_owned();
            return Err(StoreError::Missing { place: path.display().to_string(), reason });
        }
        check_core_tables(|table| existing.contains_key(table), || path.display().to_string())?;
        meta_statements(store.meta(&existing)?, || path.display().to_string())?;
        tracing::error!("{}: cannot be written; it is read, and every change is refused", path.display());
        Ok(store)
    }

    /// A database that lives as long as the value; for tests.
    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        let mut store = Self::prepare(Connection::open_in_memory().map_err(failed)?)?;
        store.create_missing(String::new)?;
        Ok(store)
    }

    fn prepare(connection: Connection) -> Result<Self, StoreError> {
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // Setting it again would write it again, for which a full disk has no room.
        let vacuum: i64 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).map_err(failed)?;
        if vacuum != VACUUM_INCREMENTAL {
            connection.execute_batch("PRAGMA auto_vacuum=INCREMENTAL").map_err(failed)?;
        }
        connection.execute_batch(SETTINGS).map_err(failed)?;
        let sql = DIALECT.all_statements(order);
        Ok(Self {
            connection,
            sql,
            files: Vec::new(),
            is_read_only: false,
            has_pruned: false,
            pruning: Pruning::default(),
        })
    }

    /// The names still lead to the files that are open.
    fn in_place(&self) -> Result<(), StoreError> {
        match self.files.iter().find(|file| !file.is_in_place()) {
            Some(gone) => Err(StoreError::Replaced(gone.path.display().to_string())),
            None => Ok(()),
        }
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

    /// The form of the database; `None` for one without.
    fn meta(&self, existing: &HashMap<String, HashSet<String>>) -> Result<Option<Meta>, StoreError> {
        if !existing.contains_key(META_TABLE) {
            return Ok(None);
        }
        let read = |row: &rusqlite::Row<'_>| Ok(Meta { form: row.get(0)?, oldest_reader: row.get(1)? });
        self.connection.query_row(META_QUERY, [], read).map(Some).map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => {
                StoreError::Damaged(format!("{META_TABLE} holds no numbers"))
            }
            error => failed(error),
        })
    }

    fn create_missing(&mut self, place: impl FnOnce() -> String) -> Result<(), StoreError> {
        let existing = self.existing().map_err(failed)?;
        let of_meta = meta_statements(self.meta(&existing)?, place)?;
        let mut batch: String = of_meta.into_iter().map(|sql| format!("{sql};")).collect();
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
    ) -> Result<Vec<Row>, rusqlite::Error> {
        let mut statement = self.connection.prepare(&sql.select)?;
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let mut cells = Vec::with_capacity(table.columns.len());
            for at in 0..table.columns.len() {
                cells.push(text_of(row.get_ref(at)?).map(|text| reader.text(at, &text)));
            }
            rows.push(Row::new(table.id, cells));
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
        let parts = encode(entry);
        for (at, text) in (0i64..).zip(&parts) {
            savepoint.prepare_cached(part)?.execute(params![seq, at, text])?;
        }
        if self.pruning.is_due(entry.seq, &parts) {
            prune(&savepoint)?;
            self.has_pruned = true;
        }
        savepoint.commit()
    }

    /// Number of the last change.
    fn newest(&self) -> Result<u64, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT coalesce(max(seq),0) FROM dawn_change").map_err(failed)?;
        let seq: i64 = statement.query_row([], |row| row.get(0)).map_err(failed)?;
        Ok(u64::try_from(seq).unwrap_or(0))
    }

    fn entries(&self, condition: &str, seq: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let sql = format!("SELECT seq,at_ms,who,command,quiet FROM dawn_change WHERE {condition} LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql).map_err(failed)?;
        let bound = params![i64::try_from(seq).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)];
        let head = |row: &rusqlite::Row<'_>| {
            let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let (at_ms, who, command, quiet) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(LogEntry { seq, at_ms, who, command, quiet, rows: Vec::new(), is_damaged: false })
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
        read_parts(entry, &parts.collect::<Result<Vec<_>, _>>().map_err(failed)?);
        Ok(())
    }
}

fn prune(connection: &Connection) -> Result<(), rusqlite::Error> {
    for share in SHARES {
        let mut sizes = connection.prepare_cached(
            "SELECT c.seq, coalesce(sum(octet_length(p.rows)),0), c.who FROM dawn_change c \
             LEFT JOIN dawn_change_part p ON p.seq=c.seq WHERE c.quiet=?1 GROUP BY c.seq ORDER BY c.seq DESC",
        )?;
        let number =
            |row: &rusqlite::Row<'_>, at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        let stored = |row: &rusqlite::Row<'_>| {
            Ok(Stored { seq: number(row, 0)?, bytes: number(row, 1)?, who: row.get(2)? })
        };
        let changes = sizes.query_map([share.quiet], stored)?.collect::<Result<Vec<_>, _>>()?;
        for seq in share.surplus(&changes) {
            let seq = i64::try_from(seq).unwrap_or(i64::MAX);
            connection.prepare_cached("DELETE FROM dawn_change_part WHERE seq=?1")?.execute([seq])?;
            connection.prepare_cached("DELETE FROM dawn_change WHERE seq=?1")?.execute([seq])?;
        }
    }
    Ok(())
}

/// Gives pages that pruning has freed back to the file system, one piece now and the next pieces with later
/// changes.
fn shrink(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({SHRINK_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Makes a database that gives freed pages back of one that does not, when most of it is free: it is written
/// again once.
fn make_shrinkable(connection: &Connection) -> Result<(), rusqlite::Error> {
    let number = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let free = number("freelist_count")?;
    if number("auto_vacuum")? == 0 && free > REWRITE_PAGES_MIN && free > number("page_count")? / 2 {
        tracing::info!(
            free_pages = free,
            "most of the database file is free; it is written again without that"
        );
        connection.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; VACUUM;")?;
    }
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

pub(super) fn text_of(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string().into()),
        ValueRef::Real(n) => Some(n.to_string().into()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
    }
}

/// The database and the log of its last commits, which file systems without shared memory do not have.
fn files_of(path: &Path) -> std::io::Result<Vec<OpenedFile>> {
    let log = OpenedFile::at(with_suffix(path, "-wal")).ok();
    Ok([OpenedFile::at(path.to_owned())?].into_iter().chain(log).collect())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A path as a URI has it.
fn uri_path(path: &Path) -> String {
    let escaped = |byte: &u8| match byte {
        b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(escaped).collect()
}

/// The file is there and is not to be written, for its mode or its file system.
fn is_read_only(path: &Path) -> bool {
    // Asked without opening it: closing a file gives up the locks that this process has on it.
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err()
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
        let seq = self.newest();
        if own_transaction {
            self.connection.execute_batch("COMMIT").map_err(failed)?;
        }
        Ok(Loaded { seq: seq?, tables: tables.map_err(failed)? })
    }

    fn begin(&mut self) -> Result<u64, StoreError> {
        if self.is_read_only {
            return Err(StoreError::ReadOnly);
        }
        self.in_place()?;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        self.newest()
    }

    fn write(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), StoreError> {
        self.write_inner(entry, effects).map_err(failed)
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("COMMIT").map_err(failed)?;
        // Commits to a file that was removed are lost with it.
        self.in_place()?;
        if std::mem::take(&mut self.has_pruned)
            && let Err(error) = shrink(&self.connection)
        {
            tracing::warn!(%error, "the database keeps the space of old changes for now");
        }
        Ok(())
    }

    fn rollback(&mut self) {
        if self.is_open()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot roll back");
        }
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.in_place()?;
        self.newest()
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
    use crate::log::PRUNE_EVERY;
    use crate::model::{Model, ModelError};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn unchecked(_: &crate::Snapshot, _: &[Edit]) -> Result<(), ModelError> {
        Ok(())
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let _store = Sqlite::open(directory.path(), IfMissing::Make).unwrap();
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
        fs::write(directory.path().join(FILE), "this is not a database, it is a text that is long enough")
            .unwrap();
        assert!(matches!(Sqlite::open(directory.path(), IfMissing::Make), Err(StoreError::Damaged(_))));
        let missing = Sqlite::open(Path::new("/nonexistent/directory"), IfMissing::Make).err().unwrap();
        assert!(missing.to_string().contains("/nonexistent/directory"), "{missing}");
    }

    fn set(model: &Model, value: &str) -> Result<(), ModelError> {
        let edit = Edit::set_site("a", value).unwrap();
        model.apply(Change::new("root", "t", vec![edit])).map(drop)
    }

    #[test]
    fn what_is_no_database_is_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let address = crate::StoreAddress::Sqlite(directory.path().to_owned());
        let open = || Model::open_in(directory.path(), &address).map(drop);
        let refused = || matches!(open(), Err(ModelError::Store(StoreError::Missing { .. })));
        assert!(refused());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        fs::write(directory.path().join(FILE), "").unwrap();
        assert!(refused());
        Connection::open(directory.path().join(FILE)).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        assert!(refused());
        Model::open(directory.path()).unwrap();
        open().unwrap();
        // A table that only later versions have is made; one that defines the nodes is not.
        let execute =
            |sql| Connection::open(directory.path().join(FILE)).unwrap().execute_batch(sql).unwrap();
        execute("DROP TABLE kitrepo");
        open().unwrap();
        execute("DROP TABLE nodelist");
        let error = open().unwrap_err().to_string();
        assert!(error.contains("has lost its table nodelist"), "{error}");
        Model::open(directory.path()).unwrap();
        open().unwrap();
    }

    #[test]
    fn a_database_that_is_gone_takes_no_change() {
        for victim in [vec!["", "-wal", "-shm"], vec![""], vec!["-wal"]] {
            let directory = tempfile::tempdir().unwrap();
            let model = Model::open(directory.path()).unwrap();
            set(&model, "1").unwrap();
            for suffix in &victim {
                fs::remove_file(directory.path().join(format!("{FILE}{suffix}"))).unwrap();
            }
            for attempt in 0..2 {
                let error = set(&model, "2").unwrap_err();
                assert!(
                    matches!(error, ModelError::Store(StoreError::Replaced(_))),
                    "{victim:?} {attempt}: {error}"
                );
            }
            assert!(matches!(model.poll(), Err(ModelError::Store(StoreError::Replaced(_)))));
            assert_eq!(model.snapshot().site("a").as_deref(), Some("1"));
            fs::write(directory.path().join(format!("{FILE}{}", victim[0])), "").unwrap();
            assert!(set(&model, "3").is_err(), "{victim:?} made again");
        }
    }

    /// Needs root: the directory is mounted read-only onto itself.
    #[test]
    fn a_read_only_file_system_is_read() {
        for in_use in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let address = crate::StoreAddress::Sqlite(directory.path().to_owned());
            let model = Model::open(directory.path()).unwrap();
            set(&model, "1").unwrap();
            // A daemon that was killed leaves the log and the shared memory file.
            let left = in_use.then_some(model);
            let flags = rustix::mount::MountFlags::BIND;
            rustix::mount::mount(directory.path(), directory.path(), "", flags, None).unwrap();
            let read_only = flags | rustix::mount::MountFlags::RDONLY;
            rustix::mount::mount_remount(directory.path(), read_only, c"").unwrap();
            let opened = Model::open_in(directory.path(), &address);
            rustix::mount::unmount(directory.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
            let opened = opened.unwrap();
            assert_eq!(opened.snapshot().site("a").as_deref(), Some("1"), "{in_use}");
            assert!(matches!(set(&opened, "2"), Err(ModelError::Store(StoreError::ReadOnly))));
            drop(left);
        }
    }

    /// However much machines report, administrators' changes stay in the log, and the file returns to
    /// its size.
    #[test]
    fn reports_leave_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let model = Model::open(directory.path()).unwrap();
        set(&model, "admin").unwrap();
        let size = || fs::metadata(directory.path().join(FILE)).unwrap().len();
        let report = |n: u64, bytes: usize| {
            let text = format!("{n:0>bytes$}");
            let row = [("appstatus", text.as_str())];
            let edit = Edit::set("nodelist", &[("node", "cn1")], &row).unwrap();
            model.apply(Change::quiet("cn1", "hpcbootstatus", vec![edit])).unwrap();
        };
        let (rounds, bytes) = (PRUNE_EVERY + 100, 48 << 10);
        for n in 0..rounds {
            report(n, bytes);
        }
        for n in 0..PRUNE_EVERY {
            report(n, 10);
        }
        let undoable = model.newest_undoable().unwrap();
        assert_eq!((undoable.seq, undoable.who.as_str()), (1, "root"));
        model.undo(&undoable, "root", unchecked).unwrap();
        let of_machine = model.log(1, None, |entry| entry.quiet).unwrap().remove(0);
        assert!(matches!(model.undo(&of_machine, "root", unchecked), Err(ModelError::OfMachine(_))));
        drop(model);
        assert!(size() < crate::log::QUIET_CHANGES_BYTES_MAX * 3 / 2, "{} MiB", size() >> 20);
    }
}
