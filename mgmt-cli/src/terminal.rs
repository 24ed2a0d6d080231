//! What the client and local commands share of the terminal: output, and signals that end a wait.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// SIGINT and SIGTERM set a flag, which the caller of this looks at, and end nothing.
pub fn stop_on_signals() -> &'static AtomicBool {
    let handler = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
    &STOP
}

/// Prints to standard output; a closed pipe is not an error of ours.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints `Warning: text` to standard error.
pub fn print_warning(text: &str) {
    let _ = std::io::stderr().write_all(format!("Warning: {text}\n").as_bytes());
}

/// Prints `Error: text` to standard error.
pub fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(format!("Error: {text}\n").as_bytes());
}
