//! What the client and local commands share of the terminal: output, and signals that end a wait.

use dawn_xcatd::dispatch::DuplexStream;
use dawn_xcatd::render::{Stream, render};
use dawn_xcatd::{Gone, Response, Sink};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// SIGINT and SIGTERM set a flag, which the caller of this looks at, and end nothing.
pub(crate) fn stop_on_signals() -> &'static AtomicBool {
    let handler = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
    &STOP
}

/// A line from the terminal that is not shown while it is typed, without its end.
///
/// # Errors
/// Standard input is not a terminal, or ends.
pub(crate) fn hidden_line() -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let _ = std::io::stdout().flush();
    tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Prints to standard output; a closed pipe is not an error of ours.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints `Error: text` to standard error.
pub(crate) fn print_error(text: &str) {
    let _ = std::io::stderr().write_all(format!("Error: {text}\n").as_bytes());
}

/// What a command in this process says, as the client would print it.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    /// Exit code bits of all errors.
    pub code: i32,
}

impl Sink for Terminal {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        self.code |= response.exit_code();
        for piece in render(&response, false) {
            match piece.stream {
                Stream::Out => print(&piece.text),
                Stream::Err => drop(std::io::stderr().write_all(piece.text.as_bytes())),
            }
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        false
    }

    fn join(&mut self, _: DuplexStream) -> Result<(), Gone> {
        Err(Gone)
    }
}
