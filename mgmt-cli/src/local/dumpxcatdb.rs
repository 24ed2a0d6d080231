//! `dumpxCATdb`: all tables as files.

use super::LocalCommand;
use crate::backup::Options;
use crate::builder::ask;
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, ErrorKind, Out, Stop};
use dawn_cluster::schema;
use dawn_commands::edits::{FileDifference, written};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

/// Write all tables as TABLE.csv into a directory
///
/// Tables hold passwords: the files, and the directory if it is made, are for root alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

impl LocalCommand for Args {
    const NAME: &'static str = "dumpxCATdb";
    const WRITES: bool = true;

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let missing = " Requires -p with path to directory to hold db files.";
        let path = self.options.path(missing, environment, out)?;
        let directory = environment.directory.join(path);
        if !directory.is_dir() && !self.options.dry_run {
            let name = directory.display().to_string();
            let line = format!(" Creating {name} for database dump");
            out.report(&Deed::new("created", "directory", name).line(line))?;
            let failed = |error| CommandError::conflict(directory.display().to_string()).cause(error);
            DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        }
        let mut failed = 0;
        let skipped = self.options.skipped_tables(environment);
        for table in schema().tables_by_name() {
            let skip = skipped.iter().any(|name| name == table.name);
            if self.options.verbose {
                let (action, verb) = if skip { ("skipped", "Skipping") } else { ("dumped", "Dumping") };
                out.report(&Deed::new(action, "table", table.name).line(format!("{verb} {}", table.name)))?;
            }
            if skip {
                continue;
            }
            let file = directory.join(format!("{}.csv", table.name));
            if self.options.dry_run {
                out.report(&FileDifference::of(written(&file), &file))?;
                continue;
            }
            let file = file.to_string_lossy().into_owned();
            match ask(environment, "tabdump", vec!["-f".into(), file, table.name.into()]) {
                Ok(_) => {}
                // No table comes from a daemon that does not answer.
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.into()),
                // As in xCAT, one table's failure does not stop the others.
                Err(error) => {
                    out.error(error.about(table.name))?;
                    failed += 1;
                }
            }
        }
        if failed > 0 {
            let text = format!("{failed} tables could not be written: this is not a complete backup.");
            return Err(Stop::unavailable(text));
        }
        if self.options.dry_run {
            return Ok(());
        }
        let dumped = Deed::new("dumped", "tables", directory.display().to_string());
        out.report(&dumped.line("Backup Complete."))
    }
}
