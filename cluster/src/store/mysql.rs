//! MySQL and MariaDB.
//!
//! Tables are InnoDB with a binary collation, so that names compare as they do everywhere else here. MySQL
//! does not notify clients of changes; other daemons ask for the last number.

use super::server::{self, Client, Param, ServerDialect, ServerStore, Target, TextRows};
use super::{ANSWER_TIME_MAX, Bell, Dialect, IfMissing, LOCK_WAIT_MAX, Store, StoreError};
use crate::cfgloc::ServerAddress;
use crate::schema::Table;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Params, Value};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;

/// What each connection begins with.
fn session() -> Vec<String> {
    vec![
        "SET NAMES utf8mb4".into(),
        "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'".into(),
        format!("SET SESSION innodb_lock_wait_timeout={}", LOCK_WAIT_MAX.as_secs()),
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
    ]
}

static DIALECT: ServerDialect = ServerDialect {
    engine: "mysql",
    base: Dialect {
        quote: '`',
        placeholder: |_| "?".to_owned(),
        // 16 MiB. xCAT's TEXT ends at 64 KiB, where the other databases have no end.
        text: "MEDIUMTEXT",
        key: "VARCHAR(128)",
        auto: "INTEGER AUTO_INCREMENT",
    },
    auto_placeholder: |_| "?".to_owned(),
    upsert,
    columns_query: "SELECT table_name, column_name, data_type FROM information_schema.columns \
                    WHERE table_schema=DATABASE()",
    narrow_text: Some("text"),
    databases_query: "SELECT schema_name FROM information_schema.schemata",
    ddl_lock: ("SELECT GET_LOCK('dawn_ddl',8)", "SELECT RELEASE_LOCK('dawn_ddl')"),
    begin_read: "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    own_tables: &[
        "CREATE TABLE IF NOT EXISTS dawn_writer (id INTEGER PRIMARY KEY, seq BIGINT NOT NULL) ENGINE=InnoDB",
        "INSERT IGNORE INTO dawn_writer (id,seq) VALUES (1,0)",
        "CREATE TABLE IF NOT EXISTS dawn_change (seq BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, who TEXT NOT NULL, \
         command MEDIUMTEXT NOT NULL, quiet BIGINT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "CREATE TABLE IF NOT EXISTS dawn_change_part (seq BIGINT NOT NULL, part BIGINT NOT NULL, effects LONGTEXT NOT NULL, \
         PRIMARY KEY (seq,part)) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ],
    notify: None,
    read_only_query: "SELECT CASE WHEN @@global.read_only OR @@global.innodb_read_only THEN '1' ELSE '0' END",
};

fn upsert(dialect: &Dialect, table: &Table) -> String {
    let names = table.columns.iter().filter(|c| !c.is_key).map(|c| dialect.name(c.name));
    let sets: Vec<String> = names.map(|n| format!("{n}=VALUES({n})")).collect();
    format!(" ON DUPLICATE KEY UPDATE {}", sets.join(","))
}

/// Opens a database.
pub(super) fn open(address: &ServerAddress, if_missing: IfMissing) -> Result<Box<dyn Store>, StoreError> {
    Ok(Box::new(ServerStore::<Mysql>::open(address, if_missing)?))
}

pub(super) struct Mysql {
    connection: Conn,
}

fn connect(target: &Target<'_>) -> Result<Conn, StoreError> {
    let Target { address, host, connect_time, answer_time } = *target;
    let mut options = OptsBuilder::new()
        .user(Some(&address.user))
        .pass(Some(address.password.reveal()))
        .db_name(Some(&address.dbname).filter(|name| !name.is_empty()))
        .tcp_connect_timeout(Some(connect_time))
        .read_timeout(Some(answer_time))
        .write_timeout(Some(answer_time))
        .init(session());
    options = if host.name.starts_with('/') {
        options.socket(Some(&host.name))
    } else {
        options.ip_or_hostname(Some(&host.name)).tcp_port(host.port.unwrap_or(3306)).prefer_socket(false)
    };
    let place = || target.place(DIALECT.engine);
    // The greeting has the time limit of an answer, and no other can be given: a thread waits for it.
    let (greeted, greeting) = sync_channel(1);
    let greet = move || drop(greeted.send(Conn::new(options)));
    let spawned = thread::Builder::new().name("dawn-mysql".into()).spawn(greet);
    spawned.map_err(|error| StoreError::Other(format!("cannot start a thread: {error}")))?;
    let connected = greeting.recv_timeout(connect_time).map_err(|error| match error {
        RecvTimeoutError::Timeout => StoreError::Silent,
        RecvTimeoutError::Disconnected => StoreError::Lost("the attempt to connect has ended".into()),
    })?;
    connected.map_err(|error| match &error {
        // Too many connections, a server that ends.
        mysql::Error::MySqlError(e) if !matches!(e.code, 1040 | 1053 | 1203) => {
            StoreError::Refused { place: place(), reason: e.message.clone() }
        }
        _ if is_timeout(&error) => StoreError::Silent,
        _ => StoreError::Open { place: place(), reason: error.to_string() },
    })
}

/// The server did not answer for too long. A socket's timeout comes as one of two kinds, and from the
/// connection or from its packets.
fn is_timeout(error: &mysql::Error) -> bool {
    let io: Option<&io::Error> = match error {
        mysql::Error::IoError(e) => Some(e),
        mysql::Error::CodecError(e) => std::error::Error::source(e).and_then(|cause| cause.downcast_ref()),
        _ => None,
    };
    io.is_some_and(|e| matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

fn failed(error: mysql::Error) -> StoreError {
    match error {
        error if is_timeout(&error) => StoreError::Silent,
        mysql::Error::MySqlError(e) => match e.code {
            1021 | 1114 => StoreError::Full,
            1290 | 1792 | 1836 => StoreError::ReadOnly,
            1205 | 1213 => StoreError::Busy,
            1053 | 1077 | 1079 | 1927 => StoreError::Lost(e.message),
            _ => StoreError::Other(e.message),
        },
        mysql::Error::IoError(e) => StoreError::Lost(e.to_string()),
        mysql::Error::CodecError(e) => StoreError::Lost(e.to_string()),
        mysql::Error::DriverError(e) => StoreError::Lost(e.to_string()),
        other => StoreError::Other(other.to_string()),
    }
}

fn bound(params: &[Param<'_>]) -> Params {
    let one = |p: &Param<'_>| match p {
        Param::Text(None) => Value::NULL,
        Param::Text(Some(text)) => Value::Bytes(text.as_bytes().to_vec()),
        Param::Int(n) => Value::Int(*n),
    };
    if params.is_empty() { Params::Empty } else { Params::Positional(params.iter().map(one).collect()) }
}

fn cell(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(n) => Some(n.to_string()),
        Value::UInt(n) => Some(n.to_string()),
        other => Some(other.as_sql(true)),
    }
}

impl Client for Mysql {
    fn dialect() -> &'static ServerDialect {
        &DIALECT
    }

    fn connect(target: &Target<'_>) -> Result<Self, StoreError> {
        connect(target).map(|connection| Self { connection })
    }

    /// Keys are compared byte by byte, blanks at the end included; the two families name that differently.
    fn create_suffix(&mut self) -> Result<&'static str, StoreError> {
        let version: Option<String> = self.connection.query_first("SELECT VERSION()").map_err(failed)?;
        Ok(match version.is_some_and(|v| v.contains("MariaDB")) {
            true => " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
            false => " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
        })
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.connection.query_drop(sql).map_err(failed)
    }

    fn run(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.connection.exec_drop(sql, bound(params)).map_err(failed)?;
        Ok(self.connection.affected_rows())
    }

    fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<TextRows, StoreError> {
        let rows: Vec<mysql::Row> = self.connection.exec(sql, bound(params)).map_err(failed)?;
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(cell).collect()).collect())
    }

    fn bell(_: &ServerAddress) -> Result<Option<Box<dyn Bell>>, StoreError> {
        Ok(None)
    }
}

/// Makes the database and the user of `wanted` on a running server, as far as they are missing; `admin` must
/// be allowed to. An existing user gets the new password. Names must be plain: letters, digits, `_`.
pub(super) fn set_up(
    admin: &ServerAddress,
    wanted: &ServerAddress,
    from_hosts: &[String],
) -> Result<(), StoreError> {
    let Mysql { mut connection } = server::connect(admin, ANSWER_TIME_MAX)?;
    let user = super::plain_name(&wanted.user)?;
    let dbname = super::plain_name(&wanted.dbname)?;
    let literal = |text: &str| Value::Bytes(text.as_bytes().to_vec()).as_sql(false);
    let password = literal(wanted.password.reveal());
    let create =
        format!("CREATE DATABASE IF NOT EXISTS `{dbname}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    connection.query_drop(create).map_err(failed)?;
    for host in from_hosts {
        let account = format!("'{user}'@{}", literal(host));
        for sql in [
            format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password}"),
            format!("ALTER USER {account} IDENTIFIED BY {password}"),
            format!("GRANT ALL ON `{dbname}`.* TO {account}"),
        ] {
            connection.query_drop(sql).map_err(failed)?;
        }
    }
    Ok(())
}
