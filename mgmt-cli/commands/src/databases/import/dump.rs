//! The tables of an xCAT server: a directory of `dumpxCATdb` with a file TABLE.csv for each table, in the
//! form of `tabdump`; or the directory with xCAT's settings, whose `cfgloc` names a database server, or which
//! holds a file TABLE.sqlite for each table. A database is read and never written.
//!
//! Tables and columns that do not exist here are remembered and left out; a file that cannot be read, or a
//! line that is not a record, is an error of the whole dump.

use dawn_bootd::command::disk::look;
use dawn_bootd::output::CommandError;
use dawn_cluster::csv::{read_header, read_records};
use dawn_cluster::{Col, Edit, StoreAddress, Table, Text, foreign_tables, schema};
use dawn_serving::bounded_read;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a file at most; 100,000 nodes have some 20 MB in their largest table.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Files of a dump at most; xCAT has about a hundred tables.
const FILES_MAX: usize = 1_000;
/// Errors that are reported at most.
const ERRORS_MAX: usize = 50;
/// Tables that are not taken over: what happened on the other server.
const LOGS: [&str; 2] = ["auditlog", "eventlog"];

/// How names of tables begin that are not xCAT's: a database that Dawn has used has them.
const OWN_PREFIX: &str = "dawn_";

/// The filled cells of a row.
pub(super) type Cells = Vec<(Col, Text)>;

/// A table of the dump.
pub(super) struct Rows {
    /// Which table.
    pub table: &'static Table,
    /// Its rows.
    pub rows: Vec<Cells>,
}

/// What a dump holds.
#[derive(Default)]
pub(super) struct Dump {
    /// Tables that exist here.
    pub tables: Vec<Rows>,
    /// Tables that do not, with the number of their rows.
    pub unknown_tables: BTreeMap<String, usize>,
    /// Columns that do not (`table.column`), with the number of their values.
    pub unknown_columns: BTreeMap<String, usize>,
}

impl Dump {
    /// Reads the directory, or says everything that is wrong with it.
    pub(super) fn read(directory: &Path) -> Result<Self, Vec<CommandError>> {
        match database(directory).map_err(|error| vec![error])? {
            Some(address) => Self::of_database(directory, &address).map_err(|error| vec![error]),
            None => Self::of_files(directory),
        }
    }

    fn of_database(directory: &Path, address: &StoreAddress) -> Result<Self, CommandError> {
        let wanted = |name: &str| !LOGS.contains(&name) && !name.starts_with(OWN_PREFIX);
        let tables = foreign_tables(address, wanted).map_err(|error| {
            let text = format!("cannot read the database of {}", directory.display());
            CommandError::unavailable(text).cause(error)
        })?;
        if !tables.iter().any(|table| table.name == "site") {
            let text = format!("the database of {} has no table site", directory.display());
            return Err(CommandError::conflict(text));
        }
        let mut dump = Self::default();
        for table in tables {
            dump.add_table(&table.name, &table.columns, table.rows);
        }
        Ok(dump)
    }

    fn of_files(directory: &Path) -> Result<Self, Vec<CommandError>> {
        let names = files(directory).map_err(|error| vec![error])?;
        let (mut dump, mut errors) = (Self::default(), Vec::new());
        for name in names {
            let text = match bounded_read::read_text(&directory.join(&name), FILE_BYTES_MAX) {
                Ok(text) => text,
                Err(why) => {
                    errors.push(CommandError::unavailable(&name).cause(why));
                    continue;
                }
            };
            let table = name.trim_end_matches(".csv");
            if let Err(wrong) = dump.add(table, &text) {
                errors.extend(wrong.into_iter().map(|error| error.about(&name)));
            }
        }
        if errors.len() > ERRORS_MAX {
            let more = errors.len() - ERRORS_MAX;
            errors.truncate(ERRORS_MAX);
            errors.push(CommandError::conflict(format!("and {more} more errors")));
        }
        if errors.is_empty() { Ok(dump) } else { Err(errors) }
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), Vec<CommandError>> {
        let mut lines = text.lines();
        let header = read_header(lines.next().unwrap_or_default()).map_err(|error| vec![error.into()])?;
        let (mut rows, mut errors) = (Vec::new(), Vec::new());
        for record in read_records(lines) {
            match record.fields {
                Err(error) => errors.push(error.into()),
                Ok(fields) if fields.len() > header.len() => errors.push(CommandError::usage(format!(
                    "line {} has {} fields, the header {}",
                    record.number,
                    fields.len(),
                    header.len()
                ))),
                Ok(fields) => rows.push(fields),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if LOGS.contains(&name) {
            return Ok(());
        }
        self.add_table(name, &header, rows);
        Ok(())
    }

    fn add_table(&mut self, name: &str, header: &[String], rows: Vec<Vec<Option<String>>>) {
        match schema().find(name) {
            Some(table) => self.add_rows(table, header, rows),
            None => {
                self.unknown_tables.insert(name.to_owned(), rows.len());
            }
        }
    }

    fn add_rows(&mut self, table: &'static Table, header: &[String], rows: Vec<Vec<Option<String>>>) {
        let columns: Vec<Option<Col>> = header.iter().map(|name| table.col(name)).collect();
        let mut known = Vec::new();
        for fields in rows {
            let mut cells = Cells::new();
            for (at, value) in fields.into_iter().enumerate() {
                let (Some(value), Some(name)) = (value, header.get(at)) else { continue };
                match columns.get(at).copied().flatten() {
                    // The database numbers these rows itself.
                    Some(col) if table.auto_increment == Some(col.index()) => {}
                    Some(col) => cells.push((col, Text::from(value))),
                    None => *self.unknown_columns.entry(format!("{}.{name}", table.name)).or_default() += 1,
                }
            }
            if !cells.is_empty() {
                known.push(cells);
            }
        }
        self.tables.push(Rows { table, rows: known });
    }
}

/// The database that a directory with xCAT's settings names or holds; `None` for a dump.
fn database(directory: &Path) -> Result<Option<StoreAddress>, CommandError> {
    let found = look(directory, |directory| {
        if directory.join("site.csv").exists() {
            return Ok(None);
        }
        match StoreAddress::read(directory) {
            Ok(None) if directory.join("site.sqlite").exists() => {
                Ok(Some(StoreAddress::Sqlite(directory.to_owned())))
            }
            named => named,
        }
    })?;
    let found = found.map_err(|error| CommandError::conflict(error.to_string()))?;
    if let Some(StoreAddress::Sqlite(directory)) = &found {
        // `cfgloc` may name another directory; its tables are read without a limit of time.
        look(directory, Path::exists)?;
    }
    Ok(found)
}

/// The names of the CSV files, sorted.
fn files(directory: &Path) -> Result<Vec<String>, CommandError> {
    let shown = directory.display();
    let unusable = |reason: String| CommandError::conflict(format!("{shown}: {reason}"));
    let names = look(directory, |directory| -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?.flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| name.ends_with(".csv")).take(FILES_MAX + 1).collect())
    })?;
    let mut names = names.map_err(|error| {
        CommandError::not_found(shown.to_string())
            .cause(error)
            .hint("run `dumpxCATdb -p DIR` on the xCAT server, copy the directory here and name it.")
    })?;
    names.sort();
    match names.len() {
        0 => Err(unusable("it holds no TABLE.csv".to_owned())
            .hint("give the directory that dumpxCATdb wrote, or /etc/xcat of the xCAT server.")),
        count if count > FILES_MAX => Err(unusable(format!("it holds more than {FILES_MAX} files"))),
        _ if !names.iter().any(|name| name == "site.csv") => {
            Err(unusable("it holds no site.csv, so it is not a complete dump".to_owned()))
        }
        _ => Ok(names),
    }
}

/// The edits that replace the tables of the dump; what a table held before goes.
pub(super) fn edits(tables: &[Rows]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for Rows { table, rows } in tables {
        edits.push(Edit::Delete { table: table.id, keys: Vec::new() });
        edits.extend(rows.iter().map(|cells| insert(table, cells)));
    }
    edits
}

/// The edit that makes one row.
pub(super) fn insert(table: &Table, cells: &Cells) -> Edit {
    Edit::Insert {
        table: table.id,
        cells: cells.iter().map(|(col, text)| (*col, Some(text.clone()))).collect(),
    }
}

/// The first key of a row: a node, a network, an image.
pub(super) fn key_of(cells: &Cells) -> Option<&Text> {
    cells.iter().find(|(col, _)| col.info().is_key).map(|(_, text)| text)
}
