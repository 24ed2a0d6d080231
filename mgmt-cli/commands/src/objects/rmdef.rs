//! `rmdef`: objects removed.

use crate::defs::args::Selection;
use crate::defs::write::Objects;
use crate::defs::{self, Words};
use crate::edits::{Edits, transact};
use dawn_bootd::caller::View;
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::ObjectType;
use dawn_cluster::Snapshot;

/// Remove objects and their rows in all tables
#[derive(Debug, clap::Args)]
#[command(override_usage = "rmdef [OPTIONS] NAME[,NAME...]")]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// All objects of all types; needs -f
    #[arg(short = 'a', long)]
    all: bool,
    /// Confirm the removal of all objects (-a) or of the site object
    #[arg(short = 'f', long)]
    force: bool,
    /// Accepted for compatibility: boot files and reservations go with the definition
    #[arg(short = 'C', long)]
    cleanup: bool,
    /// List the objects that were removed
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    #[arg(short = 'd', hide = true)]
    dynamic: bool,
    #[arg(short = 'z', hide = true)]
    stanza: bool,
}

impl Command for Args {
    const NAME: &'static str = "rmdef";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.selection.help {
            return defs::help(Self::NAME, self.selection.kind.as_deref(), ctx, out);
        }
        let words = match Words::read(&self.selection.words, self.selection.objects.as_deref()) {
            Err(Stop::Error(error)) => return defs::refuse(Self::NAME, &error.to_string(), ctx, out),
            other => other?,
        };
        if !words.pairs.is_empty() || self.selection.xml || self.dynamic || self.stanza {
            return Err(Stop::usage("Invalid flag specified, see rmdef manpage for details."));
        }
        if self.all && self.selection.kind.is_some() {
            return defs::refuse(
                Self::NAME,
                "Cannot combine '-t' and '-a', '-z', or '-x' options.",
                ctx,
                out,
            );
        }
        if self.all && words.names.is_some() {
            return defs::refuse(
                Self::NAME,
                "Cannot use '-a' with '-o', a noderange or file input.",
                ctx,
                out,
            );
        }
        if self.all && !self.force {
            return defs::refuse(
                Self::NAME,
                "You must use the '-f' option when using the '-a' option.",
                ctx,
                out,
            );
        }
        if !self.all && self.selection.kind.is_none() && words.names.is_none() {
            return defs::usage(Self::NAME, ctx, out);
        }
        let mut removed = Vec::new();
        transact(ctx, out, self.dry_run, |base, out| {
            let mut edits = Edits::new();
            for (kind, name) in self.wanted(&words, base, &ctx.view)? {
                if base.has_object(kind, &name) {
                    edits.extend(base.delete_object(kind, &name));
                    removed.push((kind.name, name));
                } else {
                    let kind = kind.name;
                    out.error(CommandError::not_found(format!(
                        "Could not find an object named '{name}' of type '{kind}'."
                    )))?;
                }
            }
            Ok(edits)
        })?;
        if self.dry_run { Ok(()) } else { self.report(&removed, out) }
    }
}

impl Args {
    fn wanted(
        &self,
        words: &Words,
        base: &Snapshot,
        view: &View,
    ) -> Result<Vec<(&'static ObjectType, String)>, Stop> {
        let kinds = if self.all { defs::all_types() } else { defs::types(self.selection.kind.as_deref())? };
        let mut wanted = Vec::new();
        for kind in kinds {
            // The site table holds what the daemon needs to run.
            if kind.name == "site" && (self.all || !self.force) {
                if self.all {
                    continue;
                }
                return Err(Stop::refused(
                    "You must use the '-f' option to remove all rows of the site table.",
                ));
            }
            let names = match &words.names {
                Some(text) => defs::names(base, view, kind, text)?,
                None if self.all => base.object_names(kind).iter().map(|name| name.to_string()).collect(),
                None if kind.name == "site" => defs::names(base, view, kind, "")?,
                None => return Err(Stop::usage("No object names were provided.")),
            };
            wanted.extend(names.into_iter().map(|name| (kind, name)));
        }
        Ok(wanted)
    }

    fn report(&self, removed: &[(&'static str, String)], out: &mut Out<'_>) -> Done {
        let lines = match (removed.len(), self.verbose) {
            (0, _) => vec!["No objects have been removed from the xCAT database.".to_owned()],
            (count, false) => vec![format!("{count} object definitions have been removed.")],
            (_, true) => {
                let title = ["The following objects were removed:".to_owned(), String::new()];
                title.into_iter().chain(removed.iter().map(|(_, name)| name.clone())).collect()
            }
        };
        out.report(&Objects::removed(removed, lines))
    }
}
