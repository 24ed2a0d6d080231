//! Composes the program: the commands of the daemon, the local ones, and the rest of the program.

use crate::areas::AREAS;
use crate::local::LOCAL;
use crate::{init, serve};
use dawn_bootd::command::Registry;
use dawn_bootd::requests::REQUESTS;
use dawn_commands::{COMMANDS, PROGRAMS};

/// What the program is.
const ABOUT: &str = "A network-boot appliance: the services, the management commands and their client";

/// All commands, those of the daemon first.
pub(crate) fn registry() -> Registry {
    let local = LOCAL.iter().map(|local| local.entry);
    let commands = COMMANDS.iter().copied().chain(local).collect();
    Registry::new(program, AREAS, commands, [REQUESTS, PROGRAMS].concat())
}

/// The program with what is not a command.
fn program() -> clap::Command {
    clap::Command::new("dawn")
        .about(ABOUT)
        .disable_help_subcommand(true)
        .term_width(100)
        .subcommand(serve::clap())
        .subcommand((init::LOCAL.entry.clap)())
}
