//! Options that object commands share, and what they mean in all of them.

use super::{Mode, Wanted, Words};
use crate::defs;
use dawn_bootd::caller::View;
use dawn_bootd::command::Ctx;
use dawn_bootd::output::{Done, Out, Stop};

/// `lsdef` and `rmdef`: which objects.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Show this help; with -t the attributes of the type
    #[arg(short = 'h', long)]
    pub help: bool,
    /// Object types, comma separated [default: node]
    #[arg(short = 't', value_name = "TYPE")]
    pub kind: Option<String>,
    /// Object names
    #[arg(short = 'o', value_name = "NAMES")]
    pub objects: Option<String>,
    /// XML, which does not exist
    #[arg(short = 'x', hide = true)]
    pub xml: bool,
    /// Accepted for compatibility
    #[arg(long, hide = true)]
    nocache: bool,
    /// Names, or a noderange for nodes
    #[arg(value_name = "NAMES")]
    pub words: Vec<String>,
}

/// `mkdef` and `chdef`: which objects, and how they are written.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub struct Definition {
    /// Show this help; with -t the attributes of the type
    #[arg(short = 'h', long)]
    help: bool,
    /// Object types, comma separated [default: node; with -u, osimage]
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// Object names
    #[arg(short = 'o', value_name = "NAMES")]
    objects: Option<String>,
    /// Read stanzas from standard input
    #[arg(short = 'z', long)]
    stanza: bool,
    /// Dynamic group: its members are the nodes that satisfy -w
    #[arg(short = 'd', long)]
    pub dynamic: bool,
    /// Members of a group: nodes whose ATTRIBUTE<op>VALUE holds; repeatable
    #[arg(short = 'w', value_name = "CONDITION")]
    pub conditions: Vec<String>,
    /// List the objects that were written
    #[arg(short = 'V', long)]
    pub verbose: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    pub dry_run: bool,
    /// Complete osimages from their names and from the lists in installdir/custom
    #[arg(short = 'u')]
    pub update: bool,
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

impl Definition {
    /// The types that are meant, as `-t` writes them.
    pub fn kinds(&self) -> Option<&str> {
        self.kind.as_deref().or(self.update.then_some("osimage"))
    }

    /// The words of a command that has something to do; `None` if help, usage or a complaint (`own` is one of
    /// the command's own options that is wrong) was all.
    pub fn begin(
        &self,
        command: &str,
        own: Option<&'static str>,
        ctx: &Ctx<'_>,
        out: &mut Out<'_>,
    ) -> Result<Option<Words>, Stop> {
        let said = |done: Done| done.map(|()| None);
        if self.help {
            return said(defs::help(command, self.kind.as_deref(), ctx, out));
        }
        let words = Words::read(&self.words, self.objects.as_deref());
        let words = match words {
            Err(Stop::Error(error)) => return said(defs::refuse(command, &error.to_string(), ctx, out)),
            other => other?,
        };
        if let Some(text) = own.or_else(|| self.conflict(&words)) {
            return said(defs::refuse(command, text, ctx, out));
        }
        let nothing = self.words.is_empty() && self.objects.is_none() && self.kind.is_none();
        if nothing && ctx.call.request.stdin.is_none() {
            return said(defs::usage(command, ctx, out));
        }
        Ok(Some(words))
    }

    fn conflict(&self, words: &Words) -> Option<&'static str> {
        let typed = self.kind.is_some() || words.names.is_some();
        [
            (self.xml, "The '-x' (XML format) option is not yet implemented."),
            (self.only.is_some(), "The '-i' option is only valid for the lsdef command."),
            (self.all && (typed || self.stanza), "Cannot use '-a' with '-o', a noderange or file input."),
            (self.stanza && self.kind.is_some(), "Cannot combine '-t' and '-a', '-z', or '-x' options."),
            (self.stanza && words.names.is_some(), "Cannot use '-z' with '-o' or a noderange."),
        ]
        .into_iter()
        .find_map(|(wrong, text)| wrong.then_some(text))
    }

    /// The objects of the piped stanzas, if it is they that are meant.
    pub fn from_stanzas(&self, words: &Words, ctx: &Ctx<'_>) -> Result<Option<Vec<Wanted>>, Stop> {
        let stdin = ctx.call.request.stdin.as_deref();
        let meant = self.stanza || words.names.is_none() && self.kind.is_none() && stdin.is_some();
        if meant { defs::from_stanzas(stdin).map(Some) } else { Ok(None) }
    }

    /// How the objects are written.
    pub fn options<'a>(
        &'a self,
        make: bool,
        force: bool,
        mode: Mode,
        view: &'a View,
    ) -> super::write::Options<'a> {
        super::write::Options { make, force, dynamic: self.dynamic, conditions: &self.conditions, view, mode }
    }
}
