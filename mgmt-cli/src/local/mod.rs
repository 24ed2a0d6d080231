//! Commands that run in the process of their caller, one file each: they read or write its files and ask the
//! daemon for what they need.

mod complete;
mod completions;
mod dumpxcatdb;
mod genimage;
mod links;
mod man;
mod packimage;
mod restorexcatdb;
mod tabedit;

use crate::environment::Environment;
use crate::terminal::{print, print_error};
use dawn_bootd::command::parse::{Parsed, finish, parse};
use dawn_bootd::command::{Entry, Registry, VERSION};

/// A command that runs in the caller's process.
pub trait LocalCommand: clap::Args {
    /// Name: symlink and sub-command.
    const NAME: &'static str;
    /// Whether it changes tables or files; then it has `--dry-run` (a test holds it to that).
    const WRITES: bool = false;
    /// Carries the command out; the exit code.
    fn run(self, environment: &Environment, registry: &Registry) -> i32;
}

/// A local command: what every command says of itself, and how it runs.
pub struct Local {
    /// Name, arguments, help.
    pub entry: Entry,
    run: fn(&[String], &Environment, &Registry) -> i32,
}

impl Local {
    const fn of<C: LocalCommand>() -> Self {
        Self { entry: Entry::local(C::NAME, C::WRITES, clap_of::<C>), run: run::<C> }
    }

    /// Runs it with its words; the exit code.
    pub fn run(&self, words: &[String], environment: &Environment, registry: &Registry) -> i32 {
        (self.run)(words, environment, registry)
    }
}

/// All local commands, in alphabetical order.
pub static LOCAL: &[Local] = &[
    Local::of::<complete::Args>(),
    Local::of::<completions::Args>(),
    Local::of::<dumpxcatdb::Args>(),
    Local::of::<genimage::Args>(),
    Local::of::<links::Args>(),
    Local::of::<man::Args>(),
    Local::of::<packimage::Args>(),
    Local::of::<restorexcatdb::Args>(),
    Local::of::<tabedit::Args>(),
];

/// The local command of that name.
pub fn find(name: &str) -> Option<&'static Local> {
    LOCAL.iter().find(|local| local.entry.name == name)
}

fn clap_of<C: LocalCommand>() -> clap::Command {
    finish(C::augment_args(clap::Command::new(C::NAME)), false)
}

fn run<C: LocalCommand>(words: &[String], environment: &Environment, registry: &Registry) -> i32 {
    match parse::<C>(clap_of::<C>(), words) {
        Parsed::Args { args, .. } => args.run(environment, registry),
        Parsed::Help(text) => print_lines(&text, 0),
        Parsed::Version => print_lines(VERSION, 0),
        Parsed::Wrong { reason, usage } => {
            reason.iter().for_each(|reason| print_error(reason));
            print_lines(&usage, 1)
        }
    }
}

fn print_lines(text: &str, code: i32) -> i32 {
    print(&format!("{}\n", text.trim_end()));
    code
}
