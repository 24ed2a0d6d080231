//! `dawn serve`: the daemon, with what it needs to know of the environment.

use crate::environment::Environment;
use clap::Args as _;
use dawn_bootd::command::Registry;
use dawn_bootd::command::parse::finish;
pub(crate) use dawn_bootd::serve::Args;
use dawn_bootd::serve::{self, Given};

/// Its words and help.
pub(crate) fn clap() -> clap::Command {
    let command = clap::Command::new("serve").bin_name("dawn serve");
    finish(Args::augment_args(command), false).mut_arg("verbose", |arg| arg.hide(true))
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
