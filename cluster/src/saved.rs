//! All tables of one moment as a file: what a daemon serves from while its database is away.
//!
//! ```text
//! dawn-snapshot 1 CRC32 BYTES                     of everything after this line
//! {"owner":…,"engine":…,"dbname":…,"hosts":[…],"seq":…,"at_ms":…}
//! {"table":"nodelist","columns":["node",…],"rows":2}
//! ["n1","all",null,…]
//! ["n2","all",null,…]
//! …
//! ```
//!
//! Tables and columns go by their names, so that a neighbouring version reads what it knows and leaves out
//! the rest. A file that is damaged anywhere, of another data directory or of another database is refused as
//! a whole: half of the tables would turn nodes into strangers. The file holds the secrets of the tables; who
//! stores it keeps it from others.

use crate::cfgloc::ServerAddress;
use crate::row::{Interner, Row, Text};
use crate::schema::{Table, TableId, schema};
use crate::snapshot::Snapshot;
use crate::table::TableData;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::sync::Arc;

/// What the first line begins with.
const MAGIC: &str = "dawn-snapshot";
/// The form that this version writes and reads.
const FORM: u32 = 1;
/// Bytes of the first line at most.
const HEAD_BYTES_MAX: usize = 80;
/// Bytes of a file at most.
pub const SAVED_BYTES_MAX: u64 = 1 << 30;

/// Whose tables a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Identifies the data directory: a value that is different in every other one.
    pub owner: String,
    /// The kind of database.
    pub engine: String,
    /// Its name.
    pub dbname: String,
    /// Its servers; one in common is enough.
    pub hosts: Vec<String>,
}

impl Origin {
    /// The tables of a database, for the data directory of `owner`.
    pub fn new(owner: &str, engine: &str, server: &ServerAddress) -> Self {
        let hosts = server.hosts.iter().map(|host| host.name.clone()).collect();
        Self { owner: owner.to_owned(), engine: engine.to_owned(), dbname: server.dbname.clone(), hosts }
    }

    fn place(&self) -> String {
        format!("{}:{}@{}", self.engine, self.dbname, self.hosts.join(","))
    }
}

/// The first line of what the checksum covers.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(flatten)]
    origin: Origin,
    seq: u64,
    at_ms: i64,
}

/// The line before the rows of a table.
#[derive(Serialize, Deserialize)]
struct TableHead {
    table: String,
    columns: Vec<String>,
    rows: usize,
}

/// Tables that were read from a file.
#[derive(Debug)]
pub struct Saved {
    /// When they were stored, milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    pub(crate) snapshot: Snapshot,
}

impl Saved {
    /// The tables.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SavedError {
    /// It does not begin as a snapshot does.
    #[error("it is not a snapshot")]
    Other,
    /// A version that this one cannot read has written it.
    #[error("another version of Dawn has written it (form {0}; this version reads form {FORM})")]
    Form(u32),
    /// Bytes are missing, or are not those that were written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It came from another data directory.
    #[error("it belongs to another data directory")]
    Owner,
    /// It holds the tables of another database.
    #[error("it holds the tables of {0}, which is not the database of this data directory")]
    Database(String),
}

/// The file of a snapshot.
pub fn encode(snapshot: &Snapshot, origin: &Origin, at_ms: i64) -> Vec<u8> {
    // Texts, numbers and lists of them are always JSON.
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
    let head = Head { origin: origin.clone(), seq: snapshot.seq(), at_ms };
    let mut body = json(serde_json::to_string(&head));
    body.push('\n');
    for table in schema().tables() {
        let columns = table.columns.iter().map(|column| column.name.to_owned()).collect();
        let rows = snapshot.row_count(table.id);
        let head = TableHead { table: table.name.to_owned(), columns, rows };
        let _ = writeln!(body, "{}", json(serde_json::to_string(&head)));
        for row in snapshot.rows(table.id) {
            let cells: Vec<Option<&str>> = row.cells().iter().map(|cell| cell.as_deref()).collect();
            let _ = writeln!(body, "{}", json(serde_json::to_string(&cells)));
        }
    }
    let mut file = format!("{MAGIC} {FORM} {:08x} {}\n", crc32fast::hash(body.as_bytes()), body.len());
    file.push_str(&body);
    file.into_bytes()
}

/// Reads a file that holds the tables of `origin`.
///
/// # Errors
/// It is not whole, or not of this origin.
pub fn decode(file: &[u8], origin: &Origin) -> Result<Saved, SavedError> {
    let body = checked(file)?;
    let mut lines = body.lines();
    let head: Head = parsed(lines.next(), "its head")?;
    if head.origin.owner != origin.owner {
        return Err(SavedError::Owner);
    }
    let Origin { engine, dbname, hosts, .. } = &head.origin;
    let is_same = *engine == origin.engine && *dbname == origin.dbname;
    if !is_same || !hosts.iter().any(|host| origin.hosts.contains(host)) {
        return Err(SavedError::Database(head.origin.place()));
    }
    let mut interner = Interner::default();
    let mut found: Vec<Vec<Row>> = schema().tables().iter().map(|_| Vec::new()).collect();
    let mut seen = 0;
    while let Some(line) = lines.next() {
        let head: TableHead = parsed(Some(line), "a table")?;
        let table = schema().find(&head.table);
        let places = Places::new(table, &head.columns);
        let rows = (0..head.rows)
            .map(|_| places.row(&parsed::<Vec<Option<String>>>(lines.next(), "a row")?, &mut interner));
        let rows: Vec<Option<Row>> = rows.collect::<Result<_, _>>()?;
        if let Some(slot) = table.and_then(|table| found.get_mut(table.id.index())) {
            seen += 1;
            slot.extend(rows.into_iter().flatten());
        }
    }
    // A table that an earlier version did not have is empty; one with nodes is in every version.
    if seen == 0 {
        return Err(SavedError::Damaged("it has no tables"));
    }
    let tables = schema().tables().iter().zip(found);
    let tables = tables.map(|(table, rows)| Arc::new(TableData::from_rows(table.id, rows))).collect();
    Ok(Saved { at_ms: head.at_ms, snapshot: Snapshot::from_tables(head.seq, tables) })
}

/// What the checksum covers, if it holds.
fn checked(file: &[u8]) -> Result<&str, SavedError> {
    let end = file.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n').ok_or(SavedError::Other)?;
    let (head, body) = file.split_at_checked(end + 1).ok_or(SavedError::Other)?;
    let head = std::str::from_utf8(head).map_err(|_| SavedError::Other)?;
    let words: Vec<&str> = head.trim_end().split(' ').collect();
    let [MAGIC, form, rest @ ..] = words.as_slice() else { return Err(SavedError::Other) };
    let form: u32 = form.parse().map_err(|_| SavedError::Other)?;
    if form != FORM {
        return Err(SavedError::Form(form));
    }
    let [sum, length] = rest else { return Err(SavedError::Damaged("its first line")) };
    if length.parse() != Ok(body.len()) {
        return Err(SavedError::Damaged("its length is not the one that was written"));
    }
    if u32::from_str_radix(sum, 16) != Ok(crc32fast::hash(body)) {
        return Err(SavedError::Damaged("its checksum is wrong"));
    }
    std::str::from_utf8(body).map_err(|_| SavedError::Damaged("it is not text"))
}

fn parsed<'l, T: Deserialize<'l>>(line: Option<&'l str>, what: &'static str) -> Result<T, SavedError> {
    line.and_then(|line| serde_json::from_str(line).ok()).ok_or(SavedError::Damaged(what))
}

/// Where the columns of the file are in a table of this version.
struct Places {
    table: Option<TableId>,
    columns: usize,
    places: Vec<Option<usize>>,
}

impl Places {
    fn new(table: Option<&Table>, columns: &[String]) -> Self {
        let place = |name: &String| Some(table?.col(name)?.index());
        Self {
            table: table.map(|table| table.id),
            columns: table.map_or(0, |table| table.columns.len()),
            places: columns.iter().map(place).collect(),
        }
    }

    /// A row of the table; none of a table that is not known.
    fn row(&self, cells: &[Option<String>], interner: &mut Interner) -> Result<Option<Row>, SavedError> {
        if cells.len() != self.places.len() {
            return Err(SavedError::Damaged("a row"));
        }
        let Some(table) = self.table else { return Ok(None) };
        let mut row: Vec<Option<Text>> = vec![None; self.columns];
        for (place, cell) in self.places.iter().zip(cells) {
            if let Some(slot) = place.and_then(|place| row.get_mut(place)) {
                *slot = cell.as_deref().map(|text| interner.text(text));
            }
        }
        Ok(Some(Row::new(table, row)))
    }
}

/// For fuzzing: a file with these bytes, and one with them after a good first line, are read or refused;
/// what is read is written and read again without a difference.
pub(crate) fn fuzz(bytes: &[u8]) {
    let host = "a".to_owned();
    let origin = Origin { owner: "me".into(), engine: "Pg".into(), dbname: "x".into(), hosts: vec![host] };
    let mut whole = format!("{MAGIC} {FORM} {:08x} {}\n", crc32fast::hash(bytes), bytes.len()).into_bytes();
    whole.extend_from_slice(bytes);
    for file in [bytes, &whole] {
        if let Ok(saved) = decode(file, &origin) {
            let again = encode(&saved.snapshot, &origin, saved.at_ms);
            let read = decode(&again, &origin).map(|read| encode(&read.snapshot, &origin, read.at_ms));
            assert_eq!(read, Ok(again), "read again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfgloc::StoreAddress;

    fn origin(owner: &str, place: &str) -> Origin {
        let address = StoreAddress::parse(place).unwrap();
        Origin::new(owner, address.engine(), address.server().unwrap())
    }

    fn cluster() -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", &[("node", "n1"), ("groups", "all")] as &[(&str, &str)]),
            ("site", &[("key", "odd"), ("value", "größe \\ \" |a\n\u{0}b|")]),
            ("passwd", &[("key", "system"), ("password", "secret")]),
        ])
    }

    const HERE: &str = "Pg:dbname=x;host=a,b|u|p";

    #[test]
    fn tables_come_back() {
        let (here, snapshot) = (origin("me", HERE), cluster());
        let file = encode(&snapshot, &here, 7);
        let saved = decode(&file, &here).unwrap();
        assert_eq!((saved.at_ms, saved.snapshot().seq()), (7, snapshot.seq()));
        for table in schema().tables() {
            let rows = |of: &Snapshot| of.rows(table.id).cloned().collect::<Vec<_>>();
            assert_eq!(rows(saved.snapshot()), rows(&snapshot), "{}", table.name);
        }
        assert!(saved.snapshot().has_node("n1"));
    }

    #[test]
    fn any_damage_is_refused() {
        let here = origin("me", HERE);
        let file = encode(&cluster(), &here, 7);
        for at in 0..file.len() {
            assert!(decode(&file[..at], &here).is_err(), "cut at {at}");
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged, &here).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        let file = encode(&cluster(), &origin("me", HERE), 7);
        for (owner, place, error) in [
            ("me", "Pg:dbname=x;host=c,b|other|q", None),
            ("you", HERE, Some("it belongs to another data directory")),
            (
                "me",
                "Pg:dbname=y;host=a|u|p",
                Some("it holds the tables of Pg:x@a,b, which is not the database of this data directory"),
            ),
            (
                "me",
                "mysql:dbname=x;host=a|u|p",
                Some("it holds the tables of Pg:x@a,b, which is not the database of this data directory"),
            ),
            (
                "me",
                "Pg:dbname=x;host=c|u|p",
                Some("it holds the tables of Pg:x@a,b, which is not the database of this data directory"),
            ),
        ] {
            let found = decode(&file, &origin(owner, place)).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), error, "{owner} {place}");
        }
    }

    /// A file with the right checksum that no daemon has written.
    fn forged(form: u32, body: &str) -> Vec<u8> {
        let sum = crc32fast::hash(body.as_bytes());
        format!("{MAGIC} {form} {sum:08x} {}\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn hostile_files() {
        let here = origin("me", HERE);
        let head = r#"{"owner":"me","engine":"Pg","dbname":"x","hosts":["a"],"seq":1,"at_ms":2}"#;
        let table = |rows: &str| format!(r#"{{"table":"site","columns":["key","new"],"rows":{rows}}}"#);
        for (form, body, error) in [
            (1, format!("{head}\n{}\n[\"a\",\"b\"]\n", table("1")), None),
            (
                1,
                format!(
                    "{head}\n{}\n{{\"table\":\"later\",\"columns\":[\"x\"],\"rows\":1}}\n[null]\n",
                    table("0")
                ),
                None,
            ),
            (
                2,
                head.to_owned(),
                Some("another version of Dawn has written it (form 2; this version reads form 1)"),
            ),
            (1, String::new(), Some("it is damaged: its head")),
            (1, head.to_owned(), Some("it is damaged: it has no tables")),
            (1, format!("{head}\n{}\n", table("18446744073709551615")), Some("it is damaged: a row")),
            (1, format!("{head}\n{}\n", table("-1")), Some("it is damaged: a table")),
            (1, format!("{head}\n{}\n[\"a\"]\n", table("1")), Some("it is damaged: a row")),
            (1, format!("{head}\n{}\n[\"a\",\"b\"]\n[]\n", table("1")), Some("it is damaged: a table")),
            (1, format!("{head}\n{}", "[".repeat(100_000)), Some("it is damaged: a table")),
        ] {
            let found = decode(&forged(form, &body), &here).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), error, "{:.200}", body);
        }
        for file in [&b""[..], b"\n", b"dawn-snapshot", b"dawn-snapshot 1\n", &[0xff; 200]] {
            assert!(decode(file, &here).is_err());
        }
    }
}
