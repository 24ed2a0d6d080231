//! Running programs with their output going to the caller line by line.
//!
//! Programs are started directly, never through a shell. The last lines are kept for the error message.

use dawn_wire::words;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::process::{Command, Stdio};

/// Lines of output that an error quotes.
const TAIL_LINES: usize = 12;
/// Longer lines are cut (bytes).
const LINE_BYTES_MAX: usize = 4096;

/// How a program ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The program is not installed or cannot be run.
    #[error("cannot run {program}: {source}")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("{program} failed ({status}):\n{tail}")]
    Failed {
        /// Its name.
        program: String,
        /// Exit status or signal.
        status: String,
        /// The end of its output.
        tail: String,
    },
}

/// Run to the end; every line of stdout and stderr goes to `line` as it comes.
pub fn run(command: &mut Command, line: &mut dyn FnMut(&str)) -> Result<(), ExecError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| ExecError::Start { program: program.clone(), source };
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    // The command keeps the writing ends open until it is given other ones; then the pipe ends with the
    // child.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tail = VecDeque::new();
    lines(reader, &mut |text| {
        line(text);
        tail.push_back(text.to_owned());
        if tail.len() > TAIL_LINES {
            tail.pop_front();
        }
    })
    .map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let tail = tail.into_iter().collect::<Vec<_>>().join("\n");
    Err(ExecError::Failed { program, status: status.to_string(), tail })
}

/// The standard output of a short program, or `None` when it cannot be run or fails.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A word as a shell reads it back unchanged, without quotes where it needs none.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:/=+@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => words::quoted(word),
    }
}

/// Cut a stream into lines at newline or carriage return; empty lines are dropped.
fn lines(mut reader: impl Read, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let (mut buffer, mut current) = ([0u8; 8192], Vec::new());
    let mut emit = |current: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(current);
        if !text.trim().is_empty() {
            line(text.trim_end());
        }
        current.clear();
    };
    loop {
        let length = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        for byte in buffer.get(..length).unwrap_or_default() {
            match byte {
                b'\n' | b'\r' => emit(&mut current),
                byte if current.len() < LINE_BYTES_MAX => current.push(*byte),
                _ => {}
            }
        }
    }
    emit(&mut current);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_and_errors_quote_the_end() {
        let mut seen = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf 'three\\r\\n'; printf four"]);
        run(&mut command, &mut |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two", "three", "four"]);
        let error = run(Command::new("sh").args(["-c", "echo why; exit 3"]), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("why") && error.to_string().contains('3'), "{error}");
        let error = run(&mut Command::new("/nonexistent/program"), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ExecError::Start { .. }));
    }
}
