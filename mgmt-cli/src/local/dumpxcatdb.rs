//! `dumpxCATdb`: all tables as files.

use super::LocalCommand;
use crate::backup::Options;
use crate::builder::{ask, fail};
use crate::environment::Environment;
use crate::terminal::print;
use dawn_bootd::command::Registry;
use dawn_cluster::schema;
use dawn_commands::edits::{file_line, written};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

/// Write all tables as TABLE.csv into a directory
///
/// Tables hold passwords: the files, and the directory if it is made, are for root alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

impl LocalCommand for Args {
    const NAME: &'static str = "dumpxCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry) -> i32 {
        let path =
            match self.options.path(" Requires -p with path to directory to hold db files.", environment) {
                Ok(path) => path,
                Err(code) => return code,
            };
        let directory = environment.directory.join(path);
        if !directory.is_dir() && !self.options.dry_run {
            print(&format!(" Creating {} for database dump\n", directory.display()));
            if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&directory) {
                return fail(&format!("{}: {error}", directory.display()));
            }
        }
        let mut failed = 0;
        let skipped = self.options.skipped_tables(environment);
        for table in schema().tables_by_name() {
            let skip = skipped.iter().any(|name| name == table.name);
            if self.options.verbose {
                print(&format!("{} {}\n", if skip { "Skipping" } else { "Dumping" }, table.name));
            }
            if skip {
                continue;
            }
            let file = directory.join(format!("{}.csv", table.name));
            if self.options.dry_run {
                print(&format!("{}\n", file_line(written(&file), &file)));
                continue;
            }
            let file = file.to_string_lossy().into_owned();
            // As in xCAT, one table's failure does not stop the others.
            if let Err(text) = ask(environment, "tabdump", vec!["-f".into(), file, table.name.into()]) {
                fail(&format!("{}: {text}", table.name));
                failed += 1;
            }
        }
        if failed > 0 {
            return fail(&format!("{failed} tables could not be written: this is not a complete backup."));
        }
        if !self.options.dry_run {
            print("Backup Complete.\n");
        }
        0
    }
}
