//! Which console a node has: the tables, read before anything is opened.
//!
//! `nodehm.cons` names the method; without it a node with `nodehm.serialport` has that of `nodehm.mgt`, and a
//! node with neither has no console.

use std::path::PathBuf;
use std::sync::Arc;

use dawn_cluster::{Snapshot, col};

use super::source::{Socket, Sol, Source};
use crate::error::Error;
use crate::hub::Links;
use crate::target::{self, Bmc};

/// Where a console is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Serial over LAN of this service processor.
    Sol(Box<Bmc>),
    /// A socket of a virtual machine.
    Socket(PathBuf),
    /// There is no way to it, and why.
    Nowhere(String),
}

impl Place {
    /// How it is read; `None` if there is no way.
    pub fn source(&self, links: &Arc<Links>) -> Option<Arc<dyn Source>> {
        match self {
            Self::Sol(bmc) => Some(Arc::new(Sol { links: Arc::clone(links), bmc: (**bmc).clone() })),
            Self::Socket(path) => Some(Arc::new(Socket(path.clone()))),
            Self::Nowhere(_) => None,
        }
    }
}

/// The console of a node, if it has one.
pub fn place(snapshot: &Snapshot, node: &str) -> Option<Place> {
    let attr = |column| target::attr(snapshot, node, column);
    let by_port = || attr(col::nodehm::SERIALPORT).and_then(|_| attr(col::nodehm::MGT));
    let method = attr(col::nodehm::CONS).or_else(by_port)?;
    Some(match method.as_str() {
        "ipmi" => match target::bmcs(snapshot, node).into_iter().next() {
            Some(bmc) => Place::Sol(Box::new(bmc)),
            None => Place::Nowhere(Error::Unresolved(node.to_owned()).to_string()),
        },
        "qemu" => Place::Socket(target::qemu_directory(snapshot, node).join(format!("{node}.serial"))),
        other => Place::Nowhere(format!("no console for cons={other} in this version")),
    })
}

/// Whether a console is connected only while somebody looks: `nodehm.consoleondemand`, else
/// `site.consoleondemand`.
pub fn is_on_demand(snapshot: &Snapshot, node: &str) -> bool {
    match target::attr(snapshot, node, col::nodehm::CONSOLEONDEMAND).as_deref() {
        Some("1" | "yes") => true,
        Some("0" | "no") => false,
        _ => snapshot.site_flag("consoleondemand", false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)]);
        let of = |rows: &[Row<'_>]| {
            let node: Row<'_> = ("nodelist", &[("node", "cn1"), ("groups", "all")]);
            let snapshot = Snapshot::from_rows(std::iter::once(node).chain(rows.iter().copied()));
            let text = match place(&snapshot, "cn1") {
                None => "none".to_owned(),
                Some(Place::Sol(bmc)) => format!("sol {}:{}", bmc.host, bmc.port),
                Some(Place::Socket(path)) => path.display().to_string(),
                Some(Place::Nowhere(why)) => why,
            };
            (text, is_on_demand(&snapshot, "cn1"))
        };
        let ipmi: Row<'_> = ("ipmi", &[("node", "cn1"), ("bmc", "10.0.0.9:9001")]);
        let vm: Row<'_> = ("vm", &[("node", "cn1"), ("cfgstore", "/srv/vm")]);
        let socket: Row<'_> = ("vm", &[("node", "cn1"), ("cfgstore", "/run/docker.sock")]);
        let always: Row<'_> = ("site", &[("key", "consoleondemand"), ("value", "yes")]);
        for (rows, expected, on_demand) in [
            (&[("nodehm", &[("node", "cn1"), ("mgt", "ipmi")][..])][..], "none", false),
            (
                &[("nodehm", &[("node", "cn1"), ("mgt", "ipmi"), ("serialport", "0")]), ipmi, always],
                "sol 10.0.0.9:9001",
                true,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "qemu"), ("consoleondemand", "no")]), vm, always],
                "/srv/vm/cn1.serial",
                false,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "qemu"), ("consoleondemand", "1")]), socket],
                "/run/cn1.serial",
                true,
            ),
            (
                &[("nodehm", &[("node", "cn1"), ("cons", "hmc")])],
                "no console for cons=hmc in this version",
                false,
            ),
        ] {
            assert_eq!(of(rows), (expected.to_owned(), on_demand), "{rows:?}");
        }
    }
}
