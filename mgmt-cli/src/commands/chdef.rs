//! `chdef`: changed objects.

use crate::defs::write::{Options, from_words, plan};
use crate::defs::{self, Mode, Wanted, Words};
use crate::edits::{Edits, transact};
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::Snapshot;

/// Change attributes of objects; objects that do not exist are made
///
/// An empty value clears the attribute. With -z the definitions are read as stanzas from standard input.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Args {
    /// Show this help; with -t the attributes of the type
    #[arg(short = 'h', long)]
    help: bool,
    /// Object types, comma separated; node without it
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// Object names
    #[arg(short = 'o', value_name = "NAMES")]
    objects: Option<String>,
    /// Read stanzas from standard input
    #[arg(short = 'z', long)]
    stanza: bool,
    /// Add the values to lists
    #[arg(short = 'p', long)]
    plus: bool,
    /// Remove the values from lists
    #[arg(short = 'm', long)]
    minus: bool,
    /// New name of the object
    #[arg(short = 'n', value_name = "NAME")]
    rename: Option<String>,
    /// Dynamic group: its members are the nodes that satisfy -w
    #[arg(short = 'd', long)]
    dynamic: bool,
    /// Members of a group: nodes whose ATTRIBUTE<op>VALUE holds; repeatable
    #[arg(short = 'w', value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Say which objects were written
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Complete osimages from their names and from the lists in installdir/custom
    #[arg(short = 'u')]
    update: bool,
    #[arg(short = 'f', hide = true)]
    force: bool,
    #[arg(short = 'a', hide = true)]
    all: bool,
    #[arg(short = 'x', hide = true)]
    xml: bool,
    #[arg(short = 'i', hide = true, value_name = "LIST")]
    only: Option<String>,
    #[arg(long, hide = true)]
    nocache: bool,
    /// Names, or a noderange for nodes; ATTRIBUTE=VALUE
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "chdef";
    const KIND: Kind = Kind::Words;
    const NAMES_OBJECTS: bool = true;
    const READS_STDIN: bool = true;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.help {
            return defs::help(Self::NAME, self.kind.as_deref(), out);
        }
        let words = Words::read(&self.words, self.objects.as_deref())?;
        if let Some(text) = self.conflict(&words) {
            return defs::refuse(Self::NAME, text, out);
        }
        let stdin = ctx.call.request.stdin.as_deref();
        if self.words.is_empty() && self.objects.is_none() && self.kind.is_none() && stdin.is_none() {
            return defs::usage(Self::NAME, out);
        }
        if let Some(to) = &self.rename {
            return self.rename(&words, to, ctx, out);
        }
        let (mut done, mut created) = (Vec::new(), Vec::new());
        transact(ctx, out, self.dry_run, |base, out| {
            let mut wanted = self.wanted(&words, stdin, base)?;
            if self.update {
                defs::complete::osimages(&mut wanted, base)?;
            }
            let options = Options {
                make: false,
                force: false,
                dynamic: self.dynamic,
                conditions: &self.conditions,
                mode: self.mode(),
            };
            let outcome = plan(&wanted, &options, base, out)?;
            (done, created) = (outcome.done, outcome.created);
            let mut edits = Edits::new();
            edits.extend(outcome.edits);
            Ok(edits)
        })?;
        if self.dry_run { Ok(()) } else { self.report(&done, &created, out) }
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

    fn conflict(&self, words: &Words) -> Option<&'static str> {
        let typed = self.kind.is_some() || words.names.is_some();
        [
            (self.xml, "The '-x' (XML format) option is not yet implemented."),
            (self.force, "The '-f' option is not valid for the chdef command."),
            (self.only.is_some(), "The '-i' option is only valid for the lsdef command."),
            (self.all && (typed || self.stanza), "Cannot use '-a' with '-o', a noderange or file input."),
            (self.stanza && self.kind.is_some(), "Cannot combine '-t' and '-a', '-z', or '-x' options."),
            (self.stanza && words.names.is_some(), "Cannot use '-z' with '-o' or a noderange."),
        ]
        .into_iter()
        .find_map(|(wrong, text)| wrong.then_some(text))
    }

    fn wanted(&self, words: &Words, stdin: Option<&str>, base: &Snapshot) -> Result<Vec<Wanted>, Stop> {
        if self.stanza || words.names.is_none() && self.kind.is_none() && stdin.is_some() {
            return defs::from_stanzas(stdin);
        }
        from_words(words, &defs::types(self.kind.as_deref())?, self.mode(), base)
    }

    fn rename(&self, words: &Words, to: &str, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let kinds = defs::types(self.kind.as_deref())?;
        let ([kind], Some(from)) = (kinds.as_slice(), &words.names) else {
            return Err(Stop::message("No object names were provided."));
        };
        transact(ctx, out, self.dry_run, |base, _| {
            defs::check_new_name(kind, to, base).map_err(Stop::message)?;
            let edits = base.rename_object(kind, from, to);
            let mut list = Edits::new();
            list.extend(edits.map_err(|error| Stop::message(error.to_string()))?);
            Ok(list)
        })?;
        if self.dry_run { Ok(()) } else { out.line(format!("Changed the object name from {from} to {to}.")) }
    }

    fn report(&self, done: &[String], created: &[String], out: &mut Out<'_>) -> Done {
        if self.verbose {
            if done.is_empty() {
                return out.line("No database was updated");
            }
            out.line("The database was updated for the following objects:")?;
            out.line("")?;
            for name in done {
                out.line(name.clone())?;
                out.line("")?;
            }
        } else if done.is_empty() {
            out.line("No object definitions have been created or modified.")?;
        } else {
            out.line(format!("{} object definitions have been created or modified.", done.len()))?;
        }
        if created.is_empty() {
            return Ok(());
        }
        out.line(format!("New object definitions '{}' have been created.", created.join(",")))
    }
}
