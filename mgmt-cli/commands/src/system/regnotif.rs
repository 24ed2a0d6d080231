//! `regnotif`: programs that are notified of table changes.

use crate::edits::{Edits, transact_rows};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::notify;
use dawn_bootd::output::{Done, Out, Stop};
use dawn_cluster::{col, schema};
use dawn_serving::bounded_read::{self, Refused};

/// Register a program to run when tables change
///
/// The program gets the kind of change, the table, and old and new rows on its standard input.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Operations: a (rows added), d (deleted), u (updated); comma separated
    #[arg(short = 'o', long = "operation", value_name = "OPERATIONS", default_value = "a,d,u")]
    operations: String,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Program
    #[arg(value_name = "FILE", required = true)]
    file: String,
    /// Tables, comma separated
    #[arg(value_name = "TABLES", required = true)]
    tables: String,
}

impl Command for Args {
    const NAME: &'static str = "regnotif";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        ctx.require_root("start programs")?;
        if !self.file.starts_with('/') {
            return Err(Stop::usage(format!("The file name {} must be a full path.", self.file)));
        }
        bounded_read::look(self.file.as_ref()).map_err(|why| match why {
            Refused::Missing => Stop::not_found(format!("The file {} does not exist.", self.file)),
            why => Stop::refused(format!("The file {} cannot be used: {why}.", self.file)),
        })?;
        notify::check(self.file.as_ref())
            .map_err(|why| Stop::refused(format!("The file {} would never be started: {why}.", self.file)))?;
        if let Some(table) = self.tables.split(',').find(|table| schema().find(table).is_none()) {
            return Err(Stop::not_found(format!("No such table: {table}")));
        }
        if let Some(word) = self.operations.split(',').find(|word| !matches!(*word, "a" | "d" | "u")) {
            return Err(Stop::usage(format!("{word} is not an operation: a, d or u")));
        }
        transact_rows(ctx, out, self.dry_run, |_, _| {
            let key = col::notification::FILENAME;
            let values = vec![
                (col::notification::TABLES, self.tables.clone()),
                (col::notification::TABLEOPS, self.operations.clone()),
            ];
            let mut edits = Edits::new();
            edits.set(key.table.info(), vec![(key, self.file.clone())], values);
            Ok(edits)
        })
    }
}
