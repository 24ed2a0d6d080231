//! A database on a server: what PostgreSQL and MySQL have in common.
//!
//! The tables are those of xCAT, so an existing database is taken as it is. Ours are `dawn_writer`
//! (one row: the number of the last change; its row lock serialises writers), `dawn_change`,
//! `dawn_change_part` and `dawn_meta`.
//!
//! A change is written by its net effect: rows that go or change their key are deleted, all others are put by
//! multi-row upserts, so that a change of ten thousand rows is a few dozen round trips.
//!
//! Of several servers only one is used: the first that answers and, unless `cfgloc` says otherwise, can
//! be written. A server that turns out to be read-only (it has become a standby) is left like one that is
//! lost; the search continues with the next one.
//!
//! A lost connection fails the change in hand; the next one connects again. A server that does not answer for
//! [`ANSWER_TIME_MAX`](super::ANSWER_TIME_MAX) counts as lost, and is not asked again for [`SILENT_PAUSE`]:
//! all threads that queued up after the first one get the error at once. If it broke during a commit, the log
//! tells afterwards whether the change was made, and it is taken over like another daemon's. Programs that
//! write the tables without going through the log are noticed only when everything is loaded again.

use super::{
    ANSWER_TIME_MAX, Bell, CONNECT_TIME_MAX, CONNECT_TIME_OF_SEVERAL_MAX, CORE_TABLES, Dialect, IfMissing,
    Loaded, META_QUERY, META_TABLE, Meta, RowReader, Store, StoreError, check_core_tables, meta_statements,
};
use crate::cfgloc::{DatabaseHost, ServerAddress};
use crate::effect::Effect;
use crate::log::{LogEntry, Pruning, SHARES, Stored, encode, read_parts};
use crate::row::Row;
use crate::schema::{Table, TableId, schema};
use crate::table::RowId;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Rows of one statement at most.
const ROWS_MAX: usize = 500;
/// Old changes that one statement drops.
const DROPPED_AT_ONCE: usize = 1000;
/// Parameters of one statement at most; the protocols count them in 16 bits.
const PARAMETERS_MAX: usize = 60_000;
/// Bytes of the parameters of one statement, after which it is closed.
const STATEMENT_BYTES: usize = 1 << 20;

/// How long a server that did not answer is not asked again.
const SILENT_PAUSE: Duration = Duration::from_secs(2);
/// How long a server may take to give the columns of a large table another type.
const WIDEN_TIME_MAX: Duration = Duration::from_secs(600);

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Param<'a> {
    Text(Option<&'a str>),
    Int(i64),
}

/// Rows as the server gives them, numbers as text.
pub(super) type TextRows = Vec<Vec<Option<String>>>;

/// What differs between the servers besides names and types.
pub(super) struct ServerDialect {
    pub(super) engine: &'static str,
    pub(super) base: Dialect,
    /// A placeholder for the column that is numbered.
    pub(super) auto_placeholder: fn(usize) -> String,
    /// Follows `INSERT … VALUES …`: what makes it an upsert. Gets the table.
    pub(super) upsert: fn(&Dialect, &Table) -> String,
    /// Table name, column name and type of the database's columns.
    pub(super) columns_query: &'static str,
    /// The type of text columns in databases of xCAT where ours is a wider one.
    pub(super) narrow_text: Option<&'static str>,
    /// The databases of the server.
    pub(super) databases_query: &'static str,
    /// Keeps others from making tables at the same time, and lets them again.
    pub(super) ddl_lock: (&'static str, &'static str),
    /// Starts a read of everything at one moment.
    pub(super) begin_read: &'static str,
    /// Makes the tables of ours, in this order.
    pub(super) own_tables: &'static [&'static str],
    /// Notifies others of a change, inside its transaction.
    pub(super) notify: Option<&'static str>,
    /// `0` if the server can be written.
    pub(super) read_only_query: &'static str,
}

/// Where a connection goes.
pub(super) struct Target<'a> {
    pub(super) address: &'a ServerAddress,
    pub(super) host: &'a DatabaseHost,
    pub(super) connect_time: Duration,
    /// If the server does not answer for longer than this, the connection ends.
    pub(super) answer_time: Duration,
}

impl Target<'_> {
    /// How errors name it.
    pub(super) fn place(&self, engine: &str) -> String {
        let port = self.host.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{engine}:{}@{}{port}", self.address.dbname, self.host.name)
    }
}

/// A connection.
pub(super) trait Client: Send + Sized {
    fn dialect() -> &'static ServerDialect;
    fn connect(target: &Target<'_>) -> Result<Self, StoreError>;
    /// Follows `CREATE TABLE …`.
    fn create_suffix(&mut self) -> Result<&'static str, StoreError>;
    /// Runs statements without parameters.
    fn batch(&mut self, sql: &str) -> Result<(), StoreError>;
    fn run(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError>;
    fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<TextRows, StoreError>;
    /// A second connection that listens.
    fn bell(address: &ServerAddress) -> Result<Option<Box<dyn Bell>>, StoreError>;
}

/// Connects to the first server that will do.
pub(super) fn connect<C: Client>(address: &ServerAddress, answer_time: Duration) -> Result<C, StoreError> {
    connect_from(address, 0, answer_time).map(|(client, _)| client)
}

/// The same; the search begins with the server at this place of the list. Gives the place of the one that was
/// found.
fn connect_from<C: Client>(
    address: &ServerAddress,
    first: usize,
    answer_time: Duration,
) -> Result<(C, usize), StoreError> {
    let count = address.hosts.len();
    let connect_time = if count > 1 { CONNECT_TIME_OF_SEVERAL_MAX } else { CONNECT_TIME_MAX };
    let mut errors = Vec::new();
    for at in (0..count).map(|step| (first + step) % count) {
        let Some(host) = address.hosts.get(at) else { continue };
        let target = Target { address, host, connect_time, answer_time };
        match C::connect(&target).and_then(|client| writable(client, &target)) {
            Ok(client) => return Ok((client, at)),
            Err(error) => errors.push((target.place(C::dialect().engine), error)),
        }
    }
    Err(none_of(errors))
}

/// The connection, if its server is one to write to or need not be.
fn writable<C: Client>(mut client: C, target: &Target<'_>) -> Result<C, StoreError> {
    if target.address.needs_writable() {
        check_writable(&mut client)?;
    }
    Ok(client)
}

/// Refuses a server that can only be read.
fn check_writable<C: Client>(client: &mut C) -> Result<(), StoreError> {
    let rows = client.rows(C::dialect().read_only_query, &[])?;
    match rows.first().and_then(|row| row.first()) {
        Some(Some(text)) if text == "0" => Ok(()),
        _ => Err(StoreError::ReadOnly),
    }
}

/// The error of several servers: what each of them said. A single one says it itself.
fn none_of(errors: Vec<(String, StoreError)>) -> StoreError {
    let lets_nobody_in = |error: &StoreError| matches!(error, StoreError::Refused { .. });
    let all_silent = errors.iter().all(|(_, error)| matches!(error, StoreError::Silent));
    let all_refuse = errors.iter().all(|(_, error)| lets_nobody_in(error));
    let (places, reasons): (Vec<String>, Vec<String>) = errors
        .iter()
        .map(|(place, error)| {
            let reason = match error {
                StoreError::Open { reason, .. } | StoreError::Refused { reason, .. } => reason.clone(),
                StoreError::ReadOnly => "it is read-only (a standby)".to_owned(),
                StoreError::Silent => "it does not answer".to_owned(),
                other => other.to_string(),
            };
            (place.clone(), format!("{place}: {reason}"))
        })
        .unzip();
    match errors.len() {
        // What each attempt cost was its whole time limit.
        _ if all_silent => StoreError::Silent,
        1 => match errors.into_iter().next() {
            Some((place, StoreError::ReadOnly)) => {
                StoreError::Open { place, reason: "it is read-only (a standby)".to_owned() }
            }
            Some((_, error)) => error,
            None => StoreError::Silent,
        },
        _ if all_refuse => StoreError::Refused { place: places.join(", "), reason: reasons.join("; ") },
        _ => StoreError::Open { place: "on any of its servers".to_owned(), reason: reasons.join("; ") },
    }
}

/// A store on a database server; `C` is the connection of one kind of server.
pub(super) struct ServerStore<C> {
    address: ServerAddress,
    client: Option<C>,
    /// The place in the list of servers where the next search begins.
    at: usize,
    open: bool,
    /// A server that did not answer is not asked before this time.
    silent_until: Option<Instant>,
    pruning: Pruning,
}

impl<C: Client> ServerStore<C> {
    /// Connects and makes the tables that are missing; all of them only where that was asked for.
    pub(super) fn open(address: &ServerAddress, if_missing: IfMissing) -> Result<Self, StoreError> {
        let mut store = Self {
            address: address.clone(),
            client: None,
            at: 0,
            open: false,
            silent_until: None,
            pruning: Pruning::default(),
        };
        store.create_missing(if_missing)?;
        Ok(store)
    }

    fn client(&mut self) -> Result<&mut C, StoreError> {
        if self.silent_until.is_some_and(|until| Instant::now() < until) {
            return Err(StoreError::Silent);
        }
        match &mut self.client {
            Some(client) => Ok(client),
            slot => {
                let (client, at) = connect_from(&self.address, self.at, ANSWER_TIME_MAX)?;
                if at != self.at
                    && let Some(host) = self.address.hosts.get(at)
                {
                    tracing::info!(host = host.name, "the database is on another server now");
                }
                self.at = at;
                Ok(slot.insert(client))
            }
        }
    }

    /// Runs with the connection; drops it if it is lost.
    fn with<T>(&mut self, work: impl FnOnce(&mut C) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.client().and_then(work);
        let is_standby = matches!(result, Err(StoreError::ReadOnly)) && self.address.needs_writable();
        if let Err(error) = &result
            && (error.ends_connection() || is_standby)
        {
            // One that was connected is not the one to begin with; where none was, all have been tried.
            let was_connected = self.client.take().is_some();
            let others = self.address.hosts.len() > 1 && was_connected;
            if others {
                self.at = (self.at + 1) % self.address.hosts.len();
            }
            self.open = false;
            let is_silent = matches!(error, StoreError::Silent) && !others;
            if is_silent && self.silent_until.is_none_or(|t| t <= Instant::now()) {
                self.silent_until = Some(Instant::now() + SILENT_PAUSE);
            }
        }
        result
    }

    /// Like `with`, once more on a new connection if an idle one turns out to be dead.
    fn with_idle<T>(&mut self, work: impl Fn(&mut C) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let had_connection = self.client.is_some();
        match self.with(&work) {
            Err(StoreError::Lost(_) | StoreError::ReadOnly)
                if had_connection && self.client.is_none() && !self.open =>
            {
                self.with(&work)
            }
            result => result,
        }
    }

    fn create_missing(&mut self, if_missing: IfMissing) -> Result<(), StoreError> {
        let dialect = C::dialect();
        let address = self.address.clone();
        let place = || format!("{} on {}", address.dbname, address.host_names());
        self.with(|client| {
            if if_missing == IfMissing::Refuse {
                let existing = existing(client)?;
                if !CORE_TABLES.iter().any(|table| existing.contains_key(*table)) {
                    return Err(StoreError::Missing {
                        place: place(),
                        reason: "it has no tables".to_owned(),
                    });
                }
                check_core_tables(|table| existing.contains_key(table), place)?;
            }
            client.rows(dialect.ddl_lock.0, &[])?;
            let result =
                create_all(client, dialect, place).and_then(|widen| run_slowly::<C>(&address, &widen));
            let _ = client.rows(dialect.ddl_lock.1, &[]);
            result
        })
    }

    fn entries(&mut self, condition: &str, seq: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let mark = (C::dialect().base.placeholder)(1);
        let sql = format!(
            "SELECT seq,at_ms,who,command,quiet FROM dawn_change WHERE {} LIMIT {limit}",
            condition.replace('?', &mark)
        );
        let parts = format!("SELECT effects FROM dawn_change_part WHERE seq={mark} ORDER BY part");
        self.with_idle(|client| {
            let heads = client.rows(&sql, &[Param::Int(int(seq))])?;
            let mut entries: Vec<LogEntry> = heads.iter().map(|row| head(row)).collect::<Result<_, _>>()?;
            for entry in &mut entries {
                let rows = client.rows(&parts, &[Param::Int(int(entry.seq))])?;
                let text = |row: Vec<Option<String>>| row.into_iter().next().flatten().unwrap_or_default();
                read_parts(entry, &rows.into_iter().map(text).collect::<Vec<_>>());
            }
            Ok(entries)
        })
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn head(row: &[Option<String>]) -> Result<LogEntry, StoreError> {
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let damaged = || StoreError::Damaged(format!("change {:?} cannot be read", row.first()));
    Ok(LogEntry {
        seq: text(0).parse().map_err(|_| damaged())?,
        at_ms: text(1).parse().map_err(|_| damaged())?,
        who: text(2),
        command: text(3),
        quiet: text(4) != "0",
        rows: Vec::new(),
        is_damaged: false,
    })
}

/// Statements that copy a table inside the server, on a separate connection with a longer time limit.
fn run_slowly<C: Client>(address: &ServerAddress, statements: &[String]) -> Result<(), StoreError> {
    if statements.is_empty() {
        return Ok(());
    }
    let mut client = connect::<C>(address, WIDEN_TIME_MAX)?;
    statements.iter().try_for_each(|sql| client.batch(sql))
}

/// Column names and their types, by table.
type Existing = HashMap<String, HashMap<String, String>>;

fn existing<C: Client>(client: &mut C) -> Result<Existing, StoreError> {
    let mut existing = Existing::new();
    for row in client.rows(C::dialect().columns_query, &[])? {
        if let [Some(table), Some(column), Some(kind)] = row.as_slice() {
            existing.entry(table.clone()).or_default().insert(column.clone(), kind.clone());
        }
    }
    Ok(existing)
}

/// See [`super::first_table_with_rows`].
pub(super) fn first_table_with_rows<C: Client>(
    admin: &ServerAddress,
    dbname: &str,
) -> Result<Option<&'static str>, StoreError> {
    let databases = connect::<C>(admin, ANSWER_TIME_MAX)?.rows(C::dialect().databases_query, &[])?;
    if !databases.iter().flatten().flatten().any(|name| name == dbname) {
        return Ok(None);
    }
    let there = ServerAddress { dbname: dbname.to_owned(), ..admin.clone() };
    let mut client = connect::<C>(&there, ANSWER_TIME_MAX)?;
    let existing = existing(&mut client)?;
    for table in schema().tables().iter().filter(|table| existing.contains_key(table.name)) {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", C::dialect().base.name(table.name));
        if !client.rows(&sql, &[])?.is_empty() {
            return Ok(Some(table.name));
        }
    }
    Ok(None)
}

/// The tables of any database whose name is `wanted`, as of one moment: name, columns, rows.
pub(super) fn all_tables<C: Client>(
    address: &ServerAddress,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<String>, TextRows)>, StoreError> {
    let dialect = C::dialect();
    let mut client = connect::<C>(address, ANSWER_TIME_MAX)?;
    client.batch(dialect.begin_read)?;
    let tables: BTreeMap<_, _> = existing(&mut client)?.into_iter().collect();
    let mut found = Vec::new();
    for (name, columns) in tables.into_iter().filter(|(name, _)| wanted(name)) {
        let columns: Vec<String> = columns.into_keys().collect();
        let names: Vec<String> = columns.iter().map(|column| dialect.base.name(column)).collect();
        let sql = format!("SELECT {} FROM {}", names.join(","), dialect.base.name(&name));
        let rows = client.rows(&sql, &[])?;
        found.push((name, columns, rows));
    }
    client.batch("ROLLBACK")?;
    Ok(found)
}

/// The form of the database; `None` for one without.
fn meta<C: Client>(client: &mut C, existing: &Existing) -> Result<Option<Meta>, StoreError> {
    if !existing.contains_key(META_TABLE) {
        return Ok(None);
    }
    let rows = client.rows(META_QUERY, &[])?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let number = |at: usize| row.get(at)?.as_ref()?.parse().ok();
    let found = number(0).zip(number(1)).map(|(form, oldest_reader)| Meta { form, oldest_reader });
    found.map(Some).ok_or_else(|| StoreError::Damaged(format!("{META_TABLE} holds no numbers")))
}

/// Makes the tables and columns that are missing; gives the statements for columns that are too narrow.
fn create_all<C: Client>(
    client: &mut C,
    dialect: &ServerDialect,
    place: impl FnOnce() -> String,
) -> Result<Vec<String>, StoreError> {
    let existing = existing(client)?;
    let of_meta = meta_statements(meta(client, &existing)?, place)?;
    let mut widen = Vec::new();
    let suffix = client.create_suffix()?;
    for table in schema().tables() {
        match existing.get(table.name) {
            None => client.batch(&format!("{}{suffix}", dialect.base.create(table)))?,
            Some(columns) => {
                widen.extend(widening(dialect, table, columns));
                for column in table.columns.iter().filter(|c| !columns.contains_key(c.name)) {
                    let (name, column_name) = (dialect.base.name(table.name), dialect.base.name(column.name));
                    let kind = dialect.base.column_type(table, column.name);
                    client.batch(&format!("ALTER TABLE {name} ADD COLUMN {column_name} {kind}"))?;
                }
            }
        }
    }
    if !existing.contains_key("dawn_change_part") {
        dialect.own_tables.iter().try_for_each(|sql| client.batch(sql))?;
    }
    of_meta.iter().try_for_each(|sql| client.batch(sql))?;
    Ok(widen)
}

/// The statement that makes a table's narrow text columns as wide as the schema wants them; `None` if there
/// are none.
fn widening(dialect: &ServerDialect, table: &Table, columns: &HashMap<String, String>) -> Option<String> {
    let narrow = dialect.narrow_text?;
    let is_narrow = |c: &&crate::Column| columns.get(c.name).is_some_and(|kind| kind == narrow);
    let modify = |c: &crate::Column| {
        let required = if c.required { " NOT NULL" } else { "" };
        format!("MODIFY {} {}{required}", dialect.base.name(c.name), dialect.base.text)
    };
    let wide = |c: &&crate::Column| dialect.base.column_type(table, c.name) == dialect.base.text;
    let parts: Vec<String> = table.columns.iter().filter(is_narrow).filter(wide).map(modify).collect();
    (!parts.is_empty()).then(|| format!("ALTER TABLE {} {}", dialect.base.name(table.name), parts.join(", ")))
}

/// The result of a list of effects: keys to delete, then rows to put, by table.
#[derive(Default, Debug)]
struct Net<'a> {
    gone: Vec<Vec<&'a str>>,
    put: Vec<&'a Row>,
}

fn net(effects: &[Effect]) -> BTreeMap<TableId, Net<'_>> {
    type Ends<'a> = (Option<&'a Row>, Option<&'a Row>);
    let mut first_last: BTreeMap<(TableId, RowId), Ends<'_>> = BTreeMap::new();
    for effect in effects {
        let ends = first_last.entry((effect.table, effect.row)).or_insert((effect.before.as_ref(), None));
        ends.1 = effect.after.as_ref();
    }
    let mut tables: BTreeMap<TableId, Net<'_>> = BTreeMap::new();
    for ((table, _), (before, after)) in first_last {
        let net = tables.entry(table).or_default();
        let before = before.map(|row| key(table, row));
        if let Some(old) = before.filter(|old| after.is_none_or(|row| key(table, row) != *old)) {
            net.gone.push(old);
        }
        net.put.extend(after);
    }
    tables
}

fn key(table: TableId, row: &Row) -> Vec<&str> {
    table.info().keys.iter().map(|k| row.at(*k).map_or("", |t| t)).collect()
}

/// Cuts items into statements: by number of rows, of parameters, and by bytes.
fn statements<T>(items: &[T], width: usize, bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let rows_max = ROWS_MAX.min(PARAMETERS_MAX / width.max(1)).max(1);
    let (mut found, mut start, mut size) = (Vec::new(), 0, 0);
    for (at, item) in items.iter().enumerate() {
        if at > start && (at - start >= rows_max || size > STATEMENT_BYTES) {
            found.extend(items.get(start..at));
            (start, size) = (at, 0);
        }
        size += bytes(item);
    }
    found.extend(items.get(start..).filter(|rest| !rest.is_empty()));
    found
}

/// `(?,?),(?,?)` for so many rows; `auto` is the position of the numbered column.
fn tuples(dialect: &ServerDialect, rows: usize, width: usize, auto: Option<usize>) -> String {
    let mark = |row: usize, at: usize| {
        let n = row * width + at + 1;
        if Some(at) == auto { (dialect.auto_placeholder)(n) } else { (dialect.base.placeholder)(n) }
    };
    let tuple = |row| format!("({})", (0..width).map(|at| mark(row, at)).collect::<Vec<_>>().join(","));
    (0..rows).map(tuple).collect::<Vec<_>>().join(",")
}

fn write_table<C: Client>(client: &mut C, table: &Table, net: &Net<'_>) -> Result<(), StoreError> {
    let dialect = C::dialect();
    let name = dialect.base.name(table.name);
    let names = |of: Vec<&str>| of.iter().map(|n| dialect.base.name(n)).collect::<Vec<_>>().join(",");
    let auto_key = table.auto_increment.and_then(|a| table.keys.iter().position(|k| *k == a));
    for keys in statements(&net.gone, table.keys.len(), |k| k.iter().map(|t| t.len()).sum()) {
        let marks = tuples(dialect, keys.len(), table.keys.len(), auto_key);
        let sql = format!("DELETE FROM {name} WHERE ({}) IN ({marks})", names(table.key_names().collect()));
        let params: Vec<_> = keys.iter().flatten().map(|t| Param::Text(Some(t))).collect();
        client.run(&sql, &params)?;
    }
    let width = table.columns.len();
    let size = |row: &&Row| row.cells().iter().flatten().map(|t| t.len()).sum();
    for rows in statements(&net.put, width, size) {
        let marks = tuples(dialect, rows.len(), width, table.auto_increment);
        let columns = names(table.columns.iter().map(|c| c.name).collect());
        let sql = format!(
            "INSERT INTO {name} ({columns}) VALUES {marks}{}",
            (dialect.upsert)(&dialect.base, table)
        );
        let params: Vec<_> =
            rows.iter().flat_map(|r| r.cells().iter().map(|c| Param::Text(c.as_deref()))).collect();
        client.run(&sql, &params)?;
    }
    Ok(())
}

fn write_change<C: Client>(
    client: &mut C,
    pruning: &mut Pruning,
    entry: &LogEntry,
    effects: &[Effect],
) -> Result<(), StoreError> {
    let dialect = C::dialect();
    for (table, net) in net(effects) {
        write_table(client, table.info(), &net)?;
    }
    let seq = Param::Int(int(entry.seq));
    let head = format!(
        "INSERT INTO dawn_change (seq,at_ms,who,command,quiet) VALUES {}",
        tuples(dialect, 1, 5, None)
    );
    let (who, command) = (Param::Text(Some(&entry.who)), Param::Text(Some(&entry.command)));
    client.run(&head, &[seq, Param::Int(entry.at_ms), who, command, Param::Int(entry.quiet.into())])?;
    let part =
        format!("INSERT INTO dawn_change_part (seq,part,effects) VALUES {}", tuples(dialect, 1, 3, None));
    let parts = encode(entry);
    for (at, text) in (0i64..).zip(&parts) {
        client.run(&part, &[seq, Param::Int(at), Param::Text(Some(text))])?;
    }
    let mark = (dialect.base.placeholder)(1);
    client.run(&format!("UPDATE dawn_writer SET seq={mark} WHERE id=1"), &[seq])?;
    if pruning.is_due(entry.seq, &parts) {
        prune(client)?;
    }
    match dialect.notify {
        Some(sql) => client.batch(sql),
        None => Ok(()),
    }
}

fn prune<C: Client>(client: &mut C) -> Result<(), StoreError> {
    for share in SHARES {
        let quiet = i64::from(share.quiet);
        let sizes = format!(
            "SELECT c.seq, coalesce(sum(octet_length(p.effects)),0), c.who FROM dawn_change c \
             LEFT JOIN dawn_change_part p ON p.seq=c.seq WHERE c.quiet={quiet} GROUP BY c.seq, c.who ORDER BY c.seq DESC"
        );
        let rows = client.rows(&sizes, &[])?;
        let number = |row: &[Option<String>], at: usize| row.get(at)?.as_ref()?.parse::<u64>().ok();
        let who = |row: &[Option<String>]| row.get(2).cloned().flatten().unwrap_or_default();
        let stored = |row: &Vec<Option<String>>| {
            Some(Stored { seq: number(row, 0)?, bytes: number(row, 1)?, who: who(row) })
        };
        let changes: Vec<Stored> = rows.iter().filter_map(stored).collect();
        for some in share.surplus(&changes).chunks(DROPPED_AT_ONCE) {
            let numbers = some.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            client.batch(&format!("DELETE FROM dawn_change_part WHERE seq IN ({numbers})"))?;
            client.batch(&format!("DELETE FROM dawn_change WHERE seq IN ({numbers})"))?;
        }
    }
    Ok(())
}

fn last_seq<C: Client>(client: &mut C, lock: &str) -> Result<u64, StoreError> {
    let rows = client.rows(&format!("SELECT seq FROM dawn_writer WHERE id=1{lock}"), &[])?;
    let text = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    let damaged = || StoreError::Damaged("dawn_writer holds no number".into());
    text.and_then(|t| t.parse().ok()).ok_or_else(damaged)
}

fn load<C: Client>(client: &mut C) -> Result<Loaded, StoreError> {
    let dialect = &C::dialect().base;
    let mut reader = RowReader::default();
    let mut tables = Vec::new();
    for table in schema().tables() {
        let keys: Vec<String> = table.key_names().map(|k| dialect.name(k)).collect();
        let sql = dialect.statements(table, &format!("ORDER BY {}", keys.join(","))).select;
        let rows = client.rows(&sql, &[])?;
        tables.push(rows.iter().map(|row| reader.row(table, row.iter().map(Option::as_deref))).collect());
    }
    Ok(Loaded { seq: last_seq(client, "")?, tables })
}

impl<C: Client> Store for ServerStore<C> {
    fn engine(&self) -> &'static str {
        C::dialect().engine
    }

    fn load(&mut self) -> Result<Loaded, StoreError> {
        if self.open {
            return self.with(load);
        }
        self.with_idle(|client| {
            client.batch(C::dialect().begin_read)?;
            let loaded = load(client);
            client.batch("COMMIT")?;
            loaded
        })
    }

    fn begin(&mut self) -> Result<u64, StoreError> {
        let needs_writable = self.address.needs_writable();
        let seq = self.with_idle(|client| {
            if needs_writable {
                check_writable(client)?;
            }
            client.batch("BEGIN")?;
            last_seq(client, " FOR UPDATE")
        });
        self.open = true;
        if seq.is_err() {
            self.rollback();
        }
        seq
    }

    fn write(&mut self, entry: &LogEntry, effects: &[Effect]) -> Result<(), StoreError> {
        let mut pruning = std::mem::take(&mut self.pruning);
        let written = self.with(|client| {
            client.batch("SAVEPOINT dawn")?;
            match write_change(client, &mut pruning, entry, effects) {
                Ok(()) => client.batch("RELEASE SAVEPOINT dawn"),
                Err(error) if error.ends_connection() => Err(error),
                Err(error) => {
                    client.batch("ROLLBACK TO SAVEPOINT dawn")?;
                    Err(error)
                }
            }
        });
        self.pruning = pruning;
        written
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let result = self.with(|client| client.batch("COMMIT"));
        self.open = false;
        result
    }

    fn rollback(&mut self) {
        if self.open && self.client.is_some() {
            // A connection that cannot even roll back is of no use; the server rolls back when it is closed.
            if self.with(|client| client.batch("ROLLBACK")).is_err() {
                self.client = None;
            }
        }
        self.open = false;
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.with_idle(|client| last_seq(client, ""))
    }

    fn changes_after(&mut self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.entries("seq>? ORDER BY seq", after, limit)
    }

    fn changes_before(&mut self, before: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.entries("seq<? ORDER BY seq DESC", before, limit)
    }

    fn bell(&self) -> Result<Option<Box<dyn Bell>>, StoreError> {
        C::bell(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_cut() {
        let lengths = |items: usize, width, bytes| {
            let items = vec![0u8; items];
            statements(&items, width, |_| bytes).iter().map(|s| s.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0, 3, 1), Vec::<usize>::new());
        assert_eq!(lengths(1100, 3, 1), [500, 500, 100]);
        assert_eq!(lengths(10, 30_000, 1), [2, 2, 2, 2, 2]);
        assert_eq!(lengths(3, 3, STATEMENT_BYTES + 1), [1, 1, 1]);
    }
}
