//! `dawn serve`: the daemon, with what it needs to know of the environment.

use crate::environment::Environment;
use dawn_bootd::command::Registry;
pub(crate) use dawn_bootd::serve::Args;
use dawn_bootd::serve::{self, Given};

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
