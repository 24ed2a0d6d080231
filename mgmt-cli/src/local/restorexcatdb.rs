//! `restorexCATdb`: all tables from files.

use super::LocalCommand;
use crate::backup::Options;
use crate::builder::{ask_with, fail, show};
use crate::environment::Environment;
use crate::terminal::print;
use dawn_bootd::command::Registry;
use dawn_cluster::utf8;
use dawn_commands::tables::tabrestore::{Sender, bundled};
use std::path::PathBuf;

/// Replace tables by the TABLE.csv files of a directory
///
/// All tables are one change: one `dawn undo` takes it back, and an error leaves everything as it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

impl LocalCommand for Args {
    const NAME: &'static str = "restorexCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry) -> i32 {
        let path = match self.options.path(" -p with path to database files is required ", environment) {
            Ok(path) => path,
            Err(code) => return code,
        };
        let directory = environment.directory.join(path);
        let Ok(entries) = std::fs::read_dir(&directory) else {
            print(" Input path must exist \n");
            return 1;
        };
        let skipped = self.options.skipped_tables(environment);
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|p| p.is_file()).collect();
        files.sort();
        let mut bundle = String::new();
        for file in files {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let table = name.split('.').next().unwrap_or(&name).to_owned();
            let skip = skipped.contains(&table);
            if self.options.verbose {
                let (verb, what) = if skip { ("Skipping", &name) } else { ("Restoring", &table) };
                print(&format!("{verb} {what}\n"));
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
        let words = Sender::RestorexCatdb.words(&path.to_string_lossy(), self.options.dry_run);
        match ask_with(environment, "tabrestore", words, Some(bundle)) {
            Err(text) => return fail(&format!("{text}\nNothing was restored.")),
            Ok(answers) => show(&answers),
        }
        if !self.options.dry_run {
            print("Restore of Database Complete.\n");
        }
        0
    }
}
