//! `backup`: tables, keys and leases in a new directory, while the daemon runs.
//!
//! The tables are those of one snapshot, so no database is asked. The directory is written aside and renamed
//! when it is complete: the remains of a killed daemon are called DIR.partial, which no program accepts as a
//! backup. [`format`] says what is in it; `dawn restore` reads it.

pub mod format;

use crate::edits::{FileDifference, answers};
use dawn_bootd::command::disk::look;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_cluster::{Snapshot, csv, schema};
use format::{BackupError, Writer};
use std::path::Path;

/// Write tables, keys, certificates and leases into a new directory
///
/// The directory is for root alone: it holds passwords and the key of the certificate authority. Images and
/// other files below the install directory are not part of it. `dawn restore` reads it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory to make
    #[arg(value_name = "DIR", required = true)]
    directory: String,
    /// Show what would be written
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "backup";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let directory = ctx.output_of_caller(&self.directory)?;
        let data = ctx.data.ok_or_else(|| Stop::refused("this daemon has no data directory"))?;
        let shown = directory.display().to_string();
        let above = directory.parent().unwrap_or(Path::new("/"));
        if !answers(above)? {
            return Err(Stop::not_found(format!("there is no directory {}", above.display())));
        }
        if look(&directory, Path::exists)? {
            let error = CommandError::conflict(format!("{shown} exists already"));
            return Err(error
                .hint("A backup needs a new directory: give a path that does not exist.")
                .into());
        }
        if self.dry_run {
            return out.report(&FileDifference::directory(&directory));
        }
        let files = write(&ctx.snapshot, data, &directory)?;
        let change = ctx.snapshot.seq();
        let line = format!("{shown} holds {files} files, as of change {change}.");
        out.report(
            &Deed::new("created", "backup", shown).with("files", files).with("change", change).line(line),
        )
    }
}

/// Writes everything; the number of files.
fn write(snapshot: &Snapshot, data: &Path, directory: &Path) -> Result<usize, CommandError> {
    let mut writer = Writer::new(directory)?;
    for table in schema().tables_by_name() {
        let rows = snapshot.rows(table.id).map(csv::row_line);
        let lines: Vec<String> = std::iter::once(csv::header_line(table)).chain(rows).collect();
        writer.table(table.name, format!("{}\n", lines.join("\n")).as_bytes())?;
    }
    writer.data(data)?;
    Ok(writer.finish(snapshot.seq())?)
}

impl From<BackupError> for CommandError {
    fn from(error: BackupError) -> Self {
        let text = error.to_string();
        match error {
            BackupError::NoContents(_) => Self::not_found(text),
            BackupError::Later(_) => Self::refused(text).hint("Restore it with that version of Dawn."),
            BackupError::Io { .. } => Self::unavailable(text),
            BackupError::Unfinished(path) => Self::conflict(text)
                .hint(format!("If no other backup is running: `rm -r {}`", path.display())),
            BackupError::Contents { .. } | BackupError::File { .. } | BackupError::Unfit { .. } => {
                Self::conflict(text)
            }
        }
    }
}
