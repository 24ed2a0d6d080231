//! The client, the commands that run in the process of their caller, and what `main` of the one binary `dawn`
//! calls.
//!
//! Start at [`app::run`]: it chooses the command by the program's name (a symlink) or its first argument.
//! Most commands run in the daemon ([`dawn_bootd::serve`]) and are those of [`dawn_commands`]; the client
//! only forwards words and prints lines. `registry` composes them all.
//!
//! Invariants: environment and arguments are read in `main.rs` and nowhere else; the doc comment of a
//! command's arguments is its help, its man page and its part of `docs/commands.md`.

pub mod app;
mod areas;
mod backup;
mod builder;
mod complete;
mod console;
pub mod environment;
pub mod init;
mod local;
mod manual;
mod policy_repair;
mod post_scripts;
pub mod reference;
mod registry;
mod requests;
mod serve;
mod ssh_keys;
mod terminal;

#[cfg(test)]
mod documented_commands_tests;
#[cfg(test)]
mod dry_run_tests;
#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod testbed;
#[cfg(test)]
mod tests;
