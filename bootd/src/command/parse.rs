//! Reading the words of a command with `clap`: the options that every command has, help, version and usage.

use super::{VERSION, examples, options, wrong};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction};

/// Columns help texts are wrapped at: the daemon does not know the terminal of its caller.
const HELP_WIDTH: usize = 100;

/// The option that shows results as JSON.
const JSON: &str = "json";

/// Options and examples that every command has; `json`: `--json` among them.
pub fn finish(command: clap::Command, json: bool) -> clap::Command {
    let has = |short, name: &str| {
        command.get_arguments().any(|arg| arg.get_short() == Some(short) || arg.get_id() == name)
    };
    let (has_v, has_big_v, has_h) = (has('v', "version"), has('V', "verbose"), has('h', "help"));
    let has_json = command.get_arguments().any(|arg| arg.get_id() == JSON);
    let mut command = command.disable_version_flag(true).term_width(HELP_WIDTH);
    if json && !has_json {
        let option = Arg::new(JSON).long(JSON).help("Print as JSON");
        command = command.arg(option.action(ArgAction::SetTrue));
    }
    if !has_v {
        command = command.arg(flag("version", 'v', "Print the version"));
    } else if !command.get_arguments().any(|arg| arg.get_id() == "version") {
        let version = Arg::new("version").long("version").help("Print the version");
        command = command.arg(version.action(ArgAction::SetTrue));
    }
    if !has_big_v {
        command = command.arg(flag("verbose", 'V', "Verbose output; prefix each line with its source"));
    }
    if !has_h {
        let help = Arg::new("help").short('h').long("help").help("Print help").action(ArgAction::Help);
        command = command.arg(help);
    }
    let examples = examples::section(command.get_name());
    let command = command.disable_help_flag(true).mut_args(in_order);
    match examples {
        Some(text) => command.after_long_help(text),
        None => command,
    }
}

/// Options are listed by name, those that every command has after all others.
fn in_order(arg: Arg) -> Arg {
    let order = match arg.get_id().as_str() {
        "verbose" => 2,
        "help" => 3,
        "version" => 4,
        _ => 1,
    };
    if arg.is_positional() { arg } else { arg.display_order(order) }
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).help(help).action(ArgAction::SetTrue)
}

/// What reading the words gave.
pub enum Parsed<A> {
    /// The arguments.
    Args {
        /// The command's own.
        args: A,
        /// Results are asked for as JSON.
        json: bool,
    },
    /// The help was asked for: its text.
    Help(String),
    /// The version was asked for.
    Version,
    /// Words that are wrong or missing; a command without any word is shown the usage only.
    Wrong {
        /// What is wrong.
        reason: Option<String>,
        /// The usage lines.
        usage: String,
    },
}

impl<A> Parsed<A> {
    /// Whether what is printed is to be JSON. Of words that are wrong, or that ask for the help, only the
    /// word itself says so.
    #[must_use]
    pub fn is_json(&self, words: &[String]) -> bool {
        match self {
            Self::Args { json, .. } => *json,
            _ => words.iter().take_while(|word| *word != "--").any(|word| word == "--json"),
        }
    }
}

/// Reads the words of a command.
pub fn parse<A: clap::FromArgMatches>(mut command: clap::Command, words: &[String]) -> Parsed<A> {
    let words = options::in_full(&command, &options::guarded(&command, words, false));
    if options::ask_for_version(&command, &words) {
        return Parsed::Version;
    }
    let name = command.get_name().to_owned();
    let line = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    let result = command.try_get_matches_from_mut(line);
    let matches = match result {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp) => {
            return Parsed::Help(error.render().to_string());
        }
        Err(error) => return wrong(&mut command, &words, &error),
    };
    match A::from_arg_matches(&matches) {
        Ok(args) => {
            let json = matches!(matches.try_get_one(JSON), Ok(Some(true)));
            Parsed::Args { args, json }
        }
        Err(error) => wrong(&mut command, &words, &error),
    }
}

fn wrong<A>(command: &mut clap::Command, words: &[String], error: &clap::Error) -> Parsed<A> {
    let reason = match wrong::missing(error) {
        Some(_) if words.is_empty() => None,
        Some(operands) => Some(format!("{operands} is missing")),
        None => Some(wrong::reason(error)),
    };
    Parsed::Wrong { reason, usage: command.render_usage().to_string() }
}

/// What `-v` prints. A few commands name themselves first, each in its own way.
pub fn version_line(command: &str) -> String {
    match command {
        "chtab" => format!("chtab {VERSION}"),
        "tabch" => format!("tabch :{VERSION}"),
        "lsdef" | "mkdef" | "chdef" | "rmdef" => format!("{command} - {VERSION}"),
        _ => VERSION.to_owned(),
    }
}
