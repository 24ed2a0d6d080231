//! `restorexCATdb`: all tables from files.

use crate::app::print;
use crate::builder::{ask_with, fail};
use crate::commands::dumpxcatdb::skipped_tables;
use crate::commands::tabrestore::{Sender, bundled};
use crate::environment::Environment;
use crate::frame::LocalCommand;
use crate::utf8;
use std::path::PathBuf;

/// Replace tables by the TABLE.csv files of a directory
///
/// All tables are one change: one `dawn undo` takes it back, and an error leaves everything as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory
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
    /// Native restore of the database, which does not exist here
    #[arg(short = 'b', hide = true)]
    binary: bool,
}

impl LocalCommand for Args {
    const NAME: &'static str = "restorexCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment) -> i32 {
        if self.binary {
            print("Binary dump (-b) is not supported for SQLite\n");
            return 1;
        }
        let Some(path) = &self.path else {
            print(" -p with path to database files is required \n");
            return 1;
        };
        let directory = environment.directory.join(path);
        let Ok(entries) = std::fs::read_dir(&directory) else {
            print(" Input path must exist \n");
            return 1;
        };
        let skipped = skipped_tables(environment, self.all);
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|p| p.is_file()).collect();
        files.sort();
        let mut bundle = String::new();
        for file in files {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let table = name.split('.').next().unwrap_or(&name).to_owned();
            let skip = skipped.contains(&table);
            if self.verbose {
                print(&format!("{} {table}\n", if skip { "Skipping" } else { "Restoring" }));
            }
            if skip {
                continue;
            }
            let shown = file.display().to_string();
            let bytes = std::fs::read(&file).map_err(|error| format!("{shown}: {error}"));
            match bytes.and_then(|bytes| utf8::text(bytes, &shown)) {
                Ok(text) => bundle.push_str(&bundled(&name, &text)),
                Err(error) => return fail(&error),
            }
        }
        if bundle.is_empty() {
            let reason = "no TABLE.csv to restore; give the directory that dumpxCATdb wrote";
            return fail(&format!("{}: {reason}", directory.display()));
        }
        // One change: it is done as a whole or not at all, and one `dawn undo` takes it back.
        let words = Sender::RestorexCatdb.words(&path.to_string_lossy(), self.dry_run);
        match ask_with(environment, "tabrestore", words, Some(bundle)) {
            Err(text) => return fail(&format!("{text}\nNothing was restored.")),
            Ok(answers) if self.dry_run => {
                answers.iter().flat_map(|answer| answer.info.iter()).for_each(|line| print(&format!("{line}\n")));
            }
            Ok(_) => print("Restore of Database Complete.\n"),
        }
        0
    }
}
