//! `restorexCATdb`: all tables from files.

use super::LocalCommand;
use crate::backup::Options;
use crate::builder::{ask_with, show};
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_cluster::utf8;
use dawn_commands::tables::tabrestore::{Sender, bundled};
use std::path::PathBuf;

/// Replace tables by the TABLE.csv files of a directory
///
/// All tables are one change: one `dawn undo` takes it back, and an error leaves everything as it was.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

impl LocalCommand for Args {
    const NAME: &'static str = "restorexCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let path = self.options.path(" -p with path to database files is required ", environment, out)?;
        let directory = environment.directory.join(path);
        let Ok(entries) = std::fs::read_dir(&directory) else {
            out.plain_error(CommandError::not_found(" Input path must exist "))?;
            return Err(Stop::Code(1));
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
                let action = if skip { "skipped" } else { "restored" };
                out.report(&Deed::new(action, "table", table.as_str()).line(format!("{verb} {what}")))?;
            }
            if skip {
                continue;
            }
            let shown = file.display().to_string();
            let bytes = std::fs::read(&file)
                .map_err(|error| CommandError::unavailable(shown.clone()).cause(error))?;
            let text = utf8::text(bytes, &shown)?;
            bundle.push_str(&bundled(&name, &text));
        }
        if bundle.is_empty() {
            let reason = "no TABLE.csv to restore; give the directory that dumpxCATdb wrote";
            return Err(Stop::not_found(format!("{}: {reason}", directory.display())));
        }
        // One change: it is done as a whole or not at all, and one `dawn undo` takes it back.
        let words = Sender::RestorexCatdb.words(&path.to_string_lossy(), self.options.dry_run);
        let answers = ask_with(environment, "tabrestore", words, Some(bundle))
            .map_err(|error| CommandError::new(error.kind(), format!("{error}\nNothing was restored.")))?;
        show(&answers, out)?;
        if self.options.dry_run {
            return Ok(());
        }
        let restored = Deed::new("restored", "tables", path.display().to_string());
        out.report(&restored.line("Restore of Database Complete."))
    }
}
