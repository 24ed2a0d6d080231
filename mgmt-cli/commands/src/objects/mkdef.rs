//! `mkdef`: new objects.

use crate::defs::args::Definition;
use crate::defs::write::{Objects, Written, from_words, plan};
use crate::defs::{self, Mode, Wanted, Words, templates};
use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Done, Out, Stop};
use dawn_cluster::Snapshot;

/// Define objects: nodes, groups, images, networks ...
///
/// Nodes need groups=. With -z the definitions are read as stanzas from standard input.
/// Templates of one's own are stanza files in templates/objects/TYPE/ of the data directory.
#[derive(Debug, clap::Args)]
#[command(override_usage = "mkdef [OPTIONS] NAME[,NAME...] ATTRIBUTE=VALUE...")]
pub struct Args {
    #[command(flatten)]
    definition: Definition,
    /// Replace definitions that exist
    #[arg(short = 'f', long)]
    force: bool,
    /// Take attributes that are not given from this object or template (lsdef --template lists templates)
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    #[arg(short = 'p', hide = true)]
    plus: bool,
    #[arg(short = 'm', hide = true)]
    minus: bool,
}

impl Command for Args {
    const NAME: &'static str = "mkdef";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let listing = self.plus || self.minus;
        let wrong = listing.then_some("The '-p' and '-m' options are not valid for the mkdef command.");
        let Some(words) = self.definition.begin(Self::NAME, wrong, ctx, out)? else { return Ok(()) };
        let mut done = Vec::new();
        transact(ctx, out, self.definition.dry_run, |base, out| {
            let wanted = self.wanted(&words, base, ctx)?;
            let nodes: Vec<String> =
                wanted.iter().filter(|w| w.kind.name == "node").map(|w| w.name.clone()).collect();
            crate::names::warn_capitals(&nodes, out)?;
            let outcome =
                plan(&wanted, &self.definition.options(true, self.force, Mode::Set, &ctx.view), base, out)?;
            done = outcome.done;
            let mut edits = Edits::new();
            edits.extend(outcome.edits);
            Ok(edits)
        })?;
        if self.definition.dry_run { Ok(()) } else { self.report(&mut done, out) }
    }
}

impl Args {
    fn wanted(&self, words: &Words, base: &Snapshot, ctx: &Ctx<'_>) -> Result<Vec<Wanted>, Stop> {
        if let Some(wanted) = self.definition.from_stanzas(words, ctx)? {
            return self.completed(wanted, base);
        }
        let kinds = defs::types(self.definition.kinds())?;
        let mut wanted = from_words(words, &kinds, Mode::Set, base, &ctx.view)?;
        if let Some(template) = &self.template {
            for object in &mut wanted {
                templates::fill(object, template, base, ctx.data)?;
            }
        }
        let wanted = self.completed(wanted, base)?;
        let nothing =
            wanted.iter().all(|object| object.pairs.is_empty()) && self.definition.conditions.is_empty();
        if nothing && !kinds.iter().any(|kind| kind.name == "group") {
            let hint = if kinds.iter().any(|kind| kind.name == "node") {
                " The 'groups' attribute is required when creating node definitions."
            } else {
                ""
            };
            return Err(Stop::usage(format!(
                "No object definitions have been created or modified: no attributes were specified.{hint}"
            )));
        }
        Ok(wanted)
    }

    fn completed(&self, mut wanted: Vec<Wanted>, base: &Snapshot) -> Result<Vec<Wanted>, Stop> {
        if self.definition.update {
            defs::complete::osimages(&mut wanted, base)?;
        }
        Ok(wanted)
    }

    fn report(&self, done: &mut [Written], out: &mut Out<'_>) -> Done {
        if out.failed() {
            return out.error(CommandError::usage(
                "One or more errors occured when attempting to create or modify xCAT object definitions.",
            ));
        }
        if done.is_empty() {
            return out.error(CommandError::conflict("0 object definitions have been created or modified."));
        }
        let mut lines = Vec::new();
        if self.definition.verbose {
            done.sort();
            lines.push("The database was updated for the following objects:".to_owned());
            lines.extend(done.iter().map(|written| written.name.clone()));
        }
        lines.push(format!("{} object definitions have been created or modified.", done.len()));
        out.report(&Objects::written(done, lines))
    }
}
