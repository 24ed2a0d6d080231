//! `dawn serve`: the daemon, with what it needs to know of the environment.

use crate::environment::Environment;
use clap::Args as _;
use dawn_bootd::command::Registry;
use dawn_bootd::command::VERSION;
use dawn_bootd::command::parse::{Parsed, finish, parse};
pub(crate) use dawn_bootd::serve::Args;
use dawn_bootd::serve::{self, Given};

/// Exit code for words that are wrong.
const WRONG_WORDS: i32 = 2;

/// Its words and help.
pub(crate) fn clap() -> clap::Command {
    let command = clap::Command::new("serve").bin_name("dawn serve");
    finish(Args::augment_args(command), false).mut_arg("verbose", |arg| arg.hide(true))
}

/// What is said instead of a start.
pub(crate) struct Said {
    /// What is wrong with the words.
    pub(crate) error: Option<String>,
    /// Help, version, or usage.
    pub(crate) text: String,
    /// Exit code.
    pub(crate) code: i32,
}

/// Reads the words.
///
/// # Errors
/// They are wrong, or ask for help or the version.
pub(crate) fn read(words: &[String]) -> Result<Args, Said> {
    match parse::<Args>(clap(), words) {
        Parsed::Args { args, .. } => Ok(args),
        Parsed::Help(text) => Err(Said { error: None, text, code: 0 }),
        Parsed::Version => Err(Said { error: None, text: format!("{VERSION}\n"), code: 0 }),
        Parsed::Wrong { reason, usage } => {
            let error = reason.unwrap_or_else(|| "--data is missing".to_owned());
            Err(Said { error: Some(error), text: usage, code: WRONG_WORDS })
        }
    }
}

/// Runs until a signal; the exit code.
pub(crate) fn run(args: &Args, environment: &Environment, registry: Registry) -> i32 {
    let variable = |name: &str| environment.variable(name).map(str::to_owned);
    let given = Given {
        directory: environment.directory.clone(),
        log: variable("DAWN_LOG"),
        notify_socket: variable("NOTIFY_SOCKET"),
        database: variable("XCATCFG"),
    };
    serve::run(args, &given, registry)
}
