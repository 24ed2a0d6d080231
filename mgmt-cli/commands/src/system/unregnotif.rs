//! `unregnotif`: no longer notified of table changes.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::col;

/// Remove the registration of a program
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Program
    #[arg(value_name = "FILE", required = true)]
    file: String,
}

impl Command for Args {
    const NAME: &'static str = "unregnotif";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let key = col::notification::FILENAME;
        transact_rows(ctx, out, self.dry_run, |snapshot, _| {
            if snapshot.find_rows(&[(key, &self.file)]).is_empty() {
                return Err(Stop::not_found(format!("{} is not registered.", self.file)));
            }
            let mut edits = Edits::new();
            edits.delete(&[(key, self.file.clone())], key.table.info());
            Ok(edits)
        })
    }
}
