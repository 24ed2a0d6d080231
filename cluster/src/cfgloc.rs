//! Where the database is: the text of `cfgloc`.
//!
//! ```text
//! SQLite:/etc/xcat                                      a directory
//! mysql:dbname=xcatdb;host=10.0.0.1|xcatadmin|secret    MySQL, MariaDB
//! Pg:dbname=xcatdb;host=10.0.0.1|xcatadm|secret         PostgreSQL
//! ```
//!
//! Text without a colon is a SQLite directory. `DB2` and `CSV` are recognised and refused. Of a server these
//! keys are understood, each once, and every other one is refused, because a typing mistake would silently
//! lead elsewhere:
//!
//! | key | value |
//! |---|---|
//! | `dbname`, `database` | name of the database |
//! | `host` | name or address of the server, or several separated by commas, which are tried in this order; a PostgreSQL host that begins with `/` is the directory of its socket |
//! | `port` | one for all servers, or one for each |
//! | `mysql_socket` | socket of a MySQL server on this machine, instead of `host` |
//! | `target_session_attrs` | `read-write`: only a server that can be written is used, the default if there are several; `any`: whichever answers |

use crate::nearest::nearest_of;
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

/// Servers of one database at most.
const HOSTS_MAX: usize = 16;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseHost {
    /// Name, address, or (beginning with `/`) socket.
    pub name: String,
    /// TCP port; `None` is the usual one.
    pub port: Option<u16>,
}

/// A database on a server, or on several of which one is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Name of the database.
    pub dbname: String,
    /// The servers, in the order in which they are tried.
    pub hosts: Vec<DatabaseHost>,
    /// Only a server that can be written is used; `None` is the usual choice.
    pub needs_writable: Option<bool>,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl ServerAddress {
    /// A database on one server.
    pub fn on(host: DatabaseHost, dbname: &str, user: &str, password: Secret) -> Self {
        let (dbname, user) = (dbname.to_owned(), user.to_owned());
        Self { dbname, hosts: vec![host], needs_writable: None, user, password }
    }

    /// Whether a server that can only be read is left for another one. A single server is taken as it is.
    pub fn needs_writable(&self) -> bool {
        self.needs_writable.unwrap_or(self.hosts.len() > 1)
    }

    /// The names of the servers, separated by commas.
    pub fn host_names(&self) -> String {
        self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The ports as `cfgloc` has them; `None` if all are the usual one.
    fn ports(&self) -> Option<String> {
        let ports: Vec<Option<u16>> = self.hosts.iter().map(|host| host.port).collect();
        let text = |port: &Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        match ports.split_first() {
            Some((first, rest)) if rest.iter().all(|port| port == first) => first.map(|_| text(first)),
            _ => Some(ports.iter().map(text).collect::<Vec<_>>().join(",")),
        }
    }
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
    /// A kind of database that this program does not support.
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
    /// A key that nothing reads.
    #[error("cfgloc: {key:?} is not understood{}", hint(meant))]
    UnknownKey {
        /// As it is written.
        key: String,
        /// The key that may be meant.
        meant: Option<&'static str>,
    },
    /// A part without `=`.
    #[error("cfgloc: {0:?} is not KEY=VALUE")]
    NoValue(String),
    /// A key that is there more than once, or two that mean the same.
    #[error("cfgloc: {0} is given twice; several servers are written host=FIRST,SECOND")]
    Twice(&'static str),
    /// A list of servers with an empty place, a server that is in it twice, or too many.
    #[error("cfgloc: host={text}: {reason}")]
    Hosts {
        /// The list.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Neither one port nor one for each server.
    #[error(
        "cfgloc: there are {hosts} servers and {ports} ports; give one port for all of them, or one for each"
    )]
    Ports {
        /// Number of servers.
        hosts: usize,
        /// Number of ports.
        ports: usize,
    },
    /// A kind of server that nothing can be stored on.
    #[error("cfgloc: target_session_attrs={0:?} is not understood; use read-write or any")]
    Session(String),
}

fn hint(meant: &Option<&'static str>) -> String {
    match meant {
        Some(key) => format!("; did you mean {key}?"),
        None => format!("; the keys are {}", KEYS.join(", ")),
    }
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
        let old = directory.join(CFGLOC_OLD);
        if *self == Self::Sqlite(directory.to_owned()) {
            return if path.exists() { fs::rename(&path, &old).map_err(fail) } else { Ok(()) };
        }
        // Complete under another name first: a daemon that starts meanwhile finds the new address or the old
        // one, and never none, which would mean SQLite.
        let new = directory.join("cfgloc.new");
        let _ = fs::remove_file(&new);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(fail)?;
        file.write_all(format!("{}\n", self.cfgloc_line()).as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(fail)?;
        if path.exists() {
            let kept = directory.join("cfgloc.kept");
            let _ = fs::remove_file(&kept);
            fs::hard_link(&path, &kept).and_then(|()| fs::rename(&kept, &old)).map_err(fail)?;
        }
        fs::rename(&new, &path).and_then(|()| fs::File::open(directory)?.sync_all()).map_err(fail)
    }

    /// The text for a `cfgloc` file, password included: the file must have mode 0600.
    pub fn cfgloc_line(&self) -> String {
        let server = |engine: &str, a: &ServerAddress| {
            let port = a.ports().map(|ports| format!(";port={ports}")).unwrap_or_default();
            let session = match a.needs_writable {
                Some(true) => ";target_session_attrs=read-write",
                Some(false) => ";target_session_attrs=any",
                None => "",
            };
            let (dbname, hosts, user) = (&a.dbname, a.host_names(), &a.user);
            format!("{engine}:dbname={dbname};host={hosts}{port}{session}|{user}|{}", a.password.reveal())
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
            Self::Postgres(a) | Self::Mysql(a) => {
                write!(f, "{}:{}@{}", self.engine(), a.dbname, a.host_names())
            }
        }
    }
}

/// Keys that a server's address may have.
const KEYS: [&str; 6] = ["dbname", "database", "host", "port", "mysql_socket", "target_session_attrs"];

fn server(engine: &str, text: &str) -> Result<ServerAddress, CfglocError> {
    let form = || CfglocError::Form(engine.to_owned());
    let mut parts = text.splitn(3, '|');
    let (place, user, password) = (parts.next(), parts.next(), parts.next());
    let (place, user, password) = (place.ok_or_else(form)?, user.ok_or_else(form)?, password.unwrap_or(""));
    let mut given: Vec<(&'static str, &str)> = Vec::new();
    for part in place.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| CfglocError::NoValue(part.to_owned()))?;
        let key = known_key(engine, key.trim())?;
        if given.iter().any(|(other, _)| *other == key) {
            return Err(CfglocError::Twice(key));
        }
        given.push((key, value.trim()));
    }
    let value = |key: &str| given.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    let either = |one: &'static str, other: &str| match (value(one), value(other)) {
        (Some(_), Some(_)) => Err(CfglocError::Twice(one)),
        (one, other) => Ok(one.or(other)),
    };
    let hosts = hosts(either("host", "mysql_socket")?.unwrap_or("localhost"), value("port"))?;
    let needs_writable = match value("target_session_attrs") {
        None => None,
        Some("read-write" | "primary") => Some(true),
        Some("any") => Some(false),
        Some(other) => return Err(CfglocError::Session(other.to_owned())),
    };
    Ok(ServerAddress {
        dbname: either("dbname", "database")?.ok_or(CfglocError::Missing("dbname"))?.to_owned(),
        hosts,
        needs_writable,
        user: user.to_owned(),
        password: Secret::new(password),
    })
}

fn known_key(engine: &str, key: &str) -> Result<&'static str, CfglocError> {
    let known = KEYS.into_iter().find(|known| *known == key);
    known.filter(|key| engine == "mysql" || *key != "mysql_socket").ok_or_else(|| {
        let meant = nearest_of(key, KEYS.iter().copied());
        let meant = meant.and_then(|meant| KEYS.into_iter().find(|known| *known == meant && *known != key));
        CfglocError::UnknownKey { key: key.to_owned(), meant }
    })
}

fn hosts(text: &str, ports: Option<&str>) -> Result<Vec<DatabaseHost>, CfglocError> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let wrong = |reason| CfglocError::Hosts { text: text.to_owned(), reason };
    if names.iter().any(|name| name.is_empty()) {
        return Err(wrong("a server without a name"));
    }
    if names.len() > HOSTS_MAX {
        return Err(wrong("more than 16 servers"));
    }
    let port = |text: &str| match text.trim() {
        "" => Ok(None),
        text => match text.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            _ => Err(CfglocError::Port(text.to_owned())),
        },
    };
    let ports: Vec<Option<u16>> =
        ports.map_or(Ok(vec![None]), |ports| ports.split(',').map(port).collect())?;
    let of_host: Vec<Option<u16>> = match ports.as_slice() {
        [one] => vec![*one; names.len()],
        list if list.len() == names.len() => ports,
        list => return Err(CfglocError::Ports { hosts: names.len(), ports: list.len() }),
    };
    let hosts: Vec<DatabaseHost> = names
        .into_iter()
        .zip(of_host)
        .map(|(name, port)| DatabaseHost { name: name.to_owned(), port })
        .collect();
    let is_double = |(at, host): (usize, &DatabaseHost)| hosts.iter().take(at).any(|other| other == host);
    if hosts.iter().enumerate().any(is_double) {
        return Err(wrong("a server is in the list twice"));
    }
    Ok(hosts)
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
            ("Pg:dbname=x;host=a,b,c|u|p", "Pg:dbname=x;host=a,b,c|u|p"),
            ("Pg:dbname=x; host = a , b ;port=5433|u|p", "Pg:dbname=x;host=a,b;port=5433|u|p"),
            ("mysql:database=x;host=a,b;port=3307,|u|p", "mysql:dbname=x;host=a,b;port=3307,|u|p"),
            (
                "Pg:dbname=x;host=/run/a,b;target_session_attrs=any|u|p",
                "Pg:dbname=x;host=/run/a,b;target_session_attrs=any|u|p",
            ),
            (
                "mysql:dbname=x;host=a;target_session_attrs=primary|u|p",
                "mysql:dbname=x;host=a;target_session_attrs=read-write|u|p",
            ),
            ("mysql:dbname=x;mysql_socket=/run/s|u|p", "mysql:dbname=x;host=/run/s|u|p"),
            ("Pg:dbname=x;hots=a,b|u|p", "! cfgloc: \"hots\" is not understood; did you mean host?"),
            (
                "Pg:dbname=x;sslmode=require|u|p",
                "! cfgloc: \"sslmode\" is not understood; the keys are dbname, database, host, port, mysql_socket, \
                 target_session_attrs",
            ),
            ("Pg:dbname=x;host|u|p", "! cfgloc: \"host\" is not KEY=VALUE"),
            (
                "Pg:dbname=x;host=a;host=b|u|p",
                "! cfgloc: host is given twice; several servers are written host=FIRST,SECOND",
            ),
            (
                "mysql:dbname=x;host=a;mysql_socket=/s|u|p",
                "! cfgloc: host is given twice; several servers are written host=FIRST,SECOND",
            ),
            ("Pg:dbname=x;host=a,,b|u|p", "! cfgloc: host=a,,b: a server without a name"),
            ("Pg:dbname=x;host=a,b,a|u|p", "! cfgloc: host=a,b,a: a server is in the list twice"),
            (
                "Pg:dbname=x;host=a,b,c;port=1,2|u|p",
                "! cfgloc: there are 3 servers and 2 ports; give one port for all of them, or one for each",
            ),
            ("Pg:dbname=x;host=a,b;port=1,0|u|p", "! cfgloc: \"0\" is not a port"),
            (
                "Pg:dbname=x;target_session_attrs=readwrite|u|p",
                "! cfgloc: target_session_attrs=\"readwrite\" is not understood; use read-write or any",
            ),
        ] {
            let got = StoreAddress::parse(text).map_or_else(|e| format!("! {e}"), |a| a.cfgloc_line());
            assert_eq!(got, expect, "{text}");
        }
    }

    #[test]
    fn which_servers_are_taken() {
        for (keys, needs_writable) in [
            ("host=a", false),
            ("host=a,b", true),
            ("host=a,b;target_session_attrs=any", false),
            ("host=a;target_session_attrs=read-write", true),
        ] {
            let address = StoreAddress::parse(&format!("Pg:dbname=x;{keys}|u|p")).unwrap();
            assert_eq!(address.server().unwrap().needs_writable(), needs_writable, "{keys}");
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
