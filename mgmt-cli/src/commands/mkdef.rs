//! `mkdef`: new objects.

use crate::defs::write::{Options, from_words, plan};
use crate::defs::{self, Mode, Wanted, Words, templates};
use crate::edits::{Edits, transact};
use crate::frame::{Command, Ctx, Kind};
use crate::output::{Done, Out, Stop};
use dawn_cluster::Snapshot;
use std::path::Path;

/// Define objects: nodes, groups, images, networks ...
///
/// Nodes need groups=. With -z the definitions are read as stanzas from standard input.
/// Templates of one's own are stanza files in templates/objects/TYPE/ of the data directory.
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
    /// Replace definitions that exist
    #[arg(short = 'f', long)]
    force: bool,
    /// Dynamic group: its members are the nodes that satisfy -w
    #[arg(short = 'd', long)]
    dynamic: bool,
    /// Members of a group: nodes whose ATTRIBUTE<op>VALUE holds; repeatable
    #[arg(short = 'w', value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Take what is not given from this object or template (lsdef --template lists them)
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Say which objects were written
    #[arg(short = 'V', long)]
    verbose: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Complete osimages from their names and from the lists in installdir/custom
    #[arg(short = 'u')]
    update: bool,
    #[arg(short = 'p', hide = true)]
    plus: bool,
    #[arg(short = 'm', hide = true)]
    minus: bool,
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
    const NAME: &'static str = "mkdef";
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
        let mut done = Vec::new();
        transact(ctx, out, self.dry_run, |base, out| {
            let wanted = self.wanted(&words, stdin, base, ctx.data)?;
            let nodes: Vec<String> =
                wanted.iter().filter(|w| w.kind.name == "node").map(|w| w.name.clone()).collect();
            crate::names::warn_capitals(&nodes, out)?;
            let options = Options {
                make: true,
                force: self.force,
                dynamic: self.dynamic,
                conditions: &self.conditions,
                mode: Mode::Set,
            };
            let outcome = plan(&wanted, &options, base, out)?;
            done = outcome.done;
            let mut edits = Edits::new();
            edits.extend(outcome.edits);
            Ok(edits)
        })?;
        if self.dry_run { Ok(()) } else { self.report(&mut done, out) }
    }
}

impl Args {
    fn conflict(&self, words: &Words) -> Option<&'static str> {
        let typed = self.kind.is_some() || words.names.is_some();
        [
            (self.xml, "The '-x' (XML format) option is not yet implemented."),
            (self.plus || self.minus, "The '-p' and '-m' options are not valid for the mkdef command."),
            (self.only.is_some(), "The '-i' option is only valid for the lsdef command."),
            (self.all && (typed || self.stanza), "Cannot use '-a' with '-o', a noderange or file input."),
            (self.stanza && self.kind.is_some(), "Cannot combine '-t' and '-a', '-z', or '-x' options."),
            (self.stanza && words.names.is_some(), "Cannot use '-z' with '-o' or a noderange."),
        ]
        .into_iter()
        .find_map(|(wrong, text)| wrong.then_some(text))
    }

    fn wanted(
        &self,
        words: &Words,
        stdin: Option<&str>,
        base: &Snapshot,
        data: Option<&Path>,
    ) -> Result<Vec<Wanted>, Stop> {
        if self.stanza || words.names.is_none() && self.kind.is_none() && stdin.is_some() {
            return self.completed(defs::from_stanzas(stdin)?, base);
        }
        let kinds = defs::types(self.kind.as_deref())?;
        let mut wanted = from_words(words, &kinds, Mode::Set, base)?;
        if let Some(template) = &self.template {
            for object in &mut wanted {
                templates::fill(object, template, base, data)?;
            }
        }
        let wanted = self.completed(wanted, base)?;
        let nothing = wanted.iter().all(|object| object.pairs.is_empty()) && self.conditions.is_empty();
        if nothing && !kinds.iter().any(|kind| kind.name == "group") {
            let hint = if kinds.iter().any(|kind| kind.name == "node") {
                " The 'groups' attribute is required when creating node definitions."
            } else {
                ""
            };
            return Err(Stop::message(format!(
                "No object definitions have been created or modified: no attributes were specified.{hint}"
            )));
        }
        Ok(wanted)
    }

    fn completed(&self, mut wanted: Vec<Wanted>, base: &Snapshot) -> Result<Vec<Wanted>, Stop> {
        if self.update {
            defs::complete::osimages(&mut wanted, base)?;
        }
        Ok(wanted)
    }

    fn report(&self, done: &mut [String], out: &mut Out<'_>) -> Done {
        if out.failed() {
            return out.error(
                "One or more errors occured when attempting to create or modify xCAT object definitions.",
            );
        }
        if done.is_empty() {
            return out.error("0 object definitions have been created or modified.");
        }
        if self.verbose {
            done.sort();
            out.line("The database was updated for the following objects:")?;
            done.iter().try_for_each(|name| out.line(name.clone()))?;
        }
        out.line(format!("{} object definitions have been created or modified.", done.len()))
    }
}
