//! `undo`: take a change back.

use crate::edits::show;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Done, Out};

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
        let entry = match self.id {
            Some(id) => ctx.model.change(id)?,
            None => ctx.model.newest_undoable()?,
        };
        if self.dry_run {
            return show(&ctx.model.undo_dry_run(&entry)?, out);
        }
        let who = ctx.change_head().who;
        ctx.model.undo(&entry, &who)?;
        out.line(format!("Change {} is undone: {}", entry.seq, entry.command))?;
        about_files(&entry.command).map_or(Ok(()), |line| out.line(line))
    }
}

/// What an undo leaves as it is: files that the command line of a change removed or made.
fn about_files(command: &str) -> Option<&'static str> {
    match command.split(' ').next()? {
        "rmimage" => Some("Only the tables: the files of the image that were removed are not brought back."),
        "imgimport" => Some("Only the tables: the files that were unpacked stay."),
        "genimage" | "packimage" | "liteimg" => {
            Some("Only the tables: the files of the image stay as they are.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::about_files;

    #[test]
    fn what_stays() {
        assert!(about_files("rmimage im1 --xcatdef").is_some_and(|line| line.contains("not brought back")));
        assert!(about_files("imgimport x.tgz").is_some_and(|line| line.contains("stay")));
        assert_eq!(about_files("chdef cn1 arch=x86_64"), None);
    }
}
