//! `dumpxCATdb`: all tables as files.

use crate::app::print;
use crate::builder::{ask, fail};
use crate::edits::{file_line, written};
use crate::environment::Environment;
use crate::frame::LocalCommand;
use dawn_cluster::schema;
use std::path::PathBuf;

/// Write all tables as TABLE.csv into a directory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory; made if it is missing
    #[arg(short = 'p', value_name = "DIR")]
    path: Option<PathBuf>,
    /// auditlog and eventlog too
    #[arg(short = 'a')]
    all: bool,
    /// Name the tables
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Native dump of the database, which does not exist here
    #[arg(short = 'b', hide = true)]
    binary: bool,
}

impl LocalCommand for Args {
    const NAME: &'static str = "dumpxCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment) -> i32 {
        if self.binary {
            print("Binary dump (-b) is not supported for SQLite\n");
            return 1;
        }
        let Some(path) = &self.path else {
            print(" Requires -p with path to directory to hold db files.\n");
            return 1;
        };
        let directory = environment.directory.join(path);
        if !directory.is_dir() && !self.dry_run {
            print(&format!(" Creating {} for database dump\n", directory.display()));
            if let Err(error) = std::fs::create_dir_all(&directory) {
                return fail(&format!("{}: {error}", directory.display()));
            }
        }
        let mut failed = 0;
        let skipped = skipped_tables(environment, self.all);
        for table in schema().tables_by_name() {
            let skip = skipped.iter().any(|name| name == table.name);
            if self.verbose {
                print(&format!("{} {}\n", if skip { "Skipping" } else { "Dumping" }, table.name));
            }
            if skip {
                continue;
            }
            let file = directory.join(format!("{}.csv", table.name));
            if self.dry_run {
                print(&format!("{}\n", file_line(written(&file), &file)));
                continue;
            }
            let file = file.to_string_lossy().into_owned();
            // As in the reference, one table's failure does not stop the others.
            if let Err(text) = ask(environment, "tabdump", vec!["-f".into(), file, table.name.into()]) {
                fail(&format!("{}: {text}", table.name));
                failed += 1;
            }
        }
        if failed > 0 {
            return fail(&format!("{failed} tables could not be written: this is no complete backup."));
        }
        if !self.dry_run {
            print("Backup Complete.\n");
        }
        0
    }
}

/// Tables left out: the logs, and those of `XCAT_SKIPTABLES` or `site.skiptables`.
pub fn skipped_tables(environment: &Environment, all: bool) -> Vec<String> {
    let listed = match environment.variable("XCAT_SKIPTABLES") {
        Some(list) => list.to_owned(),
        None => site_value(environment, "skiptables"),
    };
    let mut names: Vec<String> = listed.split([',', ' ']).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    if !all {
        names.extend(["auditlog".to_owned(), "eventlog".to_owned()]);
    }
    names
}

fn site_value(environment: &Environment, key: &str) -> String {
    let responses = ask(environment, "gettab", vec![format!("key={key}"), "site.value".into()]);
    let responses = responses.unwrap_or_default();
    let texts = responses.iter().flat_map(|response| response.data.iter()).filter_map(|data| match data {
        dawn_xcatd::Data::Text(text) => Some(text.clone()),
        dawn_xcatd::Data::Parts(_) => None,
    });
    texts.collect::<Vec<_>>().join(",")
}
