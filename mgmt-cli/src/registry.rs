//! Composes the program: the commands of the daemon, the local ones, and what the program is beside them.

use crate::areas::AREAS;
use crate::command::Registry;
use crate::commands::COMMANDS;
use crate::local::LOCAL;
use crate::requests::REQUESTS;
use crate::{init, serve};
use clap::Args;

/// What the program is.
const ABOUT: &str = "A network-boot appliance: the services, the management commands and their client";

/// All commands, those of the daemon first.
pub fn registry() -> Registry {
    let local = LOCAL.iter().map(|local| local.entry);
    let commands = COMMANDS.iter().copied().chain(local).collect();
    Registry::new(program, AREAS, commands, REQUESTS.to_vec())
}

/// The program with what is not a command.
fn program() -> clap::Command {
    clap::Command::new("dawn")
        .about(ABOUT)
        .disable_help_subcommand(true)
        .term_width(100)
        .subcommand(serve::Args::augment_args(clap::Command::new("serve")))
        .subcommand(init::Args::augment_args(clap::Command::new("init")))
}
