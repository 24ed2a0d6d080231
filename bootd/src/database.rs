//! Which database: `XCATCFG`, else the file `cfgloc` of the data directory, else SQLite in that directory.

use anyhow::{Context, Result};
use dawn_cluster::{Model, StoreAddress};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The file that names the database; mode 0600, because it holds a password.
pub fn cfgloc(data: &Path) -> PathBuf {
    data.join("cfgloc")
}

/// Address of the database of a data directory; `xcatcfg` is the value of `XCATCFG`.
pub fn address(data: &Path, xcatcfg: Option<&str>) -> Result<StoreAddress> {
    if let Some(text) = xcatcfg {
        return StoreAddress::parse(text).context("XCATCFG");
    }
    let file = cfgloc(data);
    match std::fs::read_to_string(&file) {
        Ok(text) => StoreAddress::parse(&text).with_context(|| file.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(StoreAddress::Sqlite(data.to_owned()))
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// Opens the database of a data directory.
pub fn open(data: &Path, xcatcfg: Option<&str>) -> Result<Model> {
    let address = address(data, xcatcfg)?;
    Ok(Model::open_at(&address)?)
}

/// Where the database is, as `lsxcatd -d` names it: never the password.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The words of the file `cfgloc` without the password, for a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfgloc: Option<String>,
    /// `SQLite`, `Pg` or `mysql`.
    #[serde(rename = "dbengine")]
    pub engine: String,
    /// Name of the database on its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbname: Option<String>,
    /// The server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbhost: Option<String>,
    /// The user of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dbadmin: Option<String>,
}

impl Place {
    /// What an address says.
    #[must_use]
    pub fn of(address: &StoreAddress) -> Self {
        let engine = address.engine().to_owned();
        let Some(server) = address.server() else { return Self { engine, ..Self::default() } };
        let line = address.cfgloc_line();
        Self {
            cfgloc: Some(line.split('|').take(2).collect::<Vec<_>>().join("|")),
            engine,
            dbname: Some(server.dbname.clone()),
            dbhost: Some(server.host_names()),
            dbadmin: Some(server.user.clone()),
        }
    }

    /// A line `key=value` for each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Self { cfgloc, engine, dbname, dbhost, dbadmin } = self;
        let [cfgloc, dbname, dbhost, dbadmin] = [cfgloc, dbname, dbhost, dbadmin].map(Option::as_deref);
        let all = [
            ("cfgloc", cfgloc),
            ("dbengine", Some(engine.as_str())),
            ("dbname", dbname),
            ("dbhost", dbhost),
            ("dbadmin", dbadmin),
        ];
        all.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice() {
        let directory = tempfile::tempdir().expect("a directory");
        let show = |xcatcfg: Option<&str>| match address(directory.path(), xcatcfg) {
            Ok(address) => Place::of(&address).lines().join(" "),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(show(None), "dbengine=SQLite");
        let pg = StoreAddress::parse("Pg:dbname=xcatdb;host=db1|xcatadm|hush").expect("an address");
        pg.write(directory.path()).expect("written");
        let expected =
            "cfgloc=Pg:dbname=xcatdb;host=db1|xcatadm dbengine=Pg dbname=xcatdb dbhost=db1 dbadmin=xcatadm";
        assert_eq!(show(None), expected);
        assert!(show(Some("nonsense:x")).starts_with("XCATCFG: "));
    }
}
