//! PostgreSQL.
//!
//! Connections without TLS, as the reference makes them: keep the server on the same machine or a trusted network.
//! Other daemons learn of a change by `NOTIFY`.

use super::server::{Client, Param, ServerDialect, ServerStore, TextRows};
use super::{Bell, Dialect, Store, StoreError};
use crate::cfgloc::ServerAddress;
use crate::schema::Table;
use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{ToSql, Type};
use postgres::{Config, NoTls, Row};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Channel of the notifications.
const CHANNEL: &str = "dawn_change";
/// Prepared once a connection: how long to wait for another writer before giving up.
const SESSION: &str = "SET lock_timeout='10s'; SET standard_conforming_strings=on; SET synchronous_commit=on";

static DIALECT: ServerDialect = ServerDialect {
    engine: "Pg",
    base: Dialect {
        quote: '"',
        placeholder: |n| format!("${n}"),
        text: "TEXT",
        key: "VARCHAR(128)",
        auto: "SERIAL",
    },
    auto_placeholder: |n| format!("CAST(CAST(${n} AS TEXT) AS INTEGER)"),
    upsert,
    columns_query: "SELECT table_name::text, column_name::text FROM information_schema.columns \
                    WHERE table_schema=current_schema()",
    ddl_lock: ("SELECT pg_advisory_lock(721077)::text", "SELECT pg_advisory_unlock(721077)::text"),
    begin_read: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    own_tables: &[
        "CREATE TABLE IF NOT EXISTS dawn_writer (id INTEGER PRIMARY KEY, seq BIGINT NOT NULL)",
        "INSERT INTO dawn_writer (id,seq) VALUES (1,0) ON CONFLICT DO NOTHING",
        "CREATE TABLE IF NOT EXISTS dawn_change (seq BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, \
         command TEXT NOT NULL, quiet BIGINT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS dawn_change_part (seq BIGINT NOT NULL, part BIGINT NOT NULL, effects TEXT NOT NULL, \
         PRIMARY KEY (seq,part))",
    ],
    notify: Some("NOTIFY dawn_change"),
};

fn upsert(dialect: &Dialect, table: &Table) -> String {
    let names =
        |keys: bool| table.columns.iter().filter(move |c| c.is_key == keys).map(|c| dialect.name(c.name));
    let sets: Vec<String> = names(false).map(|n| format!("{n}=EXCLUDED.{n}")).collect();
    format!(" ON CONFLICT ({}) DO UPDATE SET {}", names(true).collect::<Vec<_>>().join(","), sets.join(","))
}

/// Opens a database.
pub(super) fn open(address: &ServerAddress) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(ServerStore::<Pg>::open(address)?))
}

struct Pg {
    client: Outside,
}

/// A client that is only touched on threads of its own. The driver runs a small asynchronous runtime inside each call, which
/// panics on a thread that already is inside one; this way it does not matter from where the model is used.
struct Outside(Option<postgres::Client>);

/// Runs the work on a fresh thread and waits for it.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

impl Outside {
    fn with<T: Send>(
        &mut self,
        work: impl FnOnce(&mut postgres::Client) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Lost("the connection is closed".into());
        let client = self.0.as_mut().ok_or_else(closed)?;
        outside(|| work(client))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let client = self.0.take();
        outside(|| drop(client));
    }
}

fn config(address: &ServerAddress) -> Config {
    let mut config = Config::new();
    if address.host.starts_with('/') {
        config.host_path(&address.host);
    } else {
        config.host(&address.host);
    }
    config.dbname(&address.dbname).user(&address.user).password(address.password.reveal());
    config.port(address.port.unwrap_or(5432)).connect_timeout(CONNECT_TIMEOUT).application_name("dawn");
    config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
    config
}

fn connect(address: &ServerAddress) -> Result<postgres::Client, StoreError> {
    let place = || format!("Pg:{}@{}", address.dbname, address.host);
    let mut client = config(address)
        .connect(NoTls)
        .map_err(|e| StoreError::Open { place: place(), reason: reason(&e) })?;
    client.batch_execute(SESSION).map_err(failed)?;
    Ok(client)
}

fn reason(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => db.message().to_owned(),
        None => {
            let mut text = error.to_string();
            if let Some(cause) = std::error::Error::source(error) {
                text = format!("{text}: {cause}");
            }
            text
        }
    }
}

fn failed(error: postgres::Error) -> StoreError {
    let reason = reason(&error);
    let Some(code) = error.code() else {
        let is_io = std::error::Error::source(&error).is_some_and(|s| s.is::<std::io::Error>());
        return if error.is_closed() || is_io { StoreError::Lost(reason) } else { StoreError::Other(reason) };
    };
    match code {
        _ if *code == SqlState::DISK_FULL => StoreError::Full,
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::ReadOnly,
        _ if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
            StoreError::Busy
        }
        _ if code.code().starts_with("08") || code.code().starts_with("57P") => StoreError::Lost(reason),
        _ => StoreError::Other(reason),
    }
}

fn bound<'a>(params: &'a [Param<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    let one = |p: &'a Param<'a>| -> &'a (dyn ToSql + Sync) {
        match p {
            Param::Text(text) => text,
            Param::Int(n) => n,
        }
    };
    params.iter().map(one).collect()
}

fn cells(row: &Row) -> Result<Vec<Option<String>>, StoreError> {
    let cell = |at: usize| {
        let kind = row.columns().get(at).map(|c| c.type_().clone());
        let number = |n: Option<i64>| n.map(|n| n.to_string());
        match kind {
            Some(Type::INT4) => row.try_get::<_, Option<i32>>(at).map(|n| number(n.map(i64::from))),
            Some(Type::INT8) => row.try_get::<_, Option<i64>>(at).map(number),
            _ => row.try_get::<_, Option<String>>(at),
        }
    };
    (0..row.len()).map(cell).collect::<Result<_, _>>().map_err(failed)
}

impl Client for Pg {
    fn dialect() -> &'static ServerDialect {
        &DIALECT
    }

    fn connect(address: &ServerAddress) -> Result<Self, StoreError> {
        outside(|| connect(address)).map(|client| Self { client: Outside(Some(client)) })
    }

    fn create_suffix(&mut self) -> Result<&'static str, StoreError> {
        Ok("")
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.with(|client| client.batch_execute(sql).map_err(failed))
    }

    fn run(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.client.with(|client| client.execute(sql, &bound(params)).map_err(failed))
    }

    fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<TextRows, StoreError> {
        self.client.with(|client| {
            let rows = client.query(sql, &bound(params)).map_err(failed)?;
            rows.iter().map(cells).collect()
        })
    }

    fn bell(address: &ServerAddress) -> Result<Option<Box<dyn Bell>>, StoreError> {
        let mut client = Outside(Some(outside(|| connect(address))?));
        client.with(|client| client.batch_execute(&format!("LISTEN {CHANNEL}")).map_err(failed))?;
        Ok(Some(Box::new(Listener { client })))
    }
}

struct Listener {
    client: Outside,
}

impl Bell for Listener {
    fn wait(&mut self, time: Duration) -> Result<bool, StoreError> {
        self.client.with(|client| {
            let mut notifications = client.notifications();
            let first = notifications.timeout_iter(time).next().map_err(failed)?;
            // Whatever else came is answered by the same look.
            while notifications.iter().next().map_err(failed)?.is_some() {}
            drop(notifications);
            if client.is_closed() {
                return Err(StoreError::Lost("the server closed it".into()));
            }
            Ok(first.is_some())
        })
    }
}

/// Makes the user and the database of `wanted` on a running server, as far as they are missing; `admin` must be allowed
/// to. An existing user gets the new password. Names must be plain: letters, digits, `_`.
pub(super) fn set_up(admin: &ServerAddress, wanted: &ServerAddress) -> Result<(), StoreError> {
    outside(|| make_user_and_database(admin, wanted))
}

fn make_user_and_database(admin: &ServerAddress, wanted: &ServerAddress) -> Result<(), StoreError> {
    let mut client = connect(admin)?;
    let user = super::plain_name(&wanted.user)?;
    let dbname = super::plain_name(&wanted.dbname)?;
    let password = wanted.password.reveal().replace('\'', "''");
    let there = |client: &mut postgres::Client, sql: &str, name: &str| {
        client.query_opt(sql, &[&name]).map(|r| r.is_some())
    };
    let has_user = there(&mut client, "SELECT 1 FROM pg_roles WHERE rolname=$1", user).map_err(failed)?;
    let verb = if has_user { "ALTER" } else { "CREATE" };
    client.batch_execute(&format!("{verb} ROLE \"{user}\" LOGIN PASSWORD '{password}'")).map_err(failed)?;
    if !there(&mut client, "SELECT 1 FROM pg_database WHERE datname=$1", dbname).map_err(failed)? {
        let sql = format!("CREATE DATABASE \"{dbname}\" OWNER \"{user}\" ENCODING 'UTF8' TEMPLATE template0");
        client.batch_execute(&sql).map_err(failed)?;
    }
    Ok(())
}
