//! What `dumpxCATdb` and `restorexCATdb` have in common: options, and the tables that are left out.

use crate::builder::report;
use crate::environment::Environment;
use dawn_bootd::database::Place;
use dawn_bootd::output::{CommandError, Out, Stop};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options of both.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Options {
    /// Directory with the files TABLE.csv
    #[arg(short = 'p', value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Include auditlog and eventlog
    #[arg(short = 'a')]
    all: bool,
    /// Name the tables
    #[arg(short = 'V', long)]
    pub verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    pub dry_run: bool,
    /// Native dump of the database, which does not exist here
    #[arg(short = 'b', hide = true)]
    binary: bool,
    /// Time of a native dump
    #[arg(short = 't', hide = true, requires = "binary")]
    time: Option<String>,
}

impl Options {
    /// The directory as it was given; if there is none or something else is wanted, xCAT's line about it.
    pub(crate) fn path(
        &self,
        missing: &str,
        environment: &Environment,
        out: &mut Out<'_>,
    ) -> Result<&PathBuf, Stop> {
        if self.binary {
            let engine = engine(environment);
            let text = format!("Binary dump (-b) is not supported for {engine}");
            out.plain_error(CommandError::refused(text))?;
            return Err(Stop::Code(1));
        }
        match &self.path {
            Some(path) => Ok(path),
            None => {
                out.plain_error(CommandError::usage(missing))?;
                Err(Stop::Code(1))
            }
        }
    }

    /// Tables left out: the logs, and those of `XCAT_SKIPTABLES` or `site.skiptables`.
    pub(crate) fn skipped_tables(&self, environment: &Environment) -> Vec<String> {
        let listed = match environment.variable("XCAT_SKIPTABLES") {
            Some(list) => list.to_owned(),
            None => skiptables(environment),
        };
        let mut names: Vec<String> =
            listed.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if !self.all {
            names.extend(["auditlog".to_owned(), "eventlog".to_owned()]);
        }
        names
    }
}

/// What `lsxcatd -d` reports.
#[derive(Deserialize)]
struct Served {
    database: Place,
}

/// `SQLite`, `Pg` or `mysql`, as `lsxcatd -d` names it.
fn engine(environment: &Environment) -> String {
    let served: Vec<Served> = report(environment, "lsxcatd", &["-d"]).unwrap_or_default();
    served.into_iter().next().map_or_else(|| "this database".to_owned(), |served| served.database.engine)
}

/// The value of `site.skiptables`; nothing if the daemon does not answer.
fn skiptables(environment: &Environment) -> String {
    let words = ["key=skiptables", "site.value"];
    let rows: Vec<BTreeMap<String, String>> = report(environment, "gettab", &words).unwrap_or_default();
    rows.into_iter().flat_map(BTreeMap::into_values).collect::<Vec<_>>().join(",")
}
