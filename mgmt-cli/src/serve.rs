//! `dawn serve`: all services of the appliance in the foreground.

use crate::environment::Environment;

/// Run the appliance: DHCP, TFTP, HTTP, NFS and the command daemon, in the foreground.
///
/// Prints one line `ready` when every service listens. SIGTERM stops it cleanly.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory made by `dawn init`
    #[arg(long, value_name = "DIR")]
    pub data: std::path::PathBuf,
}

/// Runs until a signal; the exit code.
pub fn run(_args: Args, _environment: &Environment) -> i32 {
    eprintln!("dawn serve is not wired yet");
    1
}
