//! What `dumpxCATdb` and `restorexCATdb` have in common: options, and the tables that are left out.

use crate::builder::ask;
use crate::environment::Environment;
use dawn_bootd::output::{CommandError, Out, Stop};
use dawn_xcatd::Data;
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
            None => texts(environment, "gettab", &["key=skiptables", "site.value"]).join(","),
        };
        let mut names: Vec<String> =
            listed.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if !self.all {
            names.extend(["auditlog".to_owned(), "eventlog".to_owned()]);
        }
        names
    }
}

/// `SQLite`, `Pg` or `mysql`, as `lsxcatd -d` names it.
fn engine(environment: &Environment) -> String {
    let lines = texts(environment, "lsxcatd", &["-d"]);
    let named = lines.iter().find_map(|line| line.strip_prefix("dbengine="));
    named.unwrap_or("this database").to_owned()
}

/// Lines and data of an answer; none if the daemon does not give one.
fn texts(environment: &Environment, command: &str, words: &[&str]) -> Vec<String> {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let answers = ask(environment, command, words).unwrap_or_default();
    let data = |data: &Data| match data {
        Data::Text(text) => Some(text.clone()),
        Data::Parts(_) => None,
    };
    answers
        .iter()
        .flat_map(|answer| answer.info.iter().cloned().chain(answer.data.iter().filter_map(data)))
        .collect()
}
