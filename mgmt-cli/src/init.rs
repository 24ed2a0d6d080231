//! `dawn init`: data directory, certificates, default rows.

use crate::environment::Environment;

/// Make a data directory: database, certificates, default table rows. Can be repeated.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
}

/// Sets up; the exit code.
pub fn run(_args: Args, _environment: &Environment) -> i32 {
    eprintln!("dawn init is not wired yet");
    1
}
