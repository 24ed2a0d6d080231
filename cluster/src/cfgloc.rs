//! Where the database is: the text of `cfgloc`.
//!
//! ```text
//! SQLite:/etc/xcat                                      a directory
//! mysql:dbname=xcatdb;host=10.0.0.1|xcatadmin|secret    MySQL, MariaDB
//! Pg:dbname=xcatdb;host=10.0.0.1|xcatadm|secret         PostgreSQL
//! ```
//!
//! Text without a colon is a SQLite directory. Behind `host`, `port` and (MySQL) `mysql_socket` are
//! understood; a PostgreSQL host that begins with `/` is the directory of its socket. `DB2` and `CSV` are
//! recognised and refused.

use dawn_wire::Secret;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in a data directory.
const CFGLOC: &str = "cfgloc";
/// What its predecessor is called.
const CFGLOC_OLD: &str = "cfgloc.olddb";

/// A database on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Name of the database.
    pub dbname: String,
    /// Name, address, or (beginning with `/`) socket of the server.
    pub host: String,
    /// TCP port; `None` is the usual one.
    pub port: Option<u16>,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// Where a model is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// A file in this directory.
    Sqlite(PathBuf),
    /// PostgreSQL.
    Postgres(ServerAddress),
    /// MySQL or MariaDB.
    Mysql(ServerAddress),
}

/// Why a `cfgloc` text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CfglocError {
    /// The file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// Nothing in it.
    #[error("cfgloc is empty")]
    Empty,
    /// A database that this program does not speak to.
    #[error("cfgloc names {0}, which is not supported; use SQLite, Pg or mysql")]
    Unsupported(String),
    /// Not `what:…|user|password`.
    #[error("cfgloc: expected {0}:dbname=NAME;host=HOST|USER|PASSWORD")]
    Form(String),
    /// A part that must be there is not.
    #[error("cfgloc: {0} is missing")]
    Missing(&'static str),
    /// Not a port number.
    #[error("cfgloc: {0:?} is not a port")]
    Port(String),
}

impl StoreAddress {
    /// Reads the first line of a `cfgloc` file (or the value of `XCATCFG`).
    pub fn parse(text: &str) -> Result<Self, CfglocError> {
        let line = text.lines().next().unwrap_or("").trim();
        if line.is_empty() {
            return Err(CfglocError::Empty);
        }
        let Some((engine, rest)) = line.split_once(':') else { return Ok(Self::Sqlite(line.into())) };
        match engine {
            _ if engine.eq_ignore_ascii_case("sqlite") => Ok(Self::Sqlite(rest.into())),
            _ if engine.eq_ignore_ascii_case("mysql") => Ok(Self::Mysql(server("mysql", rest)?)),
            _ if engine.eq_ignore_ascii_case("pg") => Ok(Self::Postgres(server("Pg", rest)?)),
            other => Err(CfglocError::Unsupported(other.to_owned())),
        }
    }

    /// The address in a data directory's `cfgloc`; `None` if there is no such file.
    pub fn read(directory: &Path) -> Result<Option<Self>, CfglocError> {
        let path = directory.join(CFGLOC);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CfglocError::File { path, reason: error.to_string() }),
        }
    }

    /// Stores the address in a data directory's `cfgloc`, readable for its owner only. An older file becomes
    /// `cfgloc.olddb`. An address that is SQLite in the directory itself needs no file: an existing one is
    /// moved away.
    pub fn write(&self, directory: &Path) -> Result<(), CfglocError> {
        let path = directory.join(CFGLOC);
        let fail = |error: io::Error| CfglocError::File { path: path.clone(), reason: error.to_string() };
        if path.exists() {
            fs::rename(&path, directory.join(CFGLOC_OLD)).map_err(fail)?;
        }
        if *self == Self::Sqlite(directory.to_owned()) {
            return Ok(());
        }
        // Complete under another name first: a daemon that starts meanwhile finds all of it or nothing.
        let new = directory.join("cfgloc.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(fail)?;
        file.write_all(format!("{}\n", self.cfgloc_line()).as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(fail)?;
        fs::rename(&new, &path).map_err(fail)
    }

    /// The text for a `cfgloc` file, password included: the file must have mode 0600.
    pub fn cfgloc_line(&self) -> String {
        let server = |engine: &str, a: &ServerAddress| {
            let port = a.port.map(|p| format!(";port={p}")).unwrap_or_default();
            format!("{engine}:dbname={};host={}{port}|{}|{}", a.dbname, a.host, a.user, a.password.reveal())
        };
        match self {
            Self::Sqlite(dir) => format!("SQLite:{}", dir.display()),
            Self::Postgres(a) => server("Pg", a),
            Self::Mysql(a) => server("mysql", a),
        }
    }

    /// The kind of database as `lsxcatd -d` names it.
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "Pg",
            Self::Mysql(_) => "mysql",
        }
    }

    /// The server's address.
    pub fn server(&self) -> Option<&ServerAddress> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(a) | Self::Mysql(a) => Some(a),
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(dir) => write!(f, "SQLite:{}", dir.display()),
            Self::Postgres(a) | Self::Mysql(a) => write!(f, "{}:{}@{}", self.engine(), a.dbname, a.host),
        }
    }
}

fn server(engine: &str, text: &str) -> Result<ServerAddress, CfglocError> {
    let form = || CfglocError::Form(engine.to_owned());
    let mut parts = text.splitn(3, '|');
    let (place, user, password) = (parts.next(), parts.next(), parts.next());
    let (place, user, password) = (place.ok_or_else(form)?, user.ok_or_else(form)?, password.unwrap_or(""));
    let value = |names: &[&str]| {
        let pair = |p: &'_ str| p.split_once('=').map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()));
        place.split(';').filter_map(pair).find(|(k, _)| names.contains(&k.as_str())).map(|(_, v)| v)
    };
    let port = value(&["port"]).map(|p| p.parse().map_err(|_| CfglocError::Port(p))).transpose()?;
    Ok(ServerAddress {
        dbname: value(&["dbname", "database"]).ok_or(CfglocError::Missing("dbname"))?,
        host: value(&["mysql_socket"]).or_else(|| value(&["host"])).unwrap_or_else(|| "localhost".into()),
        port,
        user: user.to_owned(),
        password: Secret::new(password),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, expect) in [
            ("/etc/xcat", "SQLite:/etc/xcat"),
            ("SQLite:/etc/xcat\n", "SQLite:/etc/xcat"),
            ("Pg:dbname=xcatdb;host=10.0.0.1|xcatadm|p|w", "Pg:dbname=xcatdb;host=10.0.0.1|xcatadm|p|w"),
            ("mysql:dbname=x;host=h;port=3307|u|", "mysql:dbname=x;host=h;port=3307|u|"),
            ("mysql:dbname=x|u|p", "mysql:dbname=x;host=localhost|u|p"),
            ("", "! cfgloc is empty"),
            ("DB2:xcatdb|xcatdb|p", "! cfgloc names DB2, which is not supported; use SQLite, Pg or mysql"),
            ("Pg:dbname=x", "! cfgloc: expected Pg:dbname=NAME;host=HOST|USER|PASSWORD"),
            ("Pg:host=x|u|p", "! cfgloc: dbname is missing"),
            ("Pg:dbname=x;port=y|u|p", "! cfgloc: \"y\" is not a port"),
        ] {
            let got = StoreAddress::parse(text).map_or_else(|e| format!("! {e}"), |a| a.cfgloc_line());
            assert_eq!(got, expect, "{text}");
        }
    }

    #[test]
    fn files() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        assert_eq!(StoreAddress::read(dir), Ok(None));
        let server = StoreAddress::parse("Pg:dbname=x;host=h|u|p").unwrap();
        server.write(dir).unwrap();
        assert_eq!(StoreAddress::read(dir), Ok(Some(server)));
        assert_eq!(dir.join(CFGLOC).metadata().unwrap().permissions().mode() & 0o777, 0o600);
        StoreAddress::Sqlite(dir.to_owned()).write(dir).unwrap();
        assert_eq!(StoreAddress::read(dir), Ok(None));
        assert!(dir.join(CFGLOC_OLD).exists());
    }

    #[test]
    fn passwords_are_not_shown() {
        let address = StoreAddress::parse("Pg:dbname=x;host=h|u|topsecret").unwrap();
        assert!(!format!("{address:?} {address}").contains("topsecret"));
    }
}
