//! PostgreSQL.
//!
//! Connections without TLS, as xCAT makes them: keep the server on the same machine or a trusted
//! network. Other daemons learn of a change by `NOTIFY`.

use super::server::{self, Client, Param, ServerDialect, ServerStore, Target, TextRows};
use super::{ANSWER_TIME_MAX, Bell, Dialect, IfMissing, LOCK_WAIT_MAX, Store, StoreError};
use crate::cfgloc::ServerAddress;
use crate::schema::Table;
use futures_util::TryStreamExt;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Config, Error, NoTls, Row};

/// Time for the good-bye to a server.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// Channel of the notifications.
const CHANNEL: &str = "dawn_change";

/// What each connection begins with.
fn session_settings() -> String {
    let lock_wait = LOCK_WAIT_MAX.as_secs();
    format!("SET lock_timeout='{lock_wait}s'; SET standard_conforming_strings=on; SET synchronous_commit=on")
}

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
    columns_query: "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
                    WHERE table_schema=current_schema()",
    narrow_text: None,
    databases_query: "SELECT datname::text FROM pg_database",
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
    read_only_query: "SELECT CASE WHEN pg_is_in_recovery() OR current_setting('transaction_read_only')='on' \
                      THEN '1' ELSE '0' END",
};

fn upsert(dialect: &Dialect, table: &Table) -> String {
    let names =
        |keys: bool| table.columns.iter().filter(move |c| c.is_key == keys).map(|c| dialect.name(c.name));
    let sets: Vec<String> = names(false).map(|n| format!("{n}=EXCLUDED.{n}")).collect();
    format!(" ON CONFLICT ({}) DO UPDATE SET {}", names(true).collect::<Vec<_>>().join(","), sets.join(","))
}

/// Opens a database.
pub(super) fn open(address: &ServerAddress, if_missing: IfMissing) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(ServerStore::<Pg>::open(address, if_missing)?))
}

pub(super) struct Pg {
    client: Outside,
}

/// A connection, and the small asynchronous runtime that drives it: only there can a question be given up
/// when the server does not answer.
struct Session {
    runtime: Runtime,
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
    /// Rings at notifications and when the connection ends.
    notified: Arc<Notify>,
    answer_time: Duration,
}

impl Session {
    /// Waits for an answer, as long as one may take.
    fn answer<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        let answer = async { timeout(self.answer_time, question).await };
        self.runtime.block_on(answer).map_err(|_| StoreError::Silent)?.map_err(failed)
    }

    fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.answer(self.client.batch_execute(sql))
    }

    /// All rows; the wait for each is limited, not their number.
    fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<TextRows, StoreError> {
        let stream = self.answer(self.client.query_raw(sql, bound(params)))?;
        let mut stream = pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = self.answer(stream.try_next())? {
            rows.push(cells(&row)?);
        }
        Ok(rows)
    }

    /// Says good-bye, as far as the server listens.
    fn close(self) {
        let Self { runtime, client, driver, .. } = self;
        drop(client);
        let _ = runtime.block_on(async { timeout(CLOSE_TIME_MAX, driver).await });
    }
}

/// A session that is used only on its own threads: its runtime panics on a thread that is already inside a
/// runtime. This way it does not matter from where the model is used.
struct Outside(Option<Session>);

/// Runs the work on a fresh thread and waits for it.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

impl Outside {
    fn with<T: Send>(
        &mut self,
        work: impl FnOnce(&Session) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Lost("the connection is closed".into());
        let session = self.0.as_ref().ok_or_else(closed)?;
        outside(|| work(session))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            outside(|| session.close());
        }
    }
}

fn config(Target { address, host, .. }: &Target<'_>) -> Config {
    let mut config = Config::new();
    if host.name.starts_with('/') {
        config.host_path(&host.name);
    } else {
        config.host(&host.name);
    }
    config.dbname(&address.dbname).user(&address.user).password(address.password.reveal());
    config.port(host.port.unwrap_or(5432)).application_name("dawn");
    config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(30));
    config
}

fn connect(target: &Target<'_>) -> Result<Session, StoreError> {
    let (place, connect_time, answer_time) =
        (|| target.place(DIALECT.engine), target.connect_time, target.answer_time);
    let no_runtime = |e: std::io::Error| StoreError::Other(format!("cannot start a runtime: {e}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    let config = config(target);
    let connected = runtime.block_on(async { timeout(connect_time, config.connect(NoTls)).await });
    let connected = connected.map_err(|_| StoreError::Silent)?;
    let (client, mut connection) = connected.map_err(|error| {
        let (place, reason) = (place(), reason(&error));
        // Without a code no server answered; 57P: starting or stopping; 53: too many connections.
        let passing = |code: &SqlState| code.code().starts_with("57P") || code.code().starts_with("53");
        match error.code() {
            Some(code) if !passing(code) => StoreError::Refused { place, reason },
            _ => StoreError::Open { place, reason },
        }
    })?;
    let notified = Arc::new(Notify::new());
    let bell = Arc::clone(&notified);
    let driver = runtime.spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if matches!(message, AsyncMessage::Notification(_)) {
                bell.notify_one();
            }
        }
        bell.notify_one();
    });
    let session = Session { runtime, client, driver, notified, answer_time };
    session.batch(&session_settings())?;
    Ok(session)
}

fn reason(error: &Error) -> String {
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

fn failed(error: Error) -> StoreError {
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

    fn connect(target: &Target<'_>) -> Result<Self, StoreError> {
        outside(|| connect(target)).map(|session| Self { client: Outside(Some(session)) })
    }

    fn create_suffix(&mut self) -> Result<&'static str, StoreError> {
        Ok("")
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client.with(|session| session.batch(sql))
    }

    fn run(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.client.with(|session| session.answer(session.client.execute(sql, &bound(params))))
    }

    fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<TextRows, StoreError> {
        self.client.with(|session| session.rows(sql, params))
    }

    fn bell(address: &ServerAddress) -> Result<Option<Box<dyn Bell>>, StoreError> {
        let Self { mut client } = server::connect(address, ANSWER_TIME_MAX)?;
        client.with(|session| session.batch(&format!("LISTEN {CHANNEL}")))?;
        Ok(Some(Box::new(Listener { client })))
    }
}

struct Listener {
    client: Outside,
}

impl Bell for Listener {
    /// However many notifications came, they are answered by one look.
    fn wait(&mut self, time: Duration) -> Result<bool, StoreError> {
        self.client.with(|session| {
            let rung = session.runtime.block_on(async { timeout(time, session.notified.notified()).await });
            if session.client.is_closed() {
                return Err(StoreError::Lost("the server closed it".into()));
            }
            Ok(rung.is_ok())
        })
    }
}

/// Makes the user and the database of `wanted` on a running server, as far as they are missing; `admin` must
/// be allowed to. An existing user gets the new password. Names must be plain: letters, digits, `_`.
pub(super) fn set_up(admin: &ServerAddress, wanted: &ServerAddress) -> Result<(), StoreError> {
    let Pg { mut client } = server::connect(admin, ANSWER_TIME_MAX)?;
    client.with(|session| make_user_and_database(session, wanted))
}

fn make_user_and_database(session: &Session, wanted: &ServerAddress) -> Result<(), StoreError> {
    let user = super::plain_name(&wanted.user)?;
    let dbname = super::plain_name(&wanted.dbname)?;
    let password = wanted.password.reveal().replace('\'', "''");
    let there =
        |sql: &str, name: &str| session.rows(sql, &[Param::Text(Some(name))]).map(|rows| !rows.is_empty());
    let has_user = there("SELECT 1 FROM pg_roles WHERE rolname=$1", user)?;
    let verb = if has_user { "ALTER" } else { "CREATE" };
    session.batch(&format!("{verb} ROLE \"{user}\" LOGIN PASSWORD '{password}'"))?;
    if !there("SELECT 1 FROM pg_database WHERE datname=$1", dbname)? {
        session.batch(&format!(
            "CREATE DATABASE \"{dbname}\" OWNER \"{user}\" ENCODING 'UTF8' TEMPLATE template0"
        ))?;
    }
    Ok(())
}
