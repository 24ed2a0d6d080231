//! `undo`: take a change back.

use crate::edits::show;
use dawn_bootd::caller::View;
use dawn_bootd::command::{Command, Ctx, Kind, number};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_bootd::write_rights;
use dawn_cluster::{Edit, LogEntry, Snapshot};

/// Tables that decide who may do what: only root may undo changes of others there.
const OF_RIGHTS: [&str; 5] = ["notification", "passwd", "policy", "site", "token"];

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
    #[arg(value_name = "CHANGE", value_parser = number::at_least::<u64>(1))]
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
        let who = ctx.change_head().who;
        may_undo(ctx, &entry, &who)?;
        let check = |snapshot: &Snapshot, edits: &[Edit]| write_rights::check(ctx, snapshot, edits);
        if self.dry_run {
            return show(&ctx.model.undo_dry_run(&entry, check)?, out);
        }
        ctx.model.undo(&entry, &who, check)?;
        let undone =
            Deed::new("undone", "change", entry.seq.to_string()).with("command", entry.command.as_str());
        out.report(&undone.line(format!("Change {} is undone: {}", entry.seq, entry.command)))?;
        let made_by = entry.command.split(' ').next().and_then(|name| ctx.registry.find(name));
        made_by.and_then(|command| command.undo_leaves).map_or(Ok(()), |text| out.notice(text))
    }
}

/// Refuses to undo changes that the caller may not make: the caller must be allowed the command that made the
/// change for every node, and only root may undo rights that another user gave or took away.
fn may_undo(ctx: &Ctx<'_>, entry: &LogEntry, who: &str) -> Done {
    if ctx.view.is_root() {
        return Ok(());
    }
    let denied = |reason: String| Err(Stop::refused(format!("Permission denied: {reason}")));
    let of_rights = entry.rows.iter().map(|row| row.table.name()).find(|table| OF_RIGHTS.contains(table));
    if let Some(table) = of_rights.filter(|_| entry.who != who) {
        return denied(format!("only root takes back what others changed in the table {table}"));
    }
    let origin = ctx.model.origin_of(entry)?;
    let mut words = origin.split_whitespace().map(str::to_owned);
    let command = words.next().unwrap_or_default();
    if !View::may_use_for_all(&ctx.snapshot, ctx.call, &command, &words.collect::<Vec<_>>()) {
        return denied(format!("policy does not allow you {command} for every node"));
    }
    Ok(())
}
