//! `undo`: take a change back.

use crate::edits::show;
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out};

/// Take a change back: the newest of an administrator, or the one with this number in the log
///
/// Refused if a row it touched has been changed since. An undo is a change itself and can be undone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Number of the change, from `dawn log`
    #[arg(value_name = "CHANGE")]
    id: Option<u64>,
}

impl Command for Args {
    const NAME: &'static str = "undo";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let entry = match self.id {
            Some(id) => ctx.model.change(id)?,
            None => ctx.model.newest_undoable()?,
        };
        if self.dry_run {
            return show(&ctx.model.undo_dry_run(&entry)?, out);
        }
        let who = ctx.change_head().who;
        ctx.model.undo(&entry, &who)?;
        out.line(format!("Change {} is undone: {}", entry.seq, entry.command))
    }
}
