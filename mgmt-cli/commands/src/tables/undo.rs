//! `undo`: take a change back.

use crate::edits::show;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};

/// Undo a change: the newest one of an administrator, or the one with this number in the log
///
/// Tables only: files that a command removed are not brought back, files that it made stay. Refused if a row
/// it touched has been changed since. An undo is a change itself and can be undone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what would change without changing anything
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
        if ctx.view.limits().is_some() {
            let reason = "a change may be about any node, and policy keeps some from you";
            return Err(Stop::refused(format!("Permission denied: {reason}")));
        }
        let entry = match self.id {
            Some(id) => ctx.model.change(id)?,
            None => ctx.model.newest_undoable()?,
        };
        if self.dry_run {
            return show(&ctx.model.undo_dry_run(&entry)?, out);
        }
        let who = ctx.change_head().who;
        ctx.model.undo(&entry, &who)?;
        let undone =
            Deed::new("undone", "change", entry.seq.to_string()).with("command", entry.command.as_str());
        out.report(&undone.line(format!("Change {} is undone: {}", entry.seq, entry.command)))?;
        let made_by = entry.command.split(' ').next().and_then(|name| ctx.registry.find(name));
        made_by.and_then(|command| command.undo_leaves).map_or(Ok(()), |text| out.notice(text))
    }
}
