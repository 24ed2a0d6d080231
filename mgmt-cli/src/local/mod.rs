//! Commands that run in the process of their caller, one file each: they read or write its files and ask the
//! daemon for what they need.

mod collate;
mod complete;
mod completions;
mod copycds;
mod doctor;
mod dumpxcatdb;
mod genimage;
mod links;
mod man;
mod nodes;
mod packimage;
mod restore;
mod restorexcatdb;
mod sinv;
mod tabedit;

use crate::environment::Environment;
use crate::terminal::Terminal;
use dawn_bootd::command::parse::{Parsed, finish, parse};
use dawn_bootd::command::{Entry, Registry, VERSION};
use dawn_bootd::output::{CommandError, Done, Out, Stop};

/// The directory of the command log, below the data directory, and its mode.
pub(crate) const LOG: (&str, u32) = ("log", 0o700);

/// A command that runs in the caller's process.
pub(crate) trait LocalCommand: clap::Args {
    /// Name: symlink and sub-command.
    const NAME: &'static str;
    /// Whether it changes tables or files; then it has `--dry-run` (a test holds it to that).
    const WRITES: bool = false;
    /// What an undo of its change leaves as it is (files that it made or removed), as a sentence.
    const UNDO_LEAVES: Option<&'static str> = None;
    /// Whether it has `--json`, as every command has that prints results (a test lists the others).
    const JSON: bool = true;
    /// How its usage names it.
    const USAGE_NAME: &'static str = Self::NAME;
    /// Carries the command out.
    fn run(self, environment: &Environment, registry: &Registry, out: &mut Out<'_>) -> Done;
}

/// A local command: what every command says of itself, and how it runs.
pub(crate) struct Local {
    /// Name, arguments, help.
    pub entry: Entry,
    run: Run,
}

/// Runs a command that runs in the caller's process.
type Run = fn(&[String], &Environment, &Registry, &mut Out<'_>) -> Done;

impl Local {
    /// Of its type.
    pub(crate) const fn of<C: LocalCommand>() -> Self {
        Self { entry: Entry::local(C::NAME, C::WRITES, C::UNDO_LEAVES, clap_of::<C>), run: run::<C> }
    }

    /// Runs it with its words; the exit code.
    pub(crate) fn run(&self, words: &[String], environment: &Environment, registry: &Registry) -> i32 {
        let mut terminal = Terminal::default();
        let mut out = Out::immediate(&mut terminal);
        self.run_into(words, environment, registry, &mut out);
        terminal.code
    }

    /// The same with another place for what it prints.
    pub(crate) fn run_into(
        &self,
        words: &[String],
        environment: &Environment,
        registry: &Registry,
        out: &mut Out<'_>,
    ) {
        let done = (self.run)(words, environment, registry, out);
        out.conclude(done);
    }
}

/// All local commands, in alphabetical order.
pub(crate) static LOCAL: &[Local] = &[
    Local::of::<complete::Args>(),
    Local::of::<completions::Args>(),
    Local::of::<copycds::Args>(),
    Local::of::<doctor::Args>(),
    Local::of::<dumpxcatdb::Args>(),
    Local::of::<genimage::Args>(),
    Local::of::<links::Args>(),
    Local::of::<man::Args>(),
    Local::of::<packimage::Args>(),
    Local::of::<nodes::ping::Pping>(),
    Local::of::<nodes::ping::Ppping>(),
    Local::of::<nodes::pscp::Rsync>(),
    Local::of::<nodes::pscp::Scp>(),
    Local::of::<nodes::psh::Args>(),
    Local::of::<restore::Args>(),
    Local::of::<restorexcatdb::Args>(),
    Local::of::<sinv::Args>(),
    Local::of::<tabedit::Args>(),
    Local::of::<collate::Coll>(),
    Local::of::<collate::Bak>(),
    Local::of::<collate::Dshcoll>(),
];

/// The local command of that name.
pub(crate) fn find(name: &str) -> Option<&'static Local> {
    LOCAL.iter().find(|local| local.entry.name == name)
}

fn clap_of<C: LocalCommand>() -> clap::Command {
    finish(C::augment_args(clap::Command::new(C::NAME).bin_name(C::USAGE_NAME)), C::JSON)
}

fn run<C: LocalCommand>(
    words: &[String],
    environment: &Environment,
    registry: &Registry,
    out: &mut Out<'_>,
) -> Done {
    let parsed = parse::<C>(clap_of::<C>(), words);
    if parsed.is_json(words) {
        out.as_json();
    }
    let done = match parsed {
        Parsed::Args { args, .. } => args.run(environment, registry, out),
        Parsed::Help(text) => out.usage(text.trim_end()),
        Parsed::Version => out.notice(VERSION),
        Parsed::Wrong { reason, usage } => {
            let said = reason.map_or(Ok(()), |reason| out.error(CommandError::usage(reason)));
            said.and_then(|()| out.usage(usage.trim_end())).and(Err(Stop::Code(1)))
        }
    };
    out.finish(done)
}
