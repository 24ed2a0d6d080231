//! Help: the program with all its commands, by area, and the advice about a name that is not a command.

use super::Registry;
use crate::advice;
use crate::output::CommandError;

/// A group of commands with one subject.
pub struct Area {
    /// Its heading.
    pub title: &'static str,
    /// Names of its commands, the most used first.
    pub commands: &'static [&'static str],
}

impl Registry {
    /// The program with all its commands: source of help, completion and man pages.
    pub fn program(&self) -> clap::Command {
        self.commands.iter().fold((self.program)(), |program, entry| program.subcommand((entry.clap)()))
    }

    /// The list of commands, or the explanation of one.
    ///
    /// # Errors
    /// What to say about a name that is not a command.
    pub fn help(&self, command: Option<&str>) -> Result<String, CommandError> {
        let Some(name) = command else { return Ok(self.overview()) };
        let mut program = self.program();
        match program.find_subcommand_mut(name) {
            Some(command) => Ok(command.render_long_help().to_string()),
            None => Err(self.unknown(name)),
        }
    }

    /// All commands by area, a line each.
    pub fn overview(&self) -> String {
        let program = self.program();
        let about = program.get_about().map(ToString::to_string).unwrap_or_default();
        let mut text = format!("{about}\n\nUsage: dawn COMMAND [ARGUMENT]...\n");
        for area in self.areas {
            text.push_str(&format!("\n{}:\n", area.title));
            for name in area.commands {
                let about = program.find_subcommand(name).and_then(clap::Command::get_about);
                let about = about.map(ToString::to_string).unwrap_or_default();
                text.push_str(&format!("  {name:<21} {about}\n"));
            }
        }
        text.push_str("\nRun `dawn help COMMAND` for the options of a command.\n");
        text
    }

    /// The error for a name that is not a command, with a hint.
    pub fn unknown(&self, name: &str) -> CommandError {
        let program = self.program();
        let names = program.get_subcommands().map(clap::Command::get_name);
        advice::unknown(name, names.chain(["help"]))
    }
}
