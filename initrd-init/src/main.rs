//! The executable of `/init`; what it does is described in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The one place where arguments are read.
    #[allow(clippy::disallowed_methods)]
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    initrd_init::run(&arguments)
}
