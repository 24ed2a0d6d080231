//! Which database: `XCATCFG`, else the file `cfgloc` of the data directory, else SQLite in that directory.

use anyhow::{Context, Result};
use dawn_cluster::{Model, StoreAddress};
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

/// What `lsxcatd -d` says: never the password.
pub fn lines(address: &StoreAddress) -> Vec<String> {
    let engine = format!("dbengine={}", address.engine());
    let Some(server) = address.server() else { return vec![engine] };
    let place = address.cfgloc_line();
    let place: Vec<&str> = place.split('|').take(2).collect();
    vec![
        format!("cfgloc={}", place.join("|")),
        engine,
        format!("dbname={}", server.dbname),
        format!("dbhost={}", server.host_names()),
        format!("dbadmin={}", server.user),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice() {
        let directory = tempfile::tempdir().expect("a directory");
        let show = |xcatcfg: Option<&str>| match address(directory.path(), xcatcfg) {
            Ok(address) => lines(&address).join(" "),
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
