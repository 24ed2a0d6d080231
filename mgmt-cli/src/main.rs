//! The one binary: reads arguments and environment, and hands over.

use dawn_cli::app;
use dawn_cli::environment::Environment;
use std::process::ExitCode;

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads arguments and environment")]
fn main() -> ExitCode {
    let environment = Environment {
        arguments: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        variables: std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect(),
        directory: std::env::current_dir().unwrap_or_default(),
        executable: std::env::current_exe().unwrap_or_default(),
        piped: None,
    };
    let code = app::run(&environment);
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
