//! `chdef`: changed objects.

use crate::defs::args::Definition;
use crate::defs::write::{Objects, Written, from_words, plan};
use crate::defs::{self, Mode, Wanted, Words};
use crate::edits::{Edits, transact};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{Deed, Done, Out, Stop};
use dawn_cluster::Snapshot;

/// Change attributes of objects; create objects that do not exist
///
/// An empty value clears the attribute. With -z the definitions are read as stanzas from standard input.
#[derive(Debug, clap::Args)]
#[command(override_usage = "chdef [OPTIONS] NAME[,NAME...] ATTRIBUTE=VALUE...")]
pub struct Args {
    #[command(flatten)]
    definition: Definition,
    /// Add the values to lists
    #[arg(short = 'p', long)]
    plus: bool,
    /// Remove the values from lists
    #[arg(short = 'm', long)]
    minus: bool,
    /// New name of the object
    #[arg(short = 'n', value_name = "NAME")]
    rename: Option<String>,
    #[arg(short = 'f', hide = true)]
    force: bool,
}

impl Command for Args {
    const NAME: &'static str = "chdef";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let wrong = self.force.then_some("The '-f' option is not valid for the chdef command.");
        let Some(words) = self.definition.begin(Self::NAME, wrong, ctx, out)? else { return Ok(()) };
        if let Some(to) = &self.rename {
            return self.rename(&words, to, ctx, out);
        }
        let mut done = Vec::new();
        transact(ctx, out, self.definition.dry_run, |base, out| {
            let mut wanted = self.wanted(&words, base, ctx)?;
            if self.definition.update {
                defs::complete::osimages(&mut wanted, base)?;
            }
            let outcome =
                plan(&wanted, &self.definition.options(false, false, self.mode(), &ctx.view), base, out)?;
            done = outcome.done;
            let mut edits = Edits::new();
            edits.extend(outcome.edits);
            Ok(edits)
        })?;
        if self.definition.dry_run { Ok(()) } else { self.report(&done, out) }
    }
}

impl Args {
    fn mode(&self) -> Mode {
        match (self.plus, self.minus) {
            (true, _) => Mode::Plus,
            (_, true) => Mode::Minus,
            _ => Mode::Set,
        }
    }

    fn wanted(&self, words: &Words, base: &Snapshot, ctx: &Ctx<'_>) -> Result<Vec<Wanted>, Stop> {
        match self.definition.from_stanzas(words, ctx)? {
            Some(wanted) => Ok(wanted),
            None => from_words(words, &defs::types(self.definition.kinds())?, self.mode(), base, &ctx.view),
        }
    }

    fn rename(&self, words: &Words, to: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let kinds = defs::types(self.definition.kinds())?;
        let ([kind], Some(from)) = (kinds.as_slice(), &words.names) else {
            return Err(Stop::usage("No object names were provided."));
        };
        transact(ctx, out, self.definition.dry_run, |base, _| {
            defs::check_new_name(kind, to, base)?;
            let edits = base.rename_object(kind, from, to);
            let mut list = Edits::new();
            list.extend(edits.map_err(|error| Stop::conflict(error.to_string()))?);
            Ok(list)
        })?;
        if self.definition.dry_run {
            Ok(())
        } else {
            let renamed = Deed::new("renamed", kind.name, to).with("from", from.as_str());
            out.report(&renamed.line(format!("Changed the object name from {from} to {to}.")))
        }
    }

    fn report(&self, done: &[Written], out: &mut Out<'_>) -> Done {
        let mut lines = Vec::new();
        match (self.definition.verbose, done.len()) {
            (true, 0) => lines.push("No database was updated".to_owned()),
            (true, _) => {
                let title = "The database was updated for the following objects:";
                let names = std::iter::once(title).chain(done.iter().map(|written| written.name.as_str()));
                lines.extend(names.flat_map(|name| [name.to_owned(), String::new()]));
            }
            (false, 0) => lines.push("No object definitions have been created or modified.".to_owned()),
            (false, count) => {
                lines.push(format!("{count} object definitions have been created or modified."));
            }
        }
        let created: Vec<&str> =
            done.iter().filter(|written| written.is_new).map(|written| written.name.as_str()).collect();
        if !created.is_empty() {
            lines.push(format!("New object definitions '{}' have been created.", created.join(",")));
        }
        out.report(&Objects::written(done, lines))
    }
}
