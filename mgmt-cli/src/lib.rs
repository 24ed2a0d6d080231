//! The commands, the client, and what `main` of the one binary `dawn` calls.
//!
//! Start at [`app::run`]: it chooses the command by the program's name (a symlink) or its first argument.
//! Most commands run in the daemon: [`command`] says what a command is, [`commands`] holds one file for
//! each, [`daemon`] carries them out for a caller that policy lets in. The client only forwards words
//! and prints lines. [`output`] is the way from a command to its caller.
//!
//! Invariants: environment and arguments are read in `main.rs` and nowhere else; a command changes the
//! model through one `Change` and never half; the doc comment of a command's arguments is its help,
//! its man page and its part of `docs/commands.md`.

mod addresses;
mod advice;
pub mod app;
mod app_status;
mod appliance;
mod areas;
mod backup;
mod builder;
mod caller;
pub mod command;
pub mod command_log;
pub mod commands;
mod complete;
mod conditions;
mod conflicts;
pub mod csv;
pub mod daemon;
mod daemon_log;
pub mod database;
mod dbsetup;
pub mod defs;
mod descriptions;
pub mod destiny;
mod destiny_reply;
mod edits;
pub mod environment;
pub mod hooks;
mod hosts;
pub mod imagedef;
pub mod init;
mod items;
mod lite;
mod local;
mod local_networks;
mod logins;
mod manual;
mod mypostscript;
mod names;
mod netboot;
mod next_boot;
pub mod notify;
pub mod output;
mod owner;
mod policy;
mod policy_repair;
pub mod reference;
mod registry;
pub mod requests;
pub mod serve;
mod sources;
mod ssh_keys;
mod synclist;
mod tabch;
mod terminal;
mod token;
mod typos;
mod utf8;
mod zones;

#[cfg(test)]
mod documented_commands_tests;
#[cfg(test)]
mod dry_run_tests;
#[cfg(test)]
mod testbed;
#[cfg(test)]
mod tests;
